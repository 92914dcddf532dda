"""The last clean roster as an operator looks at it: its columns, what changed, its look-ups, what the gate compares."""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta


class ChangedCell(TypedDict):
    """One person's value in the earlier roster and now."""

    person: str
    before: str | None
    after: str | None


class ColumnFacts(TypedDict):
    """One column. `filled` people have a value in it; `employed_filled` of the employed did when the roster was read.
    `changed` people have another value than in the roster compared with; null: it did not have the column.
    """

    name: str
    filled: int
    employed_filled: int | None
    changed: int | None
    examples: list[ChangedCell]
    read_by: Annotated[list[str], Meta(description="Targets whose mapping reads it.")]
    read_by_roster: Annotated[bool, Meta(description="Whether a setting under `roster` reads it.")]


class LookupFacts(TypedDict):
    """One look-up: by what, where it looks, the rows of that table, and for how many people it found something."""

    name: str
    by: str
    where: str
    rows: int | None
    found: int | None


class GateFacts(TypedDict):
    """One rule of the gate: of `base` so many may go wrong before the roster is not believed as it is."""

    setting: str
    meaning: str
    allowed: str
    base: int | None
    limit: int | None
    over_it: str


class RosterFacts(TypedDict):
    """All of it; `compared_with` is the day (ISO) of an earlier roster, one of `days`; null where none is kept."""

    people: int
    columns: list[ColumnFacts]
    compared_with: str | None
    days: list[str]
    joined: list[str]
    gone: list[str]
    lookups: list[LookupFacts]
    gate: list[GateFacts]
