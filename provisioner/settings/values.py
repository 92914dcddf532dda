"""The small value types of the settings: durations, percentages, rates. Pure parsing, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, PlainSerializer
from pydantic_core import core_schema

from provisioner.model.date_format import date_format

#: Characters from which on a token counts as one that nobody finds by trying.
UNGUESSABLE: Final = 16

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_WINDOWS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])")
_RATE = re.compile(r"\s*(\d+)\s*/\s*(?:(\d+(?:\.\d+)?(?:ms|[smhdw]))|(second|minute|hour|day))\s*", re.IGNORECASE)
_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%?\s*")


def parse_duration(value: Any) -> timedelta:
    """Read ``90s``, ``24h``, ``7d``, ``1h30m`` or ``0s``.

    A bare number other than 0 is refused, since nobody can tell its unit.

    Raises:
        ValueError: the text is no duration.
    """
    if isinstance(value, timedelta):
        return value
    text = str(value).strip().lower()
    if text == "0":
        return timedelta(0)
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ValueError(f"{value!r} is no duration; write a number with its unit, such as 90s, 30m, 24h or 7d")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def format_duration(value: timedelta) -> str:
    """Write a duration in the largest unit that divides it, the inverse of `parse_duration`."""
    seconds = value.total_seconds()
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{int(seconds / _UNITS[unit])}{unit}"
    return f"{int(seconds * 1000)}ms" if seconds else "0s"


def parse_percent(value: Any) -> float:
    """Read ``10``, ``10%`` or ``2.5 %`` as a number of hundredths.

    Raises:
        ValueError: the text is no percentage, or lies outside 0 to 100.
    """
    match = None if isinstance(value, bool) else _PERCENT.fullmatch(str(value))
    if match is None or float(match.group(1)) > 100:
        raise ValueError(f"{value!r} is no percentage; write 10 or 10%, from 0 to 100")
    return float(match.group(1))


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` requests in any `window` seconds."""

    limit: int
    window: float

    def __str__(self) -> str:
        for name, seconds in _WINDOWS.items():
            if seconds == self.window:
                return f"{self.limit}/{name}"
        return f"{self.limit}/{format_duration(timedelta(seconds=self.window))}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            parse_rate, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


def parse_rate(value: Any) -> Rate:
    """Read ``300/minute``, ``10/second`` or ``100/10s``.

    Raises:
        ValueError: the text is no rate, or it allows nothing at all.
    """
    if isinstance(value, Rate):
        return value
    match = _RATE.fullmatch(str(value))
    if match is None or int(match.group(1)) < 1:
        raise ValueError(f"{value!r} is no rate; write requests per window, such as 300/minute, 10/second or 100/10s")
    limit, span, name = match.groups()
    window = parse_duration(span).total_seconds() if span else _WINDOWS[name.lower()]
    if window <= 0:
        raise ValueError(f"{value!r} has an empty window")
    return Rate(int(limit), window)


#: Ways to write a date that have a name.
DATE_FORMS = ("iso", "day_first", "month_first")


def parse_date_form(value: Any) -> str:
    """Read ``iso``, ``day_first``, ``month_first``, or a format as strptime has it, such as ``%d-%b-%y``.

    Raises:
        ValueError: it is none of these.
    """
    text = str(value).strip()
    if text in DATE_FORMS:
        return text
    if "%" not in text:
        raise ValueError(f"{value!r} is no form of a date; write {', '.join(DATE_FORMS)} or a format such as %d-%b-%y")
    date_format(text)
    return text


def _date_forms(value: Any) -> Any:
    return _one_or_more(value)


def _one_or_more(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
Percent = Annotated[float, BeforeValidator(parse_percent)]
DateForm = Annotated[str, BeforeValidator(parse_date_form)]
DateForms = Annotated[tuple[DateForm, ...], BeforeValidator(_date_forms), Field(min_length=1)]
Rates = Annotated[tuple[Rate, ...], BeforeValidator(_one_or_more)]
