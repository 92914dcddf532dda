"""Files of the shapes that HR systems export, each read as it is with the settings that it needs."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

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
