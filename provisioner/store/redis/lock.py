"""Work that one process at a time may do: a key in Redis, renewed while it lasts, which runs out if its holder dies."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from provisioner.errors import StoreError
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hold:
    """That a key is ours, until it is let go or this process dies."""

    redis: Redis
    key: str
    mark: str

    async def still(self) -> bool:
        """Whether it is ours still: a Redis that was away for long may have let it run out meanwhile.

        Raises:
            StoreError: Redis does not answer.
        """
        with redis_errors():
            return bool(await self.redis.get(self.key) == self.mark.encode())


def holder_of(mark: bytes) -> str:
    """The word that a holder gave for itself."""
    return mark.decode().partition("|")[0]


@asynccontextmanager
async def holding(redis: Redis, key: str, *, seconds: int, holder: str = "") -> AsyncIterator[Hold | None]:
    """Hold a key for as long as the context lasts; None if somebody has it.

    Args:
        seconds: after which it is free if this process died.
        holder: what others may read of whoever has it, see `holder_of`.

    Raises:
        StoreError: Redis does not answer.
    """
    hold = Hold(redis, key, f"{holder}|{secrets.token_hex(8)}")
    with redis_errors():
        taken = await redis.set(key, hold.mark, nx=True, ex=seconds)
    # A client without an answer asks again, and is told that it is taken: by itself
    if not taken and not await hold.still():
        yield None
        return

    over = False

    async def renew() -> None:
        while not over:
            await asyncio.sleep(seconds / 4)
            try:
                if await hold.still():
                    with redis_errors():
                        await redis.expire(key, seconds)
            except StoreError as exc:
                # It cannot be renewed now, which says nothing about whose it is
                log.warning("hold_not_renewed", key=key, reason=exc.message)

    renewal = asyncio.create_task(renew())
    try:
        yield hold
    finally:
        # A client that is cancelled while its time runs out tells of the latter only, so the word is given twice
        over = True
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        if await hold.still():
            with redis_errors():
                await redis.delete(key)
