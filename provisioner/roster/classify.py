"""Who is employed, leaving, excluded or yet to start; pure. The order of the rules is that of the expression below."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from hashlib import blake2b
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.expressions import Evaluated, compile_expression, evaluate_predicate
from provisioner.expressions.moments import UTC_ZONE
from provisioner.roster.days import Days, read_days
from provisioner.roster.identity import fold_keys
from provisioner.roster.values import People, Read, Reject, clean_names
from provisioner.settings import RosterSettings

_MAX_SHOWN: Final = 40
_STARTS_WRONG, _ENDS_WRONG = "_starts_wrong", "_ends_wrong"


def judge(read: Read, settings: RosterSettings, *, today: date, zone: ZoneInfo = UTC_ZONE) -> People:
    """Everyone's verdict on the day `today` of the organisation's time zone, `zone`.

    ``excluded`` goes before all; then a row that does not say whether its person is employed is rejected, unless `ends`
    has passed; then come leavers, of whom nothing else has to be right; then rows with a malformed cell are rejected.

    Raises:
        ConfigurationError: `employed` or `exclude` is no predicate over the columns.
    """
    frame = read.frame
    employed = _predicate(settings.employed, "roster.employed", read, zone)
    exclude = _predicate(settings.exclude, "roster.exclude", read, zone)
    starts = read_days(frame, settings.starts, settings.dates, zone)
    ends = read_days(frame, settings.ends, settings.dates, zone, last=True)
    judged = frame.with_columns(
        starts.days.alias("_starts"),
        ends.days.alias("_ends"),
        starts.wrong.alias(_STARTS_WRONG),
        ends.wrong.alias(_ENDS_WRONG),
        employed.values.alias("_employed"),
        exclude.values.alias("_exclude"),
        frame["_line"].is_in(read.doubts["_line"].implode()).alias("_doubtful"),
    )
    dateless = pl.col(_STARTS_WRONG) | pl.col(_ENDS_WRONG)
    ended = (pl.col("_ends") < today).fill_null(False)
    latest = today + timedelta(days=settings.create_days_before_start)
    verdict = (
        pl.when(pl.col("_exclude").fill_null(False))
        .then(pl.lit("excluded"))
        .when(pl.col("_employed").is_null() & ~ended)
        .then(pl.lit("no verdict"))
        .when(pl.col("_exclude").is_null())
        .then(pl.lit("unknown"))
        .when(ended | ~pl.col("_employed"))
        .then(pl.lit("leaver"))
        .when(dateless | pl.col("_doubtful"))
        .then(pl.lit("malformed"))
        .when((pl.col("_starts") > latest).fill_null(False))
        .then(pl.lit("future"))
        .otherwise(pl.lit("employed"))
    )
    judged = judged.with_columns(verdict.alias("_verdict"))
    rejects = [
        *read.rejects,
        *_without_verdict(judged, employed),
        *_malformed(judged, read, ((settings.starts, _STARTS_WRONG, starts), (settings.ends, _ENDS_WRONG, ends))),
    ]
    unknown = _unknown(judged, exclude)
    valid = judged.filter(pl.col("_verdict").is_in(["employed", "leaver", "excluded", "future"]))
    believed = _without_malformed_cells(valid, read.doubts, settings)
    return People(
        frame=believed.select("_key", "_line", *read.columns, "_verdict", "_starts", "_ends", _digests(believed, read)),
        rejects=tuple(sorted(rejects, key=lambda one: one.line)),
        unknown=tuple(unknown),
        columns=read.columns,
        rows=read.rows,
        unreadable_keys=read.unreadable_keys,
        present=read.present | {one.key for one in (*rejects, *unknown) if one.key is not None},
        renamed=renamed_in(believed, settings),
        advice=(*starts.advice, *ends.advice),
        notes=read.notes,
        encoding=read.encoding,
    )


def _digests(frame: pl.DataFrame, read: Read) -> pl.Series:
    """A digest of each row's cells (16 hexadecimal digits); the same file in another order of columns gives another."""
    cells = [pl.col(name).fill_null("\x1e") for name in read.columns]
    texts = frame.select(pl.concat_str(cells, separator="\x1f")).to_series() if cells else frame["_key"]
    digests = [blake2b(text.encode(), digest_size=8).hexdigest() for text in texts.to_list()]
    return pl.Series("_digest", digests, dtype=pl.String)


