"""Clients of a Redis server that are held up before a command, or that lose the answer to one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio.connection import UnixDomainSocketConnection
from redis.exceptions import ConnectionError as LostError

from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.connection import connect


def new_client(url: str) -> Any:
    """A client of the server at an address; close it with `aclose()`."""
    return connect(RedisAddress.parse(url))


def meddled(
    url: str, *, before: Callable[[bytes], Awaitable[None]] | None = None, lose: Callable[[bytes], bool] | None = None
) -> Any:
    """A client whose commands wait for `before`, and whose answers are lost after Redis has carried them out."""

    class Meddled(UnixDomainSocketConnection):
        sent = b""

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            packed = b"".join(command) if isinstance(command, list) else bytes(command)
            if before is not None:
                await before(packed)
            self.sent = packed
            await super().send_packed_command(command, check_health)

        async def read_response(self, *args: Any, **more: Any) -> Any:
            answer = await super().read_response(*args, **more)
            if lose is not None and lose(self.sent):
                raise LostError("the answer was lost")
            return answer

    client = new_client(url)
    client.connection_pool.connection_class = Meddled
    return client
