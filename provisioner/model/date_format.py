"""Dates in a form of their own, by a format as strptime has it: how it is checked and how a text is read. Pure.

`%Y` takes four digits and `%y` two, so that neither reads what the other means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG: Final = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_DAYS: Final = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_FIELDS: Final = {
    "Y": r"(?P<Y>[0-9]{4})",
    "y": r"(?P<y>[0-9]{2})",
    "m": r"(?P<m>[0-9]{1,2})",
    "d": r"(?P<d>[0-9]{1,2})",
    "b": rf"(?P<b>{'|'.join(_MONTHS)})\.?",
    "B": rf"(?P<B>{'|'.join(_LONG)})",
    "j": r"(?P<j>[0-9]{1,3})",
    "H": r"(?P<H>[0-9]{1,2})",
    "I": r"(?P<I>[0-9]{1,2})",
    "M": r"(?P<M>[0-9]{1,2})",
    "S": r"(?P<S>[0-9]{1,2})",
    "f": r"[0-9]{1,9}",
    "p": r"(?P<p>[AP])\.?M\.?",
    "z": r"(?P<z>Z|[+-][0-9]{2}:?[0-9]{2})",
    "a": r"(?:mon|tue|wed|thu|fri|sat|sun)\.?",
    "A": rf"(?:{_DAYS})",
    "%": "%",
}
_DIGITS: Final = frozenset("YymdjHIMS")
#: From this two-digit year on, the century is the last one, as strptime has it.
_CENTURY: Final = 69


@dataclass(frozen=True, slots=True)
class DateFormat:
    """One format, and the pattern of the texts that it reads."""

    text: str
    pattern: re.Pattern[str]

    @property
    def short_year(self) -> bool:
        """Whether it has two digits for the year."""
        return "y" in self.pattern.groupindex

    def read(self, text: str, zone: ZoneInfo) -> date | None:
        """The day of a text, None where it is none; a moment with a zone is its day in `zone`."""
        found = self.pattern.fullmatch(text.strip())
        if found is None:
            return None
        parts = found.groupdict()
        try:
            day = _day(parts)
            if parts.get("z"):
                hour, minute = _clock(parts)
                moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=_offset(parts["z"]))
                return moment.astimezone(zone).date()
        except (ValueError, OverflowError):
            return None
        return day


@lru_cache(maxsize=128)
def date_format(text: str) -> DateFormat:
    """A format, compiled.

    Raises:
        ValueError: it has a field that no date has, one twice, or does not give day, month and year.
    """
    # A Z that ends a clock is the zone, not a letter
    spelt = re.sub(r"(?:(?<=%[SfM])|(?<=\.0)|(?<=:00))Z\Z", "%z", text.strip())
    parts = re.split(r"(%.?)", spelt)
    pattern, seen = "", []
    for index, part in enumerate(parts):
        if not part.startswith("%"):
            pattern += r"\s+".join(re.escape(word) for word in re.split(r"\s+", part))
            continue
        field = part[1:]
        if field not in _FIELDS:
            raise ValueError(f"{text!r} has {part!r}, which is no part of a date")
        if field in seen and field != "%":
            raise ValueError(f"{text!r} has {part!r} twice")
        seen.append(field)
        # With nothing between two numbers, each has all of its digits
        neighbours = (parts[index + 2 : index + 3] if not parts[index + 1] else [], parts[index - 2 : index - 1])
        crowded = field in _DIGITS and (
            any(one[1:] in _DIGITS for one in neighbours[0])
            or (index > 1 and not parts[index - 1] and any(one[1:] in _DIGITS for one in neighbours[1]))
        )
        whole = _FIELDS[field].replace("{1,2}", "{2}").replace("{1,3}", "{3}")
        pattern += whole if crowded else _FIELDS[field]
    have = set(seen)
    if not have & {"Y", "y"} or not ("j" in have or ("d" in have and have & {"m", "b", "B"})):
        raise ValueError(f"{text!r} does not give year, month and day, as %d/%m/%Y does")
    return DateFormat(text, re.compile(pattern, re.IGNORECASE))


def _day(parts: dict[str, str | None]) -> date:
    year = int(parts.get("Y") or 0)
    if short := parts.get("y"):
        year = int(short) + (1900 if int(short) >= _CENTURY else 2000)
    if ordinal := parts.get("j"):
        day = date(year, 1, 1) + timedelta(days=int(ordinal) - 1)
        if day.year != year or not int(ordinal):
            raise ValueError(ordinal)
        return day
    if name := parts.get("b"):
        month = _MONTHS.index(name.lower()) + 1
    elif name := parts.get("B"):
        month = _LONG.index(name.lower()) + 1
    else:
        month = int(parts["m"] or 0)
    return date(year, month, int(parts["d"] or 0))


def _clock(parts: dict[str, str | None]) -> tuple[int, int]:
    hour = int(parts.get("H") or parts.get("I") or 0)
    if half := parts.get("p"):
        hour = hour % 12 + (12 if half.upper() == "P" else 0)
    return hour, int(parts.get("M") or 0)


def _offset(text: str | None) -> timezone:
    if not text or text.upper() == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    return timezone((-1 if text[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes))
