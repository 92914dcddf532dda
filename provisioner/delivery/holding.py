"""Who observes and plans a target now: one task at a time, and that which died lets go by itself."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from provisioner.delivery.deployment import Deployment
from provisioner.errors import StoreError
from provisioner.store import keys
from provisioner.store.connection import redis_errors

#: Seconds after which the hold on a target ends if its holder died.
_HOLD: Final = 15


@dataclass(frozen=True, slots=True)
class Hold:
    """That a target is ours to observe and plan, until it is let go or this process dies."""

    dep: Deployment
    key: str
    mark: str

    async def still(self) -> bool:
        """Whether it is ours still: a Redis that was away for long may have let it run out meanwhile."""
        with redis_errors():
            return bool(await self.dep.redis.get(self.key) == self.mark.encode())

    async def renewed(self) -> None:
        """Renew it, for ever; while Redis is away it cannot be, which says nothing about whose it is."""
        while True:
            await asyncio.sleep(_HOLD / 3)
            with contextlib.suppress(StoreError):
                if await self.still():
                    with redis_errors():
                        await self.dep.redis.expire(self.key, _HOLD)


def holder_of(mark: bytes) -> str:
    """The run for which a target is held."""
    return mark.decode().partition("|")[0]


@asynccontextmanager
async def held(dep: Deployment, target: str, run: str) -> AsyncIterator[Hold | None]:
    """Hold a target for one run's observation and plan; None if somebody has it.

    That may be another task of the same run: a broker that lost its connection hands a task out again while it still
    runs, and two who lay down one plan would take away each other's operations.
    """
    hold = Hold(dep, keys.busy(target), f"{run}|{secrets.token_hex(8)}")
    with redis_errors():
        taken = await dep.redis.set(hold.key, hold.mark, nx=True, ex=_HOLD)
    # A client without an answer asks again, and is told that it is taken: by itself
    if not taken and not await hold.still():
        yield None
        return
    renewal = asyncio.create_task(hold.renewed())
    try:
        yield hold
    finally:
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        if await hold.still():
            with redis_errors():
                await dep.redis.delete(hold.key)
