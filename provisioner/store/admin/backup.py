"""What a backup holds of Redis, as records of JSON, and how it comes back: all of it in one step, or nothing.

A record is a part of one key: ``{"key", "type", …}`` with `value` of a string, `fields` of a hash, `members` of a
sorted set or `entries` of a stream; text that is no UTF-8 is written as ``{"base64": …}``. What is large takes several
records.
"""

from __future__ import annotations

import base64
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.schema import VERSION

T = TypeVar("T")

_FIELDS: Final = 500


class BackupStore:
    """What a backup is made of, and how it comes back."""

    #: The layout of the data, which a backup names.
    LAYOUT: Final = VERSION

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def dump(self) -> AsyncIterator[dict[str, Any]]:
        """Everything that a backup holds, record by record. Each entry is whole, though others may change meanwhile.

        Raises:
            StoreError: Redis does not answer.
        """
        with redis_errors():
            for name in await self._names():
                key = f"{keys.PREFIX}{name}"
                type_ = (await self._redis.type(key)).decode()
                if type_ == "string":
                    content = await self._redis.get(key)
                    if content is not None:
                        yield {"key": name, "type": type_, "value": _text(content)}
                elif type_ == "hash":
                    async for some in _chunks(self._redis.hscan_iter(key, count=_FIELDS)):
                        fields = {field.decode(): _text(value) for field, value in some}
                        yield {"key": name, "type": type_, "fields": fields}
                elif type_ == "set":
                    async for names in _chunks(self._redis.sscan_iter(key, count=_FIELDS)):
                        yield {"key": name, "type": type_, "names": sorted(one.decode() for one in names)}
                elif type_ == "zset":
                    async for some in _chunks(self._redis.zscan_iter(key, count=_FIELDS)):
                        members = {member.decode(): score for member, score in some}
                        yield {"key": name, "type": type_, "members": members}
                elif type_ == "stream":
                    async for page in _pages(self._redis, key):
                        entries = {
                            entry.decode(): {field.decode(): _text(value) for field, value in fields.items()}
                            for entry, fields in page
                        }
                        yield {"key": name, "type": type_, "entries": entries}

    async def links(self) -> int:
        """How many links the ledger has, over all targets."""
        with redis_errors():
            names = [key async for key in self._redis.scan_iter(match=keys.ledger.pattern, count=1000)]
            return sum([int(await self._redis.hlen(key)) for key in names])

    async def restless(self) -> str | None:
        """What goes on now that a restore would collide with, as a phrase; None if all is still."""
        with redis_errors():
            async for key in self._redis.scan_iter(match=keys.leases.pattern, count=1000):
                if await self._redis.zcard(key):
                    return f"{keys.leases.part_of(key)} is being sent something"
            async for key in self._redis.scan_iter(match=keys.busy.pattern, count=1000):
                return f"a run is planning {keys.busy.part_of(key)}"
        return None

    async def load(self, records: Iterable[Mapping[str, Any]]) -> Counter[str]:
        """Put a backup's content in place of what there is of it; how many entries, by the beginning of their names.

        It is written to a second key first, which is renamed in one transaction: an end on the way changes nothing.

        Raises:
            StoreError: Redis does not answer.
            ValueError, KeyError, TypeError: a record is none.
        """
        counts: Counter[str] = Counter()
        with redis_errors():
            await self._clear()
            staged: dict[str, None] = {}
            for some in _batches(records, 100):
                async with self._redis.pipeline(transaction=False) as pipe:
                    for record in some:
                        name = str(record["key"])
                        if not keys.in_backup(name):
                            raise ValueError(f"the key {name!r} does not belong into a backup")
                        staged[name] = None
                        counts[name.partition(":")[0]] += _stage(pipe, keys.restoring(name), record)
                    await pipe.execute()
            there = await self._names()
            async with self._redis.pipeline(transaction=True) as pipe:
                for name in there:
                    pipe.delete(f"{keys.PREFIX}{name}")
                for name in staged:
                    pipe.rename(keys.restoring(name), f"{keys.PREFIX}{name}")
                await pipe.execute()
        return counts

    async def _names(self) -> list[str]:
        """The keys that a backup holds, without their prefix, sorted."""
        found = set()
        async for key in self._redis.scan_iter(match=f"{keys.PREFIX}*", count=1000):
            name = key.decode().removeprefix(keys.PREFIX)
            if keys.in_backup(name):
                found.add(name)
        return sorted(found)

    async def _clear(self) -> None:
        """Take away what an earlier restore left when it was ended on the way."""
        async for key in self._redis.scan_iter(match=keys.restoring("*"), count=1000):
            await self._redis.delete(key)


def _stage(pipe: Any, key: str, record: Mapping[str, Any]) -> int:
    """Queue what writes a record; how many entries it has."""
    match record["type"]:
        case "string":
            pipe.set(key, _bytes(record["value"]))
            return 1
        case "hash":
            pipe.hset(key, mapping={field: _bytes(value) for field, value in record["fields"].items()})
            return len(record["fields"])
        case "set":
            pipe.sadd(key, *record["names"])
            return len(record["names"])
        case "zset":
            pipe.zadd(key, {member: float(score) for member, score in record["members"].items()})
            return len(record["members"])
        case "stream":
            for entry, fields in record["entries"].items():
                pipe.xadd(key, {field: _bytes(value) for field, value in fields.items()}, id=entry)
            return len(record["entries"])
        case other:
            raise ValueError(f"the type {other!r} is unknown")


async def _chunks(entries: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    some: list[T] = []
    async for one in entries:
        some.append(one)
        if len(some) == _FIELDS:
            yield some
            some = []
    if some:
        yield some


async def _pages(redis: Redis, key: str) -> AsyncIterator[list[tuple[bytes, dict[bytes, bytes]]]]:
    start = "-"
    while page := await redis.xrange(key, min=start, count=_FIELDS):
        yield page
        start = f"({page[-1][0].decode()}"


def _batches(records: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[Mapping[str, Any]]]:
    left = iter(records)
    while some := list(itertools.islice(left, size)):
        yield some


def _text(content: bytes) -> str | dict[str, str]:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _bytes(value: str | Mapping[str, str]) -> bytes:
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"], validate=True)
