"""What spreadsheets and databases leave in cells: space that nobody sees, and errors in place of values. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Final

import polars as pl

from provisioner.expressions.evaluation import beyond_ascii
from provisioner.roster.forms.table import Table
from provisioner.roster.values import INVISIBLE

#: Stands where a workbook holds a formula without its result.
NOT_CALCULATED: Final = "#NOT_CALCULATED!"
_ERROR: Final = r"^#(?:VALUE!|REF!|NAME\?|DIV/0!|NUM!|NULL!|N/A|SPILL!|CALC!|NOT_CALCULATED!)$"
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
    padded = frame.select(
        ((pl.col(name) < "!").any() | (pl.col(name).str.tail(1) < "!").any() | beyond_ascii(pl.col(name)).any())
        for name in table.columns
    ).row(0)
    names = [name for name, hit in zip(table.columns, padded, strict=True) if hit]
    if names:
        stripped = frame.select(pl.col(name).str.strip_chars(_OUTER) for name in names)
        frame = frame.with_columns(stripped[name].set(stripped[name] == "", None) for name in names)
    for name in emails:
        if name in table.columns and (rows := beyond_ascii(frame[name]).fill_null(value=False).arg_true()).len():
            visible = frame[name].gather(rows).str.replace_all(f"[{INVISIBLE}]", "")
            frame = frame.with_columns(frame[name].scatter(rows, visible))
    return replace(table, frame=frame)


def is_error(cell: str) -> bool:
    """Whether a cell holds an error of a spreadsheet, such as #VALUE!."""
    return _ERRORS.match(cell) is not None


def errors_in(column: pl.Series) -> pl.Series:
    """Which cells hold such an error."""
    return column.str.contains(_ERROR).fill_null(value=False)


def without_error_cells(table: Table, key: str) -> tuple[Table, pl.DataFrame]:
    """A table in which errors of a spreadsheet are null, but in its key; and where they were, as `Read.doubts`."""
    names = [name for name in table.columns if name != key]
    frame, found = table.frame, [pl.DataFrame(schema=_SCHEMA)]
    if not names:
        return table, found[0]
    hits = frame.select(pl.col(name).str.contains(_ERROR).any() for name in names).row(0)
    for name, hit in zip(names, hits, strict=True):
        if not hit:
            continue
        amiss = errors_in(frame[name])
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
