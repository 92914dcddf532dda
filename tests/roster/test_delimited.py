"""What polars reads at once is what a plain reader, line by line, makes of the same text."""

from __future__ import annotations

import csv
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioner.roster.forms.decoding import UNDECODABLE, decode
from provisioner.roster.forms.delimited import read_delimited
from provisioner.roster.forms.layout import Layout
from provisioner.roster.forms.table import MAX_COLUMNS, MAX_ROW

COLUMNS = ("employee_id", "b", "c", "d")
HEADER = ",".join(COLUMNS)
CELLS = st.lists(
    st.sampled_from(
        ["a", "é", " ", "\u00a0", '"', '""', ",", ";", "\0", UNDECODABLE, "\u2028", "\x1c", "#", "\r", "\n"]
    ),
    max_size=3,
).map("".join)
PLAIN = st.sampled_from(["a", "b c", "Zoë", "", " ", "12"])


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


WELL_WRITTEN = st.one_of(PLAIN, PLAIN.map(_quoted), CELLS.map(_quoted))
LINES = st.one_of(
    st.lists(WELL_WRITTEN, min_size=4, max_size=4).map(",".join),
    st.lists(st.one_of(WELL_WRITTEN, CELLS), max_size=6).map(",".join),
    st.sampled_from(["", " ", ",,,", ",,", '"', '""', ',"', ' "', '"",,,""', "\u00a0", "\x1c"]),
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Texts under a good header, with ends of line all alike or mixed."""
    lines = [HEADER, *draw(st.lists(LINES, max_size=8))]
    ends = draw(st.one_of(ENDS.map(lambda end: [end] * len(lines)), st.lists(ENDS, min_size=9, max_size=9)))
    text = "".join(line + end for line, end in zip(lines, ends, strict=False))
    return text if draw(st.booleans()) else text[:-1] + draw(st.sampled_from(["", "\x1a"]))


Rows = list[tuple[int, list[str | None]]]
Bad = list[tuple[int, str | None, str]]


def _plainly(text: str) -> tuple[Rows, Bad]:
    """The rows with their lines, and the bad ones, without polars."""
    lines = text.rstrip("\x1a").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    rows: Rows = []
    bad: Bad = []
    at = 1
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if re.fullmatch(r'[^"]*|("([^"]|"")*"|[^",]*)(,("([^"]|"")*"|[^",]*))*', line):
            cells = next(csv.reader([line])) or [""]
            if not re.fullmatch(r'([^\S\x1c-\x1f]|[",])*', line) or len(cells) == len(COLUMNS):
                _sort(number, cells, rows, bad)
            continue
        span, told = _over_lines(lines, number - 1)
        if isinstance(told, str):
            first = line.split(",")[0]
            bad.append((number, None if '"' in first else first, told))
        else:
            _sort(number, told, rows, bad)
        at = number - 1 + span
    return rows, bad


def _sort(number: int, cells: list[str], rows: Rows, bad: Bad) -> None:
    if len(cells) != len(COLUMNS):
        bad.append((number, None if '"' in cells[0] else cells[0], f"has {len(cells)} cells, the header has 4"))
        return
    # `strip` takes more for space than polars
    filled = [None if not re.sub(r"[^\S\x1c-\x1f]", "", cell) else cell for cell in cells]
    if any(cell is not None for cell in filled):
        rows.append((number, filled))


def _over_lines(lines: list[str], start: int) -> tuple[int, list[str] | str]:
    """Over how many lines the row goes, and its cells or what is wrong with it."""
    for span in range(1, len(lines) - start + 1):
        try:
            cells = next(csv.reader(["\n".join(lines[start : start + span])], strict=True))
        except csv.Error as exc:
            if "unexpected end" in str(exc):
                continue
            return 1, "text follows a closing quotation mark" if span == 1 else "a quotation mark is never closed"
        if span > 1 and len(cells) != len(COLUMNS):
            break
        return span, cells
    return 1, "a quotation mark is never closed"


def _read(text: str) -> tuple[Rows, Bad]:
    table = read_delimited(text.encode(), "x", Layout(frozenset({"employee_id"})))
    rows = [(row["_line"], [row[name] for name in COLUMNS]) for row in table.frame.iter_rows(named=True)]
    return rows, [(one.line, one.key_cell, one.reason) for one in table.bad]


@given(text=texts())
@example(f"{HEADER}\r\n1,a,b,c\n\r\n2,a,b,c\r\n")
@example(f'{HEADER}\r\n1,"a\r\nb",b,c\n2,a,b,c\n')
@example(f'{HEADER}\n1,"a\nb",b,c\r\n2,a,b,c\r')
@example(f'{HEADER}\r\n1,"a\rb",b,c\r\n')
@example(f'{HEADER}\r\n1,"a\r\nb",b,c\r\n2,a,b,c')
def test_every_text_is_read_as_line_by_line(text: str) -> None:
    assert _read(text) == _plainly(text)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_among_many_stand_where_they_stood(end: str) -> None:
    lines = [f'{number},"x{end}y",é,' if number % 7 == 0 else f"{number},x,é," for number in range(5_000)]
    text = end.join([HEADER, *lines])

    table = read_delimited(text.encode(), "x", Layout(frozenset({"employee_id"})))

    assert table.frame["employee_id"].to_list() == [str(number) for number in range(5_000)]
    assert table.frame["_line"].to_list() == [number + 2 + (number + 6) // 7 for number in range(5_000)]
    assert table.frame["b"].unique().sort().to_list() == ["x", "x\ny"]


@pytest.mark.parametrize("columns", [1, 2, MAX_COLUMNS])
def test_a_table_may_be_of_any_width(columns: int) -> None:
    names = [f"c{number}" for number in range(columns)]
    rows = [",".join(f"{row}.{number}" for number in range(columns)) for row in range(3)]

    table = read_delimited("\n".join([",".join(names), *rows, ""]).encode(), "x", Layout(frozenset({"c0"})))

    assert table.columns == tuple(names)
    assert [",".join(row) for row in table.frame.drop("_line").iter_rows()] == rows


def test_a_long_row_is_counted_in_characters() -> None:
    cell = "é" * (MAX_ROW - 20)
    text = "\n".join([HEADER, f"1,{cell},,", f"2,{cell}{cell},,", f"3,{cell}", "4,,,", f'5,"{cell}"'])

    table = read_delimited(text.encode(), "x", Layout(frozenset({"employee_id"})))

    assert table.frame["employee_id"].to_list() == ["1", "4"]
    assert [(one.line, one.key_cell, one.reason) for one in table.bad] == [
        (3, "2", f"the row is longer than {MAX_ROW} characters"),
        (4, "3", "has 2 cells, the header has 4"),
        # Python's reader, by which marked lines go that are not regular, takes no such cell
        (6, "5", "a cell is too long"),
    ]


@pytest.mark.parametrize("delimiter", list("!#$%&'()*+-./:<=>?@[\\]^_`{}~\t"))
def test_any_sign_may_be_told_to_be_the_delimiter(delimiter: str) -> None:
    rows = ["key,b", '1,"x,y"', "2,z"]
    text = "\n".join([f"sep={delimiter}", *(row.replace(",", delimiter) for row in rows)])

    frame = read_delimited(text.encode(), "x", Layout(frozenset({"key"}))).frame

    assert frame["b"].to_list() == [f"x{delimiter}y", "z"]


@pytest.mark.parametrize(("text", "marked"), [("1,a,b,c", False), ("1,\0,b,c", True), (f"1,a{UNDECODABLE},b,c", True)])
def test_a_table_knows_whether_a_cell_is_marked(text: str, marked: bool) -> None:
    assert read_delimited(f"{HEADER}\n{text}".encode(), "x", Layout(frozenset({"employee_id"}))).marked is marked


@pytest.mark.parametrize("shift", range(5))
def test_long_text_is_looked_through_piece_by_piece(shift: int) -> None:
    text = "a" * (1024 * 1024 - shift) + "é€😀" * 3
    content = text.encode()

    assert decode(content, "auto").text is content
    assert decode(content[:-1], "auto").text.decode() == f"{text[:-1]}{UNDECODABLE}"
    western = f"{text[: -len('é€😀' * 3)]}é O’Neil"
    assert decode(western.encode("cp1252"), "auto").text.decode() == western
