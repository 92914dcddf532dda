"""A minimal writer of .xlsx workbooks."""

from __future__ import annotations

import io
import struct
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


def binary_workbook(*rows: Sequence[str | int | tuple[int, str] | None], first: int = 0) -> bytes:
    """A binary workbook of one sheet, People, as Excel writes it; a pair is a number and its format, # an error."""
    codes = sorted({cell[1] for row in rows for cell in row if isinstance(cell, tuple)})
    sheet = _record(129) + _record(148, struct.pack("<IIII", 0, len(rows), first, first + 9)) + _record(145)
    for line, row in enumerate(rows):
        sheet += _record(0, struct.pack("<I", line) + bytes(13))
        sheet += b"".join(
            _binary_cell(first + column, cell, codes) for column, cell in enumerate(row) if cell is not None
        )
    sheet += (
        _record(146)
        + _record(177, struct.pack("<I", 1))
        + _record(176, struct.pack("<IIII", 1, 2, 1, 1))
        + _record(130)
    )
    book = _record(131) + _record(143) + _record(156, struct.pack("<II", 0, 1) + _counted("rId1") + _counted("People"))
    styles = b"".join(_record(44, struct.pack("<H", 200 + place) + _counted(code)) for place, code in enumerate(codes))
    styles = _record(615, struct.pack("<I", len(codes))) + styles + _record(616)
    styles += _record(617, struct.pack("<I", 1 + len(codes))) + b"".join(
        _record(47, struct.pack("<HH", 0, number) + bytes(12)) for number in (0, *range(200, 200 + len(codes)))
    )
    relation = f'<Relationship Id="{{}}" Type="{_OFFICE}/{{}}" Target="{{}}"/>'
    around = f'<Relationships xmlns="{_PACKAGE}/relationships">{{}}</Relationships>'
    links = relation.format("rId1", "worksheet", "worksheets/sheet1.bin") + relation.format("s", "styles", "styles.bin")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_rels/.rels", around.format(relation.format("r1", "officeDocument", "xl/workbook.bin")))
        archive.writestr("xl/_rels/workbook.bin.rels", around.format(links))
        archive.writestr("xl/workbook.bin", book + _record(144) + _record(132))
        archive.writestr("xl/styles.bin", _record(278) + styles + _record(618) + _record(279))
        archive.writestr("xl/worksheets/sheet1.bin", sheet)
    return stream.getvalue()


def _record(number: int, body: bytes = b"") -> bytes:
    head = bytes([number]) if number < 128 else bytes([number & 0x7F | 0x80, number >> 7])
    size, length = len(body), b""
    while size >= 128:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return head + length + bytes([size]) + body


def _counted(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def _binary_cell(column: int, value: str | int | tuple[int, str], codes: list[str]) -> bytes:
    style = 1 + codes.index(value[1]) if isinstance(value, tuple) else 0
    base = struct.pack("<II", column, style)
    if isinstance(value, tuple):
        # One in two as a shortened number
        number = value[0]
        return _record(2, base + struct.pack("<I", number << 2 | 2)) if number % 2 else _real(base, number)
    if isinstance(value, int):
        return _real(base, value)
    if value.startswith("#"):
        return _record(3, base + bytes([{"#N/A": 0x2A, "#REF!": 0x17}[value]]))
    return _record(6, base + _counted(value))


def _real(base: bytes, value: int) -> bytes:
    return _record(5, base + struct.pack("<d", value))
