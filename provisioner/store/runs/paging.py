"""A run's operations page by page. However many there are, a page reads a bounded number of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from provisioner.errors import UsageError
from provisioner.model.operation_document import OperationDocument
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.runs.documents import LISTED
from provisioner.store.runs.shapes import operation_document

#: Operations that are read for one page at most, where a filter passes few of them.
READ_AT_MOST: Final = 2000
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Page:
    """Some operations as JSON, in the order of the plan; `next` goes on behind them, None at the end. `read` is how
    many were looked at: a page may be short, even empty, and yet have a next one."""

    rows: tuple[OperationDocument, ...]
    next: str | None
    read: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which operations are wanted; None: all."""

    statuses: tuple[str, ...] | None = None
    kind: str | None = None

    def passes(self, document: OperationDocument) -> bool:
        """Whether an operation is wanted."""
        return (self.statuses is None or document["status"] in self.statuses) and self.kind in (None, document["kind"])


class OperationPageStore:
    """The operations of all runs, in pages."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def page(
        self, run: str, targets: Sequence[str], wanted: Filter, *, after: str | None = None, limit: int = 50
    ) -> Page:
        """One page of a run's operations.

        Args:
            targets: whose, in this order.
            after: `next` of the page before; None: the first one.
            limit: rows at most.

        Raises:
            UsageError: `after` is no such word.
            StoreError: Redis does not answer.
        """
        rows: list[OperationDocument] = []
        read = 0
        start, place = _place(after, targets)
        for number, target in enumerate(targets[start:], start):
            holder = await self._holder(run, target)
            single = wanted.statuses[0] if wanted.statuses and len(wanted.statuses) == 1 else None
            index = (
                keys.run_by_status(holder, target, single) if single in LISTED else keys.run_operations(holder, target)
            )
            while True:
                with redis_errors():
                    if len(rows) >= limit or read >= READ_AT_MOST:
                        more = await self._more(index, place) or number + 1 < len(targets)
                        return Page(tuple(rows), f"{target}.{place}" if more else None, read)
                    count = min(_CHUNK if wanted != Filter() else limit - len(rows), READ_AT_MOST - read)
                    if single in LISTED and wanted.kind is None:
                        count = min(count, limit - len(rows))
                    found = await self._redis.zrangebyscore(
                        index, f"({place}", "+inf", start=0, num=count, withscores=True
                    )
                    if not found:
                        break
                    async with self._redis.pipeline(transaction=False) as pipe:
                        for name, _ in found:
                            pipe.hgetall(keys.operation(holder, target, name.decode()))
                        answers = await pipe.execute()
                for (_, score), row in zip(found, answers, strict=True):
                    place, read = int(score), read + 1
                    document = operation_document({key.decode(): value.decode() for key, value in row.items()})
                    if document and wanted.passes(document):
                        rows.append(document)
                        if len(rows) >= limit:
                            break
            place = -1
        return Page(tuple(rows), None, read)

    async def _holder(self, run: str, target: str) -> str:
        """The run that has the operations: another one, where this one's part joined it."""
        with redis_errors():
            joined = await self._redis.hget(keys.run_target(run, target), "joined")
        return joined.decode() if joined else run

    async def _more(self, index: str, place: int) -> bool:
        return bool(await self._redis.zcount(index, f"({place}", "+inf"))


def _place(after: str | None, targets: Sequence[str]) -> tuple[int, int]:
    if after is None:
        return 0, -1
    target, _, number = after.partition(".")
    if target not in targets or not number.isascii() or not number.isdecimal() or len(number) > 15:
        raise UsageError(f"{after[:80]!r} is no place in this list.", remedy="Take `next` of the page before.")
    return list(targets).index(target), int(number)
