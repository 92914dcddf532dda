"""Figures over runs and targets: how many operations and runs ended how, when, and what is left of each target."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors


@dataclass(frozen=True, slots=True)
class Ended:
    """What ended so far.

    `operations` maps (target, kind, outcome) to how many; `requests` counts those sent and `limited` the answers of
    429, by target; `runs` counts ended runs by status. `last`, `length` and `succeeded` are when a run last ended, how
    long it took, and when one last succeeded, in seconds; None: never.
    """

    operations: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    limited: Mapping[str, int] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    last: float | None = None
    length: float | None = None
    succeeded: float | None = None


@dataclass(frozen=True, slots=True)
class Deployed:
    """The whole deployment: what `ended`; when the last believed roster was `written`, or if nobody says so, read
    (epoch seconds; None: there is none); and Redis's `memory`, used and allowed, in bytes."""

    ended: Ended
    written: float | None
    memory: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of one target: `parked` operations, `leavers` who still have access, and the one who has waited
    longest: their key, and since when (epoch seconds). `unsent` are all operations on their way, the parked included.
    """

    parked: int
    leavers: int
    oldest: tuple[str, float] | None
    unsent: int = 0


@dataclass(frozen=True, slots=True)
class RunRoster:
    """The roster that a run read. `document` holds its figures, empty if none was read; `people`: the run was about
    some people only; `error` is the message with which it ended."""

    run: str
    document: Mapping[str, Any]
    read: bool
    status: str
    started: float | None
    trigger: str
    error: str | None
    people: bool


@dataclass(frozen=True, slots=True)
class Began:
    """A run that began at `started` (epoch seconds), its status now, and whether a guard held something of it."""

    started: float
    status: str
    held: bool


_CHUNK: Final = 500


class FigureStore:
    """The figures of all runs and targets."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def note_end(self, status: str, *, counts: bool, moments: Mapping[str, float]) -> None:
        """Note that a run ended, or that its status changed afterwards.

        Args:
            counts: it had not ended before, so it counts.
            moments: `last`, `length` and `succeeded`, those that change.
        """
        with redis_errors():
            if counts:
                await self._redis.hincrby(keys.ENDED, f"runs|{status}", 1)
            if moments:
                await self._redis.hset(keys.ENDED, mapping=dict(moments))

    async def deployed(self) -> Deployed:
        """The figures of the whole deployment, in one round trip."""
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(keys.TOTALS)
                pipe.hgetall(keys.ENDED)
                pipe.hmget(keys.ROSTER, ["modified", "taken"])
                pipe.info("memory")
                totals, ended, (modified, taken), memory = await pipe.execute()
        return Deployed(
            ended=_ended(totals, ended),
            written=float(modified or 0) or float(taken or 0) or None,
            memory=(int(memory["used_memory"]), int(memory["maxmemory"] or memory["total_system_memory"])),
        )

    async def last_runs(self) -> tuple[float | None, float | None]:
        """When a run last ended, and when one last succeeded; None: never."""
        with redis_errors():
            last, good = await self._redis.hmget(keys.ENDED, ["last", "succeeded"])
        return float(last or 0) or None, float(good or 0) or None

    async def left(self, target: str) -> Left:
        """What is left of one target."""
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zcard(keys.parked(target))
                pipe.zcard(keys.leavers(target))
                pipe.zrange(keys.leavers(target), 0, 0, withscores=True)
                pipe.zcard(keys.queued(target))
                pipe.zcard(keys.leases(target))
                parked, leavers, oldest, ready, leased = await pipe.execute()
        first = (oldest[0][0].decode(), float(oldest[0][1])) if oldest else None
        return Left(int(parked), int(leavers), first, int(parked) + int(ready) + int(leased))

    async def hours(self, first: int, days: int) -> list[tuple[int, str, int]]:
        """What ended in each hour of some days: (the hour's begin in epoch seconds, status, how many).

        Args:
            first: the first day, in days since 1970-01-01 UTC.
            days: how many.
        """
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for day in range(first, first + days):
                    pipe.hgetall(keys.tally(day))
                tallies = await pipe.execute()
        found = []
        for day, tally in enumerate(tallies, first):
            for name, count in tally.items():
                hour, _, status = name.decode().split("|")
                found.append((day * 86400 + int(hour) * 3600, status, int(count)))
        return found

    async def began_since(self, moment: float, limit: int) -> list[Began]:
        """The runs that began since a moment (epoch seconds), `limit` of the newest at most, the newest first."""
        found: list[Began] = []
        with redis_errors():
            listed = await self._redis.zrevrangebyscore(keys.RUNS, "+inf", moment, start=0, num=limit, withscores=True)
            for start in range(0, len(listed), _CHUNK):
                some = [(name.decode(), float(score)) for name, score in listed[start : start + _CHUNK]]
                async with self._redis.pipeline(transaction=False) as pipe:
                    for run, _ in some:
                        pipe.hmget(keys.run(run), ["status", "targets"])
                    heads = await pipe.execute()
                parts = [
                    (place, target)
                    for place, (_, targets) in enumerate(heads)
                    for target in json.loads(targets or b"[]")
                ]
                async with self._redis.pipeline(transaction=False) as pipe:
                    for place, target in parts:
                        pipe.hget(keys.run_target(some[place][0], target), "guards")
                    guards = await pipe.execute()
                held = {place for (place, _), text in zip(parts, guards, strict=True) if json.loads(text or b"[]")}
                found += [
                    Began(score, (status or b"").decode(), place in held)
                    for place, ((_, score), (status, _)) in enumerate(zip(some, heads, strict=True))
                ]
        return found

    async def rosters(self, runs: Sequence[str]) -> list[RunRoster]:
        """The rosters that runs read, in the order of the runs."""
        names = ["roster", "status", "started", "trigger", "error", "request"]
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for run in runs:
                    pipe.hmget(keys.run(run), names)
                rows = await pipe.execute()
        return [_roster(run, dict(zip(names, row, strict=True))) for run, row in zip(runs, rows, strict=True)]


def _ended(totals: Mapping[bytes, bytes], ended: Mapping[bytes, bytes]) -> Ended:
    operations: dict[tuple[str, str, str], int] = {}
    plain: dict[str, dict[str, int]] = {"requests": {}, "limited": {}}
    for name, count in totals.items():
        parts = name.decode().split("|")
        if len(parts) == 3:
            operations[(parts[0], parts[1], parts[2])] = int(count)
        elif parts[1] in plain:
            plain[parts[1]][parts[0]] = int(count)
    facts = {name.decode(): value.decode() for name, value in ended.items()}
    moments = {name: float(facts[name]) for name in ("last", "length", "succeeded") if facts.get(name)}
    runs = {name.partition("|")[2]: int(count) for name, count in facts.items() if name.startswith("runs|")}
    return Ended(operations, plain["requests"], plain["limited"], runs, **moments)


def _roster(run: str, row: Mapping[str, bytes | None]) -> RunRoster:
    text = {name: value.decode() for name, value in row.items() if value is not None}
    request = json.loads(text.get("request", "{}"))
    return RunRoster(
        run=run,
        document=json.loads(text["roster"]) if text.get("roster") else {},
        read="roster" in text,
        status=text.get("status", ""),
        started=float(text["started"]) if text.get("started") else None,
        trigger=text.get("trigger", ""),
        error=json.loads(text["error"])["message"] if text.get("error") else None,
        people=request.get("people") is not None,
    )
