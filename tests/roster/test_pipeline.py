"""What happens to rows between the file and the people: cleaned, computed, looked up, picked, labelled."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from provisioner.errors import ConfigurationError, ProvisionerError, RosterError
from provisioner.expressions.misses import MISSED
from provisioner.roster import People, Read, judge, pushed, read
from provisioner.roster.values import Source
from provisioner.settings import RosterSettings
from tests.roster.workbooks import workbook

TODAY = date(2026, 3, 2)
STAFF = """employee_id,first_name,last_name,work_email,manager_id,site_code,job_code,status
E1,Ann,Lee,ann@example.com,,SYD,MD,active
E2,Tom,Berg,tom@example.com,E1,MEL,RN,active
E3,Mia,Roth,mia@example.com,e1,XXX,AA,active
"""
SITES = "code,city,country\nSYD,Sydney,AU\nmel ,Melbourne,AU\n"


def reading(
    content: str | bytes,
    needs: tuple[str, ...] = (),
    emails: tuple[str, ...] = (),
    tables: Mapping[str, str | bytes] | None = None,
    **settings: Any,
) -> Read:
    def source(text: str | bytes, name: str) -> Source:
        return pushed(text.encode() if isinstance(text, str) else text, f"{name}.csv")

    sources = {name: source(text, name) for name, text in (tables or {}).items()}
    return read(source(content, "people"), RosterSettings(**settings), needs=needs, emails=emails, tables=sources)


def people_of(content: str | bytes, today: date = TODAY, **kwargs: Any) -> People:
    settings = {name: value for name, value in kwargs.items() if name not in ("needs", "emails", "tables")}
    return judge(reading(content, **kwargs), RosterSettings(**settings), today=today)


def cells(found: Read | People, *columns: str) -> list[tuple[Any, ...]]:
    return found.frame.select("_key", *columns).rows()


def messages(found: Read | People) -> tuple[str, ...]:
    return tuple(note.message for note in found.notes)


# Words that mean empty


def test_words_that_mean_empty() -> None:
    text = "employee_id,department,last_day\nE1,NULL,null\nE2,Sales,n/a\nNull,Annull,2026-01-31\n"
    found = people_of(text, ends="last_day")
    assert cells(found, "department", "_ends") == [("E1", None, None), ("E2", "Sales", None)]
    assert [str(one) for one in found.rejects] == ["line 4: employee_id: the key is empty"]
    assert cells(reading(text, nulls=["-", "Sales"]), "department") == [
        ("E1", "NULL"),
        ("E2", None),
        ("Null", "Annull"),
    ]
    assert cells(reading(text, nulls=()), "department")[0] == ("E1", "NULL")
    assert cells(reading("employee_id,a\nE1,ÄÖ\nE2,äö \n", nulls="äÖ"), "a") == [("E1", None), ("E2", None)]


def test_an_error_of_a_workbook_is_never_empty() -> None:
    book = workbook(People=[["employee_id", "last_day"], ["E1", "#N/A"], ["E2", "N/A"]])
    found = people_of(book, ends="last_day")
    assert cells(found) == [("E2",)]
    assert "error of the spreadsheet (#N/A)" in str(found.rejects[0])


# Rows that are no people


def test_rows_that_are_no_people_are_skipped_and_said() -> None:
    text = "Employee ID,First Name\nE1,Ann\nE2,Tom\nGrand Total,2\n"
    found = people_of(text, key="Employee ID", skip="\"Employee ID\" LIKE 'Grand Total%'")
    assert (cells(found), found.rows, found.rejects) == ([("E1",), ("E2",)], 3, ())
    assert messages(found) == ("1 row is no person by roster.skip (line 4).",)
    assert len(people_of(text, key="Employee ID").frame) == 3


def test_a_total_of_few_cells_is_skipped_and_a_person_whose_row_was_cut_is_not() -> None:
    """The total has less cells than the columns that somebody reads; so has a person's row that lost its end."""
    text = "Employee ID,First Name,Status\nE1,Ann,active\nE2\nTotal: 2\n"
    found = people_of(
        text, key="Employee ID", employed="Status = 'active'", skip="\"Employee ID\" LIKE 'Total%' OR Status IS NULL"
    )
    assert [str(one) for one in found.rejects] == [
        "line 3 (E2): has 1 cells, the header has 3",
        "line 4 (Total: 2): has 1 cells, the header has 3",
    ]
    skip = "\"Employee ID\" LIKE 'Total%'"
    found = people_of(text, key="Employee ID", employed="Status = 'active'", skip=skip)
    assert [str(one) for one in found.rejects] == ["line 3 (E2): has 1 cells, the header has 3"]
    assert (cells(found), found.rows, found.present) == ([("E1",)], 3, frozenset({"E2"}))
    assert "1 row is no person by roster.skip (line 4)." in messages(found)


