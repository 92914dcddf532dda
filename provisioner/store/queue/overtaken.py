"""Who is to be planned again because something newer overtook a plan while it was installed.

lua/queue_install.lua notes them in the step that drops their operations, so that no kill can lose them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Scripts
from provisioner.store.runs.documents import Request, RunStore

_OPEN: Final = (b"pending", b"sending", b"waiting")


@dataclass(frozen=True, slots=True)
class PutOff:
    """Of the leaves that something newer took, how many are `unfinished`, and how many of these are on their `way`."""

    unfinished: int
    way: int


class OvertakenStore:
    """The overtaken people of all runs and targets."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._script = scripts.load("queue_install")

    async def parts(self) -> list[tuple[str, str]]:
        """The parts of runs, by run and target, that have people to be planned again; the oldest run first."""
        with redis_errors():
            found = await self._redis.smembers(keys.OVERTAKEN)
        pairs = (name.decode().partition("|") for name in found)
        return sorted((run, target) for run, _, target in pairs)

    async def people(self, run: str, target: str) -> tuple[str, ...]:
        """Whom one part plans again, sorted."""
        with redis_errors():
            found = await self._redis.smembers(keys.run_again(run, target))
        return tuple(sorted(name.decode() for name in found))

    async def behind(self, run: str, target: str) -> int:
        """How many of the operations that overtook them are still being sent."""
        return int(await self._script([], ["behind", target, run]))

    async def put_off(self, runs: Sequence[str], target: str) -> PutOff:
        """What became of the leaves that something newer took from these runs' parts for one target."""
        with redis_errors():
            people = sorted(await self._redis.sunion([keys.run_put_off(run, target) for run in runs]))
            since = await self._redis.zmscore(keys.leavers(target), people) if people else []
            left = [person.decode() for person, moment in zip(people, since, strict=True) if moment is not None]
            slots = [f"{person}\x1faccount" for person in left]
            members = (
                [one.decode() for one in await self._redis.hmget(keys.slots(target), slots) if one] if left else []
            )
            async with self._redis.pipeline(transaction=False) as pipe:
                for other, _, operation in (member.partition("|") for member in members):
                    pipe.hget(keys.operation(other, target, operation), "status")
                statuses = await pipe.execute()
        return PutOff(len(left), sum(status in _OPEN for status in statuses))

    async def over(self, run: str, target: str) -> None:
        """Note that nobody has to be planned again: the run or the target is gone."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(keys.run_target(run, target), "again", 0)
                pipe.delete(keys.run_again(run, target), keys.run_behind(run, target))
                pipe.srem(keys.OVERTAKEN, f"{run}|{target}")
                await pipe.execute()

    async def follow(self, run: str, target: str, follow: str, request: Request, *, roster: Mapping[str, Any]) -> None:
        """Record the run that plans a part's overtaken people again; from then on the part shows what becomes of it.

        Args:
            follow: the new run's id, see `RunStore.id_of`.
            roster: the new run's document of its roster.
        """

        def note(pipe: Redis) -> None:
            pipe.hset(keys.run(follow), "parent", run)
            pipe.hset(keys.run_target(run, target), "follow", follow)
            pipe.delete(keys.run_again(run, target), keys.run_behind(run, target))
            pipe.srem(keys.OVERTAKEN, f"{run}|{target}")

        await RunStore(self._redis).create_begun(follow, request, target, roster, more=note)
