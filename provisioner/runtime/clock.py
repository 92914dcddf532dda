"""Moments and days: Redis's clock gives the moment, the settings' time zone its day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo


def day_in(zone: ZoneInfo, seconds: float) -> tuple[date, date]:
    """The day of a moment (epoch seconds) in a time zone, and in UTC."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.astimezone(zone).date(), moment.date()
