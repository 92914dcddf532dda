"""Who is employed, leaving, excluded or yet to start; pure. The order of the rules is that of the expression below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from hashlib import blake2b
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.expressions import Evaluated, compile_expression, evaluate_predicate, evaluate_text
from provisioner.expressions.misses import MISSED, missed_in, unknown_by_miss
from provisioner.expressions.moments import UTC_ZONE
from provisioner.roster.days import Days, read_days
from provisioner.roster.identity import fold_keys
from provisioner.roster.named import cells_of, columns_of
from provisioner.roster.pushed_rows import has_left
from provisioner.roster.values import LABEL, People, Read, Reject, clean_names
from provisioner.settings import RosterSettings

_MAX_SHOWN: Final = 40
_BLIND: Final = "; a look-up that it reads has no hit, and that makes nobody a leaver"
_STARTS_WRONG, _ENDS_WRONG = "_starts_wrong", "_ends_wrong"
_STARTS, _ENDS = "roster.starts", "roster.ends"


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
    first, last = (
        _days_column(text, where, frame, zone) for text, where in ((settings.starts, _STARTS), (settings.ends, _ENDS))
    )
    frame = frame.with_columns(one.cells for one in (first, last) if one is not None)
    starts = read_days(frame, first.name if first else None, settings.dates, zone)
    ends = read_days(frame, last.name if last else None, settings.dates, zone, last=True)
    if first is not None:
        starts = replace(starts, wrong=starts.wrong | first.failed)
    if last is not None:
        ends = replace(ends, wrong=ends.wrong | last.failed, days=_unless_missed(ends.days, frame, last.columns))
    sources = compile_expression(settings.employed, None, where="roster.employed", predicate=True).columns
    judged = frame.with_columns(
        starts.days.alias("_starts"),
        ends.days.alias("_ends"),
        starts.wrong.alias(_STARTS_WRONG),
        ends.wrong.alias(_ENDS_WRONG),
        unknown_by_miss(employed.values, frame, sources).alias("_employed"),
        exclude.values.alias("_exclude"),
        frame["_line"].is_in(read.doubts["_line"].implode()).alias("_doubtful"),
    )
    dateless = pl.col(_STARTS_WRONG) | pl.col(_ENDS_WRONG)
    ended = (pl.col("_ends") < today).fill_null(False) | has_left(judged, settings)
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
    columns = {name: one.name for name, one in ((_STARTS_WRONG, first), (_ENDS_WRONG, last)) if one is not None}
    rejects = [
        *read.rejects,
        *_without_verdict(judged, employed, sources),
        *_malformed(
            judged,
            read,
            [(columns.get(_STARTS_WRONG), _STARTS_WRONG, starts), (columns.get(_ENDS_WRONG), _ENDS_WRONG, ends)],
        ),
    ]
    unknown = _unknown(judged, exclude)
    valid = judged.filter(pl.col("_verdict").is_in(["employed", "leaver", "excluded", "future"]))
    believed = _without_malformed_cells(valid, read.doubts, columns)
    label = _labels(believed, settings, zone)
    known = [name for name in (MISSED,) if name in believed.columns]
    return People(
        frame=believed.select(
            *("_key", "_line", *read.columns, "_verdict", "_starts", "_ends", _digests(believed, read), *known, *label)
        ),
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
        tables=read.tables,
    )


@dataclass(frozen=True, slots=True)
class _Cells:
    """The cells of first or last days: a column, or what an expression gives; `columns` are those that it reads."""

    name: str
    cells: pl.Series
    failed: pl.Series
    columns: frozenset[str]


def _days_column(text: str | None, where: str, frame: pl.DataFrame, zone: ZoneInfo) -> _Cells | None:
    if text is None:
        return None
    name = text if text in frame.columns else where
    found = cells_of(text, frame, where=where, zone=zone)
    columns = frozenset({text}) if text in frame.columns else columns_of(text, where=where)
    return _Cells(name, found.values.alias(name), found.failed, columns)


def _unless_missed(days: pl.Series, frame: pl.DataFrame, columns: frozenset[str]) -> pl.Series:
    """Last days without those that a look-up without a hit may have made."""
    missed = missed_in(frame, columns)
    return days if missed is None else days.set(missed, None)


def _labels(frame: pl.DataFrame, settings: RosterSettings, zone: ZoneInfo) -> list[pl.Series]:
    """How people are shown to people, where `roster.label` says so; null where it cannot be worked out."""
    if settings.label is None:
        return []
    expression = compile_expression(settings.label, frame.columns, where="roster.label", zone=zone)
    return [evaluate_text(expression, frame).values.cast(pl.String).alias(LABEL)]


def _digests(frame: pl.DataFrame, read: Read) -> pl.Series:
    return row_digests(frame, read.columns)


def row_digests(frame: pl.DataFrame, columns: Iterable[str]) -> pl.Series:
    """A digest of each row's cells (16 hexadecimal digits); the same file in another order of columns gives another."""
    cells = [pl.col(name).fill_null("\x1e") for name in columns]
    texts = frame.select(pl.concat_str(cells, separator="\x1f")).to_series() if cells else frame["_key"]
    # Copying a hash that is set up takes two thirds of the time of setting up another
    begin = blake2b(digest_size=8)
    digests = []
    for text in texts.cast(pl.Binary).to_list():
        one = begin.copy()
        one.update(text)
        digests.append(one.digest())
    return pl.Series("_digest", digests, dtype=pl.Binary).bin.encode("hex")


