"""Where each target's accounts are, as whoever wrote the ledger knew it; and ledgers under names of before."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors

#: Kinds of key about one target that it loses with its name: what is under way, and what belongs to one run.
_LEFT_BEHIND: Final = (keys.queued, keys.parked, keys.leases, keys.claim, keys.busy, keys.waiting)
_OF_A_TARGET: Final = re.compile(r"[a-z:]+:<target>(:<[a-z ]+>)?")


class OriginStore:
    """The origins of all targets. Every method raises StoreError when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def of(self, target: str) -> dict[str, Any] | None:
        """What was noted of a target; None if nothing was."""
        with redis_errors():
            text = await self._redis.hget(keys.ORIGINS, target)
        return json.loads(text) if text else None

    async def note(self, target: str, origin: Mapping[str, Any], *, instead: Mapping[str, Any] | None) -> bool:
        """Note an origin in place of the one that was read before; False if another process noted one meanwhile."""

        async def write(pipe: Redis) -> bool:
            found = await pipe.hget(keys.ORIGINS, target)
            if (json.loads(found) if found else None) != instead:
                return False
            pipe.multi()
            pipe.hset(keys.ORIGINS, target, json.dumps(dict(origin)))
            return True

        with redis_errors():
            return bool(await self._redis.transaction(write, keys.ORIGINS, value_from_callable=True))

    async def ledgers(self) -> dict[str, int]:
        """How many people each ledger has, by the target's name; empty ones are left out."""
        with redis_errors():
            names = [key async for key in self._redis.scan_iter(match=keys.ledger.pattern, count=1000)]
            found = {keys.ledger.part_of(key): int(await self._redis.hlen(key)) for key in names}
        return {target: count for target, count in sorted(found.items()) if count}

    async def sending(self, target: str) -> bool:
        """Whether something is being sent to a target."""
        with redis_errors():
            return bool(await self._redis.zcard(keys.leases(target)))

    async def rename(self, old: str, new: str) -> None:
        """Bring what is known of a target under its new name, ledger last; what is there already stays.

        What waited to be sent is dropped: the next run plans it again. It may be ended at any point and begun again.
        """
        kinds = [
            key for key in keys.TABLE if _OF_A_TARGET.fullmatch(key.template) and not key.template.startswith("run:")
        ]
        # Whoever finds the ledger under its new name takes everything for done
        kinds.sort(key=lambda key: key is keys.ledger)
        with redis_errors():
            for key in kinds:
                parts = key.template.count("<")
                pattern = key(old, *["*"] * (parts - 1))
                names = [name.decode() async for name in self._redis.scan_iter(match=pattern, count=1000)]
                for name in names if parts > 1 else [pattern]:
                    wanted = key(new, *([name[len(pattern) - 1 :]] if parts > 1 else []))
                    if key in _LEFT_BEHIND:
                        await self._redis.delete(name)
                    elif await self._redis.exists(name):
                        await self._redis.renamenx(name, wanted)
            await self._in_receipts(old, new)
            await self._redis.hdel(keys.ORIGINS, old)

    async def _in_receipts(self, old: str, new: str) -> None:
        async for name in self._redis.scan_iter(match=keys.receipt.pattern, count=1000):
            text = await self._redis.hget(name, old)
            if text is not None:
                await self._redis.hsetnx(name, new, text)
                await self._redis.hdel(name, old)