@pytest.mark.parametrize(
    ("last", "has"),
    [("E2,Bob,", "3 cells"), ("E2,Bob,\n", "3 cells"), ("E2,active,x\n", "3 cells"), ("E2,", "2 cells")],
    ids=["cut off", "lost its end", "lost a cell in the middle", "cut off early"],
)
def test_skip_takes_no_row_for_nobody_that_lost_cells(last: str, has: str) -> None:
    text = f"Employee ID,First Name,Email,Status,Team\nE1,Ann,ann@example.com,active,A\n{last}"
    found = people_of(
        text,
        key="Employee ID",
        employed="Status = 'active'",
        skip='"First Name" IS NULL OR Email IS NULL OR "First Name" = \'active\'',
    )
    assert [str(one) for one in found.rejects] == [f"line 3 (E2): has {has}, the header has 5"]
    assert found.present == frozenset({"E2"})


def test_unknown_skips_nobody() -> None:
    found = people_of("employee_id,kind\nE1,\nE2,x\n", skip="kind = 'x'")
    assert cells(found) == [("E1",)]
    with pytest.raises(ConfigurationError, match=r"roster\.skip: .*there is no column 'kindd'"):
        reading("employee_id,kind\nE1,\n", skip="kindd = 'x'")


# Names of columns

DOUBLED = "Employee ID,Name,Department,Manager,Name,Email\nE1,Ann Lee,Sales,E9,Tom Berg,ann@example.com\n"


def test_two_columns_with_one_name_are_told_by_their_places() -> None:
    with pytest.raises(RosterError) as caught:
        reading(DOUBLED, key="Employee ID")
    assert "the header names 'Name' more than once (columns 2, 5)" in str(caught.value)
    assert 'roster.rename: {"#2": …, "#5": …}' in str(caught.value)
    with pytest.raises(RosterError, match=r"so roster\.rename has to say which"):
        reading(DOUBLED, key="Employee ID", rename={"Name": "name"})


@pytest.mark.parametrize("rename", [{"#5": "manager_name"}, {"#2": "name", "#5": "manager_name"}])
def test_columns_are_renamed_by_place(rename: dict[str, str]) -> None:
    found = reading(DOUBLED, key="id", rename={"Employee ID": "id", **rename})
    assert found.columns == ("id", rename.get("#2", "Name"), "Department", "Manager", "manager_name", "Email")
    assert cells(found, "manager_name") == [("E1", "Tom Berg")]


@pytest.mark.parametrize(
    ("rename", "complaint"),
    [
        ({"Departmnt": "dep"}, "did you mean 'Department'"),
        ({"#7": "x", "#5": "y"}, "the file has 6"),
        ({"Department": "Manager", "#5": "y"}, "'Manager' more than once (columns 3, 4)"),
        ({"Department": "a", "#3": "b", "#5": "y"}, "names column 3 twice"),
        ({"Department": "_key", "#5": "y"}, "cannot be called '_key'"),
    ],
)
def test_what_cannot_be_renamed(rename: dict[str, str], complaint: str) -> None:
    with pytest.raises(RosterError) as caught:
        reading(DOUBLED, key="Employee ID", rename=rename)
    assert complaint in str(caught.value)


def test_the_renamed_key_tells_the_delimiter_and_names_short_rows() -> None:
    text = "Emp. No.;a,b,c,d\n1;x\n2;y;z\n"
    found = reading(text, rename={"Emp. No.": "employee_id"})
    assert cells(found, "a,b,c,d") == [("1", "x")]
    assert found.rejects[0].key == "2"


# Computed columns


