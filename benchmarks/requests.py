"""How many requests a vendor gets, besides the fewest that its API allows.

Everything is real but the vendors: a Redis server, the stand-ins in a process of their own over HTTP, and the delivery
as workers run it. Only the rate limits are raised, since it is the number of requests that is measured, not the time.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import structlog

from benchmarks.goals import counted
from benchmarks.report import Figures
from benchmarks.staging import BOARDS, EACH_MANAGES, TARGETS, stand_in, write_roster
from provisioner.dispatch.pool import deliver
from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.store.runs.documents import Request
from tests.support.harness import load_settings, raise_limits, settings_document
from tests.support.redis_server import RedisServer

BATCH, PAGE, HABITATE_PAGE, STATUSES = 100, 100, 50, 7
#: As `provisioner.sandbox.habitate` does it.
SHORT_EVERY, SHORT_BY = 3, 7


@dataclass(frozen=True, slots=True)
class Count:
    """Requests that read, and requests that write."""

    reads: int
    writes: int


@dataclass(frozen=True, slots=True)
class Scene:
    """One run: what it is about, and by target the fewest requests that its work allows."""

    name: str
    least: Mapping[str, Count]


def pages(count: int, size: int) -> int:
    """Pages of a listing; an empty one takes a page too."""
    return max(1, ceil(count / size))


def habitate_pages(count: int) -> int:
    """Pages of habitate's listing, each third of which the stand-in makes shorter, as the vendor says may happen."""
    taken, left = 0, count
    while True:
        taken += 1
        left -= HABITATE_PAGE - (SHORT_BY if taken % SHORT_EVERY == 0 else 0)
        if left <= 0:
            return taken


def scenes(size: int, changed: int) -> tuple[Scene, ...]:
    """The fewest requests, by what the vendors' pages offer.

    Tribal Habits: a page of changes and one record that tells the total. habitate: who we are and which roles there
    are, one listing for each of seven statuses, and once per account its details, the bot's among them; the private
    boards are listed once before the first change; an update clears what it leaves out, so the details are read before
    it. Traitly: one listing, and a request for each customer and each event; a POST would overwrite whom a cut listing
    left out, so each create asks for its customer first. mtribes: pages up to the first that is not full; at first
    contact also page 0, since the text does not say with which one pages begin.
    """
    boards_once = 1
    listing = 2 + habitate_pages(size + 1) + STATUSES - 1
    batches, all_batches = ceil(changed / BATCH), ceil(size / BATCH)
    managers = ceil(size / EACH_MANAGES)
    boards = Counter(BOARDS[number % len(BOARDS)] for number in range(size))
    entering = sum(ceil(count / HABITATE_PAGE) for count in boards.values())
    quiet = {
        "tribal_habits": Count(2, 0),
        "habitate": Count(listing, 0),
        "traitly": Count(1, 0),
        "mtribes": Count(size // PAGE + 1, 0),
    }
    return (
        Scene(
            "first load",
            {
                "tribal_habits": Count(1, all_batches),
                "habitate": Count(2 + STATUSES + 1 + boards_once, size + managers + entering),
                "traitly": Count(1 + size, 2 * size),
                "mtribes": Count(2, all_batches),
            },
        ),
        Scene(
            "the run after it",
            # What was written is read back once
            {**quiet, "tribal_habits": Count(pages(size, PAGE), 0), "habitate": Count(listing + size, 0)},
        ),
        Scene("nothing changed", quiet),
        Scene(
            f"{changed:,} changed",
            {
                "tribal_habits": Count(2, batches),
                "habitate": Count(listing + changed, changed),
                "traitly": Count(1, changed),
                "mtribes": Count(size // PAGE + 1, batches),
            },
        ),
    )


async def _sync(folder: Path, document: Mapping[str, Any], target: str) -> str:
    async with Deployment.open(load_settings(folder, document)) as dep:
        run = await lifecycle.request_run(dep, Request(trigger="manual", targets=(target,)))
        if await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)
        again = await deliver(dep, target)
        while again.seconds is not None:
            await asyncio.sleep(min(again.seconds, 1.0))
            again = await deliver(dep, target)
        done = await dep.runs.document(run)
        return str(done and done["status"])


def sync(folder: Path, document: Mapping[str, Any], target: str) -> str:
    """One run of one target from its request to its end, in a process of its own; its status."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    own = folder / target
    own.mkdir(exist_ok=True)
    return asyncio.run(_sync(own, document, target))


def measure(people: int) -> Figures:
    """Requests of each scene and target besides the fewest; no target may get more than those."""
    changed = max(1, people // 100)
    rows: list[tuple[str, ...]] = []
    good = True
    with (
        tempfile.TemporaryDirectory() as name,
        RedisServer() as redis,
        stand_in() as sandbox,
        ProcessPoolExecutor(len(TARGETS), mp_context=get_context("spawn")) as pool,
    ):
        folder, board = Path(name), sandbox.board
        file = folder / "roster.csv"
        write_roster(file, people)
        document = settings_document(board.url, redis.url, file, folder)
        document["guards"] = {"updates": {"percent": 100}}
        document["targets"]["tribal_habits"]["enrolments"] = []
        raise_limits(board)
        # As if the first load had been an hour ago: what is younger than ten minutes is read again
        board.options("tribal_habits", clock_offset_seconds=-3600)

        for scene in scenes(people, changed):
            if scene.name.endswith("changed") and scene.name != "nothing changed":
                write_roster(file, people, renamed=changed)
            for target in TARGETS:
                board.clear_log(target)
            ended = set(pool.map(partial(sync, folder, document), TARGETS))
            good = good and ended == {"succeeded"}
            for target, least in scene.least.items():
                counts = board.counts(target)
                got = Count(counts["reads"], counts["writes"])
                good = good and got.reads <= least.reads and got.writes <= least.writes
                rows.append(_row(scene, target, got, least))
            board.options("tribal_habits", clock_offset_seconds=0)
    return Figures(
        title=f"Requests for {people:,} people, besides the fewest that the vendor's API allows",
        columns=("run", "target", "reads", "least", "writes", "least", "over"),
        rows=tuple(rows),
        goals=(counted("requests", "the fewest", "the fewest" if good else "more", met=good),),
    )


def _row(scene: Scene, target: str, got: Count, least: Count) -> tuple[str, ...]:
    over = [
        f"{count:+,} {what}"
        for count, what in ((got.reads - least.reads, "reads"), (got.writes - least.writes, "writes"))
        if count
    ]
    numbers = (got.reads, least.reads, got.writes, least.writes)
    return (scene.name, target, *(f"{number:,}" for number in numbers), ", ".join(over))
