"""Who is the same person, over days of rosters: real worker, real Redis, all four vendors."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import pytest
import yaml

from tests.cli.calling import call
from tests.decisions.conftest import company
from tests.e2e.site import BY_HAND, KINDS, Site, deployment
from tests.support.harness import raise_limits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STAFF: Final = 12
OPEN: Final = {
    "window": "0s",
    "leavers": {"percent": 100},
    "updates": {"percent": 100},
    "missing": {"percent": 100},
}
READING: Final = {
    "absence": {"snapshots": 1, "grace": "0s"},
    "gate": {"max_leaving": "100%", "max_shrink": "100%", "max_age": "3650d"},
    "exclude": "language = 'old'",
    "previous_key": "was",
}
GUEST: Final = 5
Changes = dict[int, dict[str, str]]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    schedule = BY_HAND
    with deployment(tmp_path_factory.mktemp("identity"), schedule=schedule, guards=OPEN) as site:
        document = yaml.safe_load(site.config.read_text(encoding="utf-8"))
        document["roster"] |= READING
        site.config.write_text(yaml.safe_dump(document), encoding="utf-8")
        site.switchboard.reset()
        raise_limits(site.switchboard)
        worker = site.start_worker()
        try:
            yield site
        finally:
            worker.stop()


_KEYS: Final = re.compile(r"\b([WN]00\d\d|AU\d)\b", re.IGNORECASE)
_FIRMS: Final = count(1)


@dataclass(slots=True)
class Firm:
    """People of one test, told from those of the others by what their keys and addresses begin with."""

    site: Site
    tag: str

    def theirs(self, text: str) -> str:
        """A roster, or a command's word, as it is for this firm."""
        return _KEYS.sub(rf"{self.tag}\1", text).replace("@example.com", f"@{self.tag}.example.com".lower())

    def say(self, *words: str, code: int = 0) -> dict[str, Any]:
        """Run a command, to be done by the worker; its document."""
        answer = call(*map(self.theirs, words), "--json", PROVISIONER_CONFIG=str(self.site.config))
        assert answer.code == code, answer.err + answer.out
        found: dict[str, Any] = json.loads(answer.out.replace(self.tag, ""))
        return found

    def sync(self, text: str, *words: str, code: int = 0) -> dict[str, Any]:
        """A day later: the roster rewritten, and everybody synced by it."""
        self.site.roster.write_text(self.theirs(text), encoding="utf-8")
        moment = time.time() + next(_DAYS)
        os.utime(self.site.roster, (moment, moment))
        return self.say("sync", "--wait", *words, code=code)

    def accounts(self, kind: str) -> list[dict[str, Any]]:
        """A vendor's accounts of this firm."""
        domain = f"@{self.tag}.example.com".lower()
        return [one for one in self.site.switchboard.accounts(kind) if one["email"].endswith(domain)]


_DAYS: Final = count(1)


@pytest.fixture
def site(live: Site) -> Firm:
    return Firm(live, f"T{next(_FIRMS)}X")


def roster(changes: Changes | None = None, *, extra: tuple[Mapping[str, str], ...] = ()) -> str:
    """`STAFF` people; a changed employee_id is that row's key, `extra` rows are laid over that of person 1."""
    header, *rows = company(STAFF, changes=changes).splitlines()
    header, rows = f"{header},was", [f"{row}," for row in rows]
    own = company(STAFF).splitlines()[2]
    base = dict(zip(header.split(","), f"{own},".split(","), strict=True))
    return "\n".join([header, *rows, *(",".join((base | dict(row)).values()) for row in extra)]) + "\n"


def accounts(site: Firm) -> dict[str, int]:
    """How many accounts each vendor has."""
    return {kind: len(site.accounts(kind)) for kind in KINDS}


def active(site: Firm, number: int = 1) -> dict[str, bool]:
    """Where a person has what an employee has, by their email."""
    email = site.theirs(f"p{number}@example.com")
    found = {kind: [one for one in site.accounts(kind) if one["email"] == email] for kind in KINDS}
    assert all(len(those) == 1 for those in found.values()), found
    return {
        "tribal_habits": found["tribal_habits"][0]["active"],
        "habitate": found["habitate"][0]["role_id"] != GUEST,
        "traitly": found["traitly"][0]["plan"] == "Employee",
        "mtribes": "employment/left" not in found["mtribes"][0]["tags"],
    }