def test_computed_columns_see_one_row_and_each_other() -> None:
    found = people_of(
        "employee_id,first,last,hire\nE1,Łucja,Weiß,05-JAN-24\nE2,Tom,Berg,x\nE3,Ann,Lee,\n",
        columns={
            "login": "ASCII(LOWER(first)) || '.' || surname",
            "surname": "ASCII(LOWER(last))",
            "hired": "DATE(hire, '%d-%b-%y')",
        },
        starts="hired",
    )
    assert cells(found, "login", "_starts") == [
        ("E1", "lucja.weiss", date(2024, 1, 5)),
        ("E3", "ann.lee", None),
    ]
    assert [str(one) for one in found.rejects] == [
        "line 3 (E2): hired: hire holds no date (as the expression wants it)"
    ]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"columns": {"a": "a || 'x'"}}, "roster: a reads itself"),
        ({"columns": {"a": "b || 'x'", "b": "LOWER(c)", "c": "a"}}, "a reads b reads c reads a"),
        ({"columns": {"a": "manager.work_email"}, "lookups": {"manager": {"by": "a"}}}, "reads a"),
        ({"lookups": {"manager": {"by": "manager.manager_id"}}}, "manager.manager_id reads itself"),
        ({"lookups": {"manager": {"by": "employee_id"}}}, "looks everybody up by their own key"),
        ({"lookups": {"manager": {"by": "manager_id"}}, "pick": "manager.last_name"}, "roster.pick"),
        ({"lookups": {"manager": {"by": "manager_id"}}, "key": "manager.last_name || 'x'"}, "roster.key"),
        ({"columns": {"a": "LOWER(first_nam)"}}, "did you mean 'first_name'"),
        ({"columns": {"a": "MAX(first_name)"}}, "roster.columns.a: 'MAX(first_name)'"),
        ({"columns": {"first_name": "'x'"}}, "the file has a column 'first_name' itself"),
        ({"lookups": {"manager": {"by": "managr_id"}}}, "did you mean 'manager_id'"),
        ({"lookups": {"site": {"by": "site_code", "in": "sites.csv", "key": "codee"}}}, "has no column 'codee'"),
        ({"lookups": {"status": {"by": "job_code", "values": {"a": "b"}}}}, "'status' would be two tables"),
        ({"lookups": {"job": {"by": "job_code", "values": {"a": "b", "A": "c"}}}}, "stands there twice"),
        ({"key": "'same'"}, "reads no column, so all people would be one"),
        ({"key": "LOWER(employee_idd)"}, "a column is missing: 'employee_idd'"),
        ({"pick": "first_name,"}, "roster.pick"),
        ({"pick": "MAX(first_name)"}, "roster.pick: 'MAX(first_name)'"),
    ],
)
def test_what_cannot_be_worked_out_has_a_sentence(settings: dict[str, Any], complaint: str) -> None:
    needs = ("manager.work_email", "manager.manager_id") if "manager" in settings.get("lookups", {}) else ()
    with pytest.raises(ProvisionerError) as caught:
        reading(STAFF, needs, tables={"site": SITES}, **settings)
    assert complaint in str(caught.value)


def test_a_name_of_two_things_is_a_wrong_setting() -> None:
    with pytest.raises(ValueError, match="'a' is the name of a computed column and of a look-up"):
        RosterSettings.model_validate({"columns": {"a": "b"}, "lookups": {"a": {"by": "b"}}})
    for lookup in ({"by": "a", "in": "x"}, {"by": "a", "key": "x"}, {"by": "a", "default": "x"}):
        with pytest.raises(ValueError, match=r"lookups\.x"):
            RosterSettings.model_validate({"lookups": {"x": lookup}})


# Look-ups

LOOKUPS: dict[str, Any] = {
    "manager": {"by": "manager_id"},
    "site": {"by": "site_code", "in": "sites.csv", "key": "code"},
    "job": {"by": "job_code", "values": {"RN": "Nurse", "MD": "Doctor"}, "default": "Staff"},
}


def test_other_tables_are_looked_up() -> None:
    found = reading(
        STAFF,
        ("manager.work_email", "manager.full", "site.city", "job.value", "manager.site.city", "where"),
        tables={"site": SITES},
        lookups=LOOKUPS,
        columns={"full": "first_name || ' ' || last_name", "where": "job.value || ' in ' || site.city"},
    )
    assert cells(found, "manager.work_email", "manager.full", "site.city", "where", "manager.site.city") == [
        ("E1", None, None, "Sydney", "Doctor in Sydney", None),
        ("E2", "ann@example.com", "Ann Lee", "Melbourne", "Nurse in Melbourne", "Sydney"),
        ("E3", "ann@example.com", "Ann Lee", None, None, "Sydney"),
    ]
    assert found.frame["job.value"].to_list() == ["Doctor", "Nurse", "Staff"]
    assert messages(found) == ("roster.lookups.site: 1 row finds nothing in site.csv: XXX.",)
    assert found.frame[MISSED].to_list()[:2] == [None, None]
    assert set(found.columns) >= {"manager.work_email", "site.city", "where"}


