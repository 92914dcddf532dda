"""What a roster that nobody has described yet looks like, and the settings to start from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from provisioner.admin.preflight.first_contact import fragment_of
from provisioner.model.check_result import Fragment
from provisioner.roster import People, judge, pushed, read
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
    taken = RosterSettings(
        **{key: value for key, value in found.settings.items() if key in RosterSettings.model_fields}
    )
    assert taken.key == found.settings.get("key", "employee_id")


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


def read_by(content: bytes, **more: Any) -> People:
    """The people of a file by the settings that were given for it, word for word as YAML has them."""
    found = fragment(content)
    assert found is not None
    settings = RosterSettings(**{**yaml.safe_load(found.yaml)["roster"], **more})
    return judge(read(pushed(content, "people.csv"), settings, needs=(), emails=()), settings, today=date(2026, 11, 30))


def verdicts(people: People) -> dict[str, int]:
    return {verdict: people.frame["_verdict"].to_list().count(verdict) for verdict in people.frame["_verdict"]}


@pytest.mark.parametrize("name", sorted(path.name for path in EXPORTS.iterdir()))
def test_settings_taken_literally_read_the_file(name: str) -> None:
    """By them alone everybody is read, or rejected by name for what the file itself has wrong."""
    content = (EXPORTS / name).read_bytes()
    found = fragment(content, name)
    if found is None or not found.keys:
        return
    settings = RosterSettings(**yaml.safe_load(found.yaml)["roster"])
    rows = read(pushed(content, name), settings, needs=(), emails=())
    people = judge(rows, settings, today=date(2026, 11, 30))
    bad = {
        "earlier-employments-excluded.csv": 8,
        "excel_errors.csv": 3,
        "mixed_dates.csv": 1,
        "rehire.csv": 2,
        "scientific_ids.csv": 4,
        "two_jobs.csv": 2,
    }
    assert len(people.rejects) == bad.get(name, 0), people.rejects
    assert people.frame.height == rows.rows - bad.get(name, 0) - sum("roster.skip" in str(one) for one in people.notes)
    assert people.unknown == ()


def test_a_banner_of_two_cells_points_and_a_total_of_german_words() -> None:
    rows = "".join(f"{n:05};A;B;0{n % 9 + 1}.0{n % 8 + 1}.2020;{'ja' if n % 7 else 'nein'}\n" for n in range(1, 31))
    head = "Bericht;Mitarbeiter\nStand;30.11.2026\n;\nPersonalnummer;Vorname;Nachname;Eintritt;Aktiv\n"
    people = read_by(f"{head}{rows}Summe: 30\n".encode())
    assert (verdicts(people), people.rejects) == ({"employed": 26, "leaver": 4}, ())
    # Each day would be one of either form; where points part them, the day is first everywhere
    assert str(people.frame["_starts"][0]) == "2020-02-02"


def test_columns_of_one_name_words_for_nothing_and_a_status_of_two_lines() -> None:
    people = read_by(b'emp_no,Name,Name,status,end_date\n1,A,B,"act\nive",NULL\n2,A,B,"act\nive",2020-01-31\n')
    assert (verdicts(people), people.columns[1:3]) == ({"employed": 1, "leaver": 1}, ("Name", "Name 3"))


@pytest.mark.parametrize(
    ("header", "texts", "employed"),
    [
        ("status", "tttff", "status = 't'"),
        ("blocked", "tffff", "blocked = 'f'"),
        ("Assignment Status", ["Inactive - Payroll", "Inactive - Payroll", "Active - Payroll"], "Active - Payroll"),
        ("EMPL_STATUS", "AAALTD", "EMPL_STATUS = 'A'"),
    ],
)
def test_who_is_employed(header: str, texts: Sequence[str], employed: str) -> None:
    found = fragment(f"emp_no,{header}\n{''.join(f'{n},{text}{chr(10)}' for n, text in enumerate(texts))}".encode())
    assert found is not None
    assert employed in found.settings["employed"]
    assert ("leavers by this: L, D" in found.yaml) == (header == "EMPL_STATUS")


def test_what_only_looks_like_a_status_decides_nothing() -> None:
    found = fragment(b"emp_no,On leave?\n1,Y\n2,N\n3,N\n")
    assert found is not None
    assert "employed" not in found.settings
    assert "# employed: is it in one of these? On leave?: N 2, Y 1" in found.yaml


def test_a_key_of_several_rows_is_named_with_what_to_say_of_them() -> None:
    found = fragment((EXPORTS / "rehire.csv").read_bytes())
    assert found is not None
    assert found.settings["key"] == "employee_id"
    assert "# pick: 1 row has the key of another; say which one counts" in found.yaml


def test_addresses_alone_are_named_and_no_key() -> None:
    found = fragment(b"mail,first\na@example.com,A\nb@example.com,A\n")
    assert found is not None
    assert "key" not in found.settings
    assert "# key: only mail has another value in each row, and addresses change" in found.yaml
