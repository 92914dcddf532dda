"""Who vanished from the roster, since when, and whether that makes a leaver; pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import polars as pl

from provisioner.roster.identity import fold_keys
from provisioner.roster.values import People
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
    perhaps: Collection[str] = (),
) -> pl.DataFrame:
    """Everyone known, after this snapshot: the last clean row of each person, and their absence.

    The frame has the columns of `People.frame`, and `_row_verdict` (what the row itself said), `_absent_snapshots`
    (Int32: clean snapshots, rewritten, without the person) and `_absent_since` (UTC: the first of them, or null).
    `_verdict` is ``absent`` while somebody vanished but is no leaver yet, and ``leaver`` once absence is served.

    Only a clean snapshot changes anything. Rejected and unknown people are present, with their last clean row. A row
    whose key cannot be read may be anybody's, so with one nobody's absence advances. Who was renamed (`previous_key`,
    or the key's case) goes on under the new key. `perhaps` are vanished people who may be here under a new key: their
    absence stays as it was. `written` and `last_written` tell whether the file was rewritten.
    """
    if not clean:
        return previous if previous is not None else _present(people).clear()
    present = _present(people)
    if previous is None or previous.is_empty():
        return present
    gone = _aligned(previous, present).filter(
        ~_among(previous["_key"], people.renamed),
        ~_among(previous["_key"], present["_key"]),
    )
    back = _among(gone["_key"], people.present)
    kept = gone.filter(back).with_columns(
        pl.col("_row_verdict").alias("_verdict"),
        pl.lit(0, dtype=pl.Int32).alias("_absent_snapshots"),
        pl.lit(None, dtype=_SINCE).alias("_absent_since"),
    )
    away = gone.filter(~back)
    waits = _among(away["_key"], perhaps)
    missing = pl.when(pl.col("_verdict") == "leaver").then("_verdict").otherwise(pl.lit("absent"))
    waiting, away = away.filter(waits).with_columns(missing.alias("_verdict")), away.filter(~waits)
    if not people.unreadable_keys:
        away = _advanced(away, anew=written != last_written, now=now, settings=settings)
    return pl.concat([present, kept, waiting, away])


def _among(keys: pl.Series, others: Collection[str] | pl.Series) -> pl.Series:
    """Of each key whether it is of the same person as one of the others."""
    if not isinstance(others, pl.Series) and not others:
        return pl.repeat(False, keys.len(), dtype=pl.Boolean, eager=True)
    named = others if isinstance(others, pl.Series) else pl.Series(list(others), dtype=pl.String)
    return fold_keys(keys).is_in(fold_keys(named).implode())


def unlisted(previous: pl.DataFrame | None, people: People) -> pl.DataFrame | None:
    """The known people whose row is missing now."""
    if previous is None:
        return None
    here = (people.frame["_key"], people.renamed, people.present)
    missing = pl.repeat(True, previous.height, dtype=pl.Boolean, eager=True)
    for keys in here:
        missing &= ~_among(previous["_key"], keys)
    return previous.filter(missing)


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