def test_a_person_who_is_not_there_is_a_miss_and_an_empty_cell_is_none() -> None:
    found = reading(
        STAFF.replace("E1,MEL", "E9,MEL"), ("manager.work_email",), lookups={"manager": {"by": "manager_id"}}
    )
    assert cells(found, "manager.work_email") == [("E1", None), ("E2", None), ("E3", "ann@example.com")]
    assert messages(found) == ("roster.lookups.manager: 1 row finds nothing in the roster: E9.",)


def test_what_nobody_believes_is_not_handed_on() -> None:
    """A manager's bad address rejects the manager, and is no address of those who report to them."""
    found = people_of(
        STAFF.replace("ann@example.com", "ann at example"),
        needs=("manager.work_email",),
        emails=("work_email", "manager.work_email"),
        lookups={"manager": {"by": "manager_id"}},
        employed="status = 'active'",
    )
    assert cells(found, "manager.work_email") == [("E2", None), ("E3", None)]
    assert [one.key for one in found.rejects] == ["E1"]


@pytest.mark.parametrize(
    "employed",
    ["COALESCE(site.country, 'none') = 'AU'", "here = 'yes'", "site.country IS NOT NULL"],
)
def test_a_look_up_without_a_hit_makes_nobody_a_leaver(employed: str) -> None:
    found = people_of(
        STAFF,
        tables={"site": SITES},
        lookups=LOOKUPS,
        columns={"here": "CASE WHEN site.country IS NULL THEN 'no' ELSE 'yes' END"},
        employed=employed,
    )
    assert cells(found, "_verdict") == [("E1", "employed"), ("E2", "employed")]
    assert [one.key for one in found.rejects] == ["E3"]
    assert "look-up" in found.rejects[0].reason


def test_nor_does_a_last_day_that_was_not_found() -> None:
    ends = "CASE WHEN site.city IS NULL THEN '2020-01-01' END"
    found = people_of(STAFF, tables={"site": SITES}, lookups=LOOKUPS, ends=ends)
    assert cells(found, "_verdict") == [("E1", "employed"), ("E2", "employed"), ("E3", "employed")]


def test_a_table_with_rows_that_differ_and_rows_that_are_broken() -> None:
    sites = "code,city\nSYD,Sydney\nSYD,Sydney\nMEL,Melbourne\nmel,Other\nXXX,a,b\n"
    found = reading(STAFF, ("site.city",), tables={"site": sites}, lookups=LOOKUPS)
    assert cells(found, "site.city") == [("E1", "Sydney"), ("E2", None), ("E3", None)]
    assert "1 row of site.csv holds what cannot be read (line 6)" in messages(found)[0]
    assert "several rows of one code that differ (line 4, 5)" in messages(found)[1]
    assert found.tables["site"].rows == 5


def test_what_was_skipped_and_guessed_in_another_table_is_said() -> None:
    sites = "Our sites\n\ncode,city\nSYD,Łódź\nMEL,Święta Góra\n".encode("cp1250")
    found = reading(STAFF, ("site.city",), tables={"site": sites}, lookups=LOOKUPS)
    assert cells(found, "site.city")[:2] == [("E1", "Łódź"), ("E2", "Święta Góra")]
    banner, guess = found.notes[:2]
    assert banner.message.startswith("roster.lookups.site: The header is in line 3;")
    assert guess.message.startswith("roster.lookups.site: site.csv is no UTF-8, and its encoding was guessed: cp1250")
    assert (guess.remedy, guess.example) == ("Let it be written as UTF-8.", "'Łódź'")


# One row a person

JOBS = """employee_id,department,primary,start
E1,People,No,2024-02-01
E1,Sales,Yes,2019-01-01
E2,Sales,Yes,2020-01-01
"""


