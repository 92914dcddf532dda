"""People who go on under another key, and those of whom somebody said that they do not; see lua/rekey.lua."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from provisioner.store.people.hand_links import Changed, changed_from
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Scripts


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

    async def link(self, target: str, old: str, new: str) -> Changed:
        """Move the link in one target, and drop what is open there for either key, which was planned without this.

        It comes to ``other`` where both keys have a link.
        """
        return changed_from(await self._script([], ["link", target, old, new]))

    async def person(self, old: str, new: str) -> None:
        """Move what is kept of them apart from targets: receipts, history, what was heard, and facts."""
        with redis_errors():
            await self._script([], ["person", "", old, new])
