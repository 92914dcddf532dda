"""Workbooks, Parquet, JSON lines, and what is packed."""

from __future__ import annotations

import gzip
import io
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from provisioner.errors import ConfigurationError, RosterError
from provisioner.roster import Read, forms, judge
from tests.roster.support import TODAY, read_bytes, settings
from tests.roster.workbooks import workbook

HEADER = ["employee_id", "employment_status", "start_date", "end_date", "level", "manager"]


def table(read: Read) -> list[tuple[object, ...]]:
    return list(read.frame.select("_line", *read.columns).iter_rows())


def test_a_workbook_has_dates_and_numbers_as_people_write_them() -> None:
    content = workbook(
        People=[HEADER, [1001, "active", date(2026, 3, 3), None, 2.5, True], ["0042", "left", "soon", None, 3, False]]
    )
    read = read_bytes(content)
    assert table(read) == [
        (2, "1001", "active", "2026-03-03", None, "2.5", "true"),
        (3, "0042", "left", "soon", None, "3", "false"),
    ]
    people = judge(read, settings(), today=TODAY)
    assert people.frame["_verdict"].to_list() == ["future", "leaver"]


def test_lines_of_a_workbook_are_its_rows() -> None:
    content = workbook(People=[None, None, HEADER[:4], None, [1, "active", None, None], [None, "active", None, None]])
    read = read_bytes(content)
    assert read.frame["_line"].to_list() == [5]
    assert [str(one) for one in read.rejects] == ["line 6: employee_id: the key is empty"]


def test_a_sheet_is_chosen_by_name() -> None:
    content = workbook(Notes=[["nothing"]], Staff=[HEADER[:4], [7, "active", None, None]])
    assert read_bytes(content, sheet="Staff").frame["_key"].to_list() == ["7"]
    with pytest.raises(ConfigurationError, match=r"roster\.sheet: .*'Stuff'.*Notes, Staff"):
        read_bytes(content, sheet="Stuff")
    with pytest.raises(RosterError, match="missing: 'employee_id'"):
        read_bytes(content)


def test_an_empty_sheet_is_refused() -> None:
    with pytest.raises(RosterError, match="the sheet is empty"):
        read_bytes(workbook(People=[]))


