"""People who go on under another key, and those of whom somebody said that they do not; see lua/rekey.lua."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Scripts

#: What came of moving a link.
Moved = Literal["done", "other", "sending"]


class RekeyStore:
    """Moves what is kept of a person to another key."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._script = scripts.load("rekey")

    async def newcomers(self) -> frozenset[str]:
        """Keys of whom somebody said that they belong to nobody who was known before."""
        with redis_errors():
            return frozenset(key.decode() for key in await self._redis.hkeys(keys.NEWCOMERS))

    async def say_new(self, person: str, record: Mapping[str, Any]) -> None:
        """Remember that a key belongs to nobody who was known before, and who said so."""
        with redis_errors():
            await self._redis.hset(keys.NEWCOMERS, person, json.dumps(dict(record)))

    async def link(self, target: str, old: str, new: str) -> tuple[Moved, tuple[str, ...]]:
        """Move the link in one target, and drop what stands there for either key, which was planned without this.

        Returns:
            ``done``; ``other``: nothing changed, both keys have a link; ``sending``: nothing changed, something about
            one of them is being sent. And the run of each operation that was dropped.
        """
        with redis_errors():
            verdict, *runs = await self._script([], ["link", target, old, new])
        names = tuple(run.decode() for run in runs if isinstance(run, bytes))
        return ("done" if verdict == 1 else "sending" if verdict == -1 else "other"), names

    async def person(self, old: str, new: str) -> None:
        """Move what is kept of them apart from targets: receipts, history, what was heard, and facts."""
        with redis_errors():
            await self._script([], ["person", "", old, new])
