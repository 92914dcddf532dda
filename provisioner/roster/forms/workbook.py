"""Workbooks (.xlsx, .xlsb, .ods): one sheet as rows of text, with dates as ISO and numbers as they are shown."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import fastexcel
import polars as pl

from provisioner.errors import ConfigurationError, RosterError
from provisioner.roster.forms import binary_workbook, open_document
from provisioner.roster.forms.sheet_xml import Overrides, overrides_of
from provisioner.roster.forms.table import MAX_COLUMNS, Table, header, without_blanks
from provisioner.roster.values import Note, clean_name

#: Rows above the header that may be a banner, and ranges that a note names.
_MOST_BANNER: Final = 50
_SHOWN: Final = 5
#: Cells of a row that may be a title or a remark.
_TITLE: Final = 2
_MAX_CELLS: Final = 100_000_000
_EXCEL_COLUMNS: Final = 16_384
_ROW: Final = re.compile(rb"""<(?:\w+:)?row\s[^>]*?\br=["'](\d{1,7})["']""")
_CELL: Final = re.compile(rb"""<(?:\w+:)?c\s[^>]*?\br=["']([A-Z]{1,3})\d""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a workbook is read: the sheet (None: the first visible one) and the header.

    `header_row` is its line; auto: the first that shows one of `key_names`, else the first that is not blank.
    """

    sheet: str | None
    key_names: frozenset[str]
    header_row: Literal["auto"] | int = "auto"


def read_workbook(content: bytes, name: str, wanted: Wanted, limit: int) -> Table:
    """The rows of a sheet.

    Raises:
        RosterError: no workbook, broken, unpacks to more than `limit` bytes, or without usable header.
        ConfigurationError: it has no such sheet.
    """
    parts = _check_archive(content, name, limit)
    sheet = wanted.sheet
    try:
        reader = fastexcel.read_excel(content)
        if sheet is not None and sheet not in reader.sheet_names:
            raise ConfigurationError(
                f"roster.sheet: {name} has no sheet {sheet!r}.", remedy=f"It has: {', '.join(reader.sheet_names)}."
            )
        chosen, notes = (sheet, ()) if sheet is not None else _visible(reader, name)
        loaded = reader.load_sheet(chosen, header_row=None, skip_rows=0, dtypes="string")
        cells = loaded.to_polars()
    except fastexcel.FastExcelError as exc:
        raise RosterError(
            f"{name} cannot be read as an Excel workbook ({type(exc).__name__}).",
            remedy="Save it again as .xlsx or CSV.",
        ) from None
    except BaseException as exc:
        # What a damaged workbook throws the reader off with is no Exception
        if type(exc).__name__ != "PanicException":
            raise
        raise RosterError(f"{name} is a damaged workbook.", remedy="Save it again as .xlsx or CSV.") from None
    if "content.xml" in parts:
        left_out = Overrides(open_document.overrides(_read(content, "content.xml"), chosen))
    elif "xl/workbook.bin" in parts:
        left_out = binary_workbook.left_out(content, chosen)
    else:
        left_out = overrides_of(content, chosen)
    return _table(_with_texts(cells, left_out.texts), name, wanted, left_out.merged, notes)


def _visible(reader: fastexcel.ExcelReader, name: str) -> tuple[str, tuple[Note, ...]]:
    """The first sheet that people see, and what to say about the others."""
    if not reader.sheet_names:
        raise RosterError(f"{name} has no sheet.", remedy="Save it again as .xlsx or CSV.")
    hidden: list[str] = []
    for sheet in reader.sheet_names:
        if reader.load_sheet(sheet, header_row=None, n_rows=0).visible == "visible":
            others = len(reader.sheet_names) - len(hidden) - 1
            parts = [f"{len(hidden)} before it {'is' if len(hidden) == 1 else 'are'} hidden"] if hidden else []
            parts += [f"there {'is 1 other' if others == 1 else f'are {others} others'}"] if others else []
            said = (Note(f"The sheet {sheet!r} is read; {', '.join(parts)}. roster.sheet names another."),)
            return sheet, said if parts else ()
        hidden.append(sheet)
    return reader.sheet_names[0], ()


def _read(content: bytes, path: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(path)


def _with_texts(cells: pl.DataFrame, errors: Mapping[tuple[int, int], str]) -> pl.DataFrame:
    """The cells with texts where the reader left nothing, or a number without its zeros."""
    by_column: dict[int, dict[int, str]] = {}
    for (row, column), text in errors.items():
        if row < cells.height and column < cells.width:
            by_column.setdefault(column, {})[row] = text
    for column, texts in by_column.items():
        name = cells.columns[column]
        filled = cells[name].cast(pl.String).scatter(list(texts), list(texts.values()))
        cells = cells.with_columns(filled.alias(name))
    return cells


def _check_archive(content: bytes, name: str, limit: int) -> frozenset[str]:
    """The names of its parts."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > limit:
                raise RosterError(f"{name} unpacks to more than {limit // 1024**2} MiB.")
            sheets = [member for member in members if member.filename.startswith("xl/worksheets/")]
            names = frozenset(member.filename for member in members)
            if "content.xml" in names:
                largest = open_document.extent(archive.read("content.xml"))
            else:
                largest = max((_measured(archive.read(sheet), sheet.filename) for sheet in sheets), default=0)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError, OSError):
        raise RosterError(f"{name} is a broken archive.", remedy="Copy or export it again.") from None
    if largest > _MAX_CELLS:
        raise RosterError(
            f"{name}: a sheet spans {largest} cells, most of them empty.",
            remedy="Delete stray cells far off the table.",
        )
    return names


def _measured(sheet: bytes, path: str) -> int:
    return binary_workbook.extent(sheet) if path.endswith(".bin") else _extent(sheet)


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


def _table(
    cells: pl.DataFrame, name: str, wanted: Wanted, merged: tuple[tuple[int, str], ...], notes: tuple[Note, ...]
) -> Table:
    if cells.width > MAX_COLUMNS:
        raise RosterError(f"{name}: the sheet has {cells.width} columns; at most {MAX_COLUMNS} are read.")
    cells = cells.with_columns(pl.all().cast(pl.String)).with_row_index("_line", offset=1)
    cells = cells.with_columns(pl.col("_line").cast(pl.Int64))
    places = [column for column in cells.columns if column != "_line"]
    filled = without_blanks(cells, places) if places else cells.clear()
    if filled.is_empty():
        raise RosterError(f"{name}: the sheet is empty.", remedy="Name the right one in roster.sheet.")
    first = filled["_line"][0]
    filled = filled.slice(_header_place(filled, places, wanted, name))
    top = filled.row(0, named=True)
    line = top["_line"]
    if line != first:
        notes = (*notes, Note(f"The header is in line {line}; what is above it was skipped."))
    # Sheets are often wider than their table: columns without header and without any value are none
    used = [place for place in places if filled[place].null_count() < filled.height]
    columns = header([top[place] for place in used], name, line)
    midnight = [pl.col(place).str.replace(r"^(\d{4}-\d\d-\d\d) 00:00:00$", "$1") for place in used]
    frame = filled.slice(1).select(*midnight, "_line").rename(dict(zip(used, columns, strict=True)))
    below = [one for last, one in merged if last > line]
    if below:
        shown = ", ".join(below[:_SHOWN]) + (f" and {len(below) - _SHOWN} more" if len(below) > _SHOWN else "")
        message = (
            f"{name}: cells are merged ({shown}); only the first of each range has the value, the others are empty."
        )
        notes = (*notes, Note(message, "Unmerge them and fill each cell, or export the report as CSV."))
    return Table(columns, frame, notes=notes, header_line=line, calculated=True)


def _header_place(filled: pl.DataFrame, places: list[str], wanted: Wanted, name: str) -> int:
    """Which of the rows that are not blank is the header."""
    if wanted.header_row != "auto":
        found = (filled["_line"] == wanted.header_row).arg_max()
        if found is None or filled["_line"][found] != wanted.header_row:
            raise RosterError(
                f"{name}: line {wanted.header_row} of the sheet is empty.", remedy="Fix roster.header_row."
            )
        return found
    widths: list[int] = []
    for place, row in enumerate(filled.head(_MOST_BANNER).select(places).iter_rows()):
        texts = [clean_name(cell) for cell in row if cell]
        if len(texts) > 1 and wanted.key_names.intersection(texts):
            return place
        widths.append(len(texts))
    # Without the key, a title is known by its one cell
    return next((place for place, width in enumerate(widths) if width > _TITLE), 0) if widths[0] <= 1 else 0
