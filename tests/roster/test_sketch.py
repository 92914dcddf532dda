"""What a roster that nobody has described yet looks like, and the settings to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from provisioner.admin.preflight.first_contact import fragment_of
from provisioner.model.check_result import Fragment
from provisioner.roster import pushed
from provisioner.settings import RosterSettings

EXPORTS = Path(__file__).parent / "exports"


def fragment(content: bytes, name: str = "people.csv") -> Fragment | None:
    return fragment_of(pushed(content, name), RosterSettings(), ZoneInfo("UTC"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "banner_footer.csv",
            {
                "delimiter": ",",
                "header_row": 4,
                "key": "Employee ID",
                "employed": "Status = 'Active'",
                "skip": "\"Employee ID\" LIKE 'Total%'",
            },
        ),
        ("banner_unpadded.csv", {"header_row": 4, "key": "Employee ID", "skip": "\"Employee ID\" LIKE 'Total%'"}),
        ("footer_only.csv", {"key": "Employee ID", "skip": "\"Employee ID\" LIKE 'Grand Total%'"}),
        (
            "successfactors_two_headers.csv",
            {"key": "USERID", "employed": "STATUS = 'active'", "starts": "HIREDATE", "skip": "STATUS = 'Status'"},
        ),
        (
            "sap_dates.csv",
            {"delimiter": ";", "key": "PersNr", "starts": "Eintritt", "ends": "Austritt", "dates": "day_first"},
        ),
        (
            "workday_dates.csv",
            {"key": "Employee_ID", "starts": "Hire_Date", "ends": "Termination_Date", "dates": "iso"},
        ),
        ("oracle_dates.csv", {"dates": "%d-%b-%y"}),
        ("mixed_dates.csv", {"dates": ["day_first", "month_first"]}),
        ("polish_cp1250.csv", {"encoding": "cp1250", "key": "employee_id"}),
        ("workday_raas.json", {"records": "Report_Entry", "key": "Employee_ID", "employed": "Status = 'Active'"}),
        ("personio.json", {"records": "data", "key": "attributes.id.value"}),
        ("banner.xlsx", {"header_row": 4, "key": "Employee ID"}),
        ("tilde.csv", {"delimiter": "~", "key": "employee_id"}),
        (
            "entra_bulk_template.csv",
            {"header_row": 2, "employed": "\"Block sign in (Yes/No) [accountEnabled] Required\" = 'No'"},
        ),
    ],
)
def test_settings_to_start_from(name: str, expected: dict[str, Any]) -> None:
    found = fragment((EXPORTS / name).read_bytes(), name)
    assert found is not None
    assert {key: found.settings.get(key) for key in expected} == expected
    # It is YAML that says the same, and settings that are taken
    assert yaml.safe_load(found.yaml) == {"roster": found.settings}
    read = RosterSettings(**{key: value for key, value in found.settings.items() if key in RosterSettings.model_fields})
    assert read.key == found.settings.get("key", "employee_id")


@pytest.mark.parametrize("name", ["fixed.txt", "workers.xml", "roster.csv.pgp"])
def test_what_is_no_table_has_none(name: str) -> None:
    assert fragment((EXPORTS / name).read_bytes(), name) is None


def test_secrets_are_not_shown() -> None:
    assert fragment(b"api_key: 0123456789abcdef\npassword: x\n") is None
    assert fragment(b"[default]\naws_secret_access_key = AbCdEf0123456789AbCdEf\n") is None


def test_addresses_and_repeated_texts_are_no_key() -> None:
    rows = "".join(f"p{number}@example.com,{number % 7},{'N' * number}o,{number:05d}\n" for number in range(40))
    found = fragment(f"Mail No,Team No,Name,x\n{rows}".encode())
    assert found is not None
    assert found.keys == ("x",)
    assert "# key: no column has another value" in str(getattr(fragment(b"company,no\n1,7\n2,7\n"), "yaml", ""))


def test_texts_of_a_status_come_with_their_number() -> None:
    rows = "".join(f"{number},{word}\n" for number, word in enumerate(["A", "A", "T", "L"]))
    found = fragment(f"emp_no,emp_status\n{rows}".encode())
    assert found is not None
    assert found.status == {"emp_status": {"A": 2, "T": 1, "L": 1}}
    assert found.settings["employed"] == "emp_status = 'A'"
    assert "# emp_status: A 2, " in found.yaml
