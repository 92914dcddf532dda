"""Outgoing webhooks in Redis: put there once each, taken under a lease, gone when the receiver has them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from provisioner.store import keys
from provisioner.store.client import Redis
from provisioner.store.connection import redis_errors
from provisioner.store.scripts import Scripts


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One webhook to be sent: `route` names the setting that holds its address and secret, `since` is when it arose.

    The address itself is not kept here: it may hold a secret, and it may be mended meanwhile.
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
        added = 0
        for item in items:
            added += int(await self._script([], ["add", item.id, json.dumps(asdict(item)), now]))
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

    async def dead(self) -> dict[str, dict[str, Any]]:
        """What nobody took, by id."""
        with redis_errors():
            raw = await self._redis.hgetall(keys.OUTBOX_DEAD)
        return {key.decode(): json.loads(value) for key, value in raw.items()}

    async def replay(self, now: float) -> int:
        """Send everything again that nobody took; how many there are."""
        letters = await self.dead()
        for name, letter in letters.items():
            item = Outgoing(**{key: letter[key] for key in Outgoing.__slots__ if key in letter})
            with redis_errors():
                async with self._redis.pipeline(transaction=True) as pipe:
                    pipe.hset(keys.OUTBOX_ITEMS, name, json.dumps(asdict(replace(item, tries=0, since=now))))
                    pipe.zadd(keys.OUTBOX, {name: now})
                    pipe.hdel(keys.OUTBOX_DEAD, name)
                    await pipe.execute()
        return len(letters)

    async def next_due(self) -> float | None:
        """When the next one is due (epoch seconds); None if there is none."""
        with redis_errors():
            first = await self._redis.zrange(keys.OUTBOX, 0, 0, withscores=True)
        return float(first[0][1]) if first else None

    async def forget_seen(self, before: float) -> int:
        """Forget which were ever put there before a moment."""
        with redis_errors():
            return int(await self._redis.zremrangebyscore(keys.OUTBOX_SEEN, "-inf", before))
