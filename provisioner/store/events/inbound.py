"""Events from outside in Redis: a stream that workers read as one group, dead letters, and facts by person.

An event enters the stream once, whatever is delivered again, and leaves it when it was handled; nothing trims the
stream, so that nothing is lost. What a dead worker had claimed is claimed by another. See lua/inbound.lua.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, cast

from provisioner.model.event import Fact
from provisioner.model.event_lists import StoredEvent
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Scripts

GROUP: Final = "workers"
#: Events of a name that the vendor's pages lack are kept, this many of them.
UNKNOWN_KEPT: Final = 1000
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Received:
    """An event in our hand. `at` is when it was accepted (epoch seconds), `tries` how often it was taken."""

    id: str
    target: str
    event: str
    digest: str
    body: str
    at: float
    tries: int = 1

    def letter(self, error: str, when: float) -> StoredEvent:
        """The form in which it lies among the dead letters."""
        return cast("StoredEvent", {**asdict(self), "error": error, "died": when})


@dataclass(frozen=True, slots=True)
class InboundBacklog:
    """Counts: `waiting` in the stream, of which `taken` are in progress; `put_off` until what they wait for is there;
    and `dead` letters."""

    waiting: int
    taken: int
    put_off: int
    dead: int


class InboundStore:
    """The stream and what comes of it."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._script = scripts.load("inbound")
        self._make_group = scripts.registered(_MAKE_GROUP)

    async def _call(self, command: str, *args: str | int | float) -> int:
        return int(await self._script([], [command, *args]))

    async def accept(self, target: str, *, digest: str, event: str, known: bool, body: str) -> bool:
        """Put an event into the stream, unless it came before; whether it was new.

        Events that the vendor's pages do not name are counted together: their names come from outside.
        """
        counted = event if known else "unknown"
        return bool(await self._call("accept", target, digest, event, counted, body))

    async def begin(self) -> None:
        """Make the group of workers, if there is none yet."""
        with redis_errors():
            groups = await self._redis.xinfo_groups(keys.INBOUND) if await self._redis.exists(keys.INBOUND) else []
            if not any(group["name"] == GROUP.encode() for group in groups):
                # Two may come here at once; the script's error for the second is that it exists
                await self._make_group([keys.INBOUND], [GROUP])

    async def take(self, consumer: str, limit: int) -> list[Received]:
        """New events, at most `limit`."""
        with redis_errors():
            answer = await self._redis.xreadgroup(GROUP, consumer, {keys.INBOUND: ">"}, count=limit)
        return [_received(entry, fields) for _, entries in answer for entry, fields in entries]

    async def take_over(self, consumer: str, idle: float) -> Received | None:
        """One event that someone took more than `idle` seconds ago and did not finish; None if there is none."""
        with redis_errors():
            _, entries, *_ = await self._redis.xautoclaim(
                keys.INBOUND, GROUP, consumer, min_idle_time=int(idle * 1000), start_id="0-0", count=1
            )
            for entry, fields in entries:
                if not fields:
                    await self._redis.xack(keys.INBOUND, GROUP, entry)
                    continue
                pending = await self._redis.xpending_range(keys.INBOUND, GROUP, entry, entry, 1)
                return _received(entry, fields, int(pending[0]["times_delivered"]) if pending else 1)
        return None

    async def finish(self, received: Sequence[Received]) -> None:
        """They were handled."""
        if not received:
            return
        ids = [one.id for one in received]
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xack(keys.INBOUND, GROUP, *ids)
                pipe.xdel(keys.INBOUND, *ids)
                pipe.hdel(keys.INBOUND_ERRORS, *ids)
                await pipe.execute()

    async def note_error(self, received: Received, error: str) -> None:
        """Remember why an event could not be handled, in case that it never can."""
        with redis_errors():
            await self._redis.hset(keys.INBOUND_ERRORS, received.id, error)

    async def bury(self, received: Received, error: str | None, now: float) -> bool:
        """Put an event among the dead letters; False if someone else did."""
        with redis_errors():
            noted = await self._redis.hget(keys.INBOUND_ERRORS, received.id)
        reason = error or (noted.decode() if noted else "the workers that took it ended before they were done with it")
        return bool(await self._call("bury", received.id, json.dumps(received.letter(reason, now)), GROUP))

    async def put_off(self, received: Received, due: float) -> None:
        """Take an event out of the stream until a moment (epoch seconds): what it needs is not there yet."""
        await self._call("later", received.id, json.dumps(asdict(received)), due, GROUP)

    async def bring_due(self, now: float) -> int:
        """Put events back into the stream whose time has come; how many."""
        return await self._call("due", now)

    async def keep_unknown(self, received: Received) -> None:
        """Keep an event that the vendor's pages do not name, for a person to look at."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.lpush(keys.INBOUND_UNKNOWN, json.dumps(asdict(received)))
                pipe.ltrim(keys.INBOUND_UNKNOWN, 0, UNKNOWN_KEPT - 1)
                await pipe.execute()

    async def unknown(self, limit: int = 50) -> list[StoredEvent]:
        """The newest of those."""
        with redis_errors():
            rows = await self._redis.lrange(keys.INBOUND_UNKNOWN, 0, limit - 1)
        return [json.loads(row) for row in rows]

    async def dead(self, limit: int | None = None) -> dict[str, StoredEvent]:
        """The dead letters by id, oldest first: target, event, body, error and when it died.

        Args:
            limit: only so many, those that came last.
        """
        chosen = await self.dead_ids()
        return await letters(self._redis, keys.INBOUND_DEAD, chosen[-limit:] if limit else chosen)

    async def dead_ids(self) -> list[str]:
        """The ids of all dead letters, in the order in which their events came."""
        with redis_errors():
            found = [key.decode() for key in await self._redis.hkeys(keys.INBOUND_DEAD)]
        return sorted(found, key=lambda name: tuple(int(part) for part in name.split("-")))

    async def dead_letter(self, name: str) -> StoredEvent | None:
        """One of them."""
        return (await letters(self._redis, keys.INBOUND_DEAD, [name])).get(name)

    async def replay(self, ids: Iterable[str] | None = None) -> int:
        """Put dead letters back into the stream, all or the named ones; how many there were."""
        chosen = await self.dead_ids() if ids is None else list(ids)
        count = 0
        for start in range(0, len(chosen), _CHUNK):
            count += await self._call("replay", *chosen[start : start + _CHUNK])
        return count

    async def put_off_until(self, limit: int = 50) -> list[StoredEvent]:
        """The events that wait for something, the next one first; `due` is when it is looked at again."""
        with redis_errors():
            rows = await self._redis.zrange(keys.INBOUND_LATER, 0, limit - 1, withscores=True)
        return [cast("StoredEvent", {**json.loads(text), "due": float(due)}) for text, due in rows]

    async def backlog(self) -> InboundBacklog:
        """How much there is to do."""
        with redis_errors():
            waiting = int(await self._redis.xlen(keys.INBOUND))
            taken = 0
            if waiting:
                groups = await self._redis.xinfo_groups(keys.INBOUND)
                taken = sum(int(group["pending"]) for group in groups if group["name"] == GROUP.encode())
            put_off = int(await self._redis.zcard(keys.INBOUND_LATER))
            dead = int(await self._redis.hlen(keys.INBOUND_DEAD))
        return InboundBacklog(waiting, taken, put_off, dead)

    async def counts(self) -> dict[str, dict[str, int]]:
        """How many events were accepted by target and name; ``unknown``, ``duplicate``, ``orphan`` and the like too."""
        with redis_errors():
            raw = await self._redis.hgetall(keys.INBOUND_COUNTS)
        found: dict[str, dict[str, int]] = {}
        for key, value in sorted(raw.items()):
            target, name = key.decode().split("|", 1)
            found.setdefault(target, {})[name] = int(value)
        return found

    async def count(self, target: str, name: str) -> None:
        """Count one."""
        with redis_errors():
            await self._redis.hincrby(keys.INBOUND_COUNTS, f"{target}|{name}", 1)

    async def forget_seen(self, before: float) -> int:
        """Forget which events came before a moment; one that is delivered again after that counts as new."""
        with redis_errors():
            return int(await self._redis.zremrangebyscore(keys.INBOUND_SEEN, "-inf", before))

    async def orphan(self, target: str, account: str) -> bool:
        """List an account that belongs to nobody; False if it is listed."""
        return bool(await self._call("orphan", target, account))

    async def todo(self, target: str, person: str, sentence: str) -> bool:
        """List what a person has to settle, until the next plan lists it; False if it is listed."""
        return bool(await self._call("todo", target, person, sentence))

    async def keep_facts(self, target: str, person: str, facts: Sequence[Fact], now: float) -> int:
        """Keep facts of a person, each unless a newer one is known; how many were new."""
        return await self.keep_all_facts([(target, person, fact) for fact in facts], now)

    async def keep_all_facts(self, facts: Sequence[tuple[str, str, Fact]], now: float) -> int:
        """The same of many people, by target and person; a fact without a time of its own is from `now`."""
        new = 0
        for start in range(0, len(facts), _CHUNK):
            args: list[str | float] = []
            for target, person, fact in facts[start : start + _CHUNK]:
                at = fact.at or now
                document = {"at": at, "shows": dict(fact.shows), "gathers": dict(fact.gathers)}
                args += [person, f"{target}|{fact.name}", at, json.dumps(document, ensure_ascii=False)]
            new += await self._call("facts", *args)
        return new

    async def facts(self, people: Sequence[str]) -> dict[str, dict[str, list[Fact]]]:
        """The facts of people, by person and target, oldest first; who has none is absent."""
        found: dict[str, dict[str, list[Fact]]] = {}
        with redis_errors():
            for start in range(0, len(people), _CHUNK):
                some = people[start : start + _CHUNK]
                async with self._redis.pipeline(transaction=False) as pipe:
                    for person in some:
                        pipe.hgetall(keys.facts(person))
                    rows = await pipe.execute()
                found |= {person: _facts(raw) for person, raw in zip(some, rows, strict=True) if raw}
        return found

    async def mark(self, target: str) -> str | None:
        """Where the last reading back of a target ended."""
        with redis_errors():
            value = await self._redis.hget(keys.READBACK, target)
        return value.decode() if value else None

    async def keep_mark(self, target: str, mark: str | None) -> None:
        """Remember where a reading back ended."""
        with redis_errors():
            if mark is None:
                await self._redis.hdel(keys.READBACK, target)
            else:
                await self._redis.hset(keys.READBACK, target, mark)


async def letters(redis: Redis, key: str, ids: Sequence[str]) -> dict[str, StoredEvent]:
    """Some of a hash of JSON documents, by id, in the order asked for; what is gone meanwhile is left out."""
    found: dict[str, StoredEvent] = {}
    with redis_errors():
        for start in range(0, len(ids), _CHUNK):
            some = ids[start : start + _CHUNK]
            texts = await redis.hmget(key, list(some))
            found |= {name: json.loads(text) for name, text in zip(some, texts, strict=True) if text is not None}
    return found


_MAKE_GROUP: Final = """
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if type(made) == 'table' and made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
return 1
"""


def _received(entry: bytes, fields: Mapping[bytes, bytes], tries: int = 1) -> Received:
    text = {key.decode(): value.decode() for key, value in fields.items()}
    return Received(
        entry.decode(), text["target"], text["event"], text["digest"], text["body"], float(text["at"]), tries
    )


def _facts(raw: Mapping[bytes, bytes]) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = {}
    for key, value in raw.items():
        target, name = key.decode().split("|", 1)
        document = json.loads(value)
        fact = Fact(name, float(document["at"]), document.get("shows") or {}, document.get("gathers") or {})
        found.setdefault(target, []).append(fact)
    for facts in found.values():
        facts.sort(key=lambda fact: (fact.at, fact.name))
    return found
