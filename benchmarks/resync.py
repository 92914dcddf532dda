"""How soon one person is right in all four targets while a bulk run is under way.

Everybody is linked everywhere and then gets another name in the roster. A bulk run brings it to two of the targets, one
request per person, and the vendors, who take 50 ms to answer, admit so few that it lasts. Meanwhile a run is asked for
one person after another, of those to whom the bulk run comes last. The time is that from before the request is recorded
until its run is over: four updates, planned, sent and recorded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks.goals import Turns, measured, seconds
from benchmarks.report import Figures
from benchmarks.staging import TARGETS, Stage, finished, quietly, staged, write_roster
from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.runs.counters import unfinished
from provisioner.store.runs.documents import Request
from provisioner.worker.wakeups import nudge
from tests.support.harness import load_settings

#: The targets of the bulk run: those that take one request per person.
BULK = ("habitate", "traitly")
LATENCY_MS, TIMES, GOAL = 50, 20, 1.0
#: What the vendors admit while the bulk run is under way: 5 % of it, which is kept for such work, is enough for ours.
LIMIT, WINDOW = 200, 10
#: Seconds between two requests for a person: each takes about four slots per target, and ten are kept in a window.
APART = 5.0


def measure(people: int) -> Figures:
    """Load everybody, start the bulk run, and ask for one person after another."""
    quietly()
    with ExitStack() as stack:
        stage = stack.enter_context(staged(people))
        with stage.fleet():
            finished(stage.settings, stage.ask(Request(trigger="manual")), within=3600)
            finished(stage.settings, stage.ask(Request(trigger="manual")), within=3600)
        alone, busy, left = _measured(stage, people)
    ordered = sorted(busy)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    rows = (
        (
            f"the roster is new, nothing else to do, {len(alone)} times",
            f"{median(alone):.2f} s",
            f"{max(alone):.2f} s",
            "—",
        ),
        (f"bulk run under way, {len(busy)} times", f"{median(busy):.2f} s", f"{p99:.2f} s", f"{GOAL:.1f} s"),
    )
    return Figures(
        title=f"one person's resync in four targets, {people:,} people linked, vendors at {LATENCY_MS} ms",
        columns=("while", "p50", "p99", "goal"),
        rows=rows,
        # A tail: what disturbed some of the runs is what it is about, so that the turns are not held apart
        goals=(measured("p99 of a resync beside a bulk run", "at most", GOAL, Turns((p99,)), seconds),),
        notes=(_told(people, left),),
    )


def _told(people: int, left: int) -> str:
    return (
        f"Bulk run: {len(BULK) * people:,} updates in {' and '.join(BULK)}, at {LIMIT} requests per {WINDOW} s and "
        f"target; {left:,} of them were still to be sent at the end."
    )


def _measured(stage: Stage, people: int) -> tuple[list[float], list[float], int]:
    """(seconds each with nothing else to do, seconds each besides the bulk run, operations of it left at the end)."""
    document: dict[str, Any] = {**stage.document, "targets": {}}
    for name, target in stage.document["targets"].items():
        document["targets"][name] = {**target, "rate_limit": f"{LIMIT}/{WINDOW}s"}
        stage.stand_ins[name].board.options(name, latency_ms=LATENCY_MS, rate_limit=LIMIT, rate_window=WINDOW)
    settings = load_settings(stage.folder, document)
    # So that the stand-ins do not hold the first load against us
    time.sleep(WINDOW)
    with stage.fleet():
        write_roster(stage.roster, people, renamed=people)
        alone = asyncio.run(_ask(settings, range(people - 6, people - 1)))
        bulk = stage.ask(Request(trigger="manual", targets=BULK))
        asyncio.run(_under_way(settings, bulk))
        # Those at the end of the bulk's queue, so that it does not come to them first
        busy = asyncio.run(_ask(settings, range(people - 7 - TIMES, people - 7)))
        left = asyncio.run(_under_way(settings, bulk))
    return alone, busy, left


async def _ask(settings: Settings, numbers: Sequence[int]) -> list[float]:
    taken = []
    async with Deployment.open(settings) as dep:
        for number in numbers:
            key = f"p{number:07}"
            began = time.monotonic()
            run = await lifecycle.request_run(dep, Request(trigger="manual", people=(key,)))
            await asyncio.to_thread(nudge, settings, run, urgent=True)
            while await dep.runs.get(run, "finished") is None:
                if time.monotonic() - began > 120:
                    raise TimeoutError(f"resync of {key}: {await dep.runs.document(run)}")
                await asyncio.sleep(0.005)
            taken.append(time.monotonic() - began)
            done = await dep.runs.document(run)
            assert done is not None
            sent = {name: sum(part["succeeded"].values()) for name, part in done["targets"].items()}
            if done["status"] != "succeeded" or sent != dict.fromkeys(TARGETS, 1):
                raise AssertionError(f"resync of {key} did not correct every target: {done}")
            await asyncio.sleep(max(0.0, APART - taken[-1]))
    return taken


async def _under_way(settings: Settings, run: str) -> int:
    """Wait until every target is planned; how many operations are not sent yet.

    Raises:
        AssertionError: none is left, so nothing was under way.
    """
    async with Deployment.open(settings) as dep:
        left = 0
        for name in BULK:
            while (await dep.runs.target(run, name)).get("stage") != "delivering":  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
            left += sum(unfinished(await dep.runs.target(run, name)))
    if not left:
        raise AssertionError("the bulk run ended before the last person was asked for")
    return left
