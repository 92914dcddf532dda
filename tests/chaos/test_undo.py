"""A reviewed plan with a wrong mapping in it, its undo and the undo of that, while workers and beats are killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.sandbox import SandboxServer, Switchboard
from tests.chaos.commands import Operator
from tests.chaos.explained import KINDS, all_faults, everyday_document, unexplained
from tests.chaos.fleet import Fleet
from tests.chaos.people import Person
from tests.chaos.truth import Company, account_of
from tests.support.harness import load_settings, write_settings
from tests.support.redis_server import RedisServer

SEEDS: Final = [int(seed) for seed in os.environ.get("PROVISIONER_TEST_CHAOS_SEEDS", "1,2,3").split(",")][:3]
#: People, and how many of them the wrong mapping changes.
PEOPLE, WRONG = 90, 30
#: Requests a second that the vendors allow, and that the program may use while the storm lasts.
RATE, SLOW = 60, 3
#: Blows while one command is under way, seconds between two of them, and of a suspension.
_BLOWS, _BETWEEN, _SUSPENDED = 6, (1.0, 4.0), (3.0, 15.0)
#: Seconds that one command may take, and how often somebody gives it again where it came to nothing.
_AT_MOST, _AGAIN = 300.0, 4
#: What the stand-ins say of the moment and of who wrote last.
_MOMENTS: Final = frozenset({"role_details", "updated_at", "last_modified", "modified_at", "etag", "version", "meta"})
#: By target, the attributes that hold a last name, as expressions over it.
_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "tribal_habits": {"last_name": "{}"},
    "habitate": {"last_name": "{}"},
    "traitly": {"name": "first_name || ' ' || {}"},
    "mtribes": {"name": "first_name || ' ' || {}"},
    "scim": {"name.familyName": "{}", "displayName": "first_name || ' ' || {}"},
}


class Weather:
    """Kills and suspends while commands are under way, and starts again what is dead."""

    def __init__(self, fleet: Fleet, operator: Operator, dice: random.Random) -> None:
        self.fleet, self.operator, self.dice = fleet, operator, dice
        self.blows: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()

    def through(self, *words: str, blows: int = _BLOWS) -> tuple[int, dict[str, Any]]:
        """A command to its end, under so many blows; its exit code and its document."""
        command = self.operator.begin(*words)
        ends = time.monotonic() + _AT_MOST
        next_blow, left = time.monotonic() + self.dice.uniform(*_BETWEEN), blows
        while not command.over():
            assert time.monotonic() < ends, f"{words[:2]} is not over after {_AT_MOST} s"
            self.fleet.mend()
            if left and time.monotonic() >= next_blow:
                self.blows[self._blow()] += 1
                left -= 1
                next_blow = time.monotonic() + self.dice.uniform(*_BETWEEN)
            time.sleep(0.1)
        code = command.process.returncode
        self.codes[f"{words[0]}:{code}"] += 1
        text = command.output.read_text(encoding="utf-8")
        return code, json.loads(text) if text.strip() else {}

    def _blow(self) -> str:
        if self.dice.random() < 0.4:
            return self.fleet.suspend_something(self.dice, self.dice.uniform(*_SUSPENDED)) or "nothing"
        return self.fleet.kill_something(self.dice, spare_redis=True)

    def begun(self, *words: str) -> tuple[int, dict[str, Any]]:
        """A command that starts a run and waits for it, given again where no worker answered."""
        for _ in range(_AGAIN):
            code, document = self.through(*words, "--wait")
            if code != 1:
                return code, document
            assert "nothing was started" in document["error"]["message"], document
        raise AssertionError(f"{words} found no worker {_AGAIN} times")

    def carried(self, *words: str) -> tuple[int, dict[str, Any]]:
        """The same, and somebody lets go what a guard holds, and has sent again what failed; the end of it."""
        code, document = self.begun(*words)
        run = document["run"]
        for _ in range(_AGAIN):
            honest(code, document)
            parts = document["targets"].values()
            if code == 4 and any(part["held"] for part in parts):
                code, document = self.through("approve", run, "--all", "--wait")
            elif code == 5 and any(part["failed"] for part in parts):
                code, document = self.through("retry", run, "--wait")
            else:
                break
        return code, self.operator.run("show", run, "--operations")[1]


def honest(code: int, document: Mapping[str, Any]) -> None:
    """Whether what a command exited with agrees with what it said: 0 only where nothing is open."""
    parts = document["targets"].values()
    open_ = sum(sum(part[figure].values()) for part in parts for figure in ("held", "failed", "waiting"))
    left_out = document.get("left_out") or []
    broken = [part["status"] for part in parts if part["status"] not in ("succeeded", "held")]
    assert (code == 0) == (not open_ and not left_out and not broken), (code, document)
    assert code in (0, 4, 5), (code, document)


def spoilt(document: Mapping[str, Any], people: Collection[str]) -> dict[str, Any]:
    """Settings that give some people a wrong last name in every target."""
    named = ", ".join(f"'{person}'" for person in sorted(people))
    name = f"CASE WHEN employee_id IN ({named}) THEN 'Wrong' || employee_id ELSE last_name END"
    targets = {
        target: {
            **one,
            "rate_limit": f"{SLOW}/second",
            "attributes": {
                **one["attributes"],
                **{attribute: text.format(name) for attribute, text in _NAMES[target].items()},
            },
        }
        for target, one in document["targets"].items()
    }
    return {**document, "targets": targets}


def with_wrong_names(people: Iterable[Person], those: Collection[str]) -> list[Person]:
    """The roster as the wrong mapping reads it."""
    return [one | {"last_name": f"Wrong{one['employee_id']}"} if one["employee_id"] in those else one for one in people]


def accounts(board: Switchboard, people: Sequence[Person]) -> dict[str, list[str]]:
    """What each stand-in holds of these people, but for moments."""
    found: dict[str, list[str]] = {}
    for kind in KINDS:
        states = {kind: board.state(kind)}
        rows = [account_of(kind, states, person) or {} for person in people]
        found[kind] = [
            json.dumps({name: value for name, value in row.items() if name not in _MOMENTS}, sort_keys=True)
            for row in rows
        ]
    return found


def events_twice(board: Switchboard) -> list[str]:
    """Traitly's events that are there more than once; nobody's role changes here, and nobody comes back."""
    told = Counter((event["customer_id"], event["name"]) for event in board.state("traitly")["events"])
    return [f"{person} has {count} events {name!r}" for (person, name), count in told.items() if count > 1]


@pytest.mark.chaos
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_reviewed_plan_and_its_undo_come_about_exactly_whatever_is_killed(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    began = time.monotonic()
    company = Company(tmp_path / "roster.csv", PEOPLE, dice)
    with RedisServer(append_only=True) as redis, SandboxServer() as sandbox:
        document = everyday_document(
            sandbox,
            redis,
            tmp_path,
            rate=RATE,
            seed=seed,
            schedule={"sync": None, "full": None, "watch_roster": None},
            # The plan goes out, its undo is held: the window counts both
            guards={
                "leavers": {"percent": 100, "absolute": None},
                "updates": {"percent": 60},
                "removals": {"percent": 100},
            },
        )
        settings_file = write_settings(tmp_path, document)
        settings = load_settings(tmp_path, document)
        with Fleet(redis, settings_file, tmp_path, concurrency=3) as fleet:
            weather = Weather(fleet, Operator(settings_file, tmp_path), dice)
            try:
                _settle(weather)
                assert _wrong(company.people, sandbox.switchboard) == []
                _drill(weather, company, sandbox.switchboard, document, tmp_path)
            except BaseException:
                print(fleet.tell())  # noqa: T201
                raise
            told = asyncio.run(unexplained(settings))
    took = time.monotonic() - began
    print(f"seed {seed}: {took:.0f} s, {dict(weather.blows)}, exit codes {dict(weather.codes)}")  # noqa: T201
    assert told[:20] == []


def _wrong(people: Sequence[Person], board: Switchboard) -> list[str]:
    return all_faults(people, {kind: board.state(kind) for kind in KINDS})


def _settle(weather: Weather) -> None:
    """Sync until there is nothing left to do."""
    code, document = -1, dict[str, Any]()
    for _ in range(_AGAIN):
        code, document = weather.through("sync", "--wait", blows=0)
        if code == 0 and not any(sum(part["planned"].values()) for part in document["targets"].values()):
            return
    raise AssertionError(f"{code} {document}")


def _drill(weather: Weather, company: Company, board: Switchboard, document: Mapping[str, Any], folder: Path) -> None:
    """The wrong mapping goes live by a reviewed plan on a day with joiners, movers and leavers, and is undone."""
    dice = weather.dice
    those = dice.sample(company.people, WRONG)
    keys = [one["employee_id"] for one in those]
    before = accounts(board, those)
    movers, leavers = _a_day(company, set(keys), dice)
    write_settings(folder, spoilt(document, keys))
    weather.fleet.deploy()

    file = folder / "plan.json"
    code, _ = weather.through("plan", "--out", str(file))
    assert code == 0
    reviewed = json.loads(file.read_text(encoding="utf-8"))["operations"]
    assert {one["person"] for one in reviewed} >= {*keys, *movers, *leavers}

    # The day goes on between review and sync: one more change, and one who stays after all
    _by_key(company, movers[0])["last_name"] = "Newest"
    stays = _by_key(company, leavers[0])
    stays["employment_status"] = "active"
    company.left.pop(leavers[0])
    company.write()
    runs = _applied(weather, file, reviewed)
    assert _settled(weather, company, board, keys) == []
    after = accounts(board, those)
    assert all(after[kind] != before[kind] for kind in KINDS)

    back = _undone(weather, runs, keys)
    assert accounts(board, those) == before
    assert _wrong(company.people, board) == []
    _undone(weather, back, keys)
    assert accounts(board, those) == after
    assert _settled(weather, company, board, keys) == []
    assert events_twice(board) == []


def _a_day(company: Company, those: set[str], dice: random.Random) -> tuple[list[str], list[str]]:
    """Some others join, move and leave; the keys of the movers, and of the leavers."""
    others = [one for one in company.people if one["employee_id"] not in those]
    chosen = dice.sample(others, 8)
    for one in chosen[:4]:
        one["last_name"] += "-Smith"
    for one in chosen[4:]:
        one["employment_status"] = "left"
        company.left[one["employee_id"]] = time.monotonic()
    company.join(3)
    company.write()
    return [one["employee_id"] for one in chosen[:4]], [one["employee_id"] for one in chosen[4:]]


def _by_key(company: Company, key: str) -> Person:
    return next(one for one in company.people if one["employee_id"] == key)


def _settled(weather: Weather, company: Company, board: Switchboard, keys: Collection[str]) -> list[str]:
    """Once an ordinary sync finds nothing more to do: what is otherwise than roster and wrong mapping say."""
    _settle(weather)
    return _wrong(with_wrong_names(company.people, keys), board)


def _applied(weather: Weather, file: Path, reviewed: Sequence[Mapping[str, Any]]) -> list[str]:
    """The plan is sent, and each of its operations is done or named; the runs, the newest first."""
    runs: list[str] = []
    done: set[str] = set()
    document: dict[str, Any] = {}
    for _ in range(_AGAIN):
        code, document = weather.carried("sync", "--plan", str(file))
        runs.insert(0, document["run"])
        done |= {one["id"] for one in document["operations"] if one["status"] == "succeeded"}
        named = {one["id"]: one["reason"] for one in document["left_out"]}
        assert all(named.values())
        assert {one["id"] for one in reviewed} == done | named.keys()
        if not _broken(document):
            # Two people's day went on after the review
            assert code == 4
            return runs
    raise AssertionError(f"{document}")


def _undone(weather: Weather, runs: Sequence[str], keys: Sequence[str]) -> list[str]:
    """These runs are taken back for these people; the runs that did it, the newest first."""
    people = [word for key in keys for word in ("--person", key)]
    back: list[str] = []
    document: dict[str, Any] = {}
    for run in runs:
        for _ in range(_AGAIN):
            code, document = weather.carried("undo", run, *people)
            back.insert(0, document["run"])
            assert document["left_out"] == []
            if not _broken(document):
                assert code == 0
                break
        else:
            raise AssertionError(f"{document}")
    return back


def _broken(document: Mapping[str, Any]) -> bool:
    """Whether a target could not be read: the command is to be given again."""
    return any(part["status"] in ("unreachable", "quarantined") for part in document["targets"].values())
