"""The operations of a run that were sent, with their images, in the order in which they were planned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from msgspec import structs

from provisioner.model.operation import Operation, Status
from provisioner.model.operation_record import from_json
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors

_PAGE: Final = 500


class DoneOperationStore:
    """What runs did, or may have done: an operation that failed may have come about in part."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def of(self, runs: Sequence[str], target: str) -> AsyncIterator[tuple[Operation, bool]]:
        """Of each run in turn what it sent to a target, and whether that succeeded, for as long as
        `retention.operations` keeps it.

        Each is addressed by the account that came about, also a create.
        """
        for run in runs:
            for start in range(0, await self._count(run, target), _PAGE):
                for one in await self._page(run, target, start):
                    yield one

    async def _count(self, run: str, target: str) -> int:
        with redis_errors():
            return int(await self._redis.zcard(keys.run_operations(run, target)))

    async def _page(self, run: str, target: str, start: int) -> list[tuple[Operation, bool]]:
        with redis_errors():
            ids = await self._redis.zrange(keys.run_operations(run, target), start, start + _PAGE - 1)
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in ids:
                    pipe.hmget(keys.operation(run, target, name.decode()), ["status", "doc", "account", "attempts"])
                rows = await pipe.execute()
        found = []
        for status, doc, account, attempts in rows:
            succeeded = status == Status.SUCCEEDED.value.encode()
            if doc and (succeeded or int(attempts or 0)):
                one = from_json(doc)
                found.append((structs.replace(one, account=account.decode()) if account else one, succeeded))
        return found
