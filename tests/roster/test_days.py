"""First and last days as HR systems write them: no end, moments with a zone, and forms that nobody set."""

from __future__ import annotations

import re
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
    assert (answer.values.to_list(), answer.reasons) == (
        ["2026-11-28", None],
        {1: "d holds no date (as the expression wants it)"},
    )
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


@pytest.mark.parametrize(
    ("dates", "cells"),
    [
        ("%d-%b-%y", {"05-JAN-20": date(2020, 1, 5), "24-dec-21": date(2021, 12, 24), "05-Jan-70": date(1970, 1, 5)}),
        ("%d-%b-%y", {"05-JAN-2020": None, "32-JAN-20": None, "05-JÄN-20": None}),
        ("%d/%m/%Y", {"05/01/24": None, "05/01/2024": date(2024, 1, 5)}),
        ("%m/%d/%y", {"07/05/11": date(2011, 7, 5), "07/05/2011": None}),
        ("month_first", {"1/5/2020 12:00:00 AM": date(2020, 1, 5), "12/24/2021 11:59:59 pm": date(2021, 12, 24)}),
        ("day_first", {"01.05.2020": date(2020, 5, 1), "07/05/11": None}),
        (
            "iso",
            {"2020-03-16-07:00": date(2020, 3, 16), "2020-03-16Z": date(2020, 3, 16), "20200316": date(2020, 3, 16)},
        ),
        (["%d %B %Y"], {"5 January 2020": date(2020, 1, 5), "2020-01-05": date(2020, 1, 5)}),
        ("%Y%m%d%H%M%S.%f%z", {"20200105080000.0Z": date(2020, 1, 5), "20200105180000.0Z": date(2020, 1, 6)}),
        ("%Y%m%d%H%M%S.0Z", {"20200105180000.0Z": date(2020, 1, 6)}),
        ("%m/%d/%Y %I:%M %p %z", {"1/5/2024 11:00 PM -0500": date(2024, 1, 6)}),
        (["day_first", "month_first"], {"18-6-2013": date(2013, 6, 18), "8-17-2005": date(2005, 8, 17)}),
        (["day_first", "month_first"], {"3-4-2005": None, "5-5-2005": date(2005, 5, 5)}),
        (["month_first", "iso", "%d-%b-%y"], {"05-JAN-20": date(2020, 1, 5), "1/5/2020": date(2020, 1, 5)}),
    ],
)
def test_forms_of_dates(dates: str | list[str], cells: dict[str, date | None]) -> None:
    rows = [f'{number},A,,active,"{cell}",' for number, cell in enumerate(cells, 1)]
    read = read_bytes("\n".join([HEADER, *rows]).encode(), dates=dates)
    found = judge(read, settings(dates=dates), today=date(2030, 1, 1), zone=SYDNEY)
    days = dict(zip(found.frame["_key"], found.frame["_starts"], strict=True))
    assert days == {str(number): day for number, day in enumerate(cells.values(), 1) if day}
    # Whoever has no day is rejected with line, column and cell
    told = {one.key: (one.line, one.column, one.value) for one in found.rejects}
    missing = [(number, cell) for number, (cell, day) in enumerate(cells.items(), 1) if day is None]
    assert told == {str(number): (number + 1, "start_date", cell) for number, cell in missing}


def test_a_day_that_two_forms_read_differently_is_named() -> None:
    text = "key;name;mail;start;end\nE1;Ann;a@b.co;18-6-2013;\nE2;Tom;t@b.co;8-17-2005;\nE3;Mia;m@b.co;3-4-2005;"
    changes = {
        "key": "key",
        "starts": "start",
        "ends": "end",
        "employed": "TRUE",
        "dates": ["day_first", "month_first"],
    }
    read = read_bytes(text.encode(), (), **changes)
    (reject,) = judge(read, settings(**changes), today=TODAY).rejects
    assert str(reject) == (
        "line 4 (E3): start: '3-4-2005' it is a different day by each form of roster.dates: "
        "2005-04-03 by dd/mm/yyyy, 2005-03-04 by mm/dd/yyyy"
    )
    one = judge(read, settings(**{**changes, "dates": "day_first"}), today=TODAY)
    assert dict(zip(one.frame["_key"], one.frame["_starts"], strict=True))["E3"] == date(2005, 4, 3)


@pytest.mark.parametrize("cell", ["31-DEC-99", "30-DEC-99", "31-DEC-12"])
def test_an_end_by_two_digits_that_may_be_none_is_named(cell: str) -> None:
    found = people(f"1,A,,active,,{cell}", dates="%d-%b-%y")
    assert found.frame.is_empty()
    assert "may as well be 9999 or 4712" in found.rejects[0].reason
    assert people(f"1,A,,active,{cell},", dates="%d-%b-%y").rejects == ()
    assert people("1,A,,active,,31-DEC-4712", dates="%d-%b-%Y").frame["_verdict"].to_list() == ["employed"]


@pytest.mark.parametrize(
    "cell", ["9999-12-31-08:00", "12/31/9999 12:00:00 AM", "99991231000000.0Z", "31 December 9999"]
)
def test_no_end_in_a_form_of_its_own(cell: str) -> None:
    dates = ["month_first", "%Y%m%d%H%M%S.%f%z", "%d %B %Y"]
    found = people(f"1,A,,active,,{cell}", dates=dates)
    assert (found.rejects, found.frame["_ends"].to_list()) == ((), [None])


@pytest.mark.parametrize(
    ("dates", "why"),
    [
        ("dmy", "write iso, day_first, month_first or a format"),
        (["iso", "%d/%m"], "does not give year, month and day"),
        ("%d/%m/%Q", "'%Q', which is no part of a date"),
        ("%d/%d/%Y", "twice"),
        ([], "at least 1 item"),
    ],
)
def test_what_is_no_form_of_a_date(dates: object, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        settings(dates=dates)


def test_a_day_with_a_zone_is_a_day_to_expressions_too() -> None:
    frame = pl.DataFrame({"d": ["2020-03-16-07:00", "2020-03-16"]})
    expression = compile_expression("DATE(d)", frame.columns, where="x", zone=SYDNEY)
    assert evaluate_text(expression, frame).values.to_list() == ["2020-03-16", "2020-03-16"]
