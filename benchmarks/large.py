"""A company of many people from the file to the ledger, and the runs after it, on workers as they are deployed.

The vendors' stand-ins have a process each, so that what they take of the machine is seen besides what we take.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from benchmarks.goals import counted
from benchmarks.report import Figures
from benchmarks.staging import TARGETS, Stage, cpu_seconds, finished, peak_memory, pids_of, quietly, staged
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.connection import connect
from provisioner.store.runs.documents import Request
from tests.chaos.fleet import Fleet

#: People in the roster per person asked for.
TIMES = 20
MOST_MEMORY = 3 * 1024**3
#: The first run loads everybody; the one after it reads back what was written, and from then on nothing is left to do.
RUNS = ("first load", "the run after it", "nothing changed")


@dataclass(frozen=True, slots=True)
class Taken:
    """One run: its seconds, processor seconds of our processes, of Redis and of each stand-in, and writes by target."""

    seconds: float
    ours: float
    redis: float
    stand_ins: dict[str, float]
    writes: dict[str, int]
    requests: dict[str, int]
    status: str


def measure(people: int) -> Figures:
    """Load twenty people for each one asked for, then run twice more."""
    quietly()
    size = people * TIMES
    with staged(size) as stage, stage.fleet() as fleet:
        runs = [_run(stage, fleet) for _ in RUNS]
        memory = peak_memory(pids_of(fleet))
        used, most = asyncio.run(_redis_size(stage.redis.url))
    first, last = runs[0], runs[-1]
    succeeded = all(run.status == "succeeded" for run in runs)
    writes = sum(last.writes.values())
    whole = sum(first.stand_ins.values()) + first.ours + first.redis
    shares = ", ".join(f"{name} {100 * taken / whole:.0f} %" for name, taken in first.stand_ins.items())
    sent = ", ".join(f"{name} {first.requests[name]:,}" for name in TARGETS)
    return Figures(
        title=f"a large company: {size:,} people, four targets, one worker of six processes",
        columns=("run", "status", "time", "our processor", "Redis's", "stand-ins'", "writes"),
        rows=tuple(_row(name, run) for name, run in zip(RUNS, runs, strict=True)),
        goals=(
            counted("status of every run", "succeeded", ", ".join(run.status for run in runs), met=succeeded),
            counted("writes where nothing changed", "0", f"{writes:,}", met=not writes),
            counted(
                "memory of a worker process",
                f"at most {MOST_MEMORY >> 30} GiB",
                f"{memory / 1024**3:.2f} GiB",
                met=memory <= MOST_MEMORY,
            ),
        ),
        notes=(
            f"Redis: {used >> 20:,} MiB at the end, {most >> 20:,} MiB at most, {used / size:,.0f} bytes a person.",
            f"First load, requests: {sent}. Share of the processor that the stand-ins took: {shares}.",
        ),
    )


def _run(stage: Stage, fleet: Fleet) -> Taken:
    pids, vendors = pids_of(fleet), {name: [one.pid] for name, one in stage.stand_ins.items()}
    before = (
        cpu_seconds(pids),
        cpu_seconds([stage.redis.pid]),
        {name: cpu_seconds(one) for name, one in vendors.items()},
    )
    counted = stage.counts()
    began = time.monotonic()
    # Two hours for every hundred thousand people, on a machine that does other things too
    done = finished(stage.settings, stage.ask(Request(trigger="manual")), within=36_000)
    seconds = time.monotonic() - began
    counts = stage.counts()
    return Taken(
        seconds=seconds,
        ours=cpu_seconds(pids_of(fleet)) - before[0],
        redis=cpu_seconds([stage.redis.pid]) - before[1],
        stand_ins={name: cpu_seconds(one) - before[2][name] for name, one in vendors.items()},
        writes={name: counts[name]["writes"] - counted[name]["writes"] for name in vendors},
        requests={name: part["requests"] for name, part in done["targets"].items()},
        status=done["status"],
    )


def _row(name: str, run: Taken) -> tuple[str, ...]:
    stand_ins = sum(run.stand_ins.values())
    return (
        name,
        run.status,
        f"{run.seconds:,.0f} s",
        f"{run.ours:,.0f} s",
        f"{run.redis:,.0f} s",
        f"{stand_ins:,.0f} s",
        f"{sum(run.writes.values()):,}",
    )


async def _redis_size(url: str) -> tuple[int, int]:
    redis = connect(RedisAddress.parse(url))
    try:
        memory = await redis.info("memory")
        return int(memory["used_memory"]), int(memory["used_memory_peak"])
    finally:
        await redis.aclose()
