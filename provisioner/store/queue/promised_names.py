"""Values that nobody else may have, which creates chose that are on their way.

A create keeps what it chose until the ledger has it, so that no other plan chooses the same meanwhile. See
lua/queue_install.lua.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Final

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Scripts

#: Values that are read, and looked up, in one go.
_SCANNED: Final = 2000
_CHUNK: Final = 500
#: The statuses of what is not over.
_OPEN: Final = (b"pending", b"sending", b"waiting", b"held")


class PromisedNameStore:
    """Those of all targets."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._script = scripts.load("queue_install")

    async def of(self, target: str) -> dict[str, dict[str, str]]:
        """By attribute and by person, the values that creates chose which are not done, or were done lately."""
        found: dict[str, dict[str, str]] = {}
        async for name, kept in self._names(target):
            _, person, value = kept.split("\x1f", 2)
            found.setdefault(name.partition("\x1f")[0], {})[person] = value
        return found

    async def forget_made(self, target: str, before: float) -> None:
        """Keep no value any longer whose create was over before a moment (epoch seconds): the ledger has it."""
        some: dict[str, str] = {}
        async for name, kept in self._names(target):
            some[name] = kept
            if len(some) == _CHUNK:
                await self._forget_made(target, some, before)
                some = {}
        await self._forget_made(target, some, before)

    async def _forget_made(self, target: str, some: Mapping[str, str], before: float) -> None:
        if not some:
            return
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for kept in some.values():
                    run, _, operation = kept.partition("\x1f")[0].partition("|")
                    pipe.hmget(keys.operation(run, target, operation), ["status", "changed"])
                states = await pipe.execute()
        over = {
            name: kept
            for (name, kept), (status, changed) in zip(some.items(), states, strict=True)
            if status is None or (status not in _OPEN and float(changed) < before)
        }
        if over:
            await self._script([], ["made", target, json.dumps(over, ensure_ascii=False)])

    async def _names(self, target: str) -> AsyncIterator[tuple[str, str]]:
        with redis_errors():
            async for name, kept in self._redis.hscan_iter(keys.names(target), count=_SCANNED):
                yield name.decode(), kept.decode()
