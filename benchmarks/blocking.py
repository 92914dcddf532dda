"""How long one command keeps Redis from everybody else, where a million people are in it.

The commands are those of a day: everybody is linked, the ledger is read, what was observed is kept and read, changes of
some are planned, a backup is made, and a run is forgotten. Redis's own slow log tells what each command took, without
the way there; a PING from another process beside them tells what others had to wait for, the way and a busy machine
among it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Final

import redis as sync_redis

from benchmarks.goals import Turns, measured, milliseconds
from benchmarks.observed import NAMES, TARGET, accounts_of, adopt
from benchmarks.report import Figures
from provisioner.model.operation import FINAL, Kind
from provisioner.store.admin.backup import BackupStore
from provisioner.store.admin.history import HistoryStore
from provisioner.store.people.ledger import LedgerStore
from provisioner.store.people.receipts import ReceiptStore
from provisioner.store.people.snapshots import FrameStore, Reading
from provisioner.store.queue.entries import Entry
from provisioner.store.queue.plans import PlanStore
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import connect
from provisioner.store.redis.scripts import Scripts
from tests.store.bench import operation
from tests.support.redis_server import RedisServer

#: People per person asked for; of them so many change.
TIMES, CHANGED = 100, 0.01
#: Seconds of one command.
MOST: Final = 0.010
#: What is repeated, so that what disturbed one time is not held against a command.
TURNS: Final = 3


def measure(people: int) -> Figures:
    """Do a day's work on a hundred people for each one asked for."""
    size = people * TIMES
    with RedisServer() as server:
        server.configure(slowlog_log_slower_than=500, slowlog_max_len=100_000)
        found = asyncio.run(_day(server.url, size))
    worst = {name: Turns(tuple(turn[0] for turn in turns)) for name, turns in found.items()}
    slowest = max(worst, key=lambda name: worst[name].low)
    rows = tuple(
        (
            name,
            worst[name].shown(milliseconds),
            min(turns, key=lambda turn: turn[0])[1],
            Turns(tuple(turn[2] for turn in turns)).shown(milliseconds),
        )
        for name, turns in found.items()
    )
    return Figures(
        title=f"Redis kept by one command: {size:,} people",
        columns=("work", "longest command", "which", "longest PING beside it"),
        rows=rows,
        goals=(measured("the longest command", "at most", MOST, Turns((worst[slowest].low,)), milliseconds),),
        notes=(
            f"Each is done {TURNS} times; of the longest commands the shortest counts: a busy machine only adds to it.",
            "A command that is not in the slow log took less than 0.5 ms.",
        ),
    )


async def _day(url: str, size: int) -> dict[str, list[tuple[float, str, float]]]:
    """By work, of each time: seconds of the longest command, its name, and of the longest PING."""
    redis = connect(RedisAddress.parse(url))
    found: dict[str, list[tuple[float, str, float]]] = {}

    @asynccontextmanager
    async def watched(name: str) -> AsyncIterator[None]:
        await redis.slowlog_reset()
        with _pinging(url) as waits:
            yield
            waited = waits()
        entries = await redis.slowlog_get(100_000)
        longest: tuple[int, bytes] = max(((one["duration"], one["command"]) for one in entries), default=(0, b"-"))
        told = (longest[0] / 1e6, _named(longest[1]), waited)
        found.setdefault(name, []).append(told)

    try:
        scripts = Scripts(redis)
        plans, frames, ledger = PlanStore(redis, scripts), FrameStore(redis), LedgerStore(redis)
        everybody = [f"p{number:07}" for number in range(size)]
        links = [{"person": one, "account": one, "state": "active", "matched": "user_name"} for one in everybody]
        accounts = accounts_of(size)
        leaving = everybody[: size // 10]
        for turn in range(TURNS):
            run = f"run-{turn + 1}"
            async with watched("everybody is linked"):
                await adopt(plans, f"links-{turn}", links)
            async with watched("the ledger is read"):
                await ledger.frame(TARGET, NAMES)
            async with watched("the keys of all are read"):
                await ledger.people(TARGET)
            async with watched("observed accounts are kept and read"):
                await frames.keep_observed(TARGET, accounts, Reading(full=1.0, seen=1.0, origin="https://example.com"))
                await frames.remembered(TARGET)
            async with watched("a tenth leaves"):
                await _leave(redis, scripts, leaving)
            async with watched("changes of 1 % are planned"):
                await _plan(plans, run, everybody[: max(1, int(size * CHANGED))], turn)
            async with watched("a backup is made"):
                async for _ in BackupStore(redis).dump():
                    pass
            async with watched("a run is forgotten"):
                await HistoryStore(redis).forget_run(run, FINAL)
    finally:
        await redis.aclose()
    return found


async def _leave(redis: Redis, scripts: Scripts, leaving: list[str]) -> None:
    """As a roster in which they leave is noted, and asked about, and one in which they are back."""
    receipts = ReceiptStore(redis, scripts)
    now = time.time()
    await receipts.note(TARGET, leaving, (), taken=now, digest="sha256:1")
    assert len(await receipts.since(TARGET)) == len(leaving)
    await receipts.note(TARGET, (), (), taken=now + 1, digest="sha256:2")


async def _plan(plans: PlanStore, run: str, people: list[str], turn: int) -> None:
    changes = [operation(one, Kind.UPDATE, f"{turn}") for one in people]
    await plans.install(
        run, TARGET, changes, lambda one: Entry(one, "save", ""), (), began=4e9, people=None, urgent=False
    )


@contextmanager
def _pinging(url: str) -> Iterator[Callable[[], float]]:
    """Ask for a PING again and again from a process of its own; the longest that one took, once it is over."""
    context = get_context("spawn")
    ready, over, results = context.Event(), context.Event(), context.Queue()
    process = context.Process(target=_pings, args=(url, ready, over, results))
    process.start()
    ready.wait(60)

    def longest() -> float:
        over.set()
        found = float(results.get(timeout=60))
        process.join()
        return found

    try:
        yield longest
    finally:
        over.set()
        process.join(60)


def _pings(url: str, ready: Event, over: Event, results: Queue[float]) -> None:
    with sync_redis.Redis.from_url(url) as client:
        client.ping()
        ready.set()
        longest = 0.0
        while not over.is_set():
            began = time.perf_counter()
            client.ping()
            longest = max(longest, time.perf_counter() - began)
            time.sleep(0.001)
    results.put(longest)


def _named(command: bytes) -> str:
    """The command without its arguments; of a script its first word."""
    words = command.decode(errors="replace").split(" ")
    return f"script {words[3][:20]}" if words[0] in ("EVALSHA", "EVAL") and len(words) > 3 else words[0]
