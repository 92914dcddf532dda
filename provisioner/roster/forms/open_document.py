"""OpenDocument spreadsheets (.ods): what the reader leaves out, and how many cells they spread to."""

from __future__ import annotations

import re
from html import unescape
from typing import Final

_TABLE: Final = re.compile(rb"<table:table(?=[\s>])")
_NAME: Final = re.compile(rb"""\stable:name=["']([^"']*)["']""")
_ROWS: Final = re.compile(rb"""\stable:number-rows-repeated=["'](\d{1,9})["']""")
_COLUMNS: Final = re.compile(rb"""\stable:number-columns-repeated=["'](\d{1,9})["']""")
_CELL: Final = re.compile(
    rb"<table:(?:covered-)?table-cell((?:\s[^>]*?)?)(?:/>|>(.*?)</table:(?:covered-)?table-cell>)", re.DOTALL
)
_FILLED: Final = b"value-type="
_ERROR: Final = re.compile(rb"""\s(?:calcext):value-type=["']error["']""")
_FLOAT: Final = re.compile(rb"""\soffice:value=["'](\d+)["']""")
_TEXT: Final = re.compile(rb"<text:p[^>]*>([^<]*)</text:p>")
#: A number that is shown with zeros in front.
_PADDED: Final = re.compile(rb"<text:p[^>]*>0\d")


def extent(content: bytes) -> int:
    """How many cells the rectangles around all cells of the sheets have, with those that stand for many."""
    largest = 0
    for table in _TABLE.split(content)[1:]:
        rows = width = 0
        for row in table.split(b"<table:table-row")[1:]:
            if _FILLED not in row:
                continue
            head = row[: row.find(b">")]
            repeated = _ROWS.search(head)
            rows += int(repeated[1]) if repeated else 1
            cells = row.count(b"table-cell ") + row.count(b"table-cell>") + row.count(b"table-cell/>")
            # Empty cells at the end of a row stand for all that a sheet has, and are not read
            body = row[len(head) : row.rfind(_FILLED)]
            width = max(
                width, cells + sum(int(one) for one in _COLUMNS.findall(body + row[row.rfind(_FILLED) :][:200]))
            )
        largest = max(largest, rows * min(width, 16_384))
    return largest


def overrides(content: bytes, sheet: str) -> dict[tuple[int, int], str]:
    """Of a sheet's cells, by row and column from 0, the text of errors and of numbers shown with zeros in front."""
    if not _ERROR.search(content) and not _PADDED.search(content):
        return {}
    found: dict[tuple[int, int], str] = {}
    for table in _TABLE.split(content)[1:]:
        name = _NAME.search(table[: table.find(b">")])
        if name is None or unescape(name[1].decode(errors="replace")) != sheet:
            continue
        line = 0
        for row in table.split(b"<table:table-row")[1:]:
            head = row[: row.find(b">")]
            repeated = _ROWS.search(head)
            column = 0
            for cell in _CELL.finditer(row, len(head)):
                spread = _COLUMNS.search(cell[1])
                text = _override(cell[1], cell[2] or b"")
                if text is not None:
                    found[line, column] = text
                column += int(spread[1]) if spread else 1
            line += int(repeated[1]) if repeated else 1
    return found


def _override(attributes: bytes, body: bytes) -> str | None:
    shown = _TEXT.search(body)
    text = unescape(shown[1].decode(errors="replace")).strip() if shown else ""
    if _ERROR.search(attributes):
        return text if text.startswith("#") else "#VALUE!"
    number = _FLOAT.search(attributes)
    if number is not None and text.isdigit() and text.startswith("0") and int(text) == int(number[1]):
        return text
    return None
