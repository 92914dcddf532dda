"""Cells of a workbook without a value: errors, and formulas without a stored result; to the reader they are empty."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from html import unescape
from typing import Final

_ELEMENT: Final = re.compile(rb"<(?:\w+:)?(?:sheet|Relationship)\s[^>]*>")
_NAMED: Final = {
    name: re.compile(rb"\s" + name + rb"=[\"']([^\"']*)[\"']") for name in (b"name", b"Id", b"Target", b"r")
}
_ID: Final = re.compile(rb"\s\w+:id=[\"']([^\"']*)[\"']")
_FAILED: Final = re.compile(
    rb"<(?:\w+:)?c(\s[^>]*\bt=[\"']e[\"'][^>]*)>(?:(?!</(?:\w+:)?c>).)*?<(?:\w+:)?v>([^<]*)</", re.DOTALL
)
_FORMULA: Final = re.compile(
    rb"<(?:\w+:)?c(\s[^>]*)>\s*<(?:\w+:)?f(?:\s[^>]*)?(?:/>|>[^<]*</(?:\w+:)?f>)"
    rb"\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v></(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
#: The columns of cells that are more than a style.
_FILLED: Final = re.compile(rb"<(?:\w+:)?c\s(?:[^>]*\s)?r=[\"']([A-Z]{1,3})[0-9]+[\"'](?:\s[^>/]*)?>")
_PLACE: Final = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
#: What `provisioner.roster.cells` knows as a formula without its result.
_NOT_CALCULATED: Final = "#NOT_CALCULATED!"


def errors_of(content: bytes, sheet: str) -> dict[tuple[int, int], str]:
    """Of a sheet's cells, by row and column, the text of each error; both from 0, columns from the first filled one."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        path = _path_of(archive, sheet)
        if path not in archive.namelist():
            return {}
        text = archive.read(path)
    found: dict[tuple[int, int], str] = {}
    if re.search(rb"\bt=[\"']e[\"']", text):
        for match in _FAILED.finditer(text):
            _note(found, match[1], unescape(match[2].decode(errors="replace")))
    if re.search(rb"<(?:\w+:)?f[\s/>]", text):
        for match in _FORMULA.finditer(text):
            _note(found, match[1], _NOT_CALCULATED)
    if not found:
        return {}
    first = min((_column(letters.decode()) for letters in set(_FILLED.findall(text))), default=0)
    return {(row, column - first): told for (row, column), told in found.items()}


def _note(found: dict[tuple[int, int], str], attributes: bytes, text: str) -> None:
    place = _PLACE.fullmatch((_value(attributes, b"r") or b"").decode(errors="replace"))
    if place is not None:
        found[int(place[2]) - 1, _column(place[1])] = text


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _path_of(archive: zipfile.ZipFile, sheet: str) -> str:
    """Where in the archive a sheet lies; empty if that cannot be told."""
    try:
        book, links = archive.read("xl/workbook.xml"), archive.read("xl/_rels/workbook.xml.rels")
    except KeyError:
        return ""
    ids = {}
    for element in _ELEMENT.findall(book):
        name, identity = _value(element, b"name"), _ID.search(element)
        if name is not None and identity is not None:
            ids[unescape(name.decode(errors="replace"))] = identity[1]
    for element in _ELEMENT.findall(links):
        target = _value(element, b"Target")
        if target is not None and _value(element, b"Id") == ids.get(sheet):
            return posixpath.normpath(posixpath.join("xl", target.decode(errors="replace"))).lstrip("/")
    return ""


def _value(element: bytes, name: bytes) -> bytes | None:
    found = _NAMED[name].search(element)
    return found[1] if found else None