def zipped(*, password: bool = False, **files: bytes | str) -> bytes:
    """An archive of files; `__` in a name is a dot."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    content = stream.getvalue()
    if password:
        # The mark of encryption in both headers of the first file
        content = content[:6] + b"\x01" + content[7:]
        place = content.index(b"PK\x01\x02") + 8
        content = content[:place] + b"\x01" + content[place + 1 :]
    return content


def test_an_archive_of_one_table_is_read() -> None:
    text = f"{','.join(HEADER)}\n1,active,,,,\n"
    for content in (
        zipped(people__csv=text),
        zipped(people__csv=text, __DS_Store="x", __MACOSX="x", logo__png="x"),
        zipped(people__csv__gz=gzip.compress(text.encode())),
        zipped(people__xlsx=workbook(People=[HEADER, [1, "active", None, None, None, None]])),
        zipped(people=text),
    ):
        assert read_bytes(content).frame["_key"].to_list() == ["1"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (zipped(a__csv="x", b__csv="y"), "an archive with 2 files: a.csv, b.csv"),
        (zipped(), "an archive with no file"),
        (zipped(a__zip=zipped(b__csv="x")), "a.zip in people.csv is an archive within an archive"),
        (zipped(password=True, a__csv="x"), "is an encrypted archive"),
        (zipped(a__csv="x" * 50)[:60], "is a broken archive"),
        (zipped(a__csv=""), "a.csv in people.csv is empty"),
    ],
    # An archive says when it was made
    ids=["two files", "no file", "within another", "encrypted", "broken", "an empty file"],
)
def test_other_archives_are_refused(content: bytes, why: str) -> None:
    with pytest.raises(RosterError, match=why):
        read_bytes(content)


def test_a_cell_far_off_the_table_is_refused() -> None:
    content = workbook(People=[["employee_id"], *[None] * 50_000, ["1"]], last="XFD")
    with pytest.raises(RosterError, match="a sheet spans 819232768 cells"):
        read_bytes(content)


def test_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "MAX_SIZE", 1024**2)
    with pytest.raises(RosterError, match="unpacks to more than 1 MiB"):
        read_bytes(gzip.compress(b"x" * 2 * 1024**2))
    bomb = zipped(people__csv="x" * 2 * 1024**2)
    assert len(bomb) < 10_000
    for content in (bomb, zipped(people__csv__gz=gzip.compress(b"x" * 2 * 1024**2))):
        with pytest.raises(RosterError, match="unpacks to more than 1 MiB"):
            read_bytes(content)
    with pytest.raises(RosterError, match="unpacks to more than 1 MiB"):
        read_bytes(workbook(People=[["employee_id"], ["x" * 2 * 1024**2]]))
    with pytest.raises(RosterError, match="larger than 1 MiB"):
        read_bytes(b"x" * 2 * 1024**2)


def test_parquet_becomes_text() -> None:
    stream = io.BytesIO()
    pl.DataFrame(
        {
            "employee_id": [1, 2, None],
            "employment_status": ["active", "", "active"],
            "start_date": [date(2026, 3, 3), None, None],
            "end_date": [datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 4, 5, 6, tzinfo=UTC), None],
            "level": [1.0, 2.5, float("nan")],
            "manager": [True, None, False],
            "salary": [Decimal("10.00"), Decimal("10.50"), None],
        }
    ).write_parquet(stream)
    read = read_bytes(stream.getvalue())
    assert table(read) == [
        (2, "1", "active", "2026-03-03", "2026-03-04", "1", "true", "10"),
        (3, "2", None, None, "2026-03-04 05:06:00", "2.5", None, "10.50"),
    ]
    assert [str(one) for one in read.rejects] == ["line 4: employee_id: the key is empty"]


def test_parquet_of_lists_is_refused() -> None:
    stream = io.BytesIO()
    pl.DataFrame({"employee_id": [1], "teams": [["a"]]}).write_parquet(stream)
    with pytest.raises(RosterError, match="the column 'teams' holds List"):
        read_bytes(stream.getvalue())


def test_json_lines_keep_their_spelling_and_reject_alone() -> None:
    lines = [
        '{"employee_id": 1001, "employment_status": "active", "start_date": null, "end_date": "", "level": 1.50}',
        "",
        '{"employee_id": "007", "employment_status": "active", "manager": true}',
        '{"employee_id": "8", "employment_status"',
        '{"employee_id": "9", "teams": ["a", {"id": 5}], "": {}}',
        '{"employee_id": "10", "employee_id": "11"}',
        "[1]",
        '{"employee_id": "\\ud800"}',
    ]
    read = read_bytes("\n".join(lines).encode())
    assert table(read) == [
        (1, "1001", "active", None, None, "1.50", None, None, None),
        (3, "007", "active", None, None, None, "true", None, None),
        (5, "9", None, None, None, None, None, "a", "5"),
    ]
    assert [str(one) for one in read.rejects] == [
        "line 4: it is no JSON object",
        "line 6: a field occurs in it twice",
        "line 7: it is no JSON object",
        "line 8: the field 'employee_id' holds half a character",
    ]
    assert read.unreadable_keys


@pytest.mark.parametrize("content", [b"{broken", b"{}", b"{}\n{}\n"])
def test_json_without_any_field_is_refused(content: bytes) -> None:
    with pytest.raises(RosterError, match="no line is a JSON object with fields"):
        read_bytes(content)


def test_parquet_without_columns_is_refused() -> None:
    stream = io.BytesIO()
    pl.DataFrame().write_parquet(stream)
    with pytest.raises(RosterError, match="has no columns"):
        read_bytes(stream.getvalue())
