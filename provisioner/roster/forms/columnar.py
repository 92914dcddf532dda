"""Parquet and JSON lines: forms that carry types, turned into text as people would write it."""

from __future__ import annotations

import io
import json
from typing import Any

import polars as pl

from provisioner.errors import RosterError
from provisioner.roster.forms.table import MAX_COLUMNS, MAX_ROW, BadRow, Table, header, without_blanks
from provisioner.roster.naming import is_name

_NOT_TEXT = (pl.List, pl.Array, pl.Struct, pl.Object, pl.Binary)


def read_parquet(content: bytes, name: str, limit: int) -> Table:
    """The rows of a Parquet file; its lines count from 2, as if it had a header.

    Raises:
        RosterError: broken, unpacks to more than `limit` bytes, or a column holds lists or records.
    """
    try:
        frame = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        raise RosterError(f"{name} is a broken Parquet file.", remedy="Copy or export it again.") from None
    if frame.estimated_size() > 4 * limit:
        raise RosterError(f"{name} unpacks to more than {4 * limit // 1024**2} MiB.")
    for column, dtype in frame.schema.items():
        if isinstance(dtype, _NOT_TEXT):
            raise RosterError(f"{name}: {_named('column', column)} holds {dtype.base_type()}, not single values.")
    columns = header(frame.columns, name, 1)
    frame.columns = list(columns)
    frame = frame.select(_text(column, dtype) for column, dtype in frame.schema.items())
    lines = pl.int_range(2, frame.height + 2, eager=True, dtype=pl.Int64).alias("_line")
    return Table(columns, without_blanks(frame.with_columns(lines), columns))


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_float() or isinstance(dtype, pl.Decimal):
        plain = column.cast(pl.String)
        return plain.str.replace(r"^(-?\d+)\.0+$", "$1").replace("NaN", None).alias(name)
    if isinstance(dtype, pl.Datetime):
        return column.dt.to_string("%Y-%m-%d %H:%M:%S").str.replace(r" 00:00:00$", "").alias(name)
    return column.cast(pl.String).alias(name)


def _named(what: str, name: str) -> str:
    return f"the {what} {name!r}" if is_name(name) else f"a {what}"


class _BadLineError(ValueError):
    """A line of JSON that is no row."""


def read_json_lines(text: str, name: str) -> Table:
    """One JSON object per line; a field that an object lacks is an empty cell.

    Raises:
        RosterError: no line is an object, or the fields' names are unusable.
    """
    rows: list[dict[str, str | None]] = []
    lines: list[int] = []
    bad: list[BadRow] = []
    columns: dict[str, None] = {}
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = _row(line)
        except _BadLineError as exc:
            bad.append(BadRow(number, None, str(exc)))
            continue
        columns.update(dict.fromkeys(row))
        if len(columns) > MAX_COLUMNS:
            raise RosterError(f"{name}, line {number}: there are more than {MAX_COLUMNS} different fields.")
        rows.append(row)
        lines.append(number)
    if not columns:
        raise RosterError(f"{name}: no line is a JSON object with fields.", remedy="Write one object per line, or CSV.")
    names = header(list(columns), name, lines[0])
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String))
    frame.columns = list(names)
    frame = frame.with_columns(pl.Series("_line", lines, dtype=pl.Int64))
    return Table(names, without_blanks(frame, names), bad)


def _row(line: str) -> dict[str, str | None]:
    if len(line) > MAX_ROW:
        raise _BadLineError(f"the row is longer than {MAX_ROW} characters")
    try:
        # Numbers keep their spelling: 007.10 must not lose anything on the way
        document = json.loads(line, parse_int=str, parse_float=str, parse_constant=_nothing, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as exc:
        raise _BadLineError(str(exc) if isinstance(exc, _BadLineError) else "it is no JSON object") from None
    if not isinstance(document, dict):
        raise _BadLineError("it is no JSON object")
    return {field: _cell(field, value) for field, value in document.items()}


def _nothing(_: str) -> None:
    """NaN and Infinity, which are no JSON, say nothing."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _BadLineError("a field stands in it twice")
    return fields


def _cell(field: str, value: Any) -> str | None:
    if isinstance(value, bool):
        value = "true" if value else "false"
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise _BadLineError(f"{_named('field', field)} holds a list or an object")
    try:
        f"{field}{value}".encode()
    except UnicodeEncodeError:
        raise _BadLineError(f"{_named('field', field)} holds half a character") from None
    return value
