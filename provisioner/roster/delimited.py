"""Delimited text: which line is a whole row, which belongs to the one before, and which is broken.

Whole rows go through polars at once. Only lines whose quotation marks do not pair up within the line (a line break
inside quotes, or a stray mark) are looked at one by one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from provisioner.errors import RosterError
from provisioner.roster.table import MAX_ROW, BadRow, Table, header, without_blanks
from provisioner.roster.values import clean_name

_DELIMITERS: Final = (",", ";", "\t", "|")
_MAX_LINES_PER_ROW: Final = 1_000
_UNCLOSED: Final = "a quotation mark is never closed"
_STRAY: Final = "text follows a closing quotation mark"
_SEPARATOR_LINE: Final = re.compile(r'"?sep=([\t!-/:-@\[-`{-~])"?\s*', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Record:
    """`cells` of the row that begins at a line, and the `next` line after it; `fault` says why there are none."""

    cells: list[str]
    next: int
    fault: str | None = None


def read_delimited(text: str, name: str, key: str) -> Table:
    """Rows of delimited text; `key` is the key column's name, by which the delimiter is recognised.

    Raises:
        RosterError: there is no header, or it is unusable.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.rstrip("\x1a").split("\n")
    del text
    first = next((index for index, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise RosterError(f"{name} is empty.", remedy="Export the roster again.")
    told = _SEPARATOR_LINE.fullmatch(lines[first])
    delimiter = told[1] if told and told[1] != '"' else None
    start = first + 1 if told else first
    if start >= len(lines):
        raise RosterError(f"{name} has no header.", remedy="Export the roster again.")
    delimiter, top = _top(lines, start, delimiter, key)
    if top.fault:
        raise RosterError(f"{name}, line {start + 1}: the header cannot be read: {top.fault}.")
    columns = header(top.cells, name, start + 1)
    return _Rows(lines, top.next, delimiter, columns, key).table()


def _top(lines: list[str], start: int, told: str | None, key: str) -> tuple[str, _Record]:
    """The delimiter and the header: the one that shows the key column, else the one that gives most columns."""

    def rank(candidate: tuple[str, _Record]) -> tuple[bool, bool, int]:
        record = candidate[1]
        return record.fault is None, key in map(clean_name, record.cells), len(record.cells)

    found = [(one, _record(lines, start, one, None)) for one in ([told] if told else _DELIMITERS)]
    return max(found, key=rank)


def _record(lines: list[str], index: int, delimiter: str, width: int | None) -> _Record:
    """The row that begins at `index`, over as many lines as its quotation marks span.

    A row over several lines is believed only if it has `width` cells: else an open mark would swallow its neighbours.
    """
    taken: list[str] = []
    size = 0
    fault = _UNCLOSED
    for line in _following(lines, index):
        taken.append(line)
        size += len(line) + 1
        if size > MAX_ROW:
            fault = f"the row is longer than {MAX_ROW} characters"
            break
        if len(taken) > 1 and '"' not in line:
            continue
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
        return _Record(cells, index + len(taken))
    return _Record([], index + 1, fault)


def _following(lines: list[str], index: int) -> Iterator[str]:
    for position in range(index, min(len(lines), index + _MAX_LINES_PER_ROW)):
        yield lines[position]


class _Rows:
    """The rows beneath the header."""

    def __init__(self, lines: list[str], start: int, delimiter: str, columns: tuple[str, ...], key: str) -> None:
        self._lines = lines
        self._start = start
        self._delimiter = delimiter
        self._columns = columns
        self._width = len(columns)
        self._key_first = columns[0] == key
        self._bad: list[BadRow] = []

    def table(self) -> Table:
        numbers = pl.int_range(self._start + 1, len(self._lines) + 1, eager=True, dtype=pl.Int64)
        lines = pl.DataFrame({"_line": numbers, "text": pl.Series(self._lines[self._start :], dtype=pl.String)})
        quoted = lines["text"].str.contains('"', literal=True)
        odd_rows: list[tuple[int, list[str]]] = []
        if quoted.any():
            lines = lines.with_columns(self._evenly_quoted().alias("even"))
            rest = quoted & ~lines["even"]
            whole = self._whole(lines.filter(rest)["text"])
            odd_rows, taken = self._odd(lines["_line"].filter(rest).filter(~whole).to_list())
            if taken:
                lines = lines.filter(~pl.col("_line").is_in(pl.Series(taken, dtype=pl.Int64).implode()))
        else:
            lines = lines.with_columns(pl.lit(value=False).alias("even"))
        self._lines = []
        frames = [self._regular(self._without_bad(lines), quoted=bool(quoted.any()))]
        if odd_rows:
            frames.append(self._frame([cells for _, cells in odd_rows], [line for line, _ in odd_rows]))
        frame = pl.concat(frames).sort("_line") if len(frames) > 1 else frames[0]
        return Table(self._columns, without_blanks(frame, self._columns), sorted(self._bad, key=lambda one: one.line))

    def _evenly_quoted(self) -> pl.Expr:
        """Lines in which every cell is quoted and holds no quotation mark: the cheap and frequent case.

        The outer marks stand alone and every inner one belongs to a closing-delimiter-opening triple, so the line has
        exactly as many cells as the header.
        """
        text, between = pl.col("text"), f'"{self._delimiter}"'
        outer = text.str.starts_with('"') & text.str.ends_with('"')
        outer &= ~text.str.starts_with(between) & ~text.str.ends_with(between)
        marks = text.str.count_matches('"', literal=True) == 2 * self._width
        return outer & marks & (text.str.count_matches(between, literal=True) == self._width - 1)

    def _whole(self, text: pl.Series) -> pl.Series:
        """Which lines are rows by themselves: every quotation mark opens and closes a cell."""
        mark = re.escape(self._delimiter)
        cell = rf'(?:"(?:[^"]|"")*"|[^"{mark}]*)'
        return text.str.contains(rf"^{cell}(?:{mark}{cell})*$")

    def _odd(self, odd: list[int]) -> tuple[list[tuple[int, list[str]]], list[int]]:
        """The rows that begin at the given lines, and every line that is thereby spoken for."""
        rows: list[tuple[int, list[str]]] = []
        taken: list[int] = []
        free = 0
        for line in odd:
            if line < free:
                continue
            record = _record(self._lines, line - 1, self._delimiter, self._width)
            free = record.next + 1
            taken.extend(range(line, free))
            if record.fault:
                self._bad.append(BadRow(line, self._first_cell(self._lines[line - 1]), record.fault))
            elif len(record.cells) != self._width:
                self._bad.append(BadRow(line, self._trusted(record.cells[0]), self._miscounted(len(record.cells))))
            else:
                rows.append((line, record.cells))
        return rows, taken

    def _first_cell(self, line: str) -> str | None:
        return self._trusted(line.split(self._delimiter, 1)[0])

    def _trusted(self, cell: str) -> str | None:
        """Where cells are too many or too few, only the first one surely stands in its own column.

        With a quotation mark in it, it may be the end of a cell that began a line earlier.
        """
        return cell if self._key_first and '"' not in cell else None

    def _miscounted(self, count: int) -> str:
        return f"has {count} cells, the header has {self._width}"

    def _without_bad(self, lines: pl.DataFrame) -> pl.DataFrame:
        text = pl.col("text")
        bare = pl.when(text.str.contains('"', literal=True)).then(text.str.replace_all(r'"[^"]*"', "")).otherwise(text)
        checked = lines.filter(~pl.col("even")) if lines["even"].any() else lines
        checked = checked.with_columns((bare.str.count_matches(self._delimiter, literal=True) + 1).alias("cells"))
        wrong = checked.filter((pl.col("cells") != self._width) | (text.str.len_bytes() > MAX_ROW) | (text == ""))
        if wrong.is_empty():
            return lines
        # Spreadsheets export rows of nothing but delimiters beneath their table
        blank = text.str.contains(rf'^[\s"{re.escape(self._delimiter)}]*$')
        for line, row, cells in wrong.filter(~blank).select("_line", "text", "cells").iter_rows():
            if len(row) > MAX_ROW:
                self._bad.append(BadRow(line, None, f"the row is longer than {MAX_ROW} characters"))
            else:
                first = next(csv.reader([row], delimiter=self._delimiter))[0]
                self._bad.append(BadRow(line, self._trusted(first), self._miscounted(cells)))
        return lines.join(wrong.select("_line"), on="_line", how="anti", maintain_order="left")

    def _regular(self, lines: pl.DataFrame, *, quoted: bool) -> pl.DataFrame:
        if lines.is_empty():
            return self._frame([], [])
        content = "\n".join(lines["text"].to_list()).encode()
        places = [f"{index}" for index in range(self._width)]
        try:
            frame = pl.read_csv(
                content,
                has_header=False,
                schema=dict.fromkeys(places, pl.String),
                separator=self._delimiter,
                quote_char='"' if quoted else None,
                infer_schema=False,
            )
        except pl.exceptions.PolarsError:
            frame = pl.DataFrame()
        if frame.height != lines.height or frame.width != self._width:
            rows = list(csv.reader(lines["text"].to_list(), delimiter=self._delimiter))
            return self._frame(rows, lines["_line"].to_list())
        frame.columns = list(self._columns)
        return frame.with_columns(lines["_line"])

    def _frame(self, rows: list[list[str]], lines: list[int]) -> pl.DataFrame:
        schema = dict.fromkeys(self._columns, pl.String)
        frame = pl.DataFrame(rows, schema=schema, orient="row")
        return frame.with_columns(pl.Series("_line", lines, dtype=pl.Int64))
