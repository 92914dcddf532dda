"""How the last weeks went, day by day in the organisation's time."""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta


class TrendDay(TypedDict):
    """One day. `runs` counts those that began on it, by status now; `held`, those in which a guard held something.

    `done` and `failed` are operations that ended. `leavers` are the seconds from when each leaver who was finished that
    day was asked for until their last account was left, the shortest first.
    """

    day: Annotated[str, Meta(description="YYYY-MM-DD.")]
    runs: dict[str, int]
    held: int
    done: int
    failed: int
    leavers: list[float]


class Trends(TypedDict):
    """All of the days, the oldest first. `promise` is `slo.leaver` in seconds. `runs_since` and `leavers_since` are set
    where more are kept than are looked at: the days before are not complete (YYYY-MM-DD)."""

    days: list[TrendDay]
    promise: float
    runs_since: str | None
    leavers_since: str | None
