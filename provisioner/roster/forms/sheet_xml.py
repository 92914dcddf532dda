"""What a workbook's sheet says and its reader leaves out: errors, results that are missing, zeros, merged cells."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from dataclasses import dataclass, field
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
_NUMBER: Final = re.compile(
    rb"<(?:\w+:)?c(\s[^>]*\bs=[\"'](\d+)[\"'][^>]*)>(?:(?!</(?:\w+:)?c>).)*?<(?:\w+:)?v>(\d+)</", re.DOTALL
)
_MERGED: Final = re.compile(rb"<(?:\w+:)?mergeCell\s[^>]*\bref=[\"']([A-Z]{1,3}[0-9]{1,7}:[A-Z]{1,3}[0-9]{1,7})[\"']")
_FORMATS: Final = re.compile(rb"<(?:\w+:)?numFmt\s[^>]*>")
_STYLES: Final = re.compile(rb"<(?:\w+:)?cellXfs[\s>].*?</(?:\w+:)?cellXfs>", re.DOTALL)
_STYLE: Final = re.compile(rb"<(?:\w+:)?xf\s[^>]*>")
_FORMAT_ID: Final = re.compile(rb"\bnumFmtId=[\"'](\d+)[\"']")
_FORMAT_CODE: Final = re.compile(rb"\bformatCode=[\"']([^\"']*)[\"']")
#: One part of a number format that does no more than show digits and signs.
_SHOWN: Final = re.compile(r"""0|"[^"]*"|\\.|[-/() :+]""")
_LEAST_DIGITS: Final = 2
#: What `provisioner.roster.cells` knows as a formula without its result.
_NOT_CALCULATED: Final = "#NOT_CALCULATED!"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the reader leaves out of a sheet.

    `texts` are cells by row and column, both from 0 and columns from the first filled one: errors, and numbers as their
    format shows them. `merged` are the ranges of merged cells by their last row, from 1.
    """

    texts: dict[tuple[int, int], str] = field(default_factory=dict)
    merged: tuple[tuple[int, str], ...] = ()


def overrides_of(content: bytes, sheet: str) -> Overrides:
    """What the reader leaves out of the named sheet."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        path = _path_of(archive, sheet)
        if path not in archive.namelist():
            return Overrides()
        text = archive.read(path)
        masks = _masks(archive)
    found: dict[tuple[int, int], str] = {}
    if re.search(rb"\bt=[\"']e[\"']", text):
        for match in _FAILED.finditer(text):
            _note(found, match[1], unescape(match[2].decode(errors="replace")))
    if re.search(rb"<(?:\w+:)?f[\s/>]", text):
        for match in _FORMULA.finditer(text):
            _note(found, match[1], _NOT_CALCULATED)
    styles = b"|".join(str(style).encode() for style in masks)
    if masks and re.search(rb"\bs=[\"'](?:" + styles + rb")[\"']", text):
        for match in _NUMBER.finditer(text):
            if int(match[2]) in masks and _value_type(match[1]) in (None, b"n"):
                _note(found, match[1], masked(match[3].decode(), masks[int(match[2])]))
    ranges = (one.decode() for one in _MERGED.findall(text))
    merged = tuple((int(re.split("[A-Z]+", one)[-1]), one) for one in ranges)
    if not found:
        return Overrides(merged=merged)
    first = min((_column(letters.decode()) for letters in set(_FILLED.findall(text))), default=0)
    return Overrides({(row, column - first): told for (row, column), told in found.items()}, merged)


def _masks(archive: zipfile.ZipFile) -> dict[int, list[str]]:
    """By style, the parts of number formats that show a fixed count of digits, such as 000000 and "E"0000."""
    if "xl/styles.xml" not in archive.namelist():
        return {}
    text = archive.read("xl/styles.xml")
    codes: dict[int, list[str]] = {}
    for element in _FORMATS.findall(text):
        number, code = _FORMAT_ID.search(element), _FORMAT_CODE.search(element)
        if number is not None and code is not None:
            parts = mask_of(unescape(code[1].decode(errors="replace")))
            if parts:
                codes[int(number[1])] = parts
    if not codes or (styles := _STYLES.search(text)) is None:
        return {}
    ids = [_FORMAT_ID.search(style) for style in _STYLE.findall(styles[0])]
    return {place: codes[int(one[1])] for place, one in enumerate(ids) if one is not None and int(one[1]) in codes}


def mask_of(code: str) -> list[str]:
    """The parts of a number format that shows a fixed count of digits and nothing else; none if it is another."""
    first = code.split(";")[0]
    parts = _SHOWN.findall(first)
    return parts if "".join(parts) == first and parts.count("0") >= _LEAST_DIGITS else []


def masked(number: str, parts: list[str]) -> str:
    """A whole number as its format shows it."""
    zeros = parts.count("0")
    digits = list(number.zfill(zeros))
    shown = ""
    for part in parts:
        if part != "0":
            shown += part[1:-1] if part.startswith('"') else part.removeprefix("\\")
            continue
        # More digits than the format has stand before its first one
        shown += "".join(digits[: len(digits) - zeros + 1])
        digits = digits[len(digits) - zeros + 1 :]
        zeros -= 1
    return shown


def _value_type(attributes: bytes) -> bytes | None:
    found = re.search(rb"\bt=[\"']([^\"']*)[\"']", attributes)
    return found[1] if found else None


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
    """Where in the archive a sheet lies; empty if that is unknown."""
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