def _predicate(text: str, where: str, read: Read, zone: ZoneInfo) -> Evaluated:
    expression = compile_expression(text, read.columns, where=where, predicate=True, zone=zone)
    return evaluate_predicate(expression, read.frame)


def _without_verdict(judged: pl.DataFrame, employed: Evaluated) -> list[Reject]:
    rows = judged.with_row_index("_row").filter(pl.col("_verdict") == "no verdict")
    return [
        Reject(line, key, None, None, f"roster.employed gives neither yes nor no{_because(employed, row)}")
        for row, line, key in rows.select("_row", "_line", "_key").iter_rows()
    ]


def _unknown(judged: pl.DataFrame, exclude: Evaluated) -> list[Reject]:
    rows = judged.with_row_index("_row").filter(pl.col("_verdict") == "unknown")
    return [
        Reject(line, key, None, None, f"roster.exclude gives neither yes nor no{_because(exclude, row)}")
        for row, line, key in rows.select("_row", "_line", "_key").iter_rows()
    ]


def _because(answer: Evaluated, row: int) -> str:
    return f": {answer.reasons[row]}" if row in answer.reasons else ""


def _malformed(judged: pl.DataFrame, read: Read, dates: Sequence[tuple[str | None, str, Days]]) -> list[Reject]:
    """One reject per row, for the first thing that is wrong with it."""
    rows = judged.filter(pl.col("_verdict") == "malformed")
    told: dict[int, Reject] = {}
    for name, wrong, days in dates:
        if name is None:
            continue
        for line, key, value in rows.filter(pl.col(wrong)).select("_line", "_key", name).iter_rows():
            told.setdefault(line, Reject(line, key, name, value[:_MAX_SHOWN], days.reasons[value]))
    doubts = rows.select("_line", "_key").join(read.doubts, on="_line")
    for line, key, name, reason in doubts.select("_line", "_key", "column", "reason").iter_rows():
        told.setdefault(line, Reject(line, key, name, None, reason))
    return list(told.values())


def _without_malformed_cells(frame: pl.DataFrame, doubts: pl.DataFrame, settings: RosterSettings) -> pl.DataFrame:
    """Malformed cells of leavers and the excluded say nothing and become null; nobody else here has any."""
    for name in doubts["column"].unique().sort():
        lines = doubts.filter(pl.col("column") == name)["_line"]
        frame = frame.with_columns(pl.when(~pl.col("_line").is_in(lines.implode())).then(pl.col(name)).alias(name))
    for date_column, wrong in ((settings.starts, _STARTS_WRONG), (settings.ends, _ENDS_WRONG)):
        if date_column:
            frame = frame.with_columns(pl.when(~pl.col(wrong)).then(pl.col(date_column)).alias(date_column))
    return frame


def renamed_in(frame: pl.DataFrame, settings: RosterSettings) -> dict[str, str]:
    """Earlier keys and the present ones, as `previous_key` says.

    Args:
        frame: as of `People`.
    """
    if settings.previous_key is None or settings.previous_key not in frame.columns:
        return {}
    named = frame.filter(pl.col(settings.previous_key).is_not_null(), pl.col("_verdict") != "excluded")
    old = clean_names(named[settings.previous_key])
    pairs = pl.DataFrame({"old": old, "new": named["_key"], "was": fold_keys(old), "is": fold_keys(named["_key"])})
    pairs = pairs.filter(pl.col("old").is_not_null() & (pl.col("was") != pl.col("is")))
    # An earlier key that two people claim, or under which somebody still works, names nobody. HR may keep the old row
    # as an ended one: then its account goes on under the new key, and the row has none.
    working = fold_keys(frame.filter(~pl.col("_verdict").is_in(["leaver", "excluded"]))["_key"])
    pairs = pairs.filter(~pl.col("was").is_duplicated(), ~pl.col("was").is_in(working.implode()))
    return dict(pairs.select("old", "new").iter_rows())
