"""Leavers in steps: on which day somebody left a target, and which steps of `leaver` are due since. Pure.

The day of leaving is the earliest of what is known: the day after the last one, the day that the ledger has, and the
day on which a roster that was accepted said so first. So no later reading can move it further away.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

#: Columns of a desired frame: how many steps are due for a leaver (0 for others), and since which day (ISO) they left.
DUE, LEFT_ON = "_due", "_left_on"
#: Columns of the ledger: the day of leaving, and how many steps were brought about.
LEFT, STEP = "_left", "_step"


def due_steps(
    people: pl.DataFrame, leaving: pl.Series, after: tuple[int, ...], left: Mapping[str, date], today: date
) -> pl.DataFrame:
    """`DUE` and `LEFT_ON` of everybody, in the order of the people.

    Args:
        people: `_key`, `_verdict` and `_ends`.
        after: by step, the days after the day of leaving; the first is 0.
        left: what is known of the day of leaving.
    """
    keys = people["_key"]
    known = [left.get(key) for key in keys.to_list()] if left else [None] * keys.len()
    over = (pl.col("_verdict") == "leaver") & (pl.col("_ends") < today)
    day = pl.min_horizontal(
        pl.col("_known"), pl.when(over).then(pl.col("_ends") + timedelta(days=1)), pl.lit(today, dtype=pl.Date)
    )
    frame = people.select("_verdict", pl.col("_ends").cast(pl.Date), pl.Series("_known", known, dtype=pl.Date))
    frame = frame.with_columns(day.alias("_day"), leaving.alias("_leaving"))
    due = pl.sum_horizontal((pl.lit(today) - pl.col("_day")).dt.total_days() >= days for days in after)
    return frame.select(
        pl.when("_leaving").then(due.cast(pl.Int64)).otherwise(0).alias(DUE),
        pl.when("_leaving").then(pl.col("_day").dt.to_string("%Y-%m-%d")).alias(LEFT_ON),
    )


def days_of_leaving(ledger: pl.DataFrame, noted: Mapping[str, float], zone: ZoneInfo) -> dict[str, date]:
    """By person the day on which they left a target, as far as ledger and receipts know.

    An entry of an earlier version does not have it: then the day of its last change stands in.

    Args:
        noted: since when leaves are unfinished (epoch seconds).
    """
    found = {person: _day(moment, zone) for person, moment in noted.items()}
    if LEFT not in ledger.columns:
        return found
    gone = ledger.filter(pl.col("_state") == "left").select("_person", LEFT, "_recorded")
    for person, day, recorded in gone.iter_rows():
        known = date.fromisoformat(day) if day else _day(recorded, zone) if recorded else None
        if known is not None:
            found[person] = min(known, found.get(person, known))
    return found


def due_on(after: tuple[int, ...], left: date, today: date) -> int:
    """How many steps are due for somebody who left on that day."""
    return sum(left + timedelta(days=one) <= today for one in after)


def next_step(after: tuple[int, ...], left: date, today: date) -> date | None:
    """The day of the first step that is not due yet; None if all are."""
    days = (left + timedelta(days=one) for one in after)
    return next((day for day in days if day > today), None)


def _day(moment: float, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(moment, UTC).astimezone(zone).date()
