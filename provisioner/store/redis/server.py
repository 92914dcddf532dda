"""The server itself: whether it answers, its clock, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.store.redis import keys
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors


class Server:
    """One server."""

    def __init__(self, redis: Redis, address: RedisAddress | None = None) -> None:
        """
        Args:
            address: where the server is, for errors.
        """
        self._redis, self._address = redis, address

    async def ping(self) -> None:
        """Return if the server answers.

        Raises:
            StoreError: it does not, with the reason and what to do.
        """
        with redis_errors(self._address):
            await self._redis.ping()

    async def takes_writes(self) -> None:
        """Return if the server takes writes. Nothing is changed: an empty text is written over the start of a value.

        Raises:
            StoreError: it does not answer, or refuses, with the reason and what to do.
        """
        with redis_errors(self._address):
            await self._redis.setrange(keys.SCHEMA, 0, "")

    async def now(self) -> float:
        """Epoch seconds by Redis's clock, the only one that all machines share.

        Raises:
            StoreError: Redis does not answer.
        """
        with redis_errors(self._address):
            seconds, micros = await self._redis.time()
        return int(seconds) + int(micros) / 1e6

    async def info(self) -> Mapping[str, Any]:
        """The server's answer to INFO, parsed by redis-py.

        Raises:
            StoreError: Redis does not answer.
        """
        with redis_errors(self._address):
            found: Mapping[str, Any] = await self._redis.info()
        return found
