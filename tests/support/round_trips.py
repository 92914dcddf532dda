"""Round trips to Redis, counted where redis-py sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection


@dataclass(slots=True)
class Trips:
    """Round trips to Redis so far: a pipeline is one."""

    count: int = 0

    def since(self, before: int) -> int:
        return self.count - before


def counted_trips(monkeypatch: pytest.MonkeyPatch) -> Trips:
    """The round trips of this process from here on."""
    counted = Trips()
    send = AbstractConnection.send_packed_command

    async def counting(self: AbstractConnection, *arguments: Any, **options: Any) -> Any:
        counted.count += 1
        return await send(self, *arguments, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counting)
    return counted