EVERYWHERE: Final = dict.fromkeys(KINDS, True)
NOWHERE: Final = dict.fromkeys(KINDS, False)


def operations(site: Firm, run: dict[str, Any], person: str) -> dict[str, tuple[str, str]]:
    """By target the account operation of a person: its kind and status."""
    found = site.say("show", run["run"], "--operations")["operations"]
    kinds = ("create", "update", "role", "leave", "rejoin")
    return {
        one["target"]: (one["kind"], one["status"]) for one in found if one["person"] == person and one["kind"] in kinds
    }


def told(site: Firm) -> str:
    return str(site.say("todos"))


def test_a_key_that_changes_its_case_is_the_same_person(site: Firm) -> None:
    site.sync(roster())
    had = accounts(site)
    second = site.sync(roster({1: {"employee_id": "w0001"}}))
    assert {name: sum(part["planned"].values()) for name, part in second["targets"].items()} == dict.fromkeys(KINDS, 0)
    assert accounts(site) == had
    assert {part["conflicts"] for part in second["targets"].values()} == {0}
    assert site.say("why", "w0001")["person"] == "W0001"
    site.sync(roster({1: {"employee_id": "w0001", "employment_status": "left"}}))
    assert active(site) == NOWHERE
    assert accounts(site) == had


def test_somebody_rehired_under_a_new_key_gets_their_accounts_back(site: Firm) -> None:
    site.sync(roster())
    had = accounts(site)
    site.sync(roster({1: {"employment_status": "left"}}))
    assert active(site) == NOWHERE
    run = site.sync(roster({1: {"employment_status": "left"}}, extra=({"employee_id": "N0001"},)))
    assert operations(site, run, "N0001") == dict.fromkeys(KINDS, ("rejoin", "succeeded"))
    assert active(site) == EVERYWHERE
    assert accounts(site) == had
    again = site.sync(roster({1: {"employment_status": "left"}}, extra=({"employee_id": "N0001"},)))
    assert {sum(part["planned"].values()) for part in again["targets"].values()} == {0}


def test_a_leaver_s_row_without_an_address_hides_no_account(site: Firm) -> None:
    site.sync(roster())
    had = accounts(site)
    gone = {1: {"employment_status": "left", "work_email": "", "last_name": ""}}
    site.sync(roster(gone))
    text = roster(gone, extra=({"employee_id": "N0001"},))
    site.sync(text, code=4)
    assert (accounts(site), active(site)) == (had, NOWHERE)
    assert "provisioner rekey W0001 N0001" in str(site.say("why", "N0001"))
    site.say("rekey", "W0001", "N0001")
    site.sync(text)
    assert (accounts(site), active(site)) == (had, EVERYWHERE)


def test_an_address_that_came_back_to_somebody_else_hands_nothing_over(site: Firm) -> None:
    site.sync(roster())
    had = accounts(site)
    site.sync(roster({1: {"employment_status": "left"}}))
    text = roster(
        {1: {"employment_status": "left"}},
        extra=({"employee_id": "N0001", "first_name": "Zoe", "last_name": "Quist"},),
    )
    run = site.sync(text, code=4)
    assert active(site) == NOWHERE
    assert accounts(site) == had
    held = operations(site, run, "N0001")
    assert set(held.values()) == {("create", "held")}
    assert "provisioner rekey W0001 N0001" in told(site)
    site.say("approve", run["run"], "--person", "n0001", "--wait")
    # In the two whose accounts are distinguished by the key alone, they are somebody new
    now = accounts(site)
    assert {kind: now[kind] - had[kind] for kind in held} == dict.fromkeys(held, 1)
    site.sync(text)
    assert accounts(site) == now


