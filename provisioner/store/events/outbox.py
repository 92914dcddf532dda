"""Outgoing webhooks in Redis: put there once each, taken under a lease, gone when the receiver has them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Final

from provisioner.model.event_lists import StoredEvent
from provisioner.store.events.inbound import letters
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Scripts

_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One webhook to be sent: `route` names the setting that holds its address and secret, `since` is when it arose.

    The address itself is not kept here: it may hold a secret, and it may be fixed meanwhile.
    """

    id: str
    target: str
    event: str
    route: str
    body: str
    since: float
    tries: int = 0


class OutboxStore:
    """All outgoing webhooks."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._script = scripts.load("outbox")

    async def add(self, items: Iterable[Outgoing], now: float) -> int:
        """Put webhooks there, each once and for ever; how many were new."""
        pairs = [part for item in items for part in (item.id, json.dumps(asdict(item)))]
        added = 0
        for start in range(0, len(pairs), _CHUNK):
            added += int(await self._script([], ["add", now, *pairs[start : start + _CHUNK]]))
        return added

    async def take(self, limit: int, lease: float, now: float) -> list[Outgoing]:
        """Take what is due; it is due again after `lease` seconds unless something else is said of it."""
        rows = await self._script([], ["take", now, lease, limit])
        return [Outgoing(**json.loads(row)) for row in rows]

    async def sent(self, item: Outgoing) -> None:
        """The receiver has it."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zrem(keys.OUTBOX, item.id)
                pipe.hdel(keys.OUTBOX_ITEMS, item.id)
                await pipe.execute()

    async def put_off(self, item: Outgoing, due: float) -> None:
        """Try again at `due` (epoch seconds)."""
        text = json.dumps(asdict(replace(item, tries=item.tries + 1)))
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zadd(keys.OUTBOX, {item.id: due}, xx=True)
                pipe.hset(keys.OUTBOX_ITEMS, item.id, text)
                await pipe.execute()

    async def bury(self, item: Outgoing, error: str, now: float) -> None:
        """Nobody took it: keep it for a person to look at."""
        letter = {**asdict(item), "error": error, "died": now}
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zrem(keys.OUTBOX, item.id)
                pipe.hdel(keys.OUTBOX_ITEMS, item.id)
                pipe.hset(keys.OUTBOX_DEAD, item.id, json.dumps(letter))
                await pipe.execute()

    async def dead(self, limit: int | None = None) -> dict[str, StoredEvent]:
        """What nobody took, by id.

        Args:
            limit: only so many, in no order.
        """
        chosen = await self.dead_ids()
        return await letters(self._redis, keys.OUTBOX_DEAD, chosen[:limit] if limit else chosen)

    async def dead_ids(self) -> list[str]:
        """The ids of all that nobody took."""
        with redis_errors():
            return sorted(key.decode() for key in await self._redis.hkeys(keys.OUTBOX_DEAD))

    async def dead_letter(self, name: str) -> StoredEvent | None:
        """One of them."""
        return (await letters(self._redis, keys.OUTBOX_DEAD, [name])).get(name)

    async def replay(self, now: float, ids: Iterable[str] | None = None) -> int:
        """Send again what nobody took, all or the named ones; how many there were."""
        chosen = await self.dead_ids() if ids is None else list(ids)
        count = 0
        for start in range(0, len(chosen), _CHUNK):
            count += int(await self._script([], ["replay", now, *chosen[start : start + _CHUNK]]))
        return count

    async def waiting(self, limit: int = 50) -> list[StoredEvent]:
        """What is to be sent, the next one first; `due` is when."""
        with redis_errors():
            rows = await self._redis.zrange(keys.OUTBOX, 0, limit - 1, withscores=True)
        due = {name.decode(): float(moment) for name, moment in rows}
        found = await letters(self._redis, keys.OUTBOX_ITEMS, list(due))
        return [{**item, "due": due[name]} for name, item in found.items()]

    async def counts(self) -> tuple[int, int]:
        """How many are to be sent, and how many nobody took."""
        with redis_errors():
            return int(await self._redis.zcard(keys.OUTBOX)), int(await self._redis.hlen(keys.OUTBOX_DEAD))

    async def next_due(self) -> float | None:
        """When the next one is due (epoch seconds); None if there is none."""
        with redis_errors():
            first = await self._redis.zrange(keys.OUTBOX, 0, 0, withscores=True)
        return float(first[0][1]) if first else None

    async def forget_seen(self, before: float) -> int:
        """Forget which were ever put there before a moment."""
        with redis_errors():
            return int(await self._redis.zremrangebyscore(keys.OUTBOX_SEEN, "-inf", before))
