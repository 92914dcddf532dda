"""JSON as programs answer it: arrays, lists within an object, nested fields, and what is no whole document."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from provisioner.errors import ConfigurationError, RosterError
from provisioner.roster import Read
from tests.roster.support import read_bytes
from tests.roster.test_exports import people_of as export


def json_rows(content: bytes | str, **changes: Any) -> Read:
    data = content if isinstance(content, bytes) else content.encode()
    settings = {"key": "id", "employed": "TRUE", "starts": None, "ends": None, **changes}
    return read_bytes(data, (), **settings)


@pytest.mark.parametrize(
    ("name", "changes", "columns", "expected"),
    [
        ("array.json", {"key": "id"}, ["first", "status"], [("E1", "Ann", "active"), ("E2", "Tom", "left")]),
        ("array_pretty.json", {"key": "id"}, ["first"], [("E1", "Ann"), ("E2", "Tom")]),
        (
            "nested.jsonl",
            {"key": "id"},
            ["name.first", "name.last", "emails.0"],
            [("E1", "Ann", "Lee", "ann@example.com"), ("E2", "Tom", "Berg", None)],
        ),
        (
            "personio.json",
            {"records": "data", "key": "attributes.id.value"},
            ["attributes.email.value", "attributes.status.value"],
            [("1", "ann@example.com", "active")],
        ),
        (
            "workday_raas.json",
            {"records": "Report_Entry", "key": "Employee_ID", "employed": "Status = 'Active'"},
            ["Email", "_verdict"],
            [("E1", "ann@example.com", "employed"), ("E2", "tom@example.com", "leaver")],
        ),
        (
            "workday_raas_pretty.json",
            {"records": "Report_Entry", "key": "Employee_ID"},
            ["First_Name"],
            [("E1", "Ann"), ("E2", "Tom")],
        ),
        (
            "scim_list.json",
            {"records": "Resources", "key": "id", "employed": "active = 'true'"},
            ["name.givenName", "emails.0.value", "_verdict"],
            [("1", "Ann", "ann@example.com", "employed")],
        ),
        ("employees.csv.zip", {}, [], None),
    ],
)
def test_exports(name: str, changes: dict[str, Any], columns: list[str], expected: Any) -> None:
    people = export(name, **changes)
    rows = people.frame.select("_key", *columns).rows()
    assert people.rejects == ()
    assert len(rows) >= 1
    assert expected is None or rows == expected


def test_lines_are_those_where_objects_begin() -> None:
    pretty = json.dumps([{"id": 1, "a": {"b": [1, 2]}}, {"id": 2}, [], {"id": 3, "x": "\n"}], indent=1)
    read = json_rows(pretty)
    assert read.frame.select("_line", "_key").rows() == [(2, "1"), (11, "2"), (15, "3")]
    assert [str(one) for one in read.rejects] == ["line 14: it is no JSON object"]
    assert read.notes == ()
    # In one line each has a number of its own all the same
    flat = json_rows(json.dumps([{"id": 1}, 7, {"id": 3}]))
    assert flat.frame["_line"].to_list() == [1, 3]
    assert [str(one) for one in flat.rejects] == ["line 2: it is no JSON object"]
    assert "rows are counted instead of lines" in str(flat.notes[0])


def test_numbers_keep_their_spelling() -> None:
    read = json_rows('[{"id": 70, "n": 1.50}, {"id": 12345678901234567890, "n": 1e3, "x": true, "y": null}]')
    assert read.frame.select("_key", "n", "x", "y").rows() == [
        ("70", "1.50", None, None),
        ("12345678901234567890", "1e3", "true", None),
    ]


@pytest.mark.parametrize("records", ["data.employees", "data.none", "meta", "data.employees.0", "x"])
def test_where_the_list_is(records: str) -> None:
    content = json.dumps({"meta": {"next": None}, "data": {"employees": [{"id": "1"}], "total": 1}})
    if records == "data.employees":
        assert json_rows(content, records=records).frame["_key"].to_list() == ["1"]
        return
    with pytest.raises((RosterError, ConfigurationError)) as caught:
        json_rows(content, records=records)
    shown = f"{caught.value.message} {caught.value.remedy}"
    expected = {
        "data.none": "has no 'none' in data. It has: employees, total.",
        "meta": "meta is no list of objects",
        "data.employees.0": "data.employees is no list of objects",
        "x": "has no 'x'. It has: meta, data.",
    }[records]
    assert expected in shown


@pytest.mark.parametrize("indent", [None, 2])
def test_an_object_around_the_rows_names_the_setting(indent: int | None) -> None:
    content = json.dumps({"meta": {"tags": [1]}, "data": {"staff": [{"id": "1"}]}, "next": []}, indent=indent)
    with pytest.raises(RosterError, match="one JSON object around its rows") as caught:
        json_rows(content)
    assert caught.value.remedy == "Set `roster.records: data.staff`."
    # A single person is a row, whatever lists they have
    assert json_rows('{"id": "1", "mails": [{"value": "a@b.co"}]}').frame["mails.0.value"].to_list() == ["a@b.co"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('[{"id": 1}, {"id"', "begins like a JSON array, but is no whole one"),
        ("[]", "no line is a JSON object with fields"),
        ("[{}, {}]", "no line is a JSON object with fields"),
        (f"[{'[' * 200_000}", "begins like a JSON array|no JSON|has no columns|missing"),
        (f'{{"id": {"[" * 200_000}', "no line is a JSON object|one JSON object"),
        (json.dumps([{"id": 1, **{f"f{n}": n for n in range(3_000)}}]), "no line is a JSON object with fields"),
        (json.dumps([{f"f{n}": n} for n in range(3_000)]), "more than 2000 different fields"),
    ],
)
def test_what_is_no_table_has_a_sentence(content: str, why: str) -> None:
    with pytest.raises(RosterError, match=why):
        json_rows(content)


def test_a_field_that_stands_twice_and_deep_ones_reject_their_row() -> None:
    deep = "[" * 500 + "1" + "]" * 500
    read = json_rows(f'[{{"id": "1", "a.b": 1, "a": {{"b": 2}}}}, {{"id": "2", "x": {deep}}}, {{"id": "3"}}]')
    assert next(str(one) for one in read.rejects) == "line 1: a field occurs in it twice"
    assert read.frame["_key"].to_list()[-1] == "3"


def test_text_in_brackets_is_no_json() -> None:
    assert json_rows("[id],name\n1,Ann\n", key="[id]").frame["_key"].to_list() == ["1"]


def test_many_rows_are_read_in_parts() -> None:
    rows = [{"id": str(number), **({f"x{number // 15_000}": "v"} if number % 2 else {})} for number in range(45_000)]
    read = json_rows(json.dumps(rows))
    assert read.frame.height == 45_000
    assert read.columns == ("id", "x0", "x1", "x2")
    assert read.frame["x2"].drop_nulls().len() == 7_500
    random.Random(3).shuffle(rows)
    assert sorted(json_rows("\n".join(map(json.dumps, rows))).frame["_key"]) == sorted(row["id"] for row in rows)
