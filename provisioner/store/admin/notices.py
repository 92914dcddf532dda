"""Notices that wait to be sent, and the states of which somebody was notified."""

from __future__ import annotations

import json
from typing import Any

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors


class NoticeStore:
    """All notices, and all states."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def begin_state(self, state: str, subject: str, now: float) -> bool:
        """Note that a state began; False if that is known.

        Args:
            subject: the target, or what else the state is about.
            now: epoch seconds.
        """
        with redis_errors():
            return bool(await self._redis.hsetnx(keys.NOTIFIED, f"{state}:{subject}", now))

    async def end_state(self, state: str, subject: str) -> bool:
        """Note that a state is over; False if nobody knew of it."""
        with redis_errors():
            return bool(await self._redis.hdel(keys.NOTIFIED, f"{state}:{subject}"))

    async def put(self, notice: dict[str, Any]) -> None:
        """Put a notice, as JSON can hold it, behind those that wait."""
        with redis_errors():
            await self._redis.rpush(keys.NOTICES, json.dumps(notice))

    async def take(self) -> dict[str, Any] | None:
        """Take the notice that has waited longest; None if none waits."""
        with redis_errors():
            text = await self._redis.lpop(keys.NOTICES)
        if text is None:
            return None
        found: dict[str, Any] = json.loads(text)
        return found

    async def waiting(self) -> int:
        """How many notices wait."""
        with redis_errors():
            return int(await self._redis.llen(keys.NOTICES))
