"""How far a run is: begun, waiting for a busy target, planned how often, ended."""

from __future__ import annotations

from typing import Final

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.lock import Hold, commit
from provisioner.store.redis.scripts import Scripts

#: Seconds after which a run that waits for a target is not waited for any longer.
_WAITS: Final = 3600
_CHANGE: Final = """
local before = redis.call('HGET', KEYS[1], 'status')
redis.call('HSET', KEYS[1], 'status', ARGV[1], 'fault', ARGV[2])
return before == ARGV[1] and 0 or 1
"""


class LifecycleStore:
    """The steps of all runs."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._change = scripts.registered(_CHANGE)

    async def begun(self, run: str, hold: Hold) -> None:
        """Note that a run has read its roster, so that its targets can be planned.

        Raises:
            HoldLostError: the lock is lost; nothing is noted.
            StoreError: Redis does not answer.
        """
        await commit(self._redis, hold, lambda pipe: pipe.hset(keys.run(run), "stage", "begun"))

    async def count_beginning(self, run: str) -> int:
        """Count that reading a run's roster is begun; how often it was."""
        with redis_errors():
            return int(await self._redis.hincrby(keys.run(run), "beginnings", 1))

    async def end(self, run: str, now: float) -> bool:
        """Note that a run ended; of several who note it at once, one hears yes.

        Args:
            now: epoch seconds.
        """
        with redis_errors():
            return bool(await self._redis.hsetnx(keys.run(run), "finished", now))

    async def change_part(self, run: str, target: str, status: str, fault: str) -> bool:
        """Set the status of a run's part, and its fault; of several who do so at once, one hears that it changed.

        Args:
            fault: the error as JSON, empty if there is none.
        """
        return bool(await self._change([keys.run_target(run, target)], [status, fault]))

    async def count_planning(self, run: str, target: str) -> int:
        """Count that planning a run's part is begun; how often it was."""
        with redis_errors():
            return int(await self._redis.hincrby(keys.run_target(run, target), "plannings", 1))

    async def uncount_planning(self, run: str, target: str) -> None:
        """Take back that count: the part waits for another run, which is no try."""
        with redis_errors():
            await self._redis.hincrby(keys.run_target(run, target), "plannings", -1)

    async def wait(self, run: str, target: str) -> bool:
        """Let a run be the one that waits for a busy target; False if another one is."""
        with redis_errors():
            return bool(await self._redis.set(keys.waiting(target), run, nx=True, ex=_WAITS))

    async def wait_instead(self, run: str, target: str) -> None:
        """Let a run wait for a target in place of whichever waited before."""
        with redis_errors():
            await self._redis.set(keys.waiting(target), run, ex=_WAITS)

    async def waiting(self, target: str) -> str | None:
        """The run that waits for a target."""
        with redis_errors():
            run = await self._redis.get(keys.waiting(target))
        return None if run is None else str(run.decode())

    async def wait_no_more(self, target: str) -> None:
        """Nobody waits for a target any longer."""
        with redis_errors():
            await self._redis.delete(keys.waiting(target))

    async def replace_part(self, run: str, target: str, newer: str) -> None:
        """Note that a newer run's plan about everybody took the place of a run's part."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(keys.run_target(run, target), "replaced", newer)
                pipe.sadd(keys.OUTDATED, run)
                await pipe.execute()

    async def outdated(self) -> tuple[str, ...]:
        """Runs of which a newer plan took operations, so that their status is to be looked at again."""
        with redis_errors():
            return tuple(sorted(run.decode() for run in await self._redis.smembers(keys.OUTDATED)))

    async def up_to_date(self, run: str) -> None:
        """Note that a run's status was looked at."""
        with redis_errors():
            await self._redis.srem(keys.OUTDATED, run)
