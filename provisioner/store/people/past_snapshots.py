"""The last clean roster of each past day: kept as it is replaced, for `retention.snapshots`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from redis.exceptions import WatchError

from provisioner.store.people.frames import pack, rekeyed, unpack
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors


@dataclass(frozen=True, slots=True)
class PastSnapshot:
    """Whose frame it is: `day` (ISO), when it was read last (`taken`, epoch seconds), and the file's digest."""

    day: str
    taken: float
    digest: str


@dataclass(frozen=True, slots=True)
class Keeping:
    """How past snapshots are kept: the day of a moment in the organisation's time zone, and for how many seconds."""

    day_of: Callable[[float], str]
    seconds: int


async def superseded(pipe: Redis, keeping: Keeping, taken: float) -> Callable[[Redis], None]:
    """What to put into the transaction that replaces the newest snapshot by one read at `taken`.

    The old frame is renamed, which takes no time however large it is. Of one day the last is kept.

    Args:
        pipe: watches `keys.PEOPLE`, `keys.ROSTER` and `keys.PAST`.
    """
    before, digest = await pipe.hmget(keys.ROSTER, ["taken", "digest"])
    there = before is not None and bool(await pipe.exists(keys.PEOPLE))
    known: Mapping[bytes, bytes] = await pipe.hgetall(keys.PAST)
    old = [day for day, text in known.items() if json.loads(text)["taken"] < taken - keeping.seconds]
    day = keeping.day_of(float(before)) if before is not None else ""
    kept = there and keeping.seconds > 0 and day != keeping.day_of(taken) and float(before) >= taken - keeping.seconds

    def write(commands: Redis) -> None:
        for one in old:
            commands.hdel(keys.PAST, one)
            commands.delete(keys.past_people(one.decode()))
        if kept:
            fact = json.dumps({"taken": float(before), "digest": (digest or b"").decode()})
            commands.hset(keys.PAST, day, fact)
            commands.rename(keys.PEOPLE, keys.past_people(day))
            commands.expire(keys.past_people(day), keeping.seconds)

    return write


class PastStore:
    """Reads and rewrites past snapshots; `FrameStore.keep_clean` writes them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def listed(self) -> list[PastSnapshot]:
        """Those that are kept, the oldest first."""
        with redis_errors():
            raw = await self._redis.hgetall(keys.PAST)
            found = []
            for day in sorted(name.decode() for name in raw):
                if await self._redis.exists(keys.past_people(day)):
                    fact: dict[str, Any] = json.loads(raw[day.encode()])
                    found.append(PastSnapshot(day, float(fact["taken"]), fact["digest"]))
        return found

    async def people(self, day: str) -> pl.DataFrame | None:
        """Everybody's last clean row on a day; None if it is kept no longer."""
        with redis_errors():
            content = await self._redis.get(keys.past_people(day))
        return unpack(content) if content else None

    async def rekey(self, old: str, new: str) -> None:
        """Let a person's past rows go on under another key."""
        await self._rewrite(old, lambda frame: rekeyed(frame, old, new))

    async def forget(self, person: str) -> int:
        """Take a person out of all of them; in how many they were."""
        return await self._rewrite(person, lambda frame: frame.filter(pl.col("_key") != person))

    async def _rewrite(self, person: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> int:
        """Change each that has a row of a person; how many."""
        count = 0
        with redis_errors():
            async for name in self._redis.scan_iter(match=keys.past_people.pattern, count=1000):
                while True:
                    async with self._redis.pipeline(transaction=True) as pipe:
                        await pipe.watch(name)
                        content = await pipe.get(name)
                        frame = unpack(content) if content else None
                        if frame is None or person not in frame["_key"]:
                            break
                        pipe.multi()
                        pipe.set(name, pack(change(frame)), xx=True, keepttl=True)
                        try:
                            await pipe.execute()
                        except WatchError:
                            continue
                        count += 1
                        break
        return count
