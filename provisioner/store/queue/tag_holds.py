"""Whose tags are being sent now: a short lock per person and target, so that no two sendings lack each other's tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.lock import KeyLocks


class TagHolds:
    """The locks that one sender takes at one target."""

    def __init__(self, redis: Redis, target: str) -> None:
        self._redis, self._target, self._locks = redis, target, KeyLocks(redis)

    async def take(self, person: str, seconds: int) -> bool:
        """Whether this sender alone may send the person's tags now, for so many seconds."""
        return await self._locks.take(keys.tagging(self._target, person), seconds)

    async def release(self, people: Iterable[str]) -> None:
        """Release those of the people's locks that this sender took."""
        await self._locks.release(keys.tagging(self._target, person) for person in people)

    async def taken(self, people: Sequence[str]) -> list[bool]:
        """Of each person whether some sender sends their tags now."""
        with redis_errors():
            found = await self._redis.mget([keys.tagging(self._target, person) for person in people])
        return [mark is not None for mark in found]


class TagHoldStore:
    """The locks of all targets."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def at(self, target: str) -> TagHolds:
        """The locks of one more sender at a target."""
        return TagHolds(self._redis, target)