def _predicate(text: str, where: str, read: Read, zone: ZoneInfo) -> Evaluated:
    expression = compile_expression(text, read.columns, where=where, predicate=True, zone=zone)
    return evaluate_predicate(expression, read.frame)


def _without_verdict(judged: pl.DataFrame, employed: Evaluated, sources: frozenset[str]) -> list[Reject]:
    rows = judged.with_row_index("_row").filter(pl.col("_verdict") == "no verdict")
    missed = missed_in(judged, sources)
    blind = frozenset[int]() if missed is None else frozenset(missed.arg_true().to_list())
    return [
        Reject(line, key, None, None, f"roster.employed gives neither yes nor no{_because(employed, row)}{_BLIND}")
        if row in blind
        else Reject(line, key, None, None, f"roster.employed gives neither yes nor no{_because(employed, row)}")
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
    rejects: dict[int, Reject] = {}
    for name, wrong, days in dates:
        if name is None:
            continue
        for line, key, value in rows.filter(pl.col(wrong)).select("_line", "_key", name).iter_rows():
            reason = "it cannot be worked out" if value is None else days.reasons[value]
            rejects.setdefault(line, Reject(line, key, name, (value or "")[:_MAX_SHOWN], reason))
    doubts = rows.select("_line", "_key").join(read.doubts, on="_line")
    for line, key, name, reason in doubts.select("_line", "_key", "column", "reason").iter_rows():
        rejects.setdefault(line, Reject(line, key, name, None, reason))
    return list(rejects.values())


def _without_malformed_cells(frame: pl.DataFrame, doubts: pl.DataFrame, columns: Mapping[str, str]) -> pl.DataFrame:
    """Malformed cells of leavers and the excluded say nothing and become null; nobody else here has any."""
    for name in doubts["column"].unique().sort():
        lines = doubts.filter(pl.col("column") == name)["_line"]
        frame = frame.with_columns(pl.when(~pl.col("_line").is_in(lines.implode())).then(pl.col(name)).alias(name))
    for wrong, name in columns.items():
        frame = frame.with_columns(pl.when(~pl.col(wrong)).then(pl.col(name)).alias(name))
    return frame


def renamed_in(frame: pl.DataFrame, settings: RosterSettings) -> dict[str, str]:
    """Earlier keys and the present ones, as `previous_key` says.

    Args:
        frame: as of `People`.
    """
    if settings.previous_key is None:
        return {}
    reads = columns_of(settings.previous_key, where="roster.previous_key")
    if settings.previous_key not in frame.columns and reads.difference(frame.columns):
        return {}
    earlier = cells_of(settings.previous_key, frame, where="roster.previous_key").values
    named = frame.select("_key", "_verdict", earlier.alias("_earlier"))
    named = named.filter(pl.col("_earlier").is_not_null(), pl.col("_verdict") != "excluded")
    old = clean_names(named["_earlier"])
    pairs = pl.DataFrame({"old": old, "new": named["_key"], "was": fold_keys(old), "is": fold_keys(named["_key"])})
    pairs = pairs.filter(pl.col("old").is_not_null() & (pl.col("was") != pl.col("is")))
    # An earlier key that two people claim, or under which somebody still works, names nobody. HR may keep the old row
    # as an ended one: then its account goes on under the new key, and the row has none.
    working = fold_keys(frame.filter(~pl.col("_verdict").is_in(["leaver", "excluded"]))["_key"])
    pairs = pairs.filter(~pl.col("was").is_duplicated(), ~pl.col("was").is_in(working.implode()))
    return dict(pairs.select("old", "new").iter_rows())
