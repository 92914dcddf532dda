"""Kill anything at any moment: at the end each vendor holds exactly what the roster says, once."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.errors import ProvisionerError
from provisioner.model.run_document import RunDocument
from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from provisioner.settings import Settings
from provisioner.store.runs.documents import Request
from provisioner.worker.wakeups import nudge
from tests.chaos.explained import KINDS, all_faults, everyday_document, everyday_faults, story, unexplained
from tests.chaos.fleet import Fleet
from tests.chaos.people import as_csv, made_up, moved_on
from tests.support.harness import load_settings, write_settings
from tests.support.redis_server import RedisServer

PEOPLE: Final = int(os.environ.get("PROVISIONER_TEST_CHAOS_PEOPLE", "2000"))
SEEDS: Final = [int(seed) for seed in os.environ.get("PROVISIONER_TEST_CHAOS_SEEDS", "1,2,3,4,5,6,7,8,9,10").split(",")]
KILLS: Final = 30
#: Seconds: the first kill at the latest, between two kills on average, one vendor's absence, and all of it at most.
_FIRST_KILL, _BETWEEN, _AWAY, _AT_MOST = 3.0, 2.6, 60.0, 420.0
RATE: Final = 100


def away(board: Switchboard, instance: str, seed: int, how: str) -> None:
    """A vendor that does nothing for now."""
    board.clear_faults(instance)
    if how == "dropped":
        board.fault(instance, drop="before", times=None)
    else:
        board.fault(instance, status=503, body={"error": "maintenance"}, times=None)
    everyday_faults(board, instance, seed)


async def ask(settings: Settings, request: Request) -> str:
    """Ask for a run."""
    async with Deployment.open(settings) as dep:
        run = await lifecycle.request_run(dep, request)
    await asyncio.to_thread(nudge, settings, run)
    return run


async def left(settings: Settings, run: str) -> tuple[RunDocument | None, int]:
    """A run's JSON, and how many operations are ready, in progress or parked anywhere."""
    async with Deployment.open(settings) as dep:
        document = await dep.runs.document(run)
        count = 0
        for target in dep.targets:
            backlog = await dep.queue.backlog(target)
            count += backlog.ready + backlog.leased + (backlog.next_due is not None)
        return document, count


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_killed_nothing_is_lost_or_done_twice(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    people = made_up(PEOPLE, dice)
    later = moved_on(people, dice, leavers=PEOPLE // 50, movers=PEOPLE // 20)
    roster = tmp_path / "roster.csv"
    roster.write_bytes(as_csv(people))
    absent, how = dice.choice(sorted(KINDS)), dice.choice(("dropped", "503"))
    print(f"seed {seed}, {PEOPLE} people, {absent} away for a minute ({how})")  # noqa: T201
    with RedisServer(append_only=True) as redis, SandboxServer() as sandbox:
        board = sandbox.switchboard
        document = everyday_document(
            sandbox,
            redis,
            tmp_path,
            rate=RATE,
            seed=seed,
            schedule={"sync": None, "full": None, "watch_roster": "2s"},
            guards={
                "leavers": {"percent": 100, "absolute": None},
                "updates": {"percent": 100},
                "removals": {"percent": 100},
            },
        )
        settings_file = write_settings(tmp_path, document)
        settings = load_settings(tmp_path, document)
        began = time.monotonic()
        with Fleet(redis, settings_file, tmp_path) as fleet:
            try:
                finished = _storm(fleet, board, settings, dice, roster, later, absent, how, seed)
            except BaseException:
                print(fleet.tell())  # noqa: T201
                raise
            took = time.monotonic() - began
            told = asyncio.run(unexplained(settings))
        states = {kind: board.state(kind) for kind in KINDS}
        wrong = all_faults(later, states)
        for one in wrong[:3]:
            print(asyncio.run(story(settings, one)))  # noqa: T201
        refused = {kind: board.counts(kind)["answers_429"] for kind in KINDS}
    print(f"seed {seed}: {took:.0f} s, killed {dict(Counter(fleet.kills))}, answers of 429 {refused}, {finished}")  # noqa: T201
    assert wrong[:20] == []
    assert told[:20] == []


def _storm(
    fleet: Fleet,
    board: Switchboard,
    settings: Settings,
    dice: random.Random,
    roster: Path,
    later: list[dict[str, str]],
    absent: str,
    how: str,
    seed: int,
) -> dict[str, Any]:
    """Kill, change the roster, take one vendor away, and wait until all is well; the figures of the last run."""
    began = time.monotonic()
    next_kill = began + dice.uniform(1.0, _FIRST_KILL)
    leaves_at = began + dice.uniform(5.0, 20.0)
    returns_at = leaves_at + _AWAY
    changes_at = began + dice.uniform(20.0, 40.0)
    gone = back = changed = False
    run: str | None = None
    while True:
        now = time.monotonic()
        assert now - began < _AT_MOST, f"not done after {_AT_MOST} s"
        fleet.mend()
        if not gone and now >= leaves_at:
            gone = True
            away(board, absent, seed, how)
        if gone and not back and now >= returns_at:
            back = True
            board.clear_faults(absent)
            everyday_faults(board, absent, seed + 7)
        if not changed and now >= changes_at:
            changed = True
            fresh = roster.with_suffix(".new")
            fresh.write_bytes(as_csv(later))
            fresh.replace(roster)
        if len(fleet.kills) < KILLS:
            if now >= next_kill:
                fleet.kill_something(dice)
                next_kill = now + dice.uniform(0.2, 2 * _BETWEEN)
        elif back and changed:
            try:
                if run is None:
                    run = asyncio.run(ask(settings, Request(trigger="manual")))
                document, count = asyncio.run(left(settings, run))
            except ProvisionerError:
                document, count = None, 1
            if document is not None and any(target["superseded"] for target in document["targets"].values()):
                # Something newer was sent or recorded about these people while it was planned: the next run takes them
                run = None if document["status"] != "running" else run
            elif document is not None and document["status"] == "succeeded" and not count:
                return {"operations": {name: one["succeeded"] for name, one in document["targets"].items()}}
            elif document is not None and document["status"] not in ("running", "succeeded"):
                # A vendor that was written off for the moment is looked at again later
                run = None
                time.sleep(5.0)
            time.sleep(1.0)
        time.sleep(0.1)
