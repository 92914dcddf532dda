"""Tables as files: CSV, Parquet or a workbook, by the ending; the same table always gives the same bytes. Pure.

In what a spreadsheet opens (CSV, .xlsx) a cell that begins as a formula does is made plain text by an apostrophe.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import IO, BinaryIO, Final
from xml.sax.saxutils import escape

import polars as pl

from provisioner.errors import ConfigurationError

#: What spreadsheets take for the beginning of a formula, or pass over before one.
_BEGINS_FORMULA: Final = ("=", "+", "@", "\t", "\r", "\n", "-")
_FORMULA: Final = f"^([{''.join(_BEGINS_FORMULA)}])"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_SHEET: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_MAIN: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
#: XML 1.0 has no way to write these, escaped or not.
_UNWRITABLE: Final = dict.fromkeys(
    [code for code in range(32) if code not in (9, 10, 13)] + [0xFFFE, 0xFFFF, *range(0xD800, 0xE000)]
)
#: A moment for the entries of the archive, so that equal tables are equal files.
_MADE: Final = (1980, 1, 1, 0, 0, 0)
_XML: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
#: Rows of a sheet beneath its header, and characters of a cell.
_MOST_ROWS: Final = 1_048_575
_LONGEST_CELL: Final = 32_767


def written(table: pl.DataFrame, name: str, where: str) -> bytes:
    """A table of text as the file that a name's ending asks for.

    Args:
        where: the setting or argument that the name is from, for messages.

    Raises:
        ConfigurationError: the ending is none of those, or the table does not fit into a sheet.
    """
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    writer = _WRITERS.get(ending)
    if writer is None:
        raise ConfigurationError(
            f"{where}: the name must end in {', '.join(f'.{one}' for one in _WRITERS)}.",
            remedy="Its ending says what is written.",
        )
    if ending == "xlsx" and table.height > _MOST_ROWS:
        raise ConfigurationError(f"{where}: {table.height} rows do not fit into a sheet.", remedy="Write .csv.")
    return writer(table)


def neutral(table: pl.DataFrame) -> pl.DataFrame:
    """The table with no cell, and no column name, that a spreadsheet would take for a formula."""
    cells = table.with_columns(pl.col(pl.String).str.replace(_FORMULA, "'$1"))
    return cells.rename({name: plain_cell(name) for name in cells.columns})


def _csv(table: pl.DataFrame) -> bytes:
    return neutral(table).write_csv(line_terminator="\r\n").encode()


def _parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def _xlsx(table: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    with WorkbookStream(stream, neutral(table.clear()).columns, sheets="people") as book:
        for row in table.iter_rows():
            book.write(row)
    return stream.getvalue()


class WorkbookStream:
    """A workbook that is written row by row; where a sheet is full, the next one goes on.

    Use it as a context; the file is whole when the context ends.
    """

    def __init__(self, file: BinaryIO, header: Sequence[str], *, sheets: str = "rows{}") -> None:
        """
        Args:
            sheets: what each sheet is called, by its number.
        """
        self._names = sheets
        self._archive = zipfile.ZipFile(file, "w")
        self._header = list(header)
        self._sheets = 0
        self._rows = 0
        self._sheet: IO[bytes] | None = None

    def __enter__(self) -> WorkbookStream:
        self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end()
        if kind is None:
            for path, text in _frame_of(self._sheets, self._names).items():
                entry = zipfile.ZipInfo(path, _MADE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                self._archive.writestr(entry, f"{_XML}{text}")
        self._archive.close()

    def write(self, cells: Sequence[str | None]) -> None:
        """Add a row; no cell of it is taken for a formula."""
        if self._rows == _MOST_ROWS:
            self._end()
            self._begin()
        self._rows += 1
        self._put(_row(self._rows + 1, [None if one is None else plain_cell(one) for one in cells]))

    def _begin(self) -> None:
        self._sheets, self._rows = self._sheets + 1, 0
        entry = zipfile.ZipInfo(f"xl/worksheets/sheet{self._sheets}.xml", _MADE)
        entry.compress_type = zipfile.ZIP_DEFLATED
        self._sheet = self._archive.open(entry, "w", force_zip64=True)
        self._put(f'{_XML}<worksheet xmlns="{_SHEET}"><sheetData>')
        self._put(_row(1, self._header))

    def _end(self) -> None:
        if self._sheet is not None:
            self._put("</sheetData></worksheet>")
            self._sheet.close()
            self._sheet = None

    def _put(self, text: str) -> None:
        if self._sheet is not None:
            self._sheet.write(text.encode())


def plain_cell(value: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(_BEGINS_FORMULA) else value


def _frame_of(sheets: int, called: str) -> dict[str, str]:
    """What a workbook of so many sheets has besides them."""
    numbers = range(1, sheets + 1)
    kinds = "".join(
        f'<Override PartName="/xl/worksheets/sheet{one}.xml" ContentType="{_MAIN}.worksheet+xml"/>' for one in numbers
    )
    names = "".join(f'<sheet name="{called.format(one)}" sheetId="{one}" r:id="s{one}"/>' for one in numbers)
    leads = "".join(
        f'<Relationship Id="s{one}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{one}.xml"/>' for one in numbers
    )
    return {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_MAIN}.sheet.main+xml"/>{kinds}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{leads}</Relationships>',
    }


def _row(number: int, cells: Sequence[str | None]) -> str:
    written_cells = "".join(
        f'<c r="{_letters(place)}{number}" t="inlineStr"><is><t xml:space="preserve">{_text(value)}</t></is></c>'
        for place, value in enumerate(cells)
        if value is not None
    )
    return f'<row r="{number}">{written_cells}</row>'


def _text(value: str) -> str:
    return escape(value.translate(_UNWRITABLE)[:_LONGEST_CELL], {"\r": "&#13;"})


def _letters(place: int) -> str:
    """A, B, … Z, AA, …"""
    text, rest = "", place + 1
    while rest:
        rest, digit = divmod(rest - 1, 26)
        text = chr(65 + digit) + text
    return text


_WRITERS: Final[dict[str, Callable[[pl.DataFrame], bytes]]] = {"csv": _csv, "parquet": _parquet, "xlsx": _xlsx}
