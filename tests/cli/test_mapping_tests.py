"""`test`: the mapping's own tests, from the settings and from a file, by the real command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.calling import call, traitly, write_settings

ROW = {
    "employee_id": "E1",
    "first_name": "Ann",
    "last_name": "Lee",
    "work_email": "Ann@X.com",
    "employment_status": "active",
}
WANTED = {"customer_id": "E1", "name": "Ann Lee", "email": "ann@x.com", "plan": "Employee"}


def run(folder: Path, *words: str, **changes: Any) -> tuple[int, dict[str, Any]]:
    answer = call("test", *words, "--json", PROVISIONER_CONFIG=str(write_settings(folder, **changes)))
    return answer.code, json.loads(answer.out) if answer.out.startswith("{") else {"err": answer.err}


@pytest.mark.parametrize("shape", ["by name", "under targets", "one target"])
def test_tests_that_pass(tmp_path: Path, shape: str) -> None:
    shapes: dict[str, dict[str, Any]] = {
        "by name": {"traitly": WANTED},
        "under targets": {"targets": {"traitly": WANTED}},
        "one target": {"target": WANTED},
    }
    code, found = run(tmp_path, tests=[{"row": ROW, **shapes[shape]}])
    assert (code, found) == (0, {"tests": 1, "failed": 0, "differences": [], "exit_code": 0})


def test_every_difference_is_named_and_ends_with_2(tmp_path: Path) -> None:
    tests = [
        {"name": "a leaver", "row": {**ROW, "employment_status": "left"}, "traitly": {"plan": "Employee"}},
        {"row": ROW, "traitly": {"name": "Ann", "email": "ANN@X.COM", "planet": "Earth"}},
        {"row": {**ROW, "employment_status": "left"}, "traitly": {"plan": "Leaver"}},
        {"row": {**ROW, "employment_status": None}, "traitly": {"plan": "Employee"}},
        {"row": ROW, "traitly": None},
    ]
    code, found = run(tmp_path, tests=tests)
    assert (code, found["failed"]) == (2, 4)
    told = [(one["test"], one["attribute"], one["expected"], one["found"]) for one in found["differences"]]
    assert told[:2] == [("a leaver", "plan", "Employee", "Leaver"), ("test 2", "name", "Ann", "Ann Lee")]
    assert told[2][:2] == ("test 2", "planet")
    assert "did you mean 'plan'" in told[2][3]
    assert "the row is rejected: roster.employed gives neither yes nor no" in told[3][3]
    assert told[4] == ("test 5", None, None, "an account")


@pytest.mark.parametrize("as_list", [True, False])
def test_tests_in_a_file(tmp_path: Path, as_list: bool) -> None:
    tests = [{"row": ROW, "traitly": {**WANTED, "plan": "Guest"}}]
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump(tests if as_list else {"tests": tests}), encoding="utf-8")
    code, found = run(tmp_path, str(path))
    assert (code, found["differences"][0]["attribute"]) == (2, "plan")
    for text, complaint in (("tests: [{rows: 1}]", "row"), ("{", "no YAML")):
        path.write_text(text, encoding="utf-8")
        code, found = run(tmp_path, str(path))
        assert code == 2
        assert complaint in str(found)
    assert "cannot be read" in str(run(tmp_path, str(tmp_path / "missing"))[1])
    assert "no enabled target 'traitli'" in str(run(tmp_path, tests=[{"row": ROW, "traitli": {}}])[1])


def test_rows_go_through_the_whole_pipeline(tmp_path: Path) -> None:
    sites = tmp_path / "sites.csv"
    sites.write_text("code,city\nSYD,Sydney\n", encoding="utf-8")
    roster = {
        "url": str(tmp_path / "roster.csv"),
        "employed": "employment_status = 'active'",
        "rename": {"Emp. No.": "employee_id", "#4": "x"},
        "columns": {"login": "ASCII(LOWER(first_name)) || '@' || site.city"},
        "lookups": {"manager": {"by": "boss"}, "site": {"by": "office", "in": str(sites), "key": "code"}},
        "pick": "rank",
    }
    target = traitly("http://127.0.0.1:9/traitly")
    target["attributes"] |= {"custom_attributes.login": "login", "custom_attributes.boss": "manager.work_email"}
    tests = [
        {
            "row": {**ROW, "first_name": "Łucja ", "office": "SYD", "manager.work_email": "m@x.com"},
            "traitly": {"custom_attributes.login": "lucja@Sydney", "custom_attributes.boss": "m@x.com"},
        },
        {"row": {**ROW, "boss": "E9"}, "traitly": {"custom_attributes.boss": None, "custom_attributes.login": None}},
    ]
    code, found = run(tmp_path, tests=tests, roster=roster, targets={"traitly": target})
    assert (code, found.get("differences")) == (0, []), found


def test_check_runs_them_too(tmp_path: Path) -> None:
    tests = [{"row": ROW, "traitly": {"plan": "Guest"}}]
    answer = call("check", "--json", PROVISIONER_CONFIG=str(write_settings(tmp_path, tests=tests)))
    lines = [one for one in json.loads(answer.out)["checks"] if one["subject"] == "tests"]
    assert (answer.code, [one["verdict"] for one in lines]) == (2, ["fail"])
    assert "traitly.plan: expected Guest, found Employee." in lines[0]["message"]


def test_a_row_without_what_the_scope_asks_for_is_said_to_be_in_no_scope(tmp_path: Path) -> None:
    target = traitly("http://127.0.0.1:9/traitly")
    target["scope"] = "department <> 'Contractors'"
    code, found = run(tmp_path, tests=[{"row": ROW, "traitly": {"name": "Ann Lee"}}], targets={"traitly": target})
    assert code == 2
    assert [one["found"] for one in found["differences"]] == [
        "nothing: the target's scope gives neither yes nor no for this row"
    ]
