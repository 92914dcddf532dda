"""Delimited text: which line is a whole row, which belongs to the one before, and which is broken.

polars tells which lines are regular, and reads all of those at once. Only the others (a line break inside quotes, a
stray quotation mark, cells too many or too few) are looked at one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import polars as pl

from provisioner.errors import RosterError
from provisioner.model.wording import counted
from provisioner.roster.forms.decoding import is_marked
from provisioner.roster.forms.layout import MAX_LINES_PER_ROW, Layout, Record, Top, record_of, top_of
from provisioner.roster.forms.table import (
    BEYOND,
    CONTROLS,
    HASH,
    MAX_ROW,
    WRAPPED,
    BadRow,
    Table,
    without_blanks,
)
from provisioner.roster.values import Note

#: White space of ASCII besides the space and line breaks.
_SPACES: Final = (b"\t", b"\v", b"\f", b"\x1c", b"\x1d", b"\x1e", b"\x1f")
_FILLED: Final = re.compile(rb"[^ \t\r\n\v\f]")


@dataclass(slots=True)
class _Odd:
    """What became of irregular lines: `rows` and the `lines` they begin in, `bad` rows, and every line so `taken`.

    `filled` are the lines of rows that were filled up.
    """

    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    filled: list[int] = field(default_factory=list)


def read_delimited(text: bytes, name: str, layout: Layout) -> Table:
    """Rows of delimited UTF-8 text.

    Raises:
        RosterError: there is no header, or it is unusable.
    """
    text = text.rstrip(b"\x1a")
    if b"\r" in text:
        # Nearly always each comes before a newline, where nobody minds it, and making such a text again takes long
        head = _head(text, name)[1]
        if b"\r" not in head.replace(b"\r\n", b"\n"):
            rows = _Rows(text, _top(text, name, layout), layout)
            if rows.readable:
                return rows.table(name)
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return _Rows(text, _top(text, name, layout), layout).table(name)


def _head(text: bytes, name: str) -> tuple[int, bytes]:
    """The number of blank lines at the beginning, and all lines to which the header may extend, with them."""
    begin = 0
    while (found := _FILLED.search(text, begin)) is not None:
        begin = text.rfind(b"\n", 0, found.start()) + 1
        end = _end(text, begin)
        if text[begin:end].decode().strip():
            return text.count(b"\n", 0, begin), text[: _end(text, end, MAX_LINES_PER_ROW + 1)]
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


def _top(text: bytes, name: str, layout: Layout) -> Top:
    blank, head = _head(text, name)
    return top_of(head.replace(b"\r\n", b"\n").decode().split("\n"), blank, name, layout)


class _Rows:
    """The rows beneath the header.

    `readable`: no carriage return is in the way. Regular lines may end with CRLF or LF as they like; irregular ones
    can be found in the text only if all end alike.
    """

    def __init__(self, text: bytes, top: Top, layout: Layout) -> None:
        self._text = text
        self._top = top
        self._width = len(top.columns)
        self._key_first = top.columns[0] in layout.key_names
        # The columns from the first of these on are read by nobody, so that a row may lack them
        read = [place for place, name in enumerate(top.columns, 1) if layout.needed is None or name in layout.needed]
        named = self._width - top.unnamed
        # A row of a few cells is none: it is the total beneath the table, or a remark
        self._half = named // 2 + 1
        self._least = named if layout.needed is None else max(self._half, *read, 1)
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

    def table(self, name: str) -> Table:
        """All rows, good and bad.

        Raises:
            RosterError: a column without a name holds something.
        """
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
        named = columns[: self._width - self._top.unnamed]
        nameless = columns[len(named) :]
        frame = without_blanks(frame, columns)
        notes = (*self._top.notes, *self._unnamed(frame, nameless, name), *self._filled(odd))
        return Table(
            named,
            frame.drop(nameless),
            odd.bad,
            marked=is_marked(self._text),
            notes=notes,
            delimiter=self._top.delimiter,
            header_line=self._top.header_line,
            lacks=self._lacks(odd),
        )

    def _lacks(self, odd: _Odd) -> frozenset[str]:
        """What is nowhere in the text, and so in no cell: some hundred times faster than asking the cells."""
        text, delimiter = self._text, self._top.delimiter.encode()
        found = set() if b"#" in text else {HASH}
        # One byte is looked for ten times faster than two
        if b"=" not in text or b'="' not in text:
            found.add(WRAPPED)
        if text.isascii():
            found.add(BEYOND)
        # Only in quotation marks a cell holds line breaks, which make its lines irregular, or the delimiter
        inside = bool(odd.rows) or (delimiter in _SPACES and b'"' in text)
        if not inside and not any(sign in text for sign in _SPACES if sign != delimiter):
            found.add(CONTROLS)
        return frozenset(found)

    def _unnamed(self, frame: pl.DataFrame, nameless: Sequence[str], name: str) -> tuple[Note, ...]:
        """That columns at the end were left out, which have neither name nor value."""
        if not nameless:
            return ()
        first = self._width - len(nameless) + 1
        for place, column in enumerate(nameless, first):
            if frame[column].null_count() < frame.height:
                raise RosterError(
                    f"{name}: the header has no name for column {place}, which holds values.",
                    remedy="Name every column, or remove the ones without a name.",
                )
        some = f"column {first} has" if len(nameless) == 1 else f"columns {first} to {self._width} have"
        return (Note(f"The {some} neither a name nor a value, and {'is' if len(nameless) == 1 else 'are'} left out."),)

    def _filled(self, odd: _Odd) -> tuple[Note, ...]:
        """That rows were filled up. Where only columns without a name are missing, nothing is."""
        short = odd.filled
        if not short or self._least >= self._width - self._top.unnamed:
            return ()
        lacked = ", ".join(self._top.columns[self._least : self._width - self._top.unnamed][:5])
        rows = counted(len(short), "row is", "rows are")
        return (Note(f"{rows} shorter than the header and filled up, since nothing reads what is missing (among "
                     f"{lacked}); the first is in line {min(short)}."),)  # fmt: skip

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
                lines = chain((line,), _lines_from(self._text, free))
                record = record_of(lines, self._top.delimiter, self._width, spaced=self._top.spaced)
                self._judge(record, line, index + self._top.lines + 1, odd)
                taken = record.lines
                free = _end(self._text, free, taken - 1)
            odd.taken.extend(range(index, index + taken))
        regular.append(text[free:])
        return b"".join(regular)

    def _judge(self, record: Record, text: str, line: int, odd: _Odd) -> None:
        if record.fault:
            odd.bad.append(BadRow(line, self._trusted(text.split(self._top.delimiter, 1)[0]), record.fault))
        elif len(record.cells) == self._width:
            odd.rows.append(record.cells)
            odd.lines.append(line)
        elif self._may_lack(record, line):
            odd.rows.append([*record.cells, *[""] * (self._width - len(record.cells))])
            odd.lines.append(line)
            odd.filled.append(line)
        else:
            reason = f"has {len(record.cells)} cells, the header has {self._width}"
            cells = tuple(record.cells) if self._is_short(record, line) else ()
            odd.bad.append(BadRow(line, self._trusted(record.cells[0]), reason, cells))

    def _may_lack(self, record: Record, line: int) -> bool:
        """Whether a row may be filled up."""
        some = self._least <= len(record.cells) < self._width
        return some and self._is_whole(record, line) and bool(record.cells[0].strip())

    def _is_short(self, record: Record, line: int) -> bool:
        """Whether a row of a few cells is a total or a remark, rather than somebody's row that lost some of them."""
        return len(record.cells) < self._half and self._is_whole(record, line) and '"' not in record.cells[0]

    def _is_whole(self, record: Record, line: int) -> bool:
        """Whether a row was not cut off: only the last one may be, unless its line has an end."""
        last = line + record.lines - 1 == self._top.lines + self._irregular.len()
        return not last or self._text.endswith(self._newline)

    def _trusted(self, cell: str) -> str | None:
        """Where cells are too many or too few, only the first one is surely in its own column.

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
        # Everything that follows is quicker over one piece; and next to lines that are not as many as rows it fails
        return frame.rechunk().hstack([lines])
