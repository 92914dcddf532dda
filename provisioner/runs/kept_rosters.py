"""The clean rosters of past days, and their rows as if they had just been read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import polars as pl

from provisioner.expressions import compile_expression, evaluate_text
from provisioner.expressions.misses import MISSED
from provisioner.roster import Read
from provisioner.runtime.clock import day_in
from provisioner.runtime.context import Deployment
from provisioner.settings import RosterSettings, Settings
from provisioner.store.people.snapshots import roster_columns

_DOUBTS: Final = pl.Schema({"_line": pl.Int64, "column": pl.String, "reason": pl.String})


@dataclass(frozen=True, slots=True)
class Kept:
    """A clean roster as it is kept: its day, when it was read (epoch seconds), its digest, and everybody's rows."""

    day: date
    taken: float
    digest: str
    people: pl.DataFrame


async def kept_rosters(dep: Deployment) -> list[Kept]:
    """The last clean roster of each day that is kept, the newest of all last."""
    found = []
    for one in await dep.past.listed():
        people = await dep.past.people(one.day)
        if people is not None:
            found.append(Kept(date.fromisoformat(one.day), one.taken, one.digest, people))
    known = await dep.frames.known()
    digest, taken = await dep.frames.newest()
    if known is not None:
        found.append(Kept(day_in(dep.settings.zone, taken)[0], taken, digest, known))
    return found


def read_again(rows: pl.DataFrame) -> Read:
    """Kept rows as if they had just been read."""
    columns = tuple(roster_columns(rows.columns))
    missed = [MISSED] if MISSED in rows.columns else []
    lines = pl.int_range(1, rows.height + 1, dtype=pl.Int64, eager=True).alias("_line")
    frame = rows.select("_key", *columns, *missed).with_columns(lines)
    return Read(
        frame, (), columns, rows.height, unreadable_keys=False, present=frozenset(), doubts=pl.DataFrame(schema=_DOUBTS)
    )


def computed(rows: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Rows with the columns that some settings compute."""
    waiting = dict(settings.roster.columns)
    while waiting:
        ready = [
            name
            for name, text in waiting.items()
            if not compile_expression(text, None, where=f"roster.columns.{name}").columns.intersection(
                {*waiting}.difference({name})
            )
        ]
        if not ready:
            break
        for name in ready:
            text = waiting.pop(name)
            expression = compile_expression(text, None, where=f"roster.columns.{name}", zone=settings.zone)
            rows = rows.with_columns(evaluate_text(expression, rows).values.cast(pl.String).alias(name))
    return rows


def absent_of(away: pl.DataFrame, rows: pl.DataFrame, settings: RosterSettings, moment: datetime) -> pl.DataFrame:
    """Who vanished: leavers once their absence is served."""
    facts = rows.select("_key", "_absent_snapshots", "_absent_since")
    known = away.join(facts, on="_key", how="left", maintain_order="left")
    since = pl.lit(moment) - pl.col("_absent_since")
    served = (pl.col("_absent_snapshots") >= settings.absence.snapshots) & (since >= pl.lit(settings.absence.grace))
    left = (pl.col("_verdict") == "leaver") | served.fill_null(value=False)
    verdict = pl.when(left).then(pl.lit("leaver")).otherwise(pl.lit("absent"))
    return known.with_columns(verdict.alias("_verdict")).select(away.columns)
