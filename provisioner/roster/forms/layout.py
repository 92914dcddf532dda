"""Where the header of a text is, and what parts its cells: by the settings, or found out. Pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from provisioner.errors import RosterError
from provisioner.roster.forms.table import MAX_ROW, header
from provisioner.roster.values import Note, clean_name

#: Signs that may part cells, the likelier first; the last three are those of databases.
DELIMITERS: Final = (",", ";", "\t", "|", "~", "\x01", "\x1f")
MAX_LINES_PER_ROW: Final = 1_000
STRAY: Final = "text follows a closing quotation mark"
_UNCLOSED: Final = "a quotation mark is never closed"
_SEPARATOR_LINE: Final = re.compile(r'"?sep=([\t!-/:-@\[-`{-~])"?\s*', re.IGNORECASE)
#: Lines above the header that may be a banner.
_MOST_BANNER: Final = 50
#: Cells of a line that names what is in the file, or says one thing about it, such as its date.
_BANNER_CELLS: Final = 2
#: Before the place of a column without a name.
_UNNAMED: Final = "\x1e"


@dataclass(frozen=True, slots=True)
class Layout:
    """What is known of a text before it is read.

    `key_names` are the names of the key's column, by which the header is recognised; `needed` the columns that somebody
    reads (None: all). `header_row` counts lines from 1.
    """

    key_names: frozenset[str]
    needed: Collection[str] | None = None
    delimiter: str | None = None
    header_row: Literal["auto"] | int = "auto"


@dataclass(frozen=True, slots=True)
class Record:
    """`cells` of one row and over how many `lines` it goes; `fault` says why there are no cells."""

    cells: list[str]
    lines: int
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Top:
    """What the header says.

    `lines` is how many lines of the file go before the first row; `unnamed` how many columns at its end have no name.
    `spaced`: a space stands between delimiter and quotation mark.
    """

    columns: tuple[str, ...]
    delimiter: str
    lines: int
    header_line: int = 1
    unnamed: int = 0
    spaced: bool = False
    notes: tuple[Note, ...] = ()


def top_of(lines: Sequence[str], first: int, name: str, layout: Layout) -> Top:
    """The header of a text.

    Args:
        lines: the first lines of the text, without their ends.
        first: the place (from 0) of the first one that is not blank.

    Raises:
        RosterError: there is none, or it cannot be read.
    """
    told = _SEPARATOR_LINE.fullmatch(lines[first]) if layout.delimiter is None else None
    delimiters = (layout.delimiter,) if layout.delimiter else (told[1],) if told and told[1] != '"' else DELIMITERS
    start = first + 1 if told else first
    if layout.header_row != "auto":
        start = layout.header_row - 1
    if start >= len(lines):
        raise RosterError(f"{name} has no header.", remedy="Export the roster again, or fix roster.header_row.")
    delimiter, record = _best(lines, start, delimiters, layout.key_names)
    place = start
    if layout.header_row == "auto" and not _shows(record, layout.key_names):
        place, delimiter, record = _below(lines, start, delimiters, layout.key_names) or (start, delimiter, record)
    if record.fault:
        raise RosterError(f"{name}, line {place + 1}: the header cannot be read: {record.fault}.")
    cells = list(record.cells)
    unnamed = 0
    while len(cells) > 1 and not clean_name(cells[-1]):
        cells.pop()
        unnamed += 1
    columns = header(cells, name, place + 1)
    nameless = tuple(f"{_UNNAMED}{len(cells) + one}" for one in range(1, unnamed + 1))
    notes = _banner(lines[start:place], start, place)
    rows = place + record.lines
    spaced = _is_spaced(lines[place : rows + _MOST_BANNER], delimiter)
    return Top((*columns, *nameless), delimiter, rows, place + 1, unnamed, spaced, notes)


def _shows(record: Record, names: Collection[str]) -> bool:
    return record.fault is None and any(clean_name(cell) in names for cell in record.cells)


def _best(lines: Sequence[str], start: int, delimiters: Sequence[str], names: Collection[str]) -> tuple[str, Record]:
    """The delimiter by which a line shows the key's column, else the one that gives most columns."""

    def rank(candidate: tuple[str, Record]) -> tuple[bool, bool, int]:
        record = candidate[1]
        return record.fault is None, _shows(record, names), len(record.cells)

    found = [(one, record_of(lines[start:], one, None, spaced=True)) for one in delimiters]
    return max(found, key=rank)


def _below(
    lines: Sequence[str], start: int, delimiters: Sequence[str], names: Collection[str]
) -> tuple[int, str, Record] | None:
    """The header, where the first line is a banner: the line that names the key, else the first that looks like one."""
    shaped: tuple[int, str, Record] | None = None
    width = _filled(_best(lines, start, delimiters, names)[1])
    for place in range(start + 1, min(len(lines), start + _MOST_BANNER)):
        if not lines[place].strip():
            continue
        delimiter, record = _best(lines, place, delimiters, names)
        if record.fault is not None:
            continue
        if _shows(record, names) and _filled(record) > 1:
            return place, delimiter, record
        if shaped is None and width <= _BANNER_CELLS < _filled(record) == len(record.cells):
            shaped = place, delimiter, record
    return shaped


def _filled(record: Record) -> int:
    return sum(1 for cell in record.cells if cell.strip())


def _banner(lines: Sequence[str], start: int, place: int) -> tuple[Note, ...]:
    if not lines:
        return ()
    filled = sum(1 for line in lines if line.strip(" ,;\t|~"))
    above = f"line {start + 1}" if len(lines) == 1 else f"lines {start + 1} to {place}"
    some = "1 of them is not blank" if filled == 1 else f"{filled} of them are not blank"
    return (Note(f"The header is in line {place + 1}; {above} above it {'was' if len(lines) == 1 else 'were'} skipped "
                 f"({some})."),)  # fmt: skip


def _is_spaced(lines: Sequence[str], delimiter: str) -> bool:
    """Whether most lines with quotation marks have a space before one that opens a cell."""
    if delimiter.isspace():
        return False
    quoted = [line for line in lines if '"' in line]
    opening = re.compile(rf'{re.escape(delimiter)} +"[^"]*" *(?:{re.escape(delimiter)}|$)')
    return bool(quoted) and 2 * sum(1 for line in quoted if opening.search(line)) > len(quoted)


def record_of(lines: Iterable[str], delimiter: str, width: int | None, *, spaced: bool) -> Record:
    """The row that begins with the first of the lines, over as many of them as its quotation marks span.

    A row over several lines is believed only if it has `width` cells: else an open mark would swallow its neighbours.
    """
    taken: list[str] = []
    size = 0
    fault = _UNCLOSED
    for line in islice(lines, MAX_LINES_PER_ROW):
        taken.append(line)
        size += len(line) + 1
        if size > MAX_ROW:
            fault = f"the row is longer than {MAX_ROW} characters"
            break
        if '"' not in line:
            if len(taken) > 1:
                continue
            if line:
                return Record(line.split(delimiter), 1)
        try:
            text = "\n".join(taken)
            rows = list(csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=spaced))
        except csv.Error as exc:
            if "unexpected end" in str(exc):
                continue
            fault = STRAY if len(taken) == 1 else _UNCLOSED
            if "field limit" in str(exc):
                fault = "a cell is too long"
            break
        cells = rows[0] if rows else [""]
        if len(taken) > 1 and width is not None and len(cells) != width:
            break
        return Record(cells, len(taken))
    return Record([], 1, fault)