@pytest.mark.parametrize(
    ("pick", "department"),
    [
        ("CASE WHEN \"primary\" = 'Yes' THEN 0 ELSE 1 END, start", "Sales"),
        ("start DESC", "People"),
        ("DATE(start) ASC NULLS LAST", "Sales"),
        ("department", "People"),
        ("CASE WHEN \"primary\" = 'Maybe' THEN 1 END, department DESC", "Sales"),
    ],
)
def test_one_row_is_picked_for_each_person(pick: str, department: str) -> None:
    found = people_of(JOBS, pick=pick)
    assert cells(found, "department") == [("E1", department), ("E2", "Sales")]
    assert (found.rejects, found.rows) == ((), 3)
    assert messages(found) == ("1 row is a further row of people, by roster.pick.",)


def test_without_pick_they_are_a_conflict() -> None:
    found = people_of(JOBS)
    assert cells(found) == [("E2",)]
    assert [one.line for one in found.rejects] == [2, 3]


@pytest.mark.parametrize(
    ("pick", "why"),
    [("LOWER('x' || \"primary\" || start) = 'y'", "lines"), ("DATE(department)", "holds no date")],
)
def test_what_the_order_does_not_decide_is_a_conflict(pick: str, why: str) -> None:
    found = people_of(JOBS, pick=pick)
    assert cells(found) == [("E2",)]
    assert all(why in one.reason and one.key == "E1" for one in found.rejects)
    assert people_of(JOBS.replace("People,No,2024-02-01", "Sales,Yes,2019-01-01"), pick=pick).frame.height == (
        2 if why == "lines" else 1
    )


def test_the_picked_row_of_a_manager_is_looked_up() -> None:
    text = "employee_id,title,job,boss\nE1,Clerk,2,\nE1,Head,1,\nE2,Cook,1,E1\n"
    found = reading(text, ("boss_row.title",), lookups={"boss_row": {"by": "boss"}}, pick="job")
    assert cells(found, "boss_row.title") == [("E1", None), ("E2", "Head")]


# Keys


def test_the_key_may_be_an_expression() -> None:
    text = "company,no,previous\n10,1001,\n20,1001,30-7\n,5,\n"
    found = people_of(text, key="company || '-' || no", previous_key="LOWER(previous)")
    assert cells(found) == [("10-1001",), ("20-1001",)]
    assert [str(one) for one in found.rejects] == ["line 4: roster.key: the key is empty"]
    assert found.renamed == {"30-7": "20-1001"}
    assert found.unreadable_keys


@pytest.mark.parametrize("pick", [None, "name"])
def test_an_expression_that_gives_one_key_to_two_people_is_named(pick: str | None) -> None:
    text = "employee_id,name\n1001,Ann\n1002,Tom\n2001,Mia\n"
    found = people_of(text, key="LEFT(employee_id, 3)", pick=pick)
    assert cells(found) == [("200",)]
    assert all("gives one key to rows that differ in employee_id" in one.reason for one in found.rejects)
    computed = people_of(text, columns={"id": "LEFT(employee_id, 3)"}, key="id", pick=pick)
    assert cells(computed) == [("200",)]


def test_an_error_within_a_key_is_no_part_of_it() -> None:
    text = "employee_id,company\n1,A\n2,#REF!\n"
    found = people_of(text, key="CONCAT_WS('-', company, employee_id)")
    assert cells(found) == [("A-1",)]
    assert "error of the spreadsheet (#REF!)" in str(found.rejects[0])


def test_marks_of_text_go() -> None:
    text = 'employee_id,name\n\'000123,\'t Hart\n"=""000124""","=""Berg"""\n'
    assert cells(reading(text), "name") == [("000123", "'t Hart"), ("000124", "Berg")]
    assert cells(reading(text, trim=False))[0] == ("'000123",)


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("1.00E+05", "it was rounded by a spreadsheet, so its digits are lost"),
        ("1.23457E+11", "rounded by"),
        ("1e+5", "rounded by"),
        ("124.0", "taken for a number"),
        ("1003.00", "taken for a number"),
        ('"1,004"', "marks of thousands"),
        ("#####", "too narrow"),
    ],
)
def test_keys_that_a_spreadsheet_broke_are_rejected_by_name(cell: str, why: str) -> None:
    found = people_of(f"employee_id,name\n{cell},Ann\nE2,Tom\n")
    assert cells(found) == [("E2",)]
    (reject,) = found.rejects
    assert why in reject.reason
    assert reject.value == cell.strip('"')
    assert found.unreadable_keys


