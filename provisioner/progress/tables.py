"""Tables as files: CSV, Parquet or a workbook, by the ending; the same table always gives the same bytes. Pure.

In what a spreadsheet opens (CSV, .xlsx) a cell that begins as a formula does is made plain text by an apostrophe.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from typing import Final
from xml.sax.saxutils import escape

import polars as pl

from provisioner.errors import ConfigurationError

#: What spreadsheets take for the beginning of a formula, or pass over before one.
_FORMULA: Final = r"^([=+\-@\t\r\n])"
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
    return cells.rename({name: f"'{name}" for name in cells.columns if name[:1] in set("=+-@\t\r\n")})


def _csv(table: pl.DataFrame) -> bytes:
    return neutral(table).write_csv(line_terminator="\r\n").encode()


def _parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def _xlsx(table: pl.DataFrame) -> bytes:
    safe = neutral(table)
    rows = [_row(1, safe.columns), *(_row(place, row) for place, row in enumerate(safe.iter_rows(), start=2))]
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_MAIN}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_MAIN}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>'
        '<sheet name="people" sheetId="1" r:id="s1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="s1" '
        f'Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_SHEET}"><sheetData>{"".join(rows)}</sheetData></worksheet>',
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, text in parts.items():
            entry = zipfile.ZipInfo(path, _MADE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{text}')
    return stream.getvalue()


def _row(number: int, cells: Mapping[str, str] | list[str] | tuple[str | None, ...]) -> str:
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
