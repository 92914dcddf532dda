"""Parquet, which carries types: they are turned into text as people would write it."""

from __future__ import annotations

import io

import polars as pl

from provisioner.errors import RosterError
from provisioner.roster.forms.table import Table, header, without_blanks
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
