"""Files of the shapes that HR systems export, each read as it is with the settings that it needs."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from provisioner.errors import RosterError
from provisioner.roster import People, judge, pushed, read
from provisioner.settings import RosterSettings

EXPORTS = Path(__file__).parent / "exports"
TODAY = date(2026, 3, 2)


def people_of(name: str, **changes: Any) -> People:
    """The people of one file."""
    settings = RosterSettings(**changes)
    source = pushed((EXPORTS / name).read_bytes(), name)
    return judge(read(source, settings, needs=(), emails=()), settings, today=TODAY)


def days(people: People) -> dict[str, tuple[date | None, date | None]]:
    """First and last day by key."""
    return {row["_key"]: (row["_starts"], row["_ends"]) for row in people.frame.iter_rows(named=True)}


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        (
            "oracle_dates.csv",
            {"dates": "%d-%b-%y"},
            {"E1": (date(2020, 1, 5), None), "E2": (date(2021, 12, 24), date(2026, 1, 31))},
        ),
        (
            "workday_dates.csv",
            {"key": "Employee_ID", "starts": "Hire_Date", "ends": "Termination_Date"},
            {"E1": (date(2020, 3, 16), None), "E2": (date(2019, 1, 5), date(2026, 1, 31))},
        ),
        (
            "us_dates_time.csv",
            {"dates": "month_first"},
            {"E1": (date(2020, 1, 5), None), "E2": (date(2021, 12, 24), date(2026, 1, 31))},
        ),
        (
            "sap_dates.csv",
            {"key": "PersNr", "starts": "Eintritt", "ends": "Austritt", "dates": "day_first"},
            {
                "00001001": (date(2020, 5, 1), None),
                "00001002": (date(2021, 12, 24), None),
                "00001003": (date(2019, 2, 1), date(2026, 9, 30)),
            },
        ),
        (
            "mixed_dates.csv",
            {"dates": ["day_first", "month_first"]},
            {"E1": (date(2013, 6, 18), None), "E2": (date(2005, 8, 17), None)},
        ),
        (
            "csvde.csv",
            {"key": "employeeID", "starts": "whenCreated", "ends": None, "dates": ["iso", "%Y%m%d%H%M%S.%f%z"]},
            {"E1": (date(2020, 1, 5), None), "E2": (date(2019, 1, 5), None)},
        ),
    ],
)
def test_days(name: str, changes: dict[str, Any], expected: dict[str, tuple[date | None, date | None]]) -> None:
    people = people_of(name, **{"starts": "start_date", "ends": "end_date", **changes})
    assert days(people) == expected
    ambiguous = [(one.line, one.key, one.column, one.value) for one in people.rejects]
    assert ambiguous == ([(4, "E3", "start_date", "3-4-2005")] if name == "mixed_dates.csv" else [])


CORE: dict[str, Any] = {"key": "employee_id", "employed": "status = 'active'"}


def cells(people: People, *names: str) -> dict[str, tuple[str | None, ...]]:
    """By key, what is in these columns."""
    return {row["_key"]: tuple(row[name] for name in names) for row in people.frame.iter_rows(named=True)}


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        (
            "padded_status.csv",
            {},
            {"E1": ("employed", "Production"), "E2": ("employed", "Sales"), "E3": ("employed", "Sales")},
        ),
        (
            "nbsp.csv",
            {"employed": "status = 'Active'"},
            {"E1": ("employed", "ann@example.com"), "E2": ("employed", "tom@example.com")}
            | {"E3": ("employed", "mia@example.com")},
        ),
        ("apostrophe_ids.csv", {}, {"000123": ("employed", "Ann"), "000124": ("employed", "Tom")}),
        (
            "manager_by_id.csv",
            {"lookups": {"manager": {"by": "manager_id"}}},
            {"E1": ("employed", None), "E2": ("employed", "ann@example.com"), "E3": ("employed", "ann@example.com")},
        ),
        (
            "multi_company.csv",
            {"key": "company || '-' || employee_no"},
            {"10-1001": ("employed", "Ann"), "20-1001": ("employed", "Tom")},
        ),
        (
            "two_jobs.csv",
            {"pick": "CASE WHEN \"primary\" = 'Yes' THEN 0 ELSE 1 END"},
            {"E1": ("employed", "Sales"), "E2": ("employed", "Sales")},
        ),
        (
            "rehire.csv",
            {"pick": "start_date DESC", "starts": "start_date", "ends": "end_date"},
            {"E1": ("employed", "2024-02-01"), "E2": ("employed", "2020-01-01")},
        ),
        (
            "sql_null.csv",
            {"employed": "TRUE", "ends": "end_date"},
            {"E1": ("employed", None), "E2": ("employed", "Sales"), "E3": ("leaver", "Sales")},
        ),
        (
            "yes_no.csv",
            {"employed": "LOWER(active) IN ('yes', '1')"},
            {"E1": ("employed", "Yes"), "E2": ("leaver", "No"), "E3": ("employed", "1")},
        ),
    ],
)
def test_people_are_who_they_are(name: str, changes: dict[str, Any], expected: dict[str, Any]) -> None:
    columns = {
        "padded_status.csv": "department",
        "nbsp.csv": "work_email",
        "manager_by_id.csv": "manager.work_email",
        "rehire.csv": "start_date",
        "two_jobs.csv": "department",
        "sql_null.csv": "department",
        "yes_no.csv": "active",
    }
    column = columns.get(name, "first_name")
    settings = RosterSettings(**{**CORE, **changes})
    source = pushed((EXPORTS / name).read_bytes(), name)
    people = judge(read(source, settings, needs={column}, emails=("work_email",)), settings, today=TODAY)
    assert people.rejects == ()
    assert cells(people, "_verdict", column) == expected


@pytest.mark.parametrize("name", ["two_jobs.csv", "rehire.csv"])
def test_without_an_order_to_pick_by_two_rows_of_one_person_are_a_conflict(name: str) -> None:
    people = people_of(name, **CORE)
    assert [(one.line, one.key) for one in people.rejects] == [(2, "E1"), (3, "E1")]
    assert "the key is in line 3 too" in people.rejects[0].reason
    assert people.frame["_key"].to_list() == ["E2"]


@pytest.mark.parametrize(
    ("name", "whys"),
    [
        (
            "scientific_ids.csv",
            {
                2: "rounded by a spreadsheet",
                3: "rounded by a spreadsheet",
                4: "taken for a number",
                5: "marks of thousands",
            },
        ),
        (
            "excel_errors.csv",
            {2: "error of the spreadsheet (#N/A)", 3: "error of the spreadsheet (#NAME?)"}
            | {4: "error of the spreadsheet (#REF!)"},
        ),
        (
            "mail_forms.csv",
            {2: "ann@example.com", 3: "tom@example.com", 4: "mia@example.com", 5: "no email", 6: "zoe@example.com"},
        ),
    ],
)
def test_what_cannot_be_believed_is_rejected_by_name(name: str, whys: dict[int, str]) -> None:
    settings = RosterSettings(**CORE)
    source = pushed((EXPORTS / name).read_bytes(), name)
    needs = ("work_email", "first_name", "last_name", *(["department"] if name == "excel_errors.csv" else []))
    people = judge(read(source, settings, needs=needs, emails=("work_email",)), settings, today=TODAY)
    assert people.frame.is_empty()
    assert {one.line for one in people.rejects} == whys.keys()
    for one in people.rejects:
        assert whys[one.line] in one.reason


def test_two_columns_of_one_name_are_named_and_renamed_by_their_places() -> None:
    with pytest.raises(RosterError, match=r"'Name' more than once \(columns 2, 5\)"):
        people_of("dup_header.csv", key="Employee ID", employed="TRUE")
    people = people_of("dup_header.csv", key="Employee ID", employed="TRUE", rename={"#2": "name", "#5": "boss"})
    assert cells(people, "name", "boss") == {"E1": ("Ann Lee", "Tom Berg")}
