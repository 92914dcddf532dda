"""A workbook that is written row by row is one, also where a sheet is full."""

from __future__ import annotations

from pathlib import Path

import fastexcel
import pytest

from provisioner.progress import tables


def test_a_full_sheet_goes_on_in_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MOST_ROWS", 3)
    path = tmp_path / "rows.xlsx"
    with path.open("wb") as file, tables.WorkbookStream(file, ("key", "value")) as book:
        for number in range(7):
            book.write([f"={number}", "<&>\x01"])
    read = fastexcel.read_excel(str(path))
    sheets = [read.load_sheet(name).to_polars() for name in read.sheet_names]
    assert [sheet.height for sheet in sheets] == [3, 3, 1]
    assert [one for sheet in sheets for one in sheet["key"]] == [f"'={number}" for number in range(7)]
    assert sheets[0]["value"][0] == "<&>"
