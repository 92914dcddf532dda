"""Reviewed plans, kept until they are applied; and what runs leave out of what they were asked to send."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from provisioner.model.plan_file import ReviewedPlan
from provisioner.model.run_document import LeftOutRow
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors


class ReviewedStore:
    """Reviewed plans by their digests."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def keep(self, digest: str, plan: ReviewedPlan, seconds: float) -> None:
        """Keep a plan for so long from now on."""
        with redis_errors():
            await self._redis.set(keys.reviewed(digest), _pack(plan), ex=max(1, int(seconds)))

    async def plan(self, digest: str) -> ReviewedPlan | None:
        """A plan, None if it is not kept, or no longer."""
        with redis_errors():
            packed = await self._redis.get(keys.reviewed(digest))
        found: ReviewedPlan | None = _unpack(packed) if packed else None
        return found

    async def keep_left_out(self, run: str, target: str, rows: Sequence[LeftOutRow], ttl: int) -> None:
        """Keep what a run's part leaves out; a second plan of it replaces that of the first."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(keys.left_out(run), target, _pack(list(rows)))
                pipe.expire(keys.left_out(run), ttl)
                await pipe.execute()

    async def left_out(self, run: str, target: str) -> list[LeftOutRow]:
        """What a run's part leaves out."""
        with redis_errors():
            packed = await self._redis.hget(keys.left_out(run), target)
        found: list[LeftOutRow] = _unpack(packed) if packed else []
        return found


def _pack(value: Any) -> bytes:
    return zlib.compress(json.dumps(value, ensure_ascii=False).encode())


def _unpack(packed: bytes) -> Any:
    return json.loads(zlib.decompress(packed))
