"""Trimming what is kept for a time only: operations, runs, expired decisions, and what guards no longer ask for."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Final

from provisioner.model.operation import Status
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.growing import members, unlink
from provisioner.store.runs.documents import LISTED

_CHUNK: Final = 500


class HistoryStore:
    """What was, of all targets and runs. Each method may be ended on the way, and asked again does the rest."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def begin_trimming(self, seconds: int) -> bool:
        """Whether nobody began to trim in the last `seconds`."""
        with redis_errors():
            return bool(await self._redis.set(keys.SWEPT, "1", nx=True, ex=seconds))

    async def forget_sent(self, target: str, guard: str, before: float) -> None:
        """Forget which operations of a guard were sent before a moment (epoch seconds)."""
        with redis_errors():
            await self._redis.zremrangebyscore(keys.sent(target, guard), "-inf", before)

    async def forget_decisions(self, target: str, operations: Sequence[str]) -> None:
        """Forget the decisions about some operations."""
        if operations:
            with redis_errors():
                await self._redis.hdel(keys.decisions(target), *operations)

    async def trimmed_to(self) -> float:
        """Up to which creation of runs (epoch seconds) operations were trimmed."""
        with redis_errors():
            return float(await self._redis.get(keys.TRIMMED) or 0)

    async def note_trimmed(self, moment: float) -> None:
        """Note that the operations of the runs up to a moment were trimmed."""
        with redis_errors():
            await self._redis.set(keys.TRIMMED, repr(moment))

    async def runs_between(self, after: float, before: float, limit: int) -> list[tuple[str, float]]:
        """Runs with their creation (epoch seconds), oldest first: later than `after`, no later than `before`."""
        return await self._runs(f"({after}", before, limit)

    async def runs_before(self, before: float, limit: int) -> list[str]:
        """Runs that were created no later than a moment, oldest first."""
        return [run for run, _ in await self._runs("-inf", before, limit)]

    async def _runs(self, after: str, before: float, limit: int) -> list[tuple[str, float]]:
        with redis_errors():
            found = await self._redis.zrangebyscore(keys.RUNS, after, before, start=0, num=limit, withscores=True)
        return [(run.decode(), moment) for run, moment in found]

    async def forget_operations(self, run: str, target: str, over: Collection[str]) -> int:
        """Forget those operations of a run's part that have one of some statuses; how many.

        Args:
            over: statuses of which no operation is asked for again.
        """
        count = 0
        with redis_errors():
            names = await self._operations(run, target)
            for start in range(0, len(names), _CHUNK):
                count += await self._forget_some(run, target, names[start : start + _CHUNK], over)
        return count

    async def _forget_some(self, run: str, target: str, names: Sequence[str], over: Collection[str]) -> int:
        count = 0
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(keys.operation(run, target, name), ["status", "person"])
            rows = await pipe.execute()
        async with self._redis.pipeline(transaction=True) as pipe:
            for name, (status, person) in zip(names, rows, strict=True):
                if status is not None and status.decode() not in over:
                    continue
                pipe.delete(keys.operation(run, target, name))
                pipe.zrem(keys.run_operations(run, target), name)
                if status is not None:
                    pipe.zrem(keys.run_by_status(run, target, status.decode()), name)
                for listed in LISTED:
                    pipe.zrem(keys.run_by_status(run, target, listed), name)
                if person is not None:
                    pipe.lrem(keys.history(person.decode()), 0, f"{target}|{run}|{name}")
                count += 1
            await pipe.execute()
        return count

    async def _operations(self, run: str, target: str) -> list[str]:
        listed = members(self._redis, keys.run_operations(run, target))
        return [name.decode() async for some in listed for name in some]

    async def forget_run(self, run: str, over: Collection[str]) -> None:
        """Forget a whole run but for what it planned from, which the snapshots keep.

        Args:
            over: as for `forget_operations`; operations of other statuses go too, but stay in the person's history.
        """
        with redis_errors():
            for target in json.loads(await self._redis.hget(keys.run(run), "targets") or "[]"):
                await self.forget_operations(run, target, over)
                gone = [keys.operation(run, target, name) for name in await self._operations(run, target)]
                gone += [keys.run_operations(run, target), keys.run_target(run, target), keys.stage(run, target)]
                gone += [keys.run_again(run, target), keys.run_behind(run, target), keys.run_put_off(run, target)]
                await self._redis.srem(keys.put_off(target), run)
                gone += [keys.run_by_status(run, target, status.value) for status in Status]
                gone += [keys.run_by_status(run, target, listed) for listed in LISTED]
                await unlink(self._redis, gone)
            await unlink(self._redis, [keys.run(run), keys.rejects(run), keys.left_out(run), keys.run_beginning(run)])

    async def unlist_run(self, run: str) -> None:
        """Take a run that was forgotten off the list, the last step."""
        with redis_errors():
            await self._redis.zrem(keys.RUNS, run)
