"""Unknown, renamed and leaving people."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import ConfigurationError
from provisioner.roster.days import read_days
from tests.roster.support import HEADER, people, people_of


def test_an_unknown_exclusion_changes_nothing_and_is_no_reject() -> None:
    found = people("1,,,active,,", "2,Bob,,active,,", exclude="first_name = 'Test'")

    assert found.frame["_key"].to_list() == ["2"]
    assert found.rejects == ()
    assert [str(one) for one in found.unknown] == ["line 2 (1): roster.exclude gives neither yes nor no"]
    assert found.present == {"1"}


def test_an_expression_that_fails_for_one_row_rejects_that_row() -> None:
    found = people("1,,,soon,,", "2,,,2020-01-01,,", employed="DATE(employment_status) < DATE('2021-01-01')")

    assert found.frame["_key"].to_list() == ["2"]
    assert [str(one) for one in found.rejects] == [
        "line 2 (1): roster.employed gives neither yes nor no: employment_status holds no date (yyyy-mm-dd)"
    ]


def test_a_leavers_malformed_cells_are_empty() -> None:
    found = people("1,A\0,no address,left,soon,2020-02-31")

    row = found.frame.row(0, named=True)
    assert row["_verdict"] == "leaver"
    assert (row["first_name"], row["work_email"], row["start_date"], row["end_date"]) == (None, None, None, None)


def test_every_row_has_its_dates() -> None:
    found = people("1,A,,active,2026-01-02,2027-03-04 00:00:00")

    assert found.frame.select("_starts", "_ends").row(0) == (date(2026, 1, 2), date(2027, 3, 4))


def test_who_was_renamed_is_known_by_the_earlier_key() -> None:
    text = "\n".join(
        [
            f"{HEADER},was",
            "N1,A,,active,,,O1",
            "N2,B,,active,,,",
            "N3,C,,active,,,N2",
            "N4,D,,active,,,O2",
            "N5,E,,active,,,O2",
            "N6,F,,active,,,N6",
        ]
    )
    found = people_of(text, previous_key="was")

    assert found.renamed == {"O1": "N1"}


@pytest.mark.parametrize(
    ("setting", "expression", "message"),
    [
        ("employed", "LENGTH(employment_status)", "roster.employed"),
        ("exclude", "MAX(first_name) = 'x'", "roster.exclude"),
    ],
)
def test_a_setting_that_is_no_predicate_is_named(setting: str, expression: str, message: str) -> None:
    changes: dict[str, Any] = {setting: expression}
    with pytest.raises(ConfigurationError, match=message):
        people("1,A,,active,,", **changes)


@given(day=st.dates(date(1900, 1, 1), date(2999, 12, 31)))
def test_dates_are_read_in_every_spelling(day: date) -> None:
    frame = pl.DataFrame(
        {
            "iso": [day.isoformat()],
            "day_first": [day.strftime("%d/%m/%Y")],
            "month_first": [f"{day:%m}.{day:%d}.{day:%Y}"],
        }
    )
    for spelling in frame.columns:
        assert read_days(frame, spelling, (spelling,), ZoneInfo("UTC")).days.item() == day


@given(shift=st.integers(-400, 400))
def test_the_last_day_is_still_a_working_day(shift: int) -> None:
    today = date(2026, 3, 2)
    found = people(f"1,A,,active,,{today + timedelta(days=shift)}", today=today)
    assert found.frame["_verdict"].to_list() == ["leaver" if shift < 0 else "employed"]
