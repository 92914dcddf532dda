"""Which processes deliver to a target: each holds a numbered seat, which is renewed, and free again if its holder dies.

A seat saves work and guards nothing: what two processes must not send twice is fenced by the claims of the queue.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from provisioner.store.queue.rate_limit import Lane
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.lock import Hold, holding

#: The seat of whoever delivers to a target as long as there is work.
FIRST: Final = 0
#: Seats of a target, the first one among them.
MOST: Final = 16
#: Seconds after which the seat of a process that died is free.
SECONDS: Final = 20.0


class SeatStore:
    """The seats of all targets. The lanes have seats of their own, so that bulk work never takes one of urgent work."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @asynccontextmanager
    async def first(self, target: str, lane: Lane, *, seconds: float = SECONDS) -> AsyncIterator[Hold | None]:
        """The first seat, for as long as the context lasts; None if somebody has it.

        Args:
            seconds: after which it is free if this process died.

        Raises:
            StoreError: Redis does not answer.
        """
        async with holding(self._redis, keys.seat(target, lane, FIRST), seconds=seconds) as hold:
            yield hold

    @asynccontextmanager
    async def further(self, target: str, *, seconds: float = SECONDS) -> AsyncIterator[int | None]:
        """The lowest free seat behind the first one, in bulk; its number, None if all are taken.

        Args:
            seconds: after which it is free if this process died.

        Raises:
            StoreError: Redis does not answer.
        """
        for number in await self._free(target):
            async with holding(self._redis, keys.seat(target, "bulk", number), seconds=seconds) as hold:
                if hold is not None:
                    yield number
                    return
        yield None

    async def taken(self, target: str, lane: Lane = "bulk") -> tuple[int, ...]:
        """The numbers of the seats that somebody has."""
        found = await self._found(target, lane, range(MOST))
        return tuple(number for number, mark in enumerate(found) if mark is not None)

    async def _free(self, target: str) -> list[int]:
        numbers = range(FIRST + 1, MOST)
        found = await self._found(target, "bulk", numbers)
        return [number for number, mark in zip(numbers, found, strict=True) if mark is None]

    async def _found(self, target: str, lane: Lane, numbers: Sequence[int]) -> list[bytes | None]:
        with redis_errors():
            found: list[bytes | None] = await self._redis.mget([keys.seat(target, lane, number) for number in numbers])
        return found
