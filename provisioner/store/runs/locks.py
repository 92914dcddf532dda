"""Who does now what only one process may do: read a roster, plan a target, carry out a wake-up, send notices."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.lock import RENEWAL, Hold, holder_of, holding

__all__ = ["FORGETTING", "RENEWAL", "Hold", "LockStore"]

#: Work during which no run may begin.
FORGETTING: Final = "forget"

#: A lock: it gives a `Hold` for as long as the context lasts, None if somebody else has it.
Lock = AbstractAsyncContextManager[Hold | None]


class LockStore:
    """The locks of the whole deployment. Each is renewed while it is held, and free again if its holder dies.

    Every method that gives a lock takes the seconds after which it is free if this process dies, and raises StoreError
    on entry if Redis does not answer.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def work(self, name: str, *, seconds: float) -> Lock:
        """The lock for a piece of work, by its name."""
        return holding(self._redis, keys.doing(name), seconds=seconds)

    def beginning(self, run: str, *, seconds: float) -> Lock:
        """The lock for reading a run's roster."""
        return holding(self._redis, keys.run_beginning(run), seconds=seconds)

    def planning(self, target: str, run: str, *, seconds: float) -> Lock:
        """The lock for observing and planning a target; `planner_of` says which run has it."""
        return holding(self._redis, keys.busy(target), seconds=seconds, holder=run)

    def planning_part(self, target: str, run: str, *, seconds: float) -> Lock:
        """The lock for one run's own part of a target, while which other runs may plan."""
        return holding(self._redis, keys.doing(f"install:{run}:{target}"), seconds=seconds, holder=run)

    def sending_notices(self, *, seconds: float) -> Lock:
        """The lock for sending the notices that wait."""
        return holding(self._redis, keys.NOTICES_SENDING, seconds=seconds)

    async def is_done(self, name: str) -> bool:
        """Whether somebody does a piece of work now."""
        return await self._taken(keys.doing(name))

    async def is_begun(self, run: str) -> bool:
        """Whether somebody reads a run's roster now."""
        return await self._taken(keys.run_beginning(run))

    async def planner_of(self, target: str) -> str | None:
        """The run that observes and plans a target now; None if none does."""
        with redis_errors():
            mark = await self._redis.get(keys.busy(target))
        return None if mark is None else holder_of(mark)

    async def _taken(self, key: str) -> bool:
        with redis_errors():
            return bool(await self._redis.exists(key))
