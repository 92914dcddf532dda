"""Cron expressions: the one reader of them, for the settings, the schedule and the page. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

_FIELDS: Final = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, L or LW"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of the week", "0 to 7 or SUN to SAT, 5L or 5#2"),
)
_FORM: Final = "write five fields, such as */30 * * * *"
#: Where the search for a first time begins. What comes at all comes in the 50 years that cronsim looks through.
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
#: What cronsim raises for a text that it does not take.
_FAULTS: Final = (CronSimError, ValueError, AssertionError)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression of five fields, read as Debian's cron reads it: minute, hour, day, month, day of the week.

    If both kinds of day are restricted, one of them is enough. Sunday is 0 or 7. Make one with `Cron.read`.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    @classmethod
    def read(cls, value: Any) -> Self:
        """Read an expression; blanks between the fields become one each.

        Raises:
            ValueError: it is none, or its time never comes. The sentence names the field that is wrong.
        """
        if isinstance(value, cls):
            return value
        fields = value.split() if isinstance(value, str) and value.isascii() else []
        if len(fields) != len(_FIELDS):
            raise ValueError(f"{value!r} is no cron expression; {_FORM}")
        text = " ".join(fields)
        if not _comes(text):
            raise ValueError(f"{text!r} is no cron expression: {_fault(fields)}; {_FORM}")
        return cls(text)

    def next(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        """The first time after a moment, in `zone`; None if none comes within 50 years.

        Times of day that a change of the clocks leaves out come at once after it, those that it repeats come once. An
        expression whose minute or hour begins with a star goes by real time instead.
        """
        after = after.astimezone(zone)
        for moment in CronSim(self.text, after):
            # Cronsim gives the first of two equal readings of a clock that is put back; it may be over
            if moment.astimezone(UTC) > after.astimezone(UTC):
                # Midnight may be left out as well, and is then no time of that zone
                return moment.astimezone(UTC).astimezone(zone)
        return None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.read, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


def next_time(crons: Iterable[Cron | None], after: datetime, zone: ZoneInfo) -> datetime | None:
    """The first time after a moment at which one of some expressions is due; None: all of them are switched off."""
    found = [cron.next(after, zone) for cron in crons if cron is not None]
    return min((moment for moment in found if moment is not None), default=None)


def _comes(text: str) -> bool:
    """Whether it is an expression and ever due."""
    try:
        return next(CronSim(text, _EPOCH), None) is not None
    except _FAULTS:
        return False


def _fault(fields: list[str]) -> str:
    """What is wrong with five fields: the first that cannot be read alone, else all of them together."""
    for place, ((name, values), field) in enumerate(zip(_FIELDS, fields, strict=True)):
        alone = ["*"] * len(_FIELDS)
        alone[place] = field
        if not _comes(" ".join(alone)):
            return f"its {name} {field!r} is not within {values}, or a range runs backwards"
    return "no calendar has such a day"
