"""Who vanished from the roster, since when, and whether that makes a leaver; pure."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from provisioner.roster.values import People, folded
from provisioner.settings import AbsenceSettings

_SINCE = pl.Datetime("us", "UTC")


def advance_absence(
    previous: pl.DataFrame | None,
    people: People,
    *,
    clean: bool,
    written: str,
    last_written: str | None,
    now: datetime,
    settings: AbsenceSettings,
) -> pl.DataFrame:
    """Everyone known, after this snapshot: the last clean row of each person, and their absence.

    The frame has the columns of `People.frame`, and `_row_verdict` (what the row itself said), `_absent_snapshots`
    (Int32: clean snapshots, written anew, without the person) and `_absent_since` (UTC: the first of them, or null).
    `_verdict` is ``absent`` while somebody vanished but is no leaver yet, and ``leaver`` once absence is served.

    Only a clean snapshot changes anything. Rejected and unknown people are present, with their last clean row. A row
    whose key cannot be read may be anybody's, so with one nobody's absence advances. Who was renamed (`previous_key`,
    or the key's case) goes on under the new key. `written` and `last_written` tell whether the file was written anew.
    """
    if not clean:
        return previous if previous is not None else _present(people).clear()
    present = _present(people)
    if previous is None or previous.is_empty():
        return present
    gone = _aligned(previous, present).filter(
        ~pl.col("_key").is_in(pl.Series(list(people.renamed), dtype=pl.String).implode()),
        ~folded(previous["_key"]).is_in(folded(present["_key"]).implode()),
    )
    back = pl.col("_key").is_in(pl.Series(list(people.present), dtype=pl.String).implode())
    kept = gone.filter(back).with_columns(
        pl.col("_row_verdict").alias("_verdict"),
        pl.lit(0, dtype=pl.Int32).alias("_absent_snapshots"),
        pl.lit(None, dtype=_SINCE).alias("_absent_since"),
    )
    away = gone.filter(~back)
    if not people.unreadable_keys:
        away = _advanced(away, anew=written != last_written, now=now, settings=settings)
    return pl.concat([present, kept, away])


def _present(people: People) -> pl.DataFrame:
    return people.frame.with_columns(
        pl.col("_verdict").alias("_row_verdict"),
        pl.lit(0, dtype=pl.Int32).alias("_absent_snapshots"),
        pl.lit(None, dtype=_SINCE).alias("_absent_since"),
    )


def _aligned(previous: pl.DataFrame, present: pl.DataFrame) -> pl.DataFrame:
    """The earlier rows in today's columns; what the roster did not have then is null."""
    return previous.select(
        pl.col(name).cast(dtype) if name in previous.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in present.schema.items()
    )


def _advanced(away: pl.DataFrame, *, anew: bool, now: datetime, settings: AbsenceSettings) -> pl.DataFrame:
    moment = pl.lit(now, dtype=_SINCE)
    away = away.with_columns(
        (pl.col("_absent_snapshots") + int(anew)).cast(pl.Int32).alias("_absent_snapshots"),
        pl.col("_absent_since").fill_null(moment) if anew else pl.col("_absent_since"),
    )
    served = (pl.col("_absent_snapshots") >= settings.snapshots) & (
        moment - pl.col("_absent_since") >= pl.lit(settings.grace)
    )
    left = (pl.col("_row_verdict") == "leaver") | served.fill_null(False)
    missed = pl.col("_absent_snapshots") > 0
    return away.with_columns(
        pl.when(left | (pl.col("_verdict") == "leaver"))
        .then(pl.lit("leaver"))
        .when(missed)
        .then(pl.lit("absent"))
        .otherwise(pl.col("_verdict"))
        .alias("_verdict")
    )
