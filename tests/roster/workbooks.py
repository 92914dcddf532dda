"""A minimal writer of .xlsx workbooks."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import date
from xml.sax.saxutils import escape

_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_QUOTE = {'"': "&quot;"}
_EPOCH = date(1899, 12, 30)

Cell = str | int | float | bool | date | tuple[int, str] | None
Rows = Sequence[Sequence[Cell] | None]


def workbook(*, last: str | None = None, extra: str = "", **sheets: Rows) -> bytes:
    """A workbook of named sheets; None is a row that is not there, `last` the column that rows of one cell stand in.

    A text that begins with # is an error (``#REF!``), one with = a formula whose result is not stored; a pair is a
    number and its format. `extra` follows the cells of each sheet.
    """
    formats = sorted({cell[1] for rows in sheets.values() for row in rows for cell in row or () if type(cell) is tuple})
    codes = "".join(f'<numFmt numFmtId="{200 + place}" formatCode="{escape(code, _QUOTE)}"/>'
                    for place, code in enumerate(formats))  # fmt: skip
    styles = "".join(f'<xf numFmtId="{200 + place}"/>' for place in range(len(formats)))
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        # Style 1 is the date format of Excel
        "xl/styles.xml": f'<styleSheet xmlns="{_SHEET}"><numFmts>{codes}</numFmts><cellXfs><xf numFmtId="0"/>'
        f'<xf numFmtId="14" applyNumberFormat="1"/>{styles}</cellXfs></styleSheet>',
    }
    names, relations = "", f'<Relationship Id="s0" Type="{_OFFICE}/styles" Target="styles.xml"/>'
    for index, (name, rows) in enumerate(sheets.items(), 1):
        names += f'<sheet name="{escape(name)}" sheetId="{index}" r:id="s{index}"/>'
        relations += f'<Relationship Id="s{index}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{index}.xml"/>'
        body = "".join(_row(number, row, last, formats) for number, row in enumerate(rows, 1) if row is not None)
        parts[f"xl/worksheets/sheet{index}.xml"] = (
            f'<worksheet xmlns="{_SHEET}"><sheetData>{body}</sheetData>{extra}</worksheet>'
        )
    parts["xl/workbook.xml"] = f'<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>{names}</sheets></workbook>'
    parts["xl/_rels/workbook.xml.rels"] = f'<Relationships xmlns="{_PACKAGE}/relationships">{relations}</Relationships>'
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in parts.items():
            archive.writestr(path, f'<?xml version="1.0" encoding="UTF-8"?>{text}')
    return stream.getvalue()


def _row(number: int, row: Sequence[Cell], last: str | None, formats: list[str]) -> str:
    if last and len(row) == 1:
        return f'<row r="{number}">{_cell(f"{last}{number}", row[0], formats)}</row>'
    cells = "".join(
        _cell(f"{chr(65 + place)}{number}", value, formats) for place, value in enumerate(row) if value is not None
    )
    return f'<row r="{number}">{cells}</row>'


def _cell(place: str, value: Cell, formats: list[str]) -> str:
    if isinstance(value, tuple):
        return f'<c r="{place}" s="{2 + formats.index(value[1])}"><v>{value[0]}</v></c>'
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, date):
        return f'<c r="{place}" s="1"><v>{(value - _EPOCH).days}</v></c>'
    if isinstance(value, str) and value.startswith("#"):
        return f'<c r="{place}" t="e"><v>{escape(value)}</v></c>'
    if isinstance(value, str) and value.startswith("="):
        return f'<c r="{place}" s="1"><f>{escape(value[1:])}</f></c>'
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'


_ODS = "application/vnd.oasis.opendocument.spreadsheet"
_SPACES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text", "style")
)
_CALC = 'xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
_HIDDEN = (
    '<style:style style:name="h" style:family="table"><style:table-properties table:display="false"/></style:style>'
)


def open_document(
    *, rows_repeated: int = 1, columns_repeated: int = 1, hidden: Sequence[str] = (), **sheets: Rows
) -> bytes:
    """An OpenDocument spreadsheet; each row and each filled cell stands for so many."""
    body = ""
    for name, rows in sheets.items():
        style = ' table:style-name="h"' if name in hidden else ""
        lines = "".join(
            f'<table:table-row table:number-rows-repeated="{rows_repeated}">'
            + "".join(_ods_cell(cell, columns_repeated) for cell in row or ())
            + "</table:table-row>"
            for row in rows
        )
        rest = (
            '<table:table-row table:number-rows-repeated="1048000">'
            '<table:table-cell table:number-columns-repeated="16384"/></table:table-row>'
        )
        body += f'<table:table table:name="{escape(name)}"{style}>{lines}{rest}</table:table>'
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", _ODS)
        entry = '<m:file-entry m:full-path="{}" m:media-type="{}"/>'
        manifest = entry.format("/", _ODS) + entry.format("content.xml", "text/xml")
        space = 'xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"'
        archive.writestr("META-INF/manifest.xml", f"<m:manifest {space}>{manifest}</m:manifest>")
        archive.writestr(
            "content.xml",
            f"<office:document-content {_SPACES} {_CALC}><office:automatic-styles>{_HIDDEN}</office:automatic-styles>"
            f"<office:body><office:spreadsheet>{body}</office:spreadsheet></office:body></office:document-content>",
        )
    return stream.getvalue()


def _ods_cell(value: Cell, repeated: int) -> str:
    if value is None:
        return "<table:table-cell/>"
    many = f' table:number-columns-repeated="{repeated}"' if repeated > 1 else ""
    shown, kind, number = str(value), "float", f' office:value="{value}"'
    if isinstance(value, tuple):
        shown, number = value[1], f' office:value="{value[0]}"'
    elif isinstance(value, date):
        shown, kind, number = "x", "date", f' office:date-value="{value}"'
    elif isinstance(value, str):
        error = value.startswith("#")
        number = ' office:string-value="" calcext:value-type="error" table:formula="of:=NA()"' if error else ""
        kind = "string"
    attributes = f'{many} office:value-type="{kind}"{number}'
    return f"<table:table-cell{attributes}><text:p>{escape(shown)}</text:p></table:table-cell>"
