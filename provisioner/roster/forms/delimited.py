"""Delimited text: which line is a whole row, which belongs to the one before, and which is broken.

polars tells which lines are regular, and reads all of those at once. Only the others (a line break inside quotes, a
stray quotation mark, cells too many or too few) are looked at one by one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

import polars as pl

from provisioner.errors import RosterError
from provisioner.roster.forms.decoding import is_marked
from provisioner.roster.forms.table import MAX_ROW, BadRow, Table, header, without_blanks
from provisioner.roster.values import clean_name

_DELIMITERS: Final = (",", ";", "\t", "|")
_MAX_LINES_PER_ROW: Final = 1_000
_UNCLOSED: Final = "a quotation mark is never closed"
_STRAY: Final = "text follows a closing quotation mark"
_SEPARATOR_LINE: Final = re.compile(r'"?sep=([\t!-/:-@\[-`{-~])"?\s*', re.IGNORECASE)
_FILLED: Final = re.compile(rb"[^ \t\r\n\v\f]")


@dataclass(frozen=True, slots=True)
class _Record:
    """`cells` of one row and over how many `lines` it goes; `fault` says why there are no cells."""

    cells: list[str]
    lines: int
    fault: str | None = None


@dataclass(slots=True)
class _Odd:
    """What became of irregular lines: `rows` and the `lines` they begin in, `bad` rows, and every line so `taken`."""

    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Top:
    """What the header says; `lines` is how many lines of the file go before the first row."""

    columns: tuple[str, ...]
    delimiter: str
    lines: int


def read_delimited(text: bytes, name: str, key: str) -> Table:
    """Rows of delimited UTF-8 text; `key` is the key column's name, by which the delimiter is recognised.

    Raises:
        RosterError: there is no header, or it is unusable.
    """
    text = text.rstrip(b"\x1a")
    if b"\r" in text:
        # Nearly always each stands before a newline, where nobody minds it, and making such a text anew takes long
        head = _head(text, name)[1]
        if b"\r" not in head.replace(b"\r\n", b"\n"):
            rows = _Rows(text, _top(text, name, key), key)
            if rows.readable:
                return rows.table()
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return _Rows(text, _top(text, name, key), key).table()


def _head(text: bytes, name: str) -> tuple[int, bytes]:
    """The number of blank lines at the beginning, and all lines to which the header may extend, with them."""
    begin = 0
    while (found := _FILLED.search(text, begin)) is not None:
        begin = text.rfind(b"\n", 0, found.start()) + 1
        end = _end(text, begin)
        if text[begin:end].decode().strip():
            return text.count(b"\n", 0, begin), text[: _end(text, end, _MAX_LINES_PER_ROW + 1)]
        begin = end
    raise RosterError(f"{name} is empty.", remedy="Export the roster again.")


def _end(text: bytes, begin: int, lines: int = 1) -> int:
    """Where so many lines from `begin` on end, the newline included."""
    for _ in range(lines):
        begin = text.find(b"\n", begin) + 1 or len(text)
    return begin


def _lines_from(text: bytes, begin: int) -> Iterator[str]:
    while begin < len(text):
        end = _end(text, begin)
        yield _line(text, begin, end)
        begin = end


def _line(text: bytes, begin: int, end: int) -> str:
    return text[begin:end].decode().removesuffix("\n").removesuffix("\r")


def _top(text: bytes, name: str, key: str) -> _Top:
    blank, head = _head(text, name)
    lines = head.replace(b"\r\n", b"\n").decode().split("\n")
    told = _SEPARATOR_LINE.fullmatch(lines[blank])
    start = blank + 1 if told else blank
    if start >= len(lines):
        raise RosterError(f"{name} has no header.", remedy="Export the roster again.")
    delimiters = (told[1],) if told and told[1] != '"' else _DELIMITERS
    found = [(one, _record(lines[start:], one, None)) for one in delimiters]

    def rank(candidate: tuple[str, _Record]) -> tuple[bool, bool, int]:
        record = candidate[1]
        return record.fault is None, key in map(clean_name, record.cells), len(record.cells)

    # The one that shows the key column, else the one that gives most columns
    delimiter, record = max(found, key=rank)
    if record.fault:
        raise RosterError(f"{name}, line {start + 1}: the header cannot be read: {record.fault}.")
    return _Top(header(record.cells, name, start + 1), delimiter, start + record.lines)


def _record(lines: Iterable[str], delimiter: str, width: int | None) -> _Record:
    """The row that begins with the first of the lines, over as many of them as its quotation marks span.

    A row over several lines is believed only if it has `width` cells: else an open mark would swallow its neighbours.
    """
    taken: list[str] = []
    size = 0
    fault = _UNCLOSED
    for line in islice(lines, _MAX_LINES_PER_ROW):
        taken.append(line)
        size += len(line) + 1
        if size > MAX_ROW:
            fault = f"the row is longer than {MAX_ROW} characters"
            break
        if '"' not in line:
            if len(taken) > 1:
                continue
            if line:
                return _Record(line.split(delimiter), 1)
        try:
            rows = list(csv.reader(["\n".join(taken)], delimiter=delimiter, strict=True))
        except csv.Error as exc:
            if "unexpected end" in str(exc):
                continue
            fault = _STRAY if len(taken) == 1 else _UNCLOSED
            if "field limit" in str(exc):
                fault = "a cell is too long"
            break
        cells = rows[0] if rows else [""]
        if len(taken) > 1 and width is not None and len(cells) != width:
            break
        return _Record(cells, len(taken))
    return _Record([], 1, fault)


class _Rows:
    """The rows beneath the header.

    `readable`: no carriage return stands in the way. Regular lines may end with CRLF or LF as they like; irregular ones
    can be found in the text only if all end alike.
    """

    def __init__(self, text: bytes, top: _Top, key: str) -> None:
        self._text = text
        self._top = top
        self._width = len(top.columns)
        self._key_first = top.columns[0] == key
        self._newline = b"\r\n" if b"\r" in text else b"\n"
        mark = r"\t" if top.delimiter == "\t" else re.escape(top.delimiter)
        cell = rf'(?:"[^"\r]*(?:""[^"\r]*)*"|[^"\r{mark}]*)'
        self._whole = re.compile(rf"{cell}(?:{mark}{cell})*")
        # Spreadsheets export rows of nothing but delimiters beneath their table; space is what polars takes for it
        self._blank = re.compile(rf'(?:[^\S\x1c-\x1f]|["{mark}])*')
        line = pl.col("line")
        # polars reads an empty line as a row without values
        pattern = rf"^(?:{cell}(?:{mark}{cell}){{{self._width - 1}}})?$"
        lines = (
            pl.scan_lines(text, name="line")
            .select(
                (~line.str.contains(pattern) | (line.str.len_chars() > MAX_ROW)).alias("irregular"),
                (line.str.len_bytes().cast(pl.Int64) + len(self._newline)).alias("size"),
                line.str.contains("\r", literal=True).alias("return"),
            )
            .collect(engine="streaming")
        )
        self._irregular = lines["irregular"].slice(top.lines)
        self._sizes = lines["size"].slice(top.lines)
        self._regular = not self._irregular.any()
        # The last line may have no end, but then it must not have half of one
        missing = 0 if text.endswith(self._newline) else len(self._newline)
        ends_alike = lines["size"].sum() == len(text) + missing and not (missing and text.endswith((b"\r", b"\n")))
        self.readable = self._regular or (ends_alike and not lines["return"].any())

    def table(self) -> Table:
        """All rows, good and bad."""
        columns, first = self._top.columns, self._top.lines + 1
        lines = pl.int_range(first, first + self._irregular.len(), eager=True, dtype=pl.Int64).alias("_line")
        odd = _Odd()
        if self._regular:
            frame = self._read(self._text, self._top.lines, lines)
        else:
            rest = self._sort_out(odd)
            taken = pl.repeat(False, lines.len(), dtype=pl.Boolean, eager=True).scatter(odd.taken, True)
            frame = self._read(rest, 0, lines.filter(~taken))
        if odd.rows:
            cells = pl.DataFrame(odd.rows, schema=dict.fromkeys(columns, pl.String), orient="row")
            frame = pl.concat([frame, cells.with_columns(pl.Series("_line", odd.lines, dtype=pl.Int64))]).sort("_line")
        return Table(columns, without_blanks(frame, columns), odd.bad, marked=is_marked(self._text))

    def _sort_out(self, odd: _Odd) -> bytes:
        """Find out what the irregular lines are, and give the text of the others."""
        text, free = memoryview(self._text), _end(self._text, 0, self._top.lines)
        begins = (self._sizes.cum_sum() - self._sizes + free).filter(self._irregular)
        regular: list[memoryview] = []
        for index, begin in zip(self._irregular.arg_true().to_list(), begins.to_list(), strict=True):
            if begin < free:
                continue
            regular.append(text[free:begin])
            free = _end(self._text, begin)
            line = _line(self._text, begin, free)
            taken = 1
            if not (self._blank.fullmatch(line) and self._whole.fullmatch(line)):
                record = _record(chain((line,), _lines_from(self._text, free)), self._top.delimiter, self._width)
                self._judge(record, line, index + self._top.lines + 1, odd)
                taken = record.lines
                free = _end(self._text, free, taken - 1)
            odd.taken.extend(range(index, index + taken))
        regular.append(text[free:])
        return b"".join(regular)

    def _judge(self, record: _Record, text: str, line: int, odd: _Odd) -> None:
        if record.fault:
            odd.bad.append(BadRow(line, self._trusted(text.split(self._top.delimiter, 1)[0]), record.fault))
        elif len(record.cells) == self._width:
            odd.rows.append(record.cells)
            odd.lines.append(line)
        else:
            reason = f"has {len(record.cells)} cells, the header has {self._width}"
            odd.bad.append(BadRow(line, self._trusted(record.cells[0]), reason))

    def _trusted(self, cell: str) -> str | None:
        """Where cells are too many or too few, only the first one surely stands in its own column.

        With a quotation mark in it, it may be the end of a cell that began a line earlier.
        """
        return cell if self._key_first and '"' not in cell else None

    def _read(self, text: bytes, skip: int, lines: pl.Series) -> pl.DataFrame:
        """The cells of regular lines; `lines` are their numbers."""
        schema = dict.fromkeys(self._top.columns, pl.String)
        if lines.is_empty():
            return pl.DataFrame(schema=schema).hstack([lines])
        frame = pl.scan_csv(
            text,
            has_header=False,
            schema=schema,
            skip_lines=skip,
            separator=self._top.delimiter,
            quote_char='"' if b'"' in text else None,
            infer_schema=False,
            null_values=[""],
            # Of no effect but on empty lines
            missing_columns="insert",
        ).collect(engine="streaming")
        # Everything that follows is quicker over one piece; and beside lines that are not as many as rows it fails
        return frame.rechunk().hstack([lines])
