"""What spreadsheets and databases leave in cells: space that nobody sees, and errors in place of values. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from provisioner.expressions.evaluation import beyond_ascii
from provisioner.roster.forms.table import BEYOND, CONTROLS, HASH, WRAPPED, Table
from provisioner.roster.values import INVISIBLE

#: The mark where a workbook holds a formula without its result.
NOT_CALCULATED: Final = "#NOT_CALCULATED!"
#: A surname that is written as a name is, while databases and programs write NULL or null.
NULL_NAME: Final = "Null"
_ERROR: Final = r"^#(?:VALUE!|REF!|NAME\?|DIV/0!|NUM!|NULL!|N/A|SPILL!|CALC!|NOT_CALCULATED!)$"
#: Errors that no program but a spreadsheet writes.
_SURE: Final = r"^#(?:VALUE!|REF!|NAME\?|DIV/0!|NUM!|NULL!|SPILL!|CALC!)$"
#: A text as spreadsheets are made to leave it alone.
_WRAPPED: Final = r'^="(.*)"$'
_ERRORS: Final = re.compile(_ERROR)
#: White space of Unicode, and signs without width.
_OUTER: Final = (
    " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + INVISIBLE
)
_SCHEMA: Final = pl.Schema({"_line": pl.Int64, "column": pl.String, "reason": pl.String})


def trimmed(table: Table, emails: Collection[str]) -> Table:
    """Every cell without white space and signs without width around it; in addresses those inside go, too.

    What is empty then is null. Keys are cleaned anyway, see `clean_names`.
    """
    frame = table.frame
    # Most columns need nothing. What is ASCII and neither begins nor ends with a sign up to space is clean as it is
    padded = frame.select(_may_be_padded(pl.col(name), table.lacks) for name in table.columns).row(0)
    names = [name for name, hit in zip(table.columns, padded, strict=True) if hit]
    if names:
        stripped = frame.select(pl.col(name).str.strip_chars(_OUTER) for name in names)
        frame = frame.with_columns(stripped[name].set(stripped[name] == "", None) for name in names)
    for name in () if BEYOND in table.lacks else emails:
        if name in table.columns and (rows := beyond_ascii(frame[name]).fill_null(value=False).arg_true()).len():
            visible = frame[name].gather(rows).str.replace_all(f"[{INVISIBLE}]", "")
            frame = frame.with_columns(frame[name].scatter(rows, visible))
    return replace(table, frame=frame)


def _may_be_padded(cells: pl.Expr, lacks: Collection[str]) -> pl.Expr:
    ends = cells.str.ends_with(" ") if CONTROLS in lacks else cells.str.tail(1) < "!"
    found = (cells < "!").any() | ends.any()
    return found if BEYOND in lacks else found | beyond_ascii(cells).any()


def without_words(
    table: Table,
    words: Collection[str],
    key: str | None,
    keys: Collection[str],
    *,
    marks: bool,
    sure: bool = True,
    names: Collection[str] = (),
) -> tuple[Table, pl.DataFrame]:
    """A table in which the words of `roster.nulls`, in any case of letters, are null, and errors as below.

    Where a spreadsheet worked the cells out, an error is never empty. So it is in a text file that holds another error,
    unless somebody said which words mean empty: #N/A then is what a formula did not find.

    Args:
        key: the column of the key, in which errors stay; None: there is none.
        keys: the columns in which keys stand.
        marks: whether marks by which spreadsheets take a number for text go before, see `_unwrapped`.
        sure: whether somebody gave the words.
        names: the columns of people's names, in which Null is one unless somebody gave the words.
    """
    plain = {word.strip().lower() for word in words} - {""}
    errors = {word for word in plain if is_error(word.upper())}
    if table.calculated:
        plain -= errors
    if not table.columns:
        return without_error_cells(table, key, ())
    null = _any_of(plain)
    # One look for all, which few columns need twice
    any_ = "|".join([_ERROR, *([null] if null else []), *([_WRAPPED] if marks else [])])
    asked = _may_hold(table, plain)
    hits = table.frame.select(pl.col(name).str.contains(any_).any() for name in asked).row(0) if asked else ()
    hit = [name for name, found in zip(asked, hits, strict=True) if found]
    if not sure and not table.calculated and _of_a_spreadsheet(table, hit):
        null = _any_of(plain - errors)
    if marks:
        table = _unwrapped(table, hit, [name for name in table.columns if name in keys])
    if null is not None and hit:
        people = [] if sure else names
        empty = [
            pl.when(~pl.col(name).str.contains(null) | ((pl.col(name) == NULL_NAME) & pl.lit(name in people)))
            .then(pl.col(name))
            .alias(name)
            for name in hit
        ]
        table = replace(table, frame=table.frame.with_columns(empty))
    return without_error_cells(table, key, hit)


def _may_hold(table: Table, words: Collection[str]) -> Sequence[str]:
    """The columns in which one of these words, an error, or a wrapped text may be.

    Errors and wrapped texts begin with signs of their own. Where the text has none of these signs, only words are left,
    and a column without a cell as long as one of them has none. A letter beyond ASCII may be as long as another number
    of letters and differ by case only, so a column with such letters is always asked.
    """
    if not {HASH, WRAPPED} <= table.lacks or not all(word.isascii() for word in words):
        return table.columns
    lengths = {len(word) for word in words if HASH not in word}
    if not lengths:
        return ()
    tests = []
    for name in table.columns:
        size = pl.col(name).str.len_bytes()
        test = size.is_between(min(lengths), max(lengths)).any()
        tests.append(
            (test if BEYOND in table.lacks else test | (size != pl.col(name).str.len_chars()).any()).alias(name)
        )
    hits = table.frame.select(tests).row(0)
    return [name for name, found in zip(table.columns, hits, strict=True) if found]


def _any_of(words: Collection[str]) -> str | None:
    """A pattern of these words in any case of letters; None if there is none."""
    return f"(?i)^(?:{'|'.join(map(re.escape, sorted(words)))})$" if words else None


def _of_a_spreadsheet(table: Table, names: Collection[str]) -> bool:
    """Whether a cell of these columns holds an error that no program but a spreadsheet writes."""
    return any(table.frame.select(pl.col(name).str.contains(_SURE).any() for name in names).row(0)) if names else False


def _unwrapped(table: Table, names: Collection[str], keys: Collection[str]) -> Table:
    """A table without the marks by which spreadsheets are made to take a number for text.

    ``="000124"`` is 000124 in any column; an apostrophe at the beginning goes in columns that hold keys.
    """
    frame = table.frame
    changed = {name: pl.col(name).str.replace(_WRAPPED, "$1").replace("", None) for name in names}
    for name in keys:
        if frame[name].str.starts_with("'").any():
            changed[name] = changed.get(name, pl.col(name)).str.strip_prefix("'").replace("", None)
    return replace(table, frame=frame.with_columns(**changed)) if changed else table


def is_error(cell: str) -> bool:
    """Whether a cell holds an error of a spreadsheet, such as #VALUE!."""
    return _ERRORS.match(cell) is not None


def errors_in(column: pl.Series) -> pl.Series:
    """Which cells hold such an error."""
    return column.str.contains(_ERROR).fill_null(value=False)


def without_error_cells(table: Table, key: str | None, names: Collection[str]) -> tuple[Table, pl.DataFrame]:
    """A table in which errors of a spreadsheet are null, and where they were, as `Read.doubts`.

    Args:
        key: the column of the key, in which they stay.
        names: the columns that may hold any.
    """
    frame, found = table.frame, [pl.DataFrame(schema=_SCHEMA)]
    for name in names:
        amiss = errors_in(frame[name])
        if name == key or not amiss.any():
            continue
        lines = frame.filter(amiss).select(
            "_line",
            pl.lit(name).alias("column"),
            pl.when(pl.col(name) == NOT_CALCULATED)
            .then(pl.lit("it is a formula without its result; open the workbook, and save it again"))
            .otherwise(pl.lit("it is an error of the spreadsheet (") + pl.col(name) + pl.lit(")"))
            .alias("reason"),
        )
        found.append(lines.cast(_SCHEMA))
        frame = frame.with_columns(frame[name].set(amiss, None))
    return replace(table, frame=frame), pl.concat(found)
