"""Excel workbooks (.xlsx): one sheet as rows of text, with dates as ISO and numbers as they are shown."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Final

import fastexcel
import polars as pl

from provisioner.errors import ConfigurationError, RosterError
from provisioner.roster.forms.sheet_errors import errors_of
from provisioner.roster.forms.table import MAX_COLUMNS, Table, header, without_blanks

_MAX_CELLS: Final = 100_000_000
_EXCEL_COLUMNS: Final = 16_384
_ROW: Final = re.compile(rb"""<(?:\w+:)?row\s[^>]*?\br=["'](\d{1,7})["']""")
_CELL: Final = re.compile(rb"""<(?:\w+:)?c\s[^>]*?\br=["']([A-Z]{1,3})\d""")


def read_workbook(content: bytes, name: str, sheet: str | None, limit: int) -> Table:
    """The rows of a sheet (None: the first); its first row that is not blank is the header.

    Raises:
        RosterError: no workbook, broken, unpacks to more than `limit` bytes, or without usable header.
        ConfigurationError: it has no such sheet.
    """
    _check_archive(content, name, limit)
    try:
        reader = fastexcel.read_excel(content)
        if sheet is not None and sheet not in reader.sheet_names:
            raise ConfigurationError(
                f"roster.sheet: {name} has no sheet {sheet!r}.", remedy=f"It has: {', '.join(reader.sheet_names)}."
            )
        loaded = reader.load_sheet(sheet if sheet is not None else 0, header_row=None, skip_rows=0, dtypes="string")
        cells = loaded.to_polars()
    except fastexcel.FastExcelError as exc:
        raise RosterError(
            f"{name} cannot be read as an Excel workbook ({type(exc).__name__}).",
            remedy="Save it again as .xlsx or CSV.",
        ) from None
    return _table(_with_errors(cells, errors_of(content, sheet or reader.sheet_names[0])), name)


def _with_errors(cells: pl.DataFrame, errors: Mapping[tuple[int, int], str]) -> pl.DataFrame:
    """The cells with the text of errors where the reader left nothing."""
    by_column: dict[int, dict[int, str]] = {}
    for (row, column), text in errors.items():
        if row < cells.height and column < cells.width:
            by_column.setdefault(column, {})[row] = text
    for column, texts in by_column.items():
        name = cells.columns[column]
        filled = cells[name].cast(pl.String).scatter(list(texts), list(texts.values()))
        cells = cells.with_columns(filled.alias(name))
    return cells


def _check_archive(content: bytes, name: str, limit: int) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > limit:
                raise RosterError(f"{name} unpacks to more than {limit // 1024**2} MiB.")
            sheets = [member for member in members if member.filename.startswith("xl/worksheets/")]
            largest = max((_extent(archive.read(sheet)) for sheet in sheets), default=0)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError, OSError):
        raise RosterError(f"{name} is a broken archive.", remedy="Copy or export it again.") from None
    if not any(member.filename == "xl/workbook.xml" for member in members):
        raise RosterError(f"{name} is an archive, but no .xlsx workbook.", remedy="Give the file inside it.")
    if largest > _MAX_CELLS:
        raise RosterError(
            f"{name}: a sheet spans {largest} cells, most of them empty.",
            remedy="Delete stray cells far off the table.",
        )


def _extent(sheet: bytes) -> int:
    """How many cells the rectangle around all of a sheet's cells has: the reader makes room for each of them."""
    rows = max((int(match[1]) for match in _ROW.finditer(sheet)), default=0)
    if rows * _EXCEL_COLUMNS <= _MAX_CELLS:
        return 0
    letters = {match[1] for match in _CELL.finditer(sheet)}
    return rows * max((_column(one) for one in letters), default=0)


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _table(cells: pl.DataFrame, name: str) -> Table:
    if cells.width > MAX_COLUMNS:
        raise RosterError(f"{name}: the sheet has {cells.width} columns; at most {MAX_COLUMNS} are read.")
    cells = cells.with_columns(pl.all().cast(pl.String)).with_row_index("_line", offset=1)
    cells = cells.with_columns(pl.col("_line").cast(pl.Int64))
    places = [column for column in cells.columns if column != "_line"]
    filled = without_blanks(cells, places) if places else cells.clear()
    if filled.is_empty():
        raise RosterError(f"{name}: the sheet is empty.", remedy="Name the right one in roster.sheet.")
    # Sheets are often wider than their table: columns without header and without any value are none
    used = [place for place in places if filled[place].null_count() < filled.height]
    top = filled.row(0, named=True)
    columns = header([top[place] for place in used], name, top["_line"])
    midnight = [pl.col(place).str.replace(r"^(\d{4}-\d\d-\d\d) 00:00:00$", "$1") for place in used]
    frame = filled.slice(1).select(*midnight, "_line").rename(dict(zip(used, columns, strict=True)))
    return Table(columns, frame)
