"""Binary workbooks (.xlsb): the cells that their reader leaves out. The format is that of MS-XLSB, Excel's own."""

from __future__ import annotations

import io
import posixpath
import re
import struct
import zipfile
from collections.abc import Iterator
from html import unescape
from typing import Final

from provisioner.roster.forms.sheet_xml import Overrides, mask_of, masked

#: Numbers of records.
_ROW: Final = 0
_ERRORS: Final = frozenset({3, 11})
_CELLS: Final = frozenset(range(2, 12))
_NUMBERS: Final = frozenset({2, 5, 9})
_RK: Final = 2
_SHEET: Final = 156
_FORMAT: Final = 44
_STYLE: Final = 47
_BEGIN_STYLES: Final = 617
_END_STYLES: Final = 618
#: Bytes of a number, and of a cell before its value: column, style.
_U32: Final = 4
_CELL: Final = 8
_MERGED: Final = 176
_TEXTS: Final = {
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
}
_RELATION: Final = re.compile(rb"<(?:\w+:)?Relationship\s[^>]*>")
_ID: Final = re.compile(rb"""\sId=["']([^"']*)["']""")
_TARGET: Final = re.compile(rb"""\sTarget=["']([^"']*)["']""")


def records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Each record's number and its body. What is cut off ends them."""
    place, size = 0, len(content)
    while place < size:
        number = content[place]
        place += 1
        if number & 0x80 and place < size:
            number = (number & 0x7F) | content[place] << 7
            place += 1
        length = shift = 0
        while place < size and shift < 28:
            byte = content[place]
            place += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        yield number, content[place : place + length]
        place += length


def extent(sheet: bytes) -> int:
    """How many cells the rectangle around all of a sheet's cells has: the reader makes room for each of them."""
    row, first, last, bottom, top = 0, 1 << 20, -1, 0, 1 << 20
    for number, record in records(sheet):
        if number == _ROW and len(record) >= _U32:
            row = _u32(record)
        elif number in _CELLS and len(record) >= _CELL:
            column = _u32(record)
            first, last, bottom, top = min(first, column), max(last, column), max(bottom, row), min(top, row)
    return (bottom - top + 1) * (last - first + 1) if last >= first else 0


def left_out(content: bytes, sheet: str) -> Overrides:
    """What the reader leaves out of the named sheet."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        path = _path_of(archive, sheet)
        body = archive.read(path) if path in archive.namelist() else b""
        masks = _masks(archive.read("xl/styles.bin")) if "xl/styles.bin" in archive.namelist() else {}
    texts: dict[tuple[int, int], str] = {}
    merged: list[tuple[int, str]] = []
    row, first = 0, 1 << 20
    for number, record in records(body):
        if number == _ROW and len(record) >= _U32:
            row = _u32(record)
        elif number in _CELLS and len(record) > _CELL:
            column = _u32(record)
            first = min(first, column)
            if number in _ERRORS:
                texts[row, column] = _TEXTS.get(record[_CELL], "#VALUE!")
            elif number in _NUMBERS and (mask := masks.get(int.from_bytes(record[4:7], "little"))):
                value = _number(number, record)
                if value >= 0 and value == int(value):
                    texts[row, column] = masked(str(int(value)), mask)
        elif number == _MERGED and len(record) >= 4 * _U32:
            top, end, left, right = struct.unpack_from("<IIII", record)
            merged.append((end + 1, f"{_letters(left)}{top + 1}:{_letters(right)}{end + 1}"))
    return Overrides({(line, column - first): text for (line, column), text in texts.items()}, tuple(merged))


def _u32(record: bytes) -> int:
    return int.from_bytes(record[:_U32], "little")


def _number(kind: int, record: bytes) -> float:
    if kind != _RK:
        return float(struct.unpack_from("<d", record, _CELL)[0]) if len(record) >= _CELL + 8 else -1.0
    # A shortened number: two flags, then a whole number or the upper half of a fraction
    raw = int.from_bytes(record[_CELL : _CELL + _U32], "little")
    short = raw >> 2
    whole = short - (1 << 30) if short >> 29 else short
    value = float(whole) if raw & 2 else float(struct.unpack("<d", struct.pack("<Q", (raw & 0xFFFFFFFC) << 32))[0])
    return value / 100 if raw & 1 else value


def _masks(styles: bytes) -> dict[int, list[str]]:
    """By style, the parts of number formats that show a fixed count of digits."""
    codes: dict[int, list[str]] = {}
    found: dict[int, list[str]] = {}
    within, place = False, 0
    for number, record in records(styles):
        if number == _FORMAT and len(record) > 2:
            if parts := mask_of(_text(record, 2)[0]):
                codes[int.from_bytes(record[:2], "little")] = parts
        elif number in (_BEGIN_STYLES, _END_STYLES):
            within = number == _BEGIN_STYLES
        elif number == _STYLE and within and len(record) >= _U32:
            if parts := codes.get(int.from_bytes(record[2:4], "little"), []):
                found[place] = parts
            place += 1
    return found


def _path_of(archive: zipfile.ZipFile, sheet: str) -> str:
    try:
        book, links = archive.read("xl/workbook.bin"), archive.read("xl/_rels/workbook.bin.rels")
    except KeyError:
        return ""
    wanted = None
    for number, record in records(book):
        if number == _SHEET and len(record) >= 12:
            identity, place = _text(record, 8)
            if _text(record, place)[0] == sheet:
                wanted = identity
    for element in _RELATION.findall(links):
        name, target = _ID.search(element), _TARGET.search(element)
        if name is not None and target is not None and name[1].decode(errors="replace") == wanted:
            found = unescape(target[1].decode(errors="replace"))
            return posixpath.normpath(posixpath.join("/xl", found)).lstrip("/")
    return ""


def _text(record: bytes, place: int) -> tuple[str, int]:
    """A text of counted UTF-16, and where it ends."""
    if place + 4 > len(record):
        return "", len(record)
    count = struct.unpack_from("<I", record, place)[0]
    end = place + 4 + 2 * count
    return record[place + 4 : end].decode("utf-16-le", errors="replace"), end


def _letters(column: int) -> str:
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(65 + rest) + name
    return name
