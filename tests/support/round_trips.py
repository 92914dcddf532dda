"""Round trips to Redis, counted where redis-py sends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import pytest
import redis
from redis.asyncio.connection import AbstractConnection

from provisioner.store.redis.lock import RENEWAL

#: What redis-py sends by itself: when it connects, and when a connection was idle for long.
_OF_THE_CLIENT: Final = frozenset({b"PING", b"HELLO", b"AUTH", b"CLIENT", b"SELECT"})


@dataclass(slots=True)
class Trips:
    """Round trips to Redis so far: a pipeline is one.

    What is sent by the clock is not among them: renewals of locks and leases, and what the client asks by itself. So
    the count is the same however slow the machine is.
    """

    count: int = 0

    def since(self, before: int) -> int:
        return self.count - before


def counted_trips(monkeypatch: pytest.MonkeyPatch) -> Trips:
    """The round trips of this process from here on."""
    counted = Trips()
    send = AbstractConnection.send_packed_command

    async def counting(self: AbstractConnection, command: Any, *arguments: Any, **options: Any) -> Any:
        task = asyncio.current_task()
        renews = task is not None and task.get_name().startswith(RENEWAL)
        counted.count += not renews and _command(command) not in _OF_THE_CLIENT
        return await send(self, command, *arguments, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counting)
    return counted


def _command(packed: bytes | str | Iterable[bytes]) -> bytes:
    """The first command of what is sent. The protocol has how many words there are, how long the first one is, it."""
    text = packed if isinstance(packed, bytes | str) else b"".join(packed)
    words = (text.encode() if isinstance(text, str) else text).split(b"\r\n", 3)
    return words[2].upper()


def commands_so_far(url: str) -> int:
    """How many commands a server has carried out: each call of a script is one, and so is each that a script makes."""
    with redis.Redis.from_url(url) as client:
        stats = client.info("commandstats")
    return sum(int(one["calls"]) for one in stats.values())
