"""Moments and days: Redis's clock gives the moment, the settings' time zone its day. And spans of one process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from provisioner.store.redis.server import Server

#: Linux's monotonic clock stops while the machine sleeps; other systems' does not.
_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def since_boot() -> float:
    """Seconds by a clock that is never set, and that goes on while this process or its machine is suspended."""
    return time.clock_gettime(_CLOCK)


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock that all machines share."""

    server: Server
    zone: ZoneInfo

    async def now(self) -> float:
        """Epoch seconds.

        Raises:
            StoreError: Redis does not answer.
        """
        return await self.server.now()

    async def today(self) -> tuple[date, date]:
        """Today in the settings' time zone, and in UTC.

        Raises:
            StoreError: Redis does not answer.
        """
        return day_in(self.zone, await self.now())


def day_in(zone: ZoneInfo, seconds: float) -> tuple[date, date]:
    """The day of a moment (epoch seconds) in a time zone, and in UTC."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.astimezone(zone).date(), moment.date()
