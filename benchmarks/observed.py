"""What it costs to keep everybody's observed accounts and the ledger in Redis, and to get them back.

Besides each stands the bare floor: one `HSET` of a JSON text per account, all pipelined, and one `HGETALL` with its
texts parsed. The update changes one account in a hundred.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Sequence
from typing import Any

import polars as pl

from benchmarks.report import Figures
from provisioner.planning.spec import ACCOUNT, UNTOUCHABLE
from provisioner.store.people.ledger import LedgerStore
from provisioner.store.people.snapshots import FrameStore, Reading
from provisioner.store.queue.plans import PlanStore
from provisioner.store.redis import keys
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import connect
from provisioner.store.redis.scripts import Scripts
from tests.support.redis_server import RedisServer

#: Accounts per person asked for.
TIMES, CHANGED = 100, 0.01
NAMES = ("user_name", "first_name", "last_name", "email", "active", "manager_email", "role_1", "groups")
TARGET, FLOOR, PIPED = "target", "floor", 10_000
_NOTE = (
    "The ledger is written as a run that adopts everybody writes it: by the script that also looks whether something "
    "newer was recorded, in short steps."
)


def measure(people: int) -> Figures:
    """Write, read and update a hundred accounts for each person asked for."""
    size = people * TIMES
    with RedisServer() as server:
        rows = asyncio.run(_measured(server.url, size))
    return Figures(
        title=f"observed accounts and ledger: {size:,} accounts of {len(NAMES)} attributes in Redis",
        columns=("what", "time", "floor", "ratio", "bytes per account", "floor's"),
        rows=tuple(rows),
        notes=(_NOTE,),
    )


async def _measured(url: str, size: int) -> list[tuple[str, ...]]:
    redis = connect(RedisAddress.parse(url))
    try:
        return [*await _observed(redis, size), *await _ledger(redis, size)]
    finally:
        await redis.aclose()


async def _observed(redis: Redis, size: int) -> list[tuple[str, ...]]:
    frames, accounts = FrameStore(redis), accounts_of(size)
    reading = Reading(full=1.0, seen=1.0, origin="https://example.com")
    wrote, held = await _taken(redis, frames.keep_observed(TARGET, accounts, reading))
    began = time.perf_counter()
    found = await frames.remembered(TARGET)
    read = time.perf_counter() - began
    assert found is not None
    assert found[0].height == size
    changed = accounts.head(max(1, int(size * CHANGED))).with_columns(last_name=pl.lit("Married"))
    updated, _ = await _taken(redis, _overlay(frames, changed, reading))
    texts = [json.dumps(row) for row in accounts.iter_rows(named=True)]
    floor = await _floor(redis, accounts[ACCOUNT].to_list(), texts)
    await redis.delete(FLOOR, keys.observed(TARGET))
    return [
        _row("observed accounts: write", wrote, floor[0], held / size, floor[2] / size),
        _row("observed accounts: read", read, floor[1]),
        _row("observed accounts: update", updated, floor[3]),
    ]


async def _overlay(frames: FrameStore, changed: pl.DataFrame, reading: Reading) -> None:
    """As a run does it that reads only what changed."""
    last = await frames.remembered(TARGET)
    assert last is not None
    kept = last[0].join(changed.select(ACCOUNT), on=ACCOUNT, how="anti", maintain_order="left")
    await frames.keep_observed(TARGET, pl.concat([kept, changed], how="diagonal"), reading)


async def _ledger(redis: Redis, size: int) -> list[tuple[str, ...]]:
    people = [f"p{number:07}" for number in range(size)]
    links = [{"person": person, "account": person, "state": "active", "matched": "user_name"} for person in people]
    plans = PlanStore(redis, Scripts(redis))
    wrote, held = await _taken(redis, adopt(plans, "run-1", links))
    began = time.perf_counter()
    frame = await LedgerStore(redis).frame(TARGET, NAMES)
    read = time.perf_counter() - began
    assert frame.height == size
    updated, _ = await _taken(redis, adopt(plans, "run-2", links[: max(1, int(size * CHANGED))]))
    entry = await redis.hget(keys.ledger(TARGET), people[0])
    assert entry is not None
    floor = await _floor(redis, people, [entry.decode()] * size)
    return [
        _row("ledger: write", wrote, floor[0], held / size, floor[2] / size),
        _row("ledger: read", read, floor[1]),
        _row("ledger: update", updated, floor[3]),
    ]


async def adopt(plans: PlanStore, run: str, links: Sequence[dict[str, Any]]) -> None:
    """Record links as a run does that adopts everybody."""

    def nothing(_: object) -> Any:
        raise AssertionError("a plan of links has no operations")

    await plans.install(run, TARGET, (), nothing, links, began=4e9, people=None, urgent=False)


async def _floor(redis: Redis, names: Sequence[str], texts: Sequence[str]) -> tuple[float, float, float, float]:
    """(seconds to write, seconds to read, bytes, seconds to update) one field per account."""
    wrote, held = await _taken(redis, _set(redis, names, texts))
    began = time.perf_counter()
    found = {name: json.loads(text) for name, text in (await redis.hgetall(FLOOR)).items()}
    read = time.perf_counter() - began
    assert len(found) == len(names)
    some = max(1, int(len(names) * CHANGED))
    updated, _ = await _taken(redis, _set(redis, names[:some], texts[:some]))
    return wrote, read, held, updated


async def _set(redis: Redis, names: Sequence[str], texts: Sequence[str]) -> None:
    for start in range(0, len(names), PIPED):
        async with redis.pipeline(transaction=False) as pipe:
            for name, text in zip(names[start : start + PIPED], texts[start : start + PIPED], strict=True):
                pipe.hset(FLOOR, name, text)
            await pipe.execute()


async def _taken(redis: Redis, work: Awaitable[None]) -> tuple[float, int]:
    """(seconds, bytes that Redis holds more than before)."""
    before = (await redis.info("memory"))["used_memory"]
    began = time.perf_counter()
    await work
    seconds = time.perf_counter() - began
    return seconds, int((await redis.info("memory"))["used_memory"]) - int(before)


def accounts_of(size: int) -> pl.DataFrame:
    """So many observed accounts of `NAMES`."""
    numbers = pl.DataFrame({"n": range(size)}, schema={"n": pl.Int64}).with_columns(pl.format("p{}", "n").alias("key"))
    return numbers.select(
        pl.col("key").alias(ACCOUNT),
        pl.lit(None, dtype=pl.String).alias(UNTOUCHABLE),
        pl.col("key").alias("user_name"),
        pl.format("First{}", pl.col("n") % 997).alias("first_name"),
        pl.format("Last{}", pl.col("n") % 4999).alias("last_name"),
        pl.format("{}@example.com", "key").alias("email"),
        pl.lit("true").alias("active"),
        pl.format("p{}@example.com", pl.col("n") // 10).alias("manager_email"),
        pl.when(pl.col("n") % 20 == 0).then(pl.lit("Manager")).otherwise(pl.lit("Learner")).alias("role_1"),
        pl.format("Department {}", pl.col("n") % 40).alias("groups"),
    )


def _row(what: str, ours: float, floor: float, size: float | None = None, bare: float | None = None) -> tuple[str, ...]:
    sizes = ("", "") if size is None or bare is None else (f"{size:,.0f}", f"{bare:,.0f}")
    return (what, f"{ours:.2f} s", f"{floor:.2f} s", f"{ours / floor:.2f}", *sizes)
