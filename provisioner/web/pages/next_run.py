"""When the next run begins by itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: Days that are looked through; a 29th of February is at most eight years away.
_HORIZON: Final = 366 * 8


def next_time(expressions: Iterable[str | None], after: datetime, zone: ZoneInfo) -> datetime | None:
    """The first moment after another at which one of some cron expressions is due; None if none ever is.

    Args:
        expressions: five fields each, in `zone`, both kinds of day having to fit; None: switched off.
    """
    found = [_next(text, after.astimezone(zone)) for text in expressions if text]
    return min((moment for moment in found if moment is not None), default=None)


def _next(text: str, after: datetime) -> datetime | None:
    fields = text.split()
    minutes, hours = _values(fields[0], 0, 59), _values(fields[1], 0, 23)
    days, months = _values(fields[2], 1, 31), _values(fields[3], 1, 12, _MONTHS, 1)
    weekdays = {day % 7 for day in _values(fields[4], 0, 7, _DAYS, 0)}
    day = after.replace(hour=0, minute=0, second=0, microsecond=0)
    for _ in range(_HORIZON):
        if day.month in months and day.day in days and day.isoweekday() % 7 in weekdays:
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    moment = day.replace(hour=hour, minute=minute)
                    if moment > after:
                        return moment
        day += timedelta(days=1)
    return None


def _values(text: str, low: int, high: int, names: tuple[str, ...] = (), first: int = 0) -> set[int]:
    """The values that a field of a cron expression names."""
    found: set[int] = set()
    for part in text.lower().split(","):
        span, _, step = part.partition("/")
        start, dash, end = span.partition("-")
        if start == "*":
            begin, finish = low, high
        else:
            begin = _number(start, names, first)
            finish = _number(end, names, first) if dash else high if step else begin
        found |= set(range(begin, finish + 1, int(step or 1)))
    return found


def _number(text: str, names: tuple[str, ...], first: int) -> int:
    return names.index(text[:3]) + first if text[:3] in names else int(text)