def test_people_under_new_numbers_are_held_until_somebody_says_so(site: Firm) -> None:
    site.sync(roster())
    had = accounts(site)
    new: Changes = {number: {"employee_id": f"AU{number}"} for number in range(1, 4)}
    for _ in range(2):
        site.sync(roster(new), code=4)
    run = site.sync(roster(new), code=4)
    assert "provisioner rekey W0001 AU1" in run["roster"]["degraded"][0]
    assert accounts(site) == had
    assert active(site) == EVERYWHERE
    assert set(operations(site, run, "W0001")) == set()
    assert set(operations(site, run, "AU1").values()) == {("create", "held")}
    # Even if somebody lets the roster pass, they neither leave nor get second accounts
    accepted = site.sync(roster(new), "--accept", run["roster"]["digest"], code=4)
    assert accepted["roster"]["accepted"] is True
    run = site.sync(roster(new), code=4)
    assert (accounts(site), active(site)) == (had, EVERYWHERE)
    assert "provisioner rekey W0001 AU1" in str(site.say("why", "W0001")) + told(site)

    one = site.say("rekey", "w0001", "AU1")
    assert (one["old"], one["new"], sorted(one["targets"])) == ("W0001", "AU1", sorted(KINDS))
    run = site.sync(roster(new), code=4)
    rest = site.say("rekey", "--all", run["run"])
    assert [(row["old"], row["new"]) for row in rest["rekeyed"]] == [("W0002", "AU2"), ("W0003", "AU3")]
    done = site.sync(roster(new))
    assert done["roster"]["degraded"] == []
    assert (accounts(site), active(site)) == (had, EVERYWHERE)
    assert site.say("why", "AU1")["operations"]
    site.say("why", "W0001", code=2)
    site.sync(roster(new | {1: {"employee_id": "AU1", "employment_status": "left"}}))
    assert active(site) == NOWHERE


def test_a_leave_waits_while_somebody_who_works_here_claims_the_account(site: Firm) -> None:
    site.sync(roster())
    had = accounts(site)
    # A contractor who becomes staff on the day when the old row ends
    text = roster({1: {"employment_status": "left"}}, extra=({"employee_id": "N0001"},))
    run = site.sync(text, code=4)
    assert operations(site, run, "W0001") == dict.fromkeys(KINDS, ("leave", "held"))
    assert (accounts(site), active(site)) == (had, EVERYWHERE)
    assert "provisioner rekey W0001 N0001" in told(site)
    alone = site.say("sync", "--person", "W0001", "--wait", code=4)
    assert set(operations(site, alone, "W0001").values()) == {("leave", "held")}
    site.say("rekey", "W0001", "N0001")
    site.sync(text)
    assert (accounts(site), active(site)) == (had, EVERYWHERE)


def test_the_earlier_key_counts_while_the_old_row_is_there(site: Firm) -> None:
    site.sync(roster())
    had = accounts(site)
    text = roster({1: {"employment_status": "left"}}, extra=({"employee_id": "N0001", "was": "w0001"},))
    run = site.sync(text)
    assert "leave" not in {kind for kind, _ in operations(site, run, "W0001").values()}
    assert (accounts(site), active(site)) == (had, EVERYWHERE)


def test_ended_employments_that_are_excluded_contest_no_key(site: Firm) -> None:
    old = tuple(
        {"employee_id": f"W{number:04d}", "language": "old", "employment_status": "left", "work_email": "no address"}
        for number in range(6)
    )
    run = site.sync(roster(extra=(*old, {"employee_id": "", "language": "old"})))
    assert (run["roster"]["people"], run["roster"]["rejected"]) == (STAFF, 0)
    assert active(site) == EVERYWHERE


def test_a_leave_by_a_new_status_waits_until_somebody_says_what_it_means(site: Firm) -> None:
    site.sync(roster({2: {"employment_status": "left"}}))
    new: Changes = {2: {"employment_status": "left"}, 1: {"employment_status": "on leave"}}
    site.sync(roster(new), code=4)
    run = site.sync(roster(new), code=4)
    assert operations(site, run, "W0001") == dict.fromkeys(KINDS, ("leave", "held"))
    assert active(site) == EVERYWHERE
    assert "employment_status 'on leave'" in told(site)
    site.say("approve", run["run"], "--person", "W0001", "--wait")
    assert active(site) == NOWHERE
    site.sync(roster(new | {3: {"employment_status": "on leave"}}))
    assert active(site, 3) == NOWHERE


def test_a_ledger_of_before_is_found_whatever_the_case_of_its_keys(site: Firm) -> None:
    site.sync(roster())
    had = accounts(site)
    site.site.contents.respell_person(site.theirs("W0001"), site.theirs("w0001"), KINDS)
    run = site.sync(roster({1: {"first_name": "Renamed"}}))
    assert {part["conflicts"] for part in run["targets"].values()} == {0}
    assert operations(site, run, "W0001") == dict.fromkeys(KINDS, ("update", "succeeded"))
    assert accounts(site) == had
