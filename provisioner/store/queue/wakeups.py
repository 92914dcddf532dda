"""Which wake-ups are under way, so that the queues of Celery stay short however often one is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors

#: What the names of beat's schedule begin with.
SCHEDULE_PREFIX: Final = keys.beat("")


class WakeupStore:
    """The marks of all wake-ups, by the name of their work."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def promise(self, name: str, due: float, *, seconds: int) -> bool:
        """Note that a wake-up will come; False if one that is due no later is under way.

        Args:
            due: when it comes, in epoch seconds.
            seconds: after which it counts as lost.
        """
        with redis_errors():
            earlier = await self._redis.get(keys.nudged(name))
            if earlier is not None and float(earlier) <= due:
                return False
            await self._redis.set(keys.nudged(name), due, ex=seconds)
        return True

    async def arrived(self, name: str) -> None:
        """A wake-up came, so the next one may be sent."""
        with redis_errors():
            await self._redis.delete(keys.nudged(name))

    async def first_in(self, name: str, seconds: int) -> bool:
        """Whether nobody asked this in the last `seconds`; whoever hears yes does what is done that rarely."""
        with redis_errors():
            return bool(await self._redis.set(keys.nudged(name), "1", nx=True, ex=seconds))


class BrokerStore:
    """What lies at the broker, for beat, which has no event loop."""

    def __init__(self, redis: Redis) -> None:
        """
        Args:
            redis: a client of redis-py without an event loop.
        """
        self._redis = redis

    def messages(self, queue: str) -> int:
        """How many messages wait in a queue."""
        return int(self._redis.llen(queue))

    def last_run(self, entry: str) -> Any:
        """What redbeat keeps of an entry's last run, as JSON: None if nothing, an error if its key is another's."""
        with self._redis.pipeline() as pipe:
            pipe.hget(entry, "meta")
            # A key of another type is an error of this command, not of the connection
            (meta,) = pipe.execute(raise_on_error=False)
        return meta

    def forget_entry(self, entry: str) -> None:
        """Forget what redbeat keeps of an entry."""
        self._redis.delete(entry)

    def has_all(self, schedule: str, entries: Sequence[str]) -> bool:
        """Whether each entry has its place in beat's schedule."""
        return None not in self._redis.zmscore(schedule, entries)
