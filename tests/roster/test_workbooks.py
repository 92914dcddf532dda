"""Workbooks as people keep them: banners, hidden sheets, other epochs, merged cells, shown zeros, OpenDocument."""

from __future__ import annotations

import io
import time
import zipfile
from datetime import date
from typing import Any

import pytest

from provisioner.errors import RosterError
from provisioner.roster import Read
from tests.roster.support import read_bytes
from tests.roster.test_exports import days
from tests.roster.test_exports import people_of as export
from tests.roster.workbooks import binary_workbook, open_document, workbook


def sheet(content: bytes, **changes: Any) -> Read:
    return read_bytes(content, (), **{"key": "id", "employed": "TRUE", "starts": None, "ends": None, **changes})


def test_a_banner_is_skipped_and_said() -> None:
    people = export("banner.xlsx", key="Employee ID", exclude="\"Employee ID\" = 'Total'")
    assert people.columns == ("Employee ID", "First", "Last", "Email")
    assert people.frame.select("_line", "_key", "Email").row(0) == (5, "E1", "a@example.com")
    assert [str(note) for note in people.notes] == ["The header is in line 4; what is above it was skipped."]
    assert export("banner.xlsx", key="Employee ID", header_row=4).frame["_key"][0] == "E1"
    with pytest.raises(RosterError, match=r"line 3 of the sheet is empty"):
        export("banner.xlsx", key="Employee ID", header_row=3)


def test_the_visible_sheet_is_read_and_named() -> None:
    people = export("hidden_first.xlsx")
    assert people.frame["first_name"].to_list() == ["Ann"]
    assert str(people.notes[0]) == ("The sheet 'Employees' is read; 1 before it is hidden. roster.sheet names another.")
    two = workbook(People=[["id"], [1]], Notes=[["x"]])
    assert "The sheet 'People' is read; there is 1 other" in str(sheet(two).notes[0])
    assert sheet(two, sheet="People").notes == ()
    ods = open_document(Lists=[["x"]], Staff=[["id"], ["7"]], hidden=["Lists"])
    assert sheet(ods).frame["_key"].to_list() == ["7"]
    assert "'Staff' is read; 1 before it is hidden" in str(sheet(ods).notes[0])


def test_days_that_count_from_1904() -> None:
    people = export("mac1904.xlsx", starts="start_date", ends="end_date")
    assert days(people) == {"E1": (date(2020, 1, 5), date(2026, 12, 31))}


def test_merged_cells_are_said() -> None:
    (note,) = export("merged_department.xlsx").notes
    assert "cells are merged (B5:B6, B2:B4); only the first of each range has the value" in note.message
    title = workbook(extra='<mergeCells><mergeCell ref="A1:C1"/></mergeCells>', P=[["Title"], ["id", "x"], [1, 2]])
    assert [str(note) for note in sheet(title).notes] == ["The header is in line 2; what is above it was skipped."]


@pytest.mark.parametrize(
    ("number", "code", "shown"),
    [
        *(
            (1, "000000", "000001"),
            (1234567, "000000", "1234567"),
            (42, '"E"0000', "E0042"),
            (42, "0000;-0000", "0042"),
        ),
        *((123456789, r"000\-00\-0000", "123-45-6789"), (7, "0", "7"), (7, "0.00", "7"), (7, "#,##0", "7")),
        *((7, "00%", "7"), (7, 'General" x"', "7"), (5, r"\P000", "P005")),
    ],
)
def test_a_key_is_what_its_format_shows(number: int, code: str, shown: str) -> None:
    read = sheet(workbook(People=[["x", "id"], ["a", (number, code)], [None, 9]]))
    assert read.frame["_key"].to_list() == [shown, "9"]


def test_open_document() -> None:
    rows: Any = [
        ["id", "start", "n", "d"],
        [(1001, "001001"), date(2026, 1, 31), 2.5, "Sales"],
        ["E2", None, 3, "#N/A"],
    ]
    read = sheet(open_document(People=rows), exclude="FALSE")
    assert read.frame.select("_line", "id", "start", "n", "d").rows() == [
        (2, "001001", "2026-01-31", "2.5", "Sales"),
        (3, "E2", None, "3", None),
    ]
    assert read.doubts.select("_line", "column").rows() == [(3, "d")]
    assert "error of the spreadsheet (#N/A)" in read.doubts["reason"][0]


@pytest.mark.parametrize(("rows", "columns"), [(1_000_000, 1_000), (200_000_000, 1), (1, 200_000_000)])
def test_cells_that_stand_for_many_are_counted_before_they_are_made(rows: int, columns: int) -> None:
    content = open_document(rows_repeated=rows, columns_repeated=columns, People=[["id"], ["1"]])
    began = time.monotonic()
    if rows == 1:
        # No sheet is as wide as that
        with pytest.raises(RosterError):
            sheet(content)
    else:
        with pytest.raises(RosterError, match="a sheet spans"):
            sheet(content)
    assert time.monotonic() - began < 30


def test_a_million_empty_rows() -> None:
    empty = "".join(f'<row r="{number}" ht="15"/>' for number in range(3, 1_000_001))
    content = workbook(extra="", People=[["id", "name"], ["1", "Ann"]])
    padded = _with_rows(content, empty)
    assert len(padded) < 10_000_000
    assert sheet(padded).frame.select("_key", "name").rows() == [("1", "Ann")]


def _with_rows(content: bytes, rows: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            text = old.read(name).decode()
            new.writestr(name, text.replace("</sheetData>", f"{rows}</sheetData>"))
    return stream.getvalue()


@pytest.mark.parametrize("first", [0, 3])
def test_a_binary_workbook(first: int) -> None:
    content = binary_workbook(
        ["id", "department", "n"],
        [(1001, "000000"), "Sales", 5],
        [(42, '"E"0000'), "#N/A", None],
        [7, "Łódź", "#REF!"],
        first=first,
    )
    read = sheet(content)
    assert read.frame.select("_line", "id", "department", "n").rows() == [
        (2, "001001", "Sales", "5"),
        (3, "E0042", None, None),
        (4, "7", "Łódź", None),
    ]
    assert read.doubts.select("_line", "column").rows() == [(3, "department"), (4, "n")]
    assert "cells are merged (B2:B3)" in str(read.notes[0])


def test_a_binary_workbook_with_a_cell_far_off() -> None:
    wide: list[Any] = [None] * 16_383
    content = binary_workbook(["id"], *[[] for _ in range(50_000)], [*wide, "x"])
    with pytest.raises(RosterError, match="a sheet spans"):
        sheet(content)
    with pytest.raises(RosterError):
        sheet(binary_workbook(["id"], ["1"])[:200])


def test_a_damaged_workbook_has_a_sentence() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(binary_workbook(["id"], ["1"]))) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"\xe9\x04\x00" if name.endswith("styles.bin") else old.read(name))
    with pytest.raises(RosterError, match=r"damaged workbook|cannot be read as an Excel workbook"):
        sheet(content.getvalue())
