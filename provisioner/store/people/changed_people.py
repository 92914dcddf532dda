"""People who were pushed, or whom a webhook named, until their run is asked for. See lua/pushed_people.lua."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Scripts

#: In place of a key: everybody.
EVERYBODY: Final = ""
_FIELD: Final = "run"


class ChangedPeopleStore:
    """Whose run is due. Every method raises StoreError when Redis does not answer."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._script = scripts.load("pushed_people")

    async def hear(self, webhook: str, people: Iterable[str]) -> bool:
        """Note the people whom a webhook named; False if it came before.

        Args:
            webhook: its id.
            people: their keys, or `EVERYBODY`.
        """
        return bool(await self._script([], ["heard", webhook, *people]))

    async def count(self) -> int:
        """How many people's run is due."""
        with redis_errors():
            return int(await self._redis.zcard(keys.CHANGED))

    async def first(self, limit: int) -> dict[str, int]:
        """Keys of those who wait longest, at most `limit`, each with the number of its change."""
        with redis_errors():
            found = await self._redis.zrange(keys.CHANGED, 0, limit - 1, withscores=True)
        return {key.decode(): int(number) for key, number in found}

    async def newest(self) -> int:
        """The number of the newest change that waits."""
        with redis_errors():
            found = await self._redis.zrange(keys.CHANGED, -1, -1, withscores=True)
        return int(found[0][1]) if found else 0

    async def taken(self, changes: Mapping[str, int], run: str) -> None:
        """A run was asked for these people; who changed since goes on waiting."""
        pairs: Sequence[str | int] = [one for pair in changes.items() for one in pair]
        await self._script([], ["taken", *pairs])
        await self._note(run)

    async def all_taken(self, until: int, run: str) -> None:
        """A run was asked for everybody whose change has at most a number."""
        with redis_errors():
            await self._redis.zremrangebyscore(keys.CHANGED, "-inf", until)
        await self._note(run)

    async def run(self) -> str | None:
        """The run that was asked for last."""
        with redis_errors():
            found = await self._redis.hget(keys.SCIM_FACTS, _FIELD)
        return found.decode() if found else None

    async def forget_heard(self, before: float) -> int:
        """Forget which webhooks came before a moment (epoch seconds)."""
        with redis_errors():
            return int(await self._redis.zremrangebyscore(keys.WEBHOOKS_HEARD, "-inf", before))

    async def _note(self, run: str) -> None:
        with redis_errors():
            await self._redis.hset(keys.SCIM_FACTS, _FIELD, run)