@pytest.mark.parametrize("key", ["4E12", "1E05", "A-2.0", "10.20", "1.2.0", "v1.0", "E+05x", "1,04"])
def test_keys_that_only_look_like_it_are_keys(key: str) -> None:
    assert cells(people_of(f'employee_id,name\n"{key}",Ann\n')) == [(key,)]


def test_a_broken_part_of_an_expression_breaks_the_key() -> None:
    found = people_of("company,no\n10,1.00E+05\n10,7\n", key="company || '-' || no")
    assert cells(found) == [("10-7",)]


# Addresses


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        ("Ann Lee <ann@example.com>", "ann@example.com was probably meant"),
        ("mailto:ann@example.com", "ann@example.com was probably meant"),
        ("ann@example.com; ann2@example.com", "it holds 2 email addresses; ann@example.com was probably meant"),
        ("'ann@example.com'", "ann@example.com was probably meant"),
        ("ann@example", "it is no email address"),
        ("zoë@exämple.com", "zoe@example.com was probably meant"),
    ],
)
def test_what_is_no_address_names_the_one_that_was_meant(cell: str, meant: str) -> None:
    found = people_of(f'employee_id,work_email\nE1,"{cell}"\nE2,tom@example.com\n', emails=("work_email",))
    assert cells(found) == [("E2",)]
    assert (found.rejects[0].key, found.rejects[0].line) == ("E1", 2)
    assert meant in found.rejects[0].reason


# First and last days, labels


def test_first_and_last_days_may_be_expressions() -> None:
    text = "employee_id,day,month,year,till\nE1,5,1,2027,2020-01-31\nE2,1,1,2020,x\nE3,1,1,2020,\n"
    found = people_of(
        text,
        starts="year || '-' || LPAD(month, 2, '0') || '-' || LPAD(day, 2, '0')",
        ends="CASE WHEN year = '2027' THEN NULL ELSE till END",
    )
    assert cells(found, "_starts", "_verdict") == [
        ("E1", date(2027, 1, 5), "future"),
        ("E3", date(2020, 1, 1), "employed"),
    ]
    assert str(found.rejects[0]).startswith("line 3 (E2): roster.ends: 'x' it is no date")
    failing = people_of("employee_id,till\nE1,x\nE2,01/02/2020\n", ends="DATE(till, '%d/%m/%Y')")
    assert cells(failing, "_verdict") == [("E2", "leaver")]
    assert [one.key for one in failing.rejects] == ["E1"]


def test_people_have_a_label() -> None:
    found = people_of(STAFF, label="first_name || ' ' || last_name")
    assert cells(found, "_label") == [("E1", "Ann Lee"), ("E2", "Tom Berg"), ("E3", "Mia Roth")]
    assert "_label" not in people_of(STAFF).frame.columns


# The order of rows changes nothing

CELL = st.sampled_from(["E1", "E2", "E3", "E4", "e1 ", "", "NULL", "x", "2024-01-05", "#REF!", "1.00E+05"])
ROW = st.tuples(CELL, CELL, CELL, st.sampled_from(["1", "2", " 2", ""]))


@hypothesis_settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, max_size=12), seed=st.integers(0, 9))
def test_the_order_of_rows_changes_nothing(rows: list[tuple[str, ...]], seed: int) -> None:
    def outcome(some: list[tuple[str, ...]]) -> tuple[list[str], list[tuple[str, str, str]]]:
        text = "\n".join(["employee_id,a,boss,rank", *(",".join(row) for row in some)]) + "\n"
        found = people_of(
            text,
            needs=("up.a", "up.both", "map.value", "table.city"),
            tables={"table": "code,city\nE1,One\nx,Two\n"},
            columns={"both": "a || COALESCE(map.value, '-')", "day": "DATE(a)", "above": "up.both"},
            lookups={
                "up": {"by": "boss"},
                "map": {"by": "a", "values": {"x": "y"}},
                "table": {"by": "a", "in": "table.csv", "key": "code"},
            },
            pick="rank, a DESC",
            employed="COALESCE(table.city, 'x') <> 'Two'",
            label="a",
        )
        frame = found.frame.drop("_line", "_digest").sort("_key")
        if MISSED not in frame.columns:
            frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(MISSED))
        rejected = sorted((one.key or "", one.column or "", one.value or "") for one in found.rejects)
        return sorted(map(str, frame.rows())), rejected

    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    first, again = outcome(rows), outcome(shuffled)
    assert first[0] == again[0]
    assert [one[0] for one in first[1]] == [one[0] for one in again[1]]
