"""When beat and the workers last gave a sign of life. All moments are taken by Redis's clock.

A worker's parent process and its children are seen apart: a parent may answer while every child hangs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from provisioner.store.redis import keys
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import connect_sync, redis_errors

#: Seconds after which a worker that gave no sign is forgotten.
_FORGOTTEN: Final = 3600
_SIGNS: Final = ("first", "beat", "beat_since", "worker", "tick", "work")


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker's parent process; `concurrency` is the number of its child processes."""

    host: str
    pid: int
    started: float
    concurrency: int


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """Seconds since each sign of life; None: it never came.

    `first`: any process gave one. `beat`: beat looked at the schedule. `beat_since`: beat has done so without a gap.
    `worker`: a worker's parent process gave one. `tick`: a worker carried out a tick. `work`: a worker's child process
    was at work. `workers`: (worker, seconds since its last sign, seconds since its start), the latest sign first.
    """

    first: float | None = None
    beat: float | None = None
    beat_since: float | None = None
    worker: float | None = None
    tick: float | None = None
    work: float | None = None
    workers: tuple[tuple[Worker, float, float], ...] = ()


class HeartbeatStore:
    """The signs of life, for a process that has an event loop."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def look(self) -> Heartbeats:
        """All signs.

        Raises:
            StoreError: Redis does not answer.
        """
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.time()
                pipe.hgetall(keys.HEARTBEATS)
                pipe.zrevrange(keys.WORKERS, 0, -1, withscores=True)
                clock, fields, members = await pipe.execute()
        now = _seconds(clock)
        # A newer version may have given other signs besides
        named = {name.decode(): float(at) for name, at in fields.items()}
        ages = {sign: max(0.0, now - named[sign]) for sign in _SIGNS if sign in named}
        workers = ((_worker(member), seen) for member, seen in members)
        return Heartbeats(
            **ages,
            workers=tuple((one, max(0.0, now - seen), max(0.0, now - one.started)) for one, seen in workers),
        )

    async def ticked(self) -> None:
        """Note that a tick was carried out."""
        await self._note("tick")

    async def working(self) -> None:
        """Note that a worker's child process is at work."""
        await self._note("work")

    async def _note(self, sign: str) -> None:
        with redis_errors():
            await self._redis.hset(keys.HEARTBEATS, sign, _seconds(await self._redis.time()))


class HeartbeatWriter:
    """The signs of beat and of a worker's parent process, neither of which has an event loop of asyncio."""

    def __init__(self, redis: Any) -> None:
        """
        Args:
            redis: a client of redis-py without an event loop.
        """
        self._redis = redis
        self._worker: bytes | None = None

    @classmethod
    def opened(cls, address: RedisAddress, *, within: float) -> HeartbeatWriter:
        """A writer with a connection of its own; close it with `close`.

        Args:
            within: seconds in which Redis has to take a sign.
        """
        return cls(connect_sync(address, within=within))

    def close(self) -> None:
        """Close its connection."""
        self._redis.close()

    def beat(self, gap: float) -> None:
        """Note that beat looked at the schedule.

        Args:
            gap: seconds after which silence counts as an interruption.

        Raises:
            StoreError: Redis does not answer, or refuses to write.
        """
        with redis_errors():
            now = _seconds(self._redis.time())
            last = self._redis.hget(keys.HEARTBEATS, "beat")
            fields: dict[str, float] = {"beat": now}
            if last is None or now - float(last) > gap:
                fields["beat_since"] = now
            self._write(self._redis, fields, now)

    def worker(self, host: str, pid: int, concurrency: int) -> None:
        """Note that a worker's parent process runs.

        Raises:
            StoreError: Redis does not answer, or refuses to write.
        """
        with redis_errors():
            now = _seconds(self._redis.time())
            if self._worker is None:
                self._worker = json.dumps(asdict(Worker(host, pid, now, concurrency))).encode()
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.zadd(keys.WORKERS, {self._worker: now})
                pipe.zremrangebyscore(keys.WORKERS, "-inf", now - _FORGOTTEN)
                pipe.expire(keys.WORKERS, _FORGOTTEN)
                self._write(pipe, {"worker": now}, now)
                pipe.execute()

    def gone(self) -> None:
        """Take the worker off the list, because it ends.

        Raises:
            StoreError: Redis does not answer.
        """
        if self._worker is not None:
            with redis_errors():
                self._redis.zrem(keys.WORKERS, self._worker)

    @staticmethod
    def _write(client: Any, fields: Mapping[str, float], now: float) -> None:
        client.hset(keys.HEARTBEATS, mapping=fields)
        client.hsetnx(keys.HEARTBEATS, "first", now)


def _worker(member: bytes) -> Worker:
    fields = json.loads(member)
    return Worker(str(fields["host"]), int(fields["pid"]), float(fields["started"]), int(fields["concurrency"]))


def _seconds(clock: tuple[int, int]) -> float:
    seconds, micros = clock
    return float(seconds) + float(micros) / 1e6
