"""Who is employed, leaving, excluded or yet to start; pure. The order of the rules is that of the expression below."""

from __future__ import annotations

from datetime import date, timedelta
from hashlib import blake2b
from typing import Final

import polars as pl

from provisioner.expressions import Evaluated, compile_expression, evaluate_predicate
from provisioner.model.attributes import CLOCK, ISO_DATE
from provisioner.roster.values import People, Read, Reject, clean_names
from provisioner.settings import RosterSettings

_ISO: Final = f"^{ISO_DATE}$"
_DAY_FIRST: Final = rf"^(?P<d>[0-9]{{1,2}})[/.-](?P<m>[0-9]{{1,2}})[/.-](?P<y>[0-9]{{4}}){CLOCK}$"
_MONTH_FIRST: Final = rf"^(?P<m>[0-9]{{1,2}})[/.-](?P<d>[0-9]{{1,2}})[/.-](?P<y>[0-9]{{4}}){CLOCK}$"
_SPELT: Final = {
    "iso": "yyyy-mm-dd",
    "day_first": "dd/mm/yyyy",
    "month_first": "mm/dd/yyyy",
}
_MAX_SHOWN: Final = 40


def parse_dates(column: pl.Expr, dates: str) -> pl.Expr:
    """Dates of a text column, null where there is none; ISO is understood whatever `dates` says.

    A time of day behind the date is dropped: the roster's dates are days in the organisation's time zone.
    """
    text = column.str.strip_chars()
    parsed = _date(text, _ISO)
    if dates == "day_first":
        return parsed.fill_null(_date(text, _DAY_FIRST))
    if dates == "month_first":
        return parsed.fill_null(_date(text, _MONTH_FIRST))
    return parsed


def _date(text: pl.Expr, pattern: str) -> pl.Expr:
    parts = text.str.extract_groups(pattern).struct
    months = [parts.field(name) for name in ("m", "m2", "m3") if f"?P<{name}>" in pattern]
    spelt = pl.concat_str(parts.field("y"), pl.coalesce(months), parts.field("d"), separator="-")
    return spelt.str.to_date("%Y-%m-%d", strict=False)


def judge(read: Read, settings: RosterSettings, *, today: date) -> People:
    """Everyone's verdict on the day `today`, in the organisation's time zone.

    ``excluded`` goes before all; then a row that does not say whether its person is employed is rejected, unless `ends`
    has passed; then come leavers, of whom nothing else has to be right; then rows with a malformed cell are rejected.

    Raises:
        ConfigurationError: `employed` or `exclude` is no predicate over the columns.
    """
    frame = read.frame
    employed = _predicate(settings.employed, "roster.employed", read)
    exclude = _predicate(settings.exclude, "roster.exclude", read)
    judged = frame.with_columns(
        _dates_of(frame, settings.starts, settings.dates).alias("_starts"),
        _dates_of(frame, settings.ends, settings.dates).alias("_ends"),
        employed.values.alias("_employed"),
        exclude.values.alias("_exclude"),
        frame["_line"].is_in(read.doubts["_line"].implode()).alias("_doubtful"),
    )
    dateless = pl.any_horizontal(
        pl.lit(False),
        *(
            pl.col(name).is_not_null() & pl.col(parsed).is_null()
            for name, parsed in ((settings.starts, "_starts"), (settings.ends, "_ends"))
            if name
        ),
    )
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
        *_malformed(judged, read, settings),
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
        renamed=_renamed(believed, settings),
    )


def _digests(frame: pl.DataFrame, read: Read) -> pl.Series:
    """A digest of each row's cells (16 hexadecimal digits); the same file in another order of columns gives another."""
    cells = [pl.col(name).fill_null("\x1e") for name in read.columns]
    texts = frame.select(pl.concat_str(cells, separator="\x1f")).to_series() if cells else frame["_key"]
    digests = [blake2b(text.encode(), digest_size=8).hexdigest() for text in texts.to_list()]
    return pl.Series("_digest", digests, dtype=pl.String)


def _predicate(text: str, where: str, read: Read) -> Evaluated:
    return evaluate_predicate(compile_expression(text, read.columns, where=where, predicate=True), read.frame)


def _dates_of(frame: pl.DataFrame, name: str | None, dates: str) -> pl.Series:
    """The dates of a column; a roster has few different ones, so each spelling is read once."""
    if name is None:
        return pl.repeat(None, frame.height, dtype=pl.Date, eager=True)
    spelt = frame[name].unique().drop_nulls()
    parsed = spelt.to_frame().select(parse_dates(pl.first(), dates)).to_series()
    return frame[name].replace_strict(spelt, parsed, default=None, return_dtype=pl.Date)


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


def _malformed(judged: pl.DataFrame, read: Read, settings: RosterSettings) -> list[Reject]:
    """One reject per row, for the first thing that is wrong with it."""
    rows = judged.filter(pl.col("_verdict") == "malformed")
    told: dict[int, Reject] = {}
    for name, parsed in ((settings.starts, "_starts"), (settings.ends, "_ends")):
        if name is None:
            continue
        wrong = rows.filter(pl.col(name).is_not_null() & pl.col(parsed).is_null())
        for line, key, value in wrong.select("_line", "_key", name).iter_rows():
            reason = f"it is no date ({_SPELT[settings.dates]})"
            told.setdefault(line, Reject(line, key, name, value[:_MAX_SHOWN], reason))
    doubts = rows.select("_line", "_key").join(read.doubts, on="_line")
    for line, key, name, reason in doubts.select("_line", "_key", "column", "reason").iter_rows():
        told.setdefault(line, Reject(line, key, name, None, reason))
    return list(told.values())


def _without_malformed_cells(frame: pl.DataFrame, doubts: pl.DataFrame, settings: RosterSettings) -> pl.DataFrame:
    """Malformed cells of leavers and the excluded say nothing and become null; nobody else here has any."""
    for name in doubts["column"].unique().sort():
        lines = doubts.filter(pl.col("column") == name)["_line"]
        frame = frame.with_columns(pl.when(~pl.col("_line").is_in(lines.implode())).then(pl.col(name)).alias(name))
    for date_column, parsed in ((settings.starts, "_starts"), (settings.ends, "_ends")):
        if date_column:
            frame = frame.with_columns(
                pl.when(pl.col(parsed).is_not_null()).then(pl.col(date_column)).alias(date_column)
            )
    return frame


def _renamed(frame: pl.DataFrame, settings: RosterSettings) -> dict[str, str]:
    if settings.previous_key is None:
        return {}
    pairs = pl.DataFrame({"old": clean_names(frame[settings.previous_key]), "new": frame["_key"]})
    pairs = pairs.filter(pl.col("old").is_not_null() & (pl.col("old") != pl.col("new")))
    # An earlier key that two people claim, or that somebody still bears, names nobody
    pairs = pairs.filter(~pl.col("old").is_duplicated(), ~pl.col("old").is_in(frame["_key"].implode()))
    return dict(pairs.iter_rows())
