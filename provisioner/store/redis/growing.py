"""Reading and ending keys that grow with the number of people, in steps.

Redis carries out one command after the other. One that reads a million fields keeps everybody else waiting for most of
a second, rate limits and webhooks among them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from provisioner.store.redis.client import Redis

#: Fields or members that one command goes through: some 1 ms of Redis.
STEP: Final = 1000


async def scanned(redis: Redis, key: str) -> dict[bytes, bytes]:
    """A whole hash. A field that is there from the first step to the last is in it; others may be."""
    found: dict[bytes, bytes] = {}
    cursor = 0
    while True:
        cursor, fields = await redis.hscan(key, cursor, count=STEP)
        found.update(fields)
        if cursor == 0:
            return found


async def members(redis: Redis, key: str) -> AsyncIterator[Sequence[bytes]]:
    """The members of a sorted set in its order, some at a time. Nobody may take any away meanwhile."""
    start = 0
    while some := await redis.zrange(key, start, start + STEP - 1):
        yield some
        start += len(some)


async def unlink(redis: Redis, names: Sequence[str]) -> None:
    """End keys, whose memory Redis frees when it has time."""
    for start in range(0, len(names), STEP):
        await redis.unlink(*names[start : start + STEP])


async def scored(redis: Redis, key: str) -> dict[bytes, float]:
    """A whole sorted set. A member that is there from the first step to the last is in it; others may be."""
    found: dict[bytes, float] = {}
    cursor = 0
    while True:
        cursor, some = await redis.zscan(key, cursor, count=STEP)
        found.update((member, float(score)) for member, score in some)
        if cursor == 0:
            return found
