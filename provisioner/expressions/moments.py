"""Moments in columns of days: the day of each in the organisation's time zone. Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

#: The zone of whatever names none.
UTC_ZONE: Final = ZoneInfo("UTC")
_CLOCK: Final = re.compile(
    r"[T ](?P<h>[0-9]{1,2}):(?P<m>[0-9]{2})(?::(?P<s>[0-9]{2})(?:[.,][0-9]+)?)?(?:\s?(?P<p>[AaPp])[Mm])?"
    r"\s?(?P<z>Z|[+-][0-9]{2}:?[0-9]{2})?\s*\Z"
)
_ISO: Final = re.compile(r"\s*([0-9]{4})-([0-9]{2})-([0-9]{2})\Z")
#: A day with a zone and without any time, as XML has it; it is that day wherever it is read.
_ZONED: Final = re.compile(r"\s*([0-9]{4}-[0-9]{2}-[0-9]{2})[+-][0-9]{2}:[0-9]{2}\s*\Z")
#: What every text that `_CLOCK` finds holds, seen some ten times faster.
_HINT: Final = ":"


def local_day(day: date, text: str, zone: ZoneInfo) -> date:
    """The day on which a moment falls in `zone`: `day`, with which its text begins, where the text names no zone."""
    clock = _CLOCK.search(text)
    if clock is None or clock["z"] is None:
        return day
    try:
        moment = datetime(
            day.year,
            day.month,
            day.day,
            int(clock["h"]) if clock["p"] is None else int(clock["h"]) % 12 + 12 * (clock["p"] in "Pp"),
            int(clock["m"]),
            min(int(clock["s"] or 0), 59),
            tzinfo=_offset(clock["z"]),
        )
        return moment.astimezone(zone).date()
    except (ValueError, OverflowError):
        return day


def _offset(text: str) -> timezone:
    if text == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    return timezone((-1 if text[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes))


def days_of(column: pl.Series, zone: ZoneInfo) -> pl.Series:
    """A text column in which each moment that begins as yyyy-mm-dd is its day in `zone`; all other cells stay."""
    rows = column.str.contains(_HINT, literal=True).fill_null(value=False).arg_true()
    if rows.is_empty():
        return column
    spelt = {text: _day_of(text, zone) for text in column.gather(rows).unique().to_list()}
    return column.scatter(rows, [spelt[text] for text in column.gather(rows).to_list()])


def _day_of(text: str, zone: ZoneInfo) -> str:
    if zoned := _ZONED.match(text):
        return zoned[1]
    clock = _CLOCK.search(text)
    found = _ISO.match(text[: clock.start()]) if clock else None
    if found is None:
        return text
    try:
        day = date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return text
    return local_day(day, text, zone).isoformat()
