"""Whatever the bytes: rows or an error of ours, and nobody gets lost on the way."""

from __future__ import annotations

import csv
import io
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioner.errors import RosterError
from provisioner.roster import judge, pushed, read
from tests.roster.support import HEADER, TODAY, read_bytes, settings

CELLS = st.text(alphabet=st.sampled_from("aZ09é \t\"',;|\n\r%_-@.\u00a0"), max_size=8)
ROWS = st.lists(st.lists(CELLS, min_size=5, max_size=5), max_size=12)
ENCODINGS = st.sampled_from(["auto", "utf-8", "utf-16", "utf-32", "cp1252", "cp037", "gb18030", "utf-7"])


@given(content=st.binary(max_size=300), encoding=ENCODINGS)
@example(content=b"PK\x03\x04" + b"\x00" * 60, encoding="auto")
@example(content=b"PAR1" + b"\xff" * 60 + b"PAR1", encoding="auto")
@example(content=b'{"employee_id": NaN}', encoding="auto")
@example(content=b"+2AA-", encoding="utf-7")
@example(content=b'{"\\ud800": null}', encoding="auto")
def test_any_bytes_are_rows_or_an_error_of_ours(content: bytes, encoding: str) -> None:
    with suppress(RosterError):
        read_bytes(content, encoding=encoding)


@given(noise=st.binary(max_size=200), encoding=ENCODINGS)
@example(noise=b'"', encoding="auto")
@example(noise=b'",\n"', encoding="auto")
def test_any_rows_under_a_good_header_are_judged(noise: bytes, encoding: str) -> None:
    content = f"{HEADER}\n".encode("utf-8" if encoding == "auto" else encoding) + noise
    with suppress(RosterError):
        found = read_bytes(content, encoding=encoding)
        people = judge(found, settings(), today=TODAY)
        assert people.frame.height + len(people.rejects) + len(people.unknown) == found.rows


@given(
    rows=ROWS,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_writer_wrote_is_read_back(
    rows: list[list[str]], quoting: int, end: str, delimiter: str, encoding: str
) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=quoting, lineterminator=end, delimiter=delimiter)  # type: ignore[arg-type]
    writer.writerow(["employee_id", "employment_status", "b", "c", "d", "e"])
    if end == "\n":
        # Such a writer does not quote a carriage return, so nobody can tell it from the end of a row
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    for number, row in enumerate(rows):
        writer.writerow([f"K{number}", *row])
    content = stream.getvalue().encode(encoding)

    found = read(pushed(content, "x"), settings(starts=None, ends=None, trim=False), needs=["b", "c", "d", "e"])

    assert found.rejects == ()
    assert found.frame["_key"].to_list() == [f"K{number}" for number in range(len(rows))]
    wanted = [[None if not cell.strip() else _newlines(cell) for cell in row] for row in rows]
    assert [list(row) for row in found.frame.select("employment_status", "b", "c", "d", "e").iter_rows()] == wanted


def _newlines(cell: str) -> str:
    return cell.replace("\r\n", "\n").replace("\r", "\n")


@given(rows=ROWS)
def test_lines_are_where_the_rows_begin(rows: list[list[str]]) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["employee_id", "employment_status", "b", "c", "d", "e"])
    begins = []
    for number, row in enumerate(rows):
        begins.append(stream.getvalue().count("\n") + 1)
        writer.writerow([f"K{number}", *(cell.replace("\r", "") for cell in row)])

    found = read(pushed(stream.getvalue().encode(), "x"), settings(starts=None, ends=None), needs=[])

    assert found.frame["_line"].to_list() == begins


@given(
    broken=st.sets(st.integers(0, 19)),
    damage=st.sampled_from(['1,"open', "K,too,few", 'K,"a"b,,active,,', "K,a,b,c,d,e,f"]),
)
def test_broken_rows_take_nobody_with_them(broken: set[int], damage: str) -> None:
    lines = [damage if number in broken else f'K{number},"A, B",,active,,' for number in range(20)]

    found = read_bytes("\n".join([HEADER, *lines]).encode())

    assert found.frame["_key"].to_list() == [f"K{number}" for number in range(20) if number not in broken]
    assert sorted(reject.line for reject in found.rejects) == [number + 2 for number in sorted(broken)]


@pytest.mark.parametrize("size", [999, 1001])
def test_a_row_over_very_many_lines_is_not_searched_for_ever(size: int) -> None:
    content = f'{HEADER}\n1,"{"x" + chr(10) * size}",,active,,\n2,B,,active,,\n'
    found = read_bytes(content.encode())
    assert "2" in found.frame["_key"].to_list()
    assert len(found.rejects) == (0 if size < 1000 else 2)
