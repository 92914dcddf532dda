"""Years in minutes: a thousand runs over a small roster that changes; what the deployment holds on to levels off."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer
from provisioner.settings import Settings
from provisioner.store.runs.documents import Request
from provisioner.worker.wakeups import nudge
from tests.chaos.fleet import Fleet
from tests.chaos.people import as_csv, made_up, moved_on
from tests.support.harness import load_settings, raise_limits, settings_document, write_settings
from tests.support.redis_contents import RedisContents
from tests.support.redis_server import RedisServer

RUNS: Final = int(os.environ.get("PROVISIONER_TEST_YEARS_RUNS", "1000"))
_LOOKS: Final = 20
#: By how much the last quarter may lie above the second one: allocators and caches breathe.
_BREATH: Final = 1.10


@dataclass(frozen=True, slots=True)
class Look:
    """What is held: resident memory (MiB) of the worker's largest process and of beat, open files, keys in Redis."""

    worker: float
    beat: float
    files: int
    keys: int


def resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def look(fleet: Fleet, settings: Settings) -> Look:
    async def count() -> int:
        async with Deployment.open(settings) as dep:
            # What a claim took is kept for two minutes, which are nothing in years
            return RedisContents(dep).count_but_claims()

    worker, beat = fleet.workers[0], fleet.beats[0]
    assert worker.process is not None
    assert beat.process is not None
    pids = [worker.process.pid, *worker.children()]
    return Look(max(map(resident, pids)), resident(beat.process.pid), max(map(open_files, pids)), asyncio.run(count()))


def levels_off(values: Sequence[float], slack: float) -> bool:
    quarter = len(values) // 4
    second, last = values[quarter : 2 * quarter], values[-quarter:]
    return statistics.median(last) <= statistics.median(second) * _BREATH + slack


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_thousand_runs_leave_no_more_than_a_hundred(tmp_path: Path) -> None:
    dice = random.Random(1)
    people = made_up(10, dice)
    roster = tmp_path / "roster.csv"
    looks: list[Look] = []
    with RedisServer(append_only=True) as redis, SandboxServer() as sandbox:
        raise_limits(sandbox.switchboard)
        document = settings_document(
            sandbox.url,
            redis.url,
            roster,
            tmp_path / "data",
            schedule={"sync": None, "full": None, "watch_roster": None},
            guards={
                "leavers": {"percent": 100},
                "updates": {"percent": 100},
                "removals": {"percent": 100},
                "window": "0s",
            },
            retention={"runs": "30s", "operations": "10s"},
        )
        document["targets"] = {name: document["targets"][name] for name in ("traitly", "mtribes")}
        settings_file = write_settings(tmp_path, document)
        settings = load_settings(tmp_path, document)
        began = time.monotonic()
        with Fleet(redis, settings_file, tmp_path, workers=1, beats=1, concurrency=2) as fleet:
            for number in range(RUNS):
                roster.write_bytes(as_csv(moved_on(people, dice, leavers=1, movers=2)))
                status = asyncio.run(_run(settings, sweep=number % 10 == 0))
                if status != "succeeded":
                    pytest.fail(f"run {number}: {status}\n{fleet.tell()}")
                if number % max(1, RUNS // _LOOKS) == 0 and number:
                    looks.append(look(fleet, settings))
                    print(number, looks[-1], flush=True)  # noqa: T201
        took = time.monotonic() - began
    print(f"{RUNS} runs in {took:.0f} s")  # noqa: T201
    assert levels_off([one.worker for one in looks], 4.0)
    assert levels_off([one.beat for one in looks], 2.0)
    assert levels_off([one.files for one in looks], 4)
    # Runs are kept for seconds here, so how many depends on how fast the machine happens to be
    assert levels_off([one.keys for one in looks], 400)


async def _run(settings: Settings, *, sweep: bool) -> str | None:
    async with Deployment.open(settings) as dep:
        if sweep:
            # The tick trims once an hour; here an hour is over sooner
            RedisContents(dep).let_history_be_trimmed()
        run = await lifecycle.request_run(dep, Request(trigger="schedule"))
        await asyncio.to_thread(nudge, settings, run)
        status: str | None = "running"
        deadline = time.monotonic() + 60
        while status == "running" and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            status = await dep.runs.get(run, "status")
        return status
