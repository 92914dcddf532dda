"""First and last days as HR systems write them: no end, moments with a zone, and forms that nobody set."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from provisioner.expressions import compile_expression, evaluate_text
from provisioner.roster import judge
from tests.roster.support import HEADER, TODAY, people, people_of, read_bytes, settings

SYDNEY, HONOLULU = ZoneInfo("Australia/Sydney"), ZoneInfo("Pacific/Honolulu")


@pytest.mark.parametrize(
    "cell",
    [
        *("9999-12-31", "9999-12-30", "2999-12-31", "4712-12-31", "9999-12-31T00:00:00", "9999-12-31T23:59:59Z"),
        *("31.12.9999", "31/12/9999", "12/31/9999", "31-DEC-9999", "31-Dec-4712", "99991231", "9999/12/31"),
        *("00.00.0000", "0000-00-00", "0000-00-00 00:00:00", "00000000", " 9999-12-31 "),
    ],
)
@pytest.mark.parametrize("dates", ["iso", "day_first", "month_first"])
def test_an_open_end_is_none(cell: str, dates: str) -> None:
    found = people(f"1,A,,active,,{cell}", dates=dates)
    assert (found.rejects, found.advice) == ((), ())
    row = found.frame.row(0, named=True)
    # The cell stays as it is for expressions that read it
    assert (row["_ends"], row["_verdict"], row["end_date"]) == (None, "employed", cell.strip())


@pytest.mark.parametrize("cell", ["2199-12-31", "2026-12-31", "28112026", "20261128", "31-DEC-2026", "9999"])
def test_other_ends_are_no_open_ones(cell: str) -> None:
    found = people(f"1,A,,active,,{cell}")
    ends = found.frame["_ends"].to_list()
    assert ends != [None] or found.rejects


def test_a_first_day_far_ahead_stays_one() -> None:
    assert people("1,A,,active,9999-12-31,").frame["_verdict"].to_list() == ["future"]
    assert people("1,A,,active,00.00.0000,").frame["_verdict"].to_list() == ["employed"]


@pytest.mark.parametrize(
    ("cell", "zone", "day"),
    [
        ("2026-11-28T13:00:00Z", SYDNEY, date(2026, 11, 29)),
        ("2026-11-28T12:59:59Z", SYDNEY, date(2026, 11, 28)),
        ("2026-11-28T13:00:00.000+00:00", SYDNEY, date(2026, 11, 29)),
        ("2026-11-29T00:00:00+1100", SYDNEY, date(2026, 11, 29)),
        ("2026-11-29T09:59:59Z", HONOLULU, date(2026, 11, 28)),
        ("2026-11-29 09:59 Z", HONOLULU, date(2026, 11, 28)),
        ("2026-11-28T13:00:00", SYDNEY, date(2026, 11, 28)),
        ("2026-12-31T23:30:00-05:00", SYDNEY, date(2027, 1, 1)),
        ("28/11/2026 13:00Z", SYDNEY, date(2026, 11, 29)),
    ],
)
def test_a_moment_is_its_day_in_the_zone(cell: str, zone: ZoneInfo, day: date) -> None:
    dates = "day_first" if "/" in cell else "iso"
    read = read_bytes(f"{HEADER}\n1,A,,active,{cell},{cell}".encode(), dates=dates)
    found = judge(read, settings(dates=dates), today=TODAY, zone=zone).frame.row(0, named=True)
    assert (found["_starts"], found["_ends"]) == (day, day)
    if dates == "iso":
        frame = pl.DataFrame({"end_date": [cell, "2026-11-28", None], "a b": ["", "2026-01-31", cell]})
        for text, values in (
            ("DATE(end_date)", [day.isoformat(), "2026-11-28", None]),
            ('DATE("a b")', [None, "2026-01-31", day.isoformat()]),
            ("DATE(COALESCE(NULLIF(`a b`, ''), end_date))", [day.isoformat(), "2026-01-31", day.isoformat()]),
            ("DATE(end_date) || ' ' || end_date", [f"{day} {cell}", "2026-11-28 2026-11-28", None]),
        ):
            expression = compile_expression(text, frame.columns, where="x", zone=zone)
            assert expression.columns <= set(frame.columns)
            assert (
                evaluate_text(expression, frame.with_columns(pl.col("a b").replace("", None))).values.to_list()
                == values
            )


def test_a_format_of_its_own_reads_what_stands_there() -> None:
    frame = pl.DataFrame({"d": ["28/11/2026", "x"]})
    expression = compile_expression("DATE(d, '%d/%m/%Y')", frame.columns, where="x", zone=SYDNEY)
    answer = evaluate_text(expression, frame)
    assert (answer.values.to_list(), answer.reasons) == (["2026-11-28", None], {1: "d holds no date (yyyy-mm-dd)"})
    plain = evaluate_text(compile_expression("DATE(d)", frame.columns, where="x"), frame)
    assert plain.reasons[0] == "d holds no date (yyyy-mm-dd)"


def test_dates_in_another_form_name_the_setting() -> None:
    rows = [f"{number},A,,active,{number + 12}.01.2026," for number in range(1, 12)]
    (advice,) = people(*rows).advice
    assert "start_date: 11 cells" in advice
    assert "99.99.9999" in advice
    assert "`roster.dates: day_first`" in advice
    assert people(*rows, dates="day_first").advice == ()
    (either,) = people("1,A,,active,03/04/2026,").advice
    assert "`day_first` or `month_first`" in either
    (none,) = people(*(f"{number},A,,active,05-JAN-24," for number in range(3))).advice
    assert "99-AAA-99" in none
    assert "JAN" not in none
    assert people("1,A,,active,2026-02-30,").advice == ()


def test_the_shared_inputs() -> None:
    text = "employee_id,employment_status,start_date,end_date\nE1,active,01.05.2020,31.12.9999\nE2,active,24.12.2021,"
    found = people_of(f"{text}00.00.0000\nE3,active,01.02.2019,30.09.2026", dates="day_first")
    assert found.frame["_ends"].to_list() == [None, None, date(2026, 9, 30)]
