"""Taking one person out of everything that is kept in Redis: `keys` lists it, each method takes one part of it."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

import polars as pl
from redis.exceptions import WatchError

from provisioner.store.people.frames import pack, unpack
from provisioner.store.people.past_snapshots import PastStore
from provisioner.store.people.receipts import ReceiptStore
from provisioner.store.people.snapshots import FrameStore
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Scripts
from provisioner.store.runs.documents import LISTED

_CHUNK: Final = 500
#: What replaces, in a run's request, the key of a person who was forgotten.
FORGOTTEN: Final = "(forgotten)"


class EraseStore:
    """Erases people."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def of(self, person: str) -> Eraser:
        """What erases one person."""
        return Eraser(self._redis, person)


class Eraser:
    """Erases one person. What another process writes at the same moment has to be kept from it by the caller."""

    def __init__(self, redis: Redis, person: str) -> None:
        self._redis, self._person = redis, person
        self._forget = Scripts(redis).load("forget")

    async def targets(self) -> tuple[str, ...]:
        """Every target of which anything is kept, also those that the settings no longer have."""
        found = set()
        for kind in (keys.ledger, keys.slots, keys.lists, keys.observed, keys.leavers):
            async for key in self._scan(kind.pattern):
                found.add(kind.part_of(key))
        # `slots:` begins the names of what is installed just now, too
        return tuple(sorted(name for name in found if ":" not in name))

    async def known(self) -> bool:
        """Whether there is anything that could still move: a row, a link, or an operation that is not history yet."""
        with redis_errors():
            content = await self._redis.get(keys.PEOPLE)
            if content and self._person in unpack(content)["_key"]:
                return True
            for target in await self.targets():
                if await self._redis.hexists(keys.ledger(target), self._person):
                    return True
                prefix = f"{self._person}\x1f".encode()
                if any(slot.startswith(prefix) for slot in await self._redis.hkeys(keys.slots(target))):
                    return True
            return bool(await self._redis.exists(keys.history(self._person)))

    async def standing(self, target: str) -> int | None:
        """Drop the person's ledger entry and open work; how much it was, None if something is being sent."""
        with redis_errors():
            names = [
                name.decode()
                async for name, kept in self._redis.hscan_iter(keys.names(target), count=_CHUNK)
                if kept.decode().split("\x1f", 2)[1] == self._person
            ]
        count = int(await self._forget([], [target, self._person, *names]))
        return None if count < 0 else count

    async def rows(self) -> int:
        """The last clean row, and the place in what the gate compares with; how many rows."""
        with redis_errors():
            while True:
                async with self._redis.pipeline(transaction=True) as pipe:
                    await pipe.watch(keys.PEOPLE, keys.ROSTER)
                    content = await pipe.get(keys.PEOPLE)
                    baseline = await pipe.hget(keys.ROSTER, "baseline")
                    people, gone = self._without(content, "_key", (self._person,))
                    compared, there = self._without(baseline, "_key", (self._person,))
                    if not gone and not there:
                        return 0
                    pipe.multi()
                    if gone:
                        pipe.set(keys.PEOPLE, people)
                    if there:
                        pipe.hset(keys.ROSTER, "baseline", compared)
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return gone

    async def snapshots(self) -> int:
        """What runs that are not over plan from, and past days' rosters; how many of them held the person."""
        frames, count = FrameStore(self._redis), await PastStore(self._redis).forget(self._person)
        async for key in self._scan(keys.run_people.pattern):
            run = key.removeprefix(keys.run("")).removesuffix(":people")
            snapshot = await frames.for_run(run)
            with redis_errors():
                left = int(await self._redis.ttl(key))
            if snapshot is None or left <= 0 or self._person not in snapshot.people["_key"]:
                continue
            people = snapshot.people.filter(pl.col("_key") != self._person)
            alike = tuple(pair for pair in snapshot.alike if self._person not in pair[:2])
            unfamiliar = {key: text for key, text in snapshot.unfamiliar.items() if key != self._person}
            await frames.keep_for_run(run, replace(snapshot, people=people, alike=alike, unfamiliar=unfamiliar), left)
            count += 1
        return count

    async def observed(self, target: str, column: str, accounts: Collection[str]) -> int:
        """The accounts as they were last seen; how many."""
        with redis_errors():
            rest, gone = self._without(await self._redis.get(keys.observed(target)), column, accounts)
            if gone:
                await self._redis.set(keys.observed(target), rest)
        return gone

    async def lists(self, target: str, accounts: Collection[str]) -> int:
        """The entries that name the person or the accounts in the lists of the newest plan; how many."""
        named = re.compile(rf"(?<!\w){re.escape(self._person)}(?!\w)")

        def about(entry: Any) -> bool:
            if not isinstance(entry, Mapping):
                return entry == self._person or entry in accounts
            there = entry.get("person") == self._person or any(one in accounts for one in entry.get("accounts", ()))
            return there or bool(named.search(str(entry.get("message", ""))))

        count = 0
        with redis_errors():
            for name, text in (await self._redis.hgetall(keys.lists(target))).items():
                entries = json.loads(text)
                rest = [entry for entry in entries if not about(entry)]
                if len(rest) < len(entries):
                    await self._redis.hset(keys.lists(target), name, json.dumps(rest))
                    count += len(entries) - len(rest)
        return count

    async def operations(self) -> int:
        """Operations of all runs, with the decisions about them, and the person's history; how many operations."""
        count, some = 0, []
        async for key in self._scan(keys.operation.pattern):
            some.append(key)
            if len(some) == _CHUNK:
                count += await self._operations(some)
                some = []
        count += await self._operations(some)
        with redis_errors():
            await self._redis.delete(keys.history(self._person))
            for pattern in (keys.run_again.pattern, keys.run_put_off.pattern, keys.coming.pattern):
                async for key in self._scan(pattern):
                    await self._redis.srem(key, self._person)
            async for key in self._scan(keys.decisions.pattern):
                for name, text in (await self._redis.hgetall(key)).items():
                    if json.loads(text).get("person") == self._person:
                        await self._redis.hdel(key, name)
        return count

    async def _operations(self, names: Collection[str]) -> int:
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hget(name, "person")
                people = await pipe.execute()
            mine = [name for name, person in zip(names, people, strict=True) if person == self._person.encode()]
            async with self._redis.pipeline(transaction=True) as pipe:
                for name in mine:
                    run, _, rest = name.removeprefix(keys.run("")).partition(":op:")
                    target, _, operation = rest.rpartition(":")
                    pipe.delete(name)
                    pipe.zrem(keys.run_operations(run, target), operation)
                    for status in LISTED:
                        pipe.zrem(keys.run_by_status(run, target, status), operation)
                    pipe.hdel(keys.decisions(target), operation)
                await pipe.execute()
        return len(mine)

    async def facts(self) -> int:
        """What is known besides the accounts, and which events reported it; how many facts."""
        with redis_errors():
            count = int(await self._redis.hlen(keys.facts(self._person)))
            await self._redis.delete(keys.facts(self._person), keys.heard(self._person))
            await self._redis.hdel(keys.NEWCOMERS, self._person)
        return count

    async def receipt(self) -> int:
        """What is open of their leaves; in how many targets."""
        return await ReceiptStore(self._redis).forget(self._person)

    async def letters(self, names: Collection[str]) -> int:
        """Events from outside and webhooks on their way that carry one of these values, dead ones too; how many.

        Args:
            names: texts by which others know the person: the key, account identifiers, addresses.
        """
        wanted = {name.casefold() for name in names}
        count = 0
        with redis_errors():
            for place in (keys.INBOUND_DEAD, keys.OUTBOX_DEAD, keys.OUTBOX_ITEMS):
                for name, text in (await self._redis.hgetall(place)).items():
                    if _mentions(text, wanted):
                        await self._redis.hdel(place, name)
                        await self._redis.zrem(keys.OUTBOX, name)
                        count += 1
            for text in await self._redis.lrange(keys.INBOUND_UNKNOWN, 0, -1):
                if _mentions(text, wanted):
                    await self._redis.lrem(keys.INBOUND_UNKNOWN, 0, text)
                    count += 1
            for text in await self._redis.zrange(keys.INBOUND_LATER, 0, -1):
                if _mentions(text, wanted):
                    count += int(await self._redis.zrem(keys.INBOUND_LATER, text))
            for entry, fields in await self._redis.xrange(keys.INBOUND):
                if _mentions(fields.get(b"body", b"null"), wanted):
                    await self._redis.xdel(keys.INBOUND, entry)
                    await self._redis.hdel(keys.INBOUND_ERRORS, entry)
                    count += 1
        return count

    async def audit(self) -> int:
        """The name in the trail of what people did, which else stays as it is; in how many entries."""
        beside = keys.AUDIT_REWRITTEN
        with redis_errors():
            while True:
                async with self._redis.pipeline(transaction=True) as pipe:
                    await pipe.watch(keys.AUDIT)
                    entries = await pipe.xrange(keys.AUDIT)
                    changed = {name: anew for name, fields in entries if (anew := self._unnamed(fields)) is not None}
                    if not changed:
                        return 0
                    pipe.multi()
                    pipe.delete(beside)
                    for name, fields in entries:
                        pipe.xadd(beside, changed.get(name, fields), id=name)
                    pipe.rename(beside, keys.AUDIT)
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return len(changed)

    def _unnamed(self, fields: Mapping[bytes, bytes]) -> dict[bytes, bytes] | None:
        """An entry of the trail without the name; None if it does not have it."""
        facts = json.loads(fields.get(b"facts", b"{}"))
        if not _mentions(json.dumps(facts).encode(), {self._person.casefold()}):
            return None
        for name, value in facts.items():
            if value == self._person:
                facts[name] = FORGOTTEN
            elif isinstance(value, list):
                facts[name] = [FORGOTTEN if one == self._person else one for one in value]
        return {**fields, b"facts": json.dumps(facts, ensure_ascii=False).encode()}

    async def rejects(self) -> int:
        """Rejected rows that runs remember; how many."""
        count = 0
        async for key in self._scan(keys.rejects.pattern):
            with redis_errors():
                packed = await self._redis.get(key)
                rows = json.loads(zlib.decompress(packed)) if packed else []
                rest = [row for row in rows if row.get("key") != self._person]
                if len(rest) < len(rows):
                    await self._redis.set(key, zlib.compress(json.dumps(rest).encode()), keepttl=True)
                    count += len(rows) - len(rest)
        return count

    async def reviewed(self) -> int:
        """Operations in plans for review, and those that runs left out; how many."""
        count = 0
        async for key in self._scan(keys.reviewed.pattern):
            with redis_errors():
                packed = await self._redis.get(key)
                plan = json.loads(zlib.decompress(packed)) if packed else {}
                gone = 0
                for name in ("operations", "links"):
                    rest = [row for row in plan.get(name, ()) if row["person"] != self._person]
                    gone += len(plan.get(name, ())) - len(rest)
                    plan[name] = rest
                if gone:
                    people = plan["asked"]["people"]
                    plan["asked"]["people"] = people and [FORGOTTEN if one == self._person else one for one in people]
                    await self._redis.set(key, zlib.compress(json.dumps(plan).encode()), keepttl=True)
                    count += gone
        async for key in self._scan(keys.left_out.pattern):
            with redis_errors():
                for target, packed in (await self._redis.hgetall(key)).items():
                    rows = json.loads(zlib.decompress(packed))
                    rest = [row for row in rows if row["person"] != self._person]
                    if len(rest) < len(rows):
                        await self._redis.hset(key, target, zlib.compress(json.dumps(rest).encode()))
                        count += len(rows) - len(rest)
        return count

    async def requests(self) -> int:
        """The name in requests for single people; how many runs were asked for."""
        count = 0
        with redis_errors():
            for run in await self._redis.zrange(keys.RUNS, 0, -1):
                key = keys.run(run.decode())
                text = await self._redis.hget(key, "request")
                document = json.loads(text) if text else {}
                asked = document.get("people") or ()
                if self._person in asked:
                    document["people"] = [FORGOTTEN if one == self._person else one for one in asked]
                    await self._redis.hset(key, "request", json.dumps(document))
                    count += 1
                same = json.loads(await self._redis.hget(key, "same") or "[]")
                others = [pair for pair in same if self._person not in pair[:2]]
                if len(others) < len(same):
                    await self._redis.hset(key, "same", json.dumps(others))
                error = await self._redis.hget(key, "error")
                if error and repr(self._person) in json.loads(error).get("message", ""):
                    await self._redis.hdel(key, "error")
        return count

    @staticmethod
    def _without(content: bytes | None, column: str, values: Collection[str]) -> tuple[bytes, int]:
        """A packed frame without the rows of some values, and how many those were."""
        if not content:
            return b"", 0
        frame = unpack(content)
        rest = frame.filter(~pl.col(column).is_in(list(values)))
        gone = frame.height - rest.height
        return (pack(rest) if gone else content), gone

    async def _scan(self, pattern: str) -> AsyncIterator[str]:
        with redis_errors():
            async for key in self._redis.scan_iter(match=pattern, count=1000):
                yield key.decode()


def _mentions(text: bytes, wanted: Collection[str]) -> bool:
    """Whether JSON holds one of these texts as a whole value, also in JSON within it."""
    waiting: list[Any] = [text.decode(errors="replace")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            if value.casefold() in wanted:
                return True
            if value[:1] in ("{", "["):
                try:
                    waiting.append(json.loads(value))
                except ValueError:
                    continue
    return False
