"""A corpus of rosters: for each, exactly the people and the rejects that have to come of it, or the error."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import Any

import pytest

from provisioner.errors import ConfigurationError, RosterError
from provisioner.roster import judge
from tests.roster.support import HEADER, TODAY, read_bytes, settings

GOOD = "1,Ann,ann@example.com,active,,"


@dataclass(frozen=True)
class Case:
    """`people` are `_key:verdict`; `rejects` are the rejects as people see them."""

    name: str
    content: bytes
    people: tuple[str, ...] = ()
    rejects: tuple[str, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()
    unreadable: bool = False


@dataclass(frozen=True)
class Broken:
    """A roster that is refused as a whole, and what the message has to hold."""

    name: str
    content: bytes
    message: str
    settings: tuple[tuple[str, Any], ...] = ()


def rows(*lines: str, end: str = "\n", header: str = HEADER) -> bytes:
    return (end.join([header, *lines]) + end).encode()


DAY_FIRST = (("dates", "day_first"),)
MONTH_FIRST = (("dates", "month_first"),)
MANY = "".join(f"{number},N,,active,,\n" for number in range(100, 160))

CASES = [
    Case("plain", rows(GOOD), ("1:employed",)),
    Case("no newline at the end", rows(GOOD).rstrip(b"\n"), ("1:employed",)),
    Case("CRLF", rows(GOOD, end="\r\n"), ("1:employed",)),
    Case("CR alone", rows(GOOD, end="\r"), ("1:employed",)),
    Case("header alone", rows(), ()),
    Case("UTF-8 with BOM", b"\xef\xbb\xbf" + rows(GOOD), ("1:employed",)),
    Case("UTF-16 little endian with BOM", rows(GOOD).decode().encode("utf-16"), ("1:employed",)),
    Case("UTF-16 big endian with BOM", b"\xfe\xff" + rows(GOOD).decode().encode("utf-16-be"), ("1:employed",)),
    Case("UTF-16 little endian without BOM", rows(GOOD).decode().encode("utf-16-le"), ("1:employed",)),
    Case("UTF-16 big endian without BOM", rows(GOOD).decode().encode("utf-16-be"), ("1:employed",)),
    Case("Windows-1252", rows("1,Zoë,,active,,").decode().encode("cp1252"), ("1:employed",)),
    Case(
        "one Windows-1252 byte in UTF-8",
        rows("1,Zoë Ångström,,active,,") + b"2,Jos\xe9,,active,,\n",
        ("1:employed",),
        ("line 3 (2): first_name: bytes of it cannot be decoded",),
    ),
    Case(
        "encoding named",
        "employee_id,employment_status,start_date,end_date\nŁ1,active,,\n".encode("cp1250"),
        ("Ł1:employed",),
        settings=(("encoding", "cp1250"),),
    ),
    Case("semicolons", rows(GOOD).replace(b",", b";"), ("1:employed",)),
    Case("tabs", rows(GOOD).replace(b",", b"\t"), ("1:employed",)),
    Case("bars", rows(GOOD).replace(b",", b"|"), ("1:employed",)),
    Case(
        "semicolons with commas inside",
        rows(GOOD).replace(b",", b";").replace(b"Ann", b"Ann, Lee, X, Y, Z, W"),
        ("1:employed",),
    ),
    Case("sep= line of Excel", b"sep=;\n" + rows(GOOD).replace(b",", b";"), ("1:employed",)),
    Case(
        "blank lines before and between", b"\n\n" + rows(GOOD, "", "  ", "2,B,,active,,"), ("1:employed", "2:employed")
    ),
    Case("rows of nothing but delimiters", rows(GOOD, ",,,,,", ",,", ' , ,"",,,'), ("1:employed",)),
    Case("every cell quoted", rows('"1","Ann","","active","",""'), ("1:employed",)),
    Case("quoted delimiter", rows('1,"Lee, Ann",,active,,'), ("1:employed",)),
    Case("quoted quotation mark", rows('1,"Ann ""A"" Lee",,active,,'), ("1:employed",)),
    Case(
        "quotation mark inside an unquoted cell",
        rows('1,Ann "A" Lee,,active,,', "2,B,,active,,"),
        ("1:employed", "2:employed"),
    ),
    Case("quoted delimiters only", rows('"1",",","","active","",""'), ("1:employed",)),
    Case("quoted cell that begins with the delimiter", rows('",1","x","","active","",""'), (",1:employed",)),
    Case(
        "quoted newline moves the lines after it",
        rows('1,"Ann\nLee",,active,,', "2,B,,active,bad,"),
        ("1:employed",),
        ("line 4 (2): start_date: 'bad' it is no date (yyyy-mm-dd)",),
    ),
    Case(
        "quoted CRLF moves the lines after it",
        rows('1,"Ann\r\n\r\nLee",,active,,', "2,B,,active,bad,", end="\r\n"),
        ("1:employed",),
        ("line 5 (2): start_date: 'bad' it is no date (yyyy-mm-dd)",),
    ),
    Case("a row inside quotes is no row", rows('1,"Ann\n9,Fake,,active,,\n",,active,,'), ("1:employed",)),
    Case(
        "unclosed quotation mark takes its own row only",
        rows('1,"Ann,,active,,', "2,B,,active,,", '3,"C, D",,active,,'),
        ("2:employed", "3:employed"),
        ("line 2 (1): a quotation mark is never closed",),
    ),
    Case(
        "unclosed quotation mark at the end of the file",
        rows(GOOD, '2,"B,,active,,'),
        ("1:employed",),
        ("line 3 (2): a quotation mark is never closed",),
    ),
    Case(
        "text behind a closing quotation mark",
        rows('1,"Ann" Lee,,active,,', "2,B,,active,,"),
        ("2:employed",),
        ("line 2 (1): text follows a closing quotation mark",),
    ),
    Case(
        "too many cells",
        rows("1,Ann,,active,,,", "2,B,,active,,"),
        ("2:employed",),
        ("line 2 (1): has 7 cells, the header has 6",),
    ),
    Case(
        "too few cells", rows("1,Ann", "2,B,,active,,"), ("2:employed",), ("line 2 (1): has 2 cells, the header has 6",)
    ),
    Case(
        "too many quoted cells",
        rows('"1","Ann","","active","","",""'),
        (),
        ("line 2 (1): has 7 cells, the header has 6",),
    ),
    Case(
        "too many cells over two lines",
        rows('1,"Ann\nLee",,active,,,,', "2,B,,active,,"),
        ("2:employed",),
        ("line 2 (1): a quotation mark is never closed", "line 3: has 7 cells, the header has 6"),
        unreadable=True,
    ),
    Case(
        "a ragged row hides its key if that does not stand first",
        b"first_name,employee_id,employment_status,start_date,end_date\nLee, Ann,1,active,,\nB,2,active,,\n",
        ("2:employed",),
        ("line 2: has 6 cells, the header has 5",),
        unreadable=True,
    ),
    Case(
        "last line cut off", rows(GOOD) + b"2,B,b@ex", ("1:employed",), ("line 3 (2): has 3 cells, the header has 6",)
    ),
    Case(
        "empty key",
        rows(GOOD, ",B,,active,,"),
        ("1:employed",),
        ("line 3: employee_id: the key is empty",),
        unreadable=True,
    ),
    Case(
        "key of nothing visible",
        rows("\u200b\u00a0\ufeff,B,,active,,"),
        (),
        ("line 2: employee_id: the key is empty",),
        unreadable=True,
    ),
    Case(
        "key with a control character",
        rows("1\x07,B,,active,,"),
        (),
        ("line 2: employee_id: it holds a control character",),
        unreadable=True,
    ),
    Case(
        "key with NUL",
        rows("1\x00,B,,active,,"),
        (),
        ("line 2: employee_id: it holds a control character",),
        unreadable=True,
    ),
    Case(
        "key too long",
        rows("1" * 201 + ",B,,active,,"),
        (),
        ("line 2: employee_id: it is longer than 200 characters",),
        unreadable=True,
    ),
    Case("key of 200 characters", rows("1" * 200 + ",B,,active,,"), ("1" * 200 + ":employed",)),
    Case("key with space around it", rows(" 1\u00a0,B,,active,,"), ("1:employed",)),
    Case("key with zero-width signs", rows("\ufeff1\u200b2,B,,active,,"), ("12:employed",)),
    Case("leading zeros survive", rows("007,B,,active,,"), ("007:employed",)),
    Case("long digits survive", rows("12345678901234567890,B,,active,,"), ("12345678901234567890:employed",)),
    Case("exponents survive", rows("1E5,B,,active,,"), ("1E5:employed",)),
    Case(
        "words that look like values are text",
        rows("Null,NaN,,active,,", "True,None,,active,,", "NA,-,,active,,"),
        ("Null:employed", "True:employed", "NA:employed"),
        settings=(("nulls", ()),),
    ),
    Case(
        "the same key twice",
        rows(GOOD, "2,B,,active,,", "1,C,,active,,"),
        ("2:employed",),
        (
            "line 2 (1): employee_id: '1' the key is in line 4 too",
            "line 4 (1): employee_id: '1' the key is in line 2 too",
        ),
    ),
    Case(
        "the same key in another case",
        rows("ab,B,,active,,", "AB,C,,active,,"),
        (),
        (
            "line 2 (ab): employee_id: 'ab' the key is in line 3 too",
            "line 3 (AB): employee_id: 'AB' the key is in line 2 too",
        ),
    ),
    Case(
        "the same key composed and decomposed",
        rows("\u00e9,B,,active,,", "e\u0301,C,,active,,"),
        (),
        (
            "line 2 (é): employee_id: 'é' the key is in line 3 too",
            "line 3 (é): employee_id: 'é' the key is in line 2 too",
        ),
    ),
    Case(
        "the same key in a row that is broken",
        rows("1,Ann", GOOD, "2,B,,active,,"),
        ("2:employed",),
        (
            "line 2 (1): has 2 cells, the header has 6",
            "line 3 (1): employee_id: '1' the key is in line 2 too",
        ),
    ),
    Case("name of 300 characters", rows(f"1,{'x' * 300},,active,,"), ("1:employed",)),
    Case("NUL in another cell", rows("1,A\x00B,,active,,"), (), ("line 2 (1): first_name: it holds a NUL character",)),
    Case("an email without domain", rows("1,A,ann,active,,"), (), ("line 2 (1): work_email: it is no email address",)),
    Case(
        "two emails in one cell",
        rows("1,A,a@b.com;c@d.com,active,,"),
        (),
        ("line 2 (1): work_email: it holds 2 email addresses; a@b.com was probably meant",),
    ),
    Case(
        "an email with a name",
        rows("1,A,Ann <a@b.com>,active,,"),
        (),
        ("line 2 (1): work_email: it is no email address; a@b.com was probably meant",),
    ),
    Case("an email with space around it", rows("1,A, a@b.com ,active,,"), ("1:employed",)),
    Case(
        "an email beyond ASCII",
        rows("1,A,zoë@exämple.com,active,,"),
        (),
        (
            "line 2 (1): work_email: it is no email address, since it has letters beyond ASCII; "  # noqa: ISC004
            "zoe@example.com was probably meant",
        ),
    ),
    Case("a leaver's email may be anything", rows("1,A,gone,left,,"), ("1:leaver",)),
    Case("a leaver's start may be anything", rows("1,A,,left,soon,"), ("1:leaver",)),
    Case("a leaver's end may be anything", rows("1,A,,left,,soon"), ("1:leaver",)),
    Case("status unknown", rows("1,A,,,,"), (), ("line 2 (1): roster.employed gives neither yes nor no",)),
    Case("status unknown, but ended", rows("1,A,,,,2020-01-01"), ("1:leaver",)),
    Case("ended yesterday", rows("1,A,,active,,2026-03-01"), ("1:leaver",)),
    Case("ends today", rows("1,A,,active,,2026-03-02"), ("1:employed",)),
    Case("starts today", rows("1,A,,active,2026-03-02,"), ("1:employed",)),
    Case("starts tomorrow", rows("1,A,,active,2026-03-03,"), ("1:future",)),
    Case(
        "starts tomorrow, made a day ahead",
        rows("1,A,,active,2026-03-03,"),
        ("1:employed",),
        settings=(("create_days_before_start", 1),),
    ),
    Case(
        "impossible date",
        rows("1,A,,active,2026-02-30,"),
        (),
        ("line 2 (1): start_date: '2026-02-30' it is no date (yyyy-mm-dd)",),
    ),
    Case("ISO date with time", rows("1,A,,active,2026-03-03T00:00:00Z,"), ("1:future",)),
    Case("ISO date without hyphens", rows("1,A,,active,20260303,"), ("1:future",)),
    Case("day first", rows("1,A,,active,03/04/2026,"), ("1:future",), settings=DAY_FIRST),
    Case("day first, ISO anyway", rows("1,A,,active,2026-03-03,"), ("1:future",), settings=DAY_FIRST),
    Case("month first", rows("1,A,,active,03/01/2026,"), ("1:employed",), settings=MONTH_FIRST),
    Case(
        "day first where ISO is wanted",
        rows("1,A,,active,03/04/2026,"),
        (),
        ("line 2 (1): start_date: '03/04/2026' it is no date (yyyy-mm-dd)",),
    ),
    Case(
        "two-digit year",
        rows("1,A,,active,03/04/26,"),
        (),
        ("line 2 (1): start_date: '03/04/26' it is no date (dd/mm/yyyy)",),
        settings=DAY_FIRST,
    ),
    Case(
        "excluded",
        rows("1,A,,active,,", "2,Test,,active,,"),
        ("1:employed", "2:excluded"),
        settings=(("exclude", "first_name = 'Test'"),),
    ),
    Case(
        "excluded before all else",
        rows("1,Test,,,nonsense,"),
        ("1:excluded",),
        settings=(("exclude", "first_name = 'Test'"),),
    ),
    Case("header with space around its names", rows(GOOD, header=HEADER.replace(",", " , ")), ("1:employed",)),
    Case(
        "header quoted over two lines",
        b'"employee_id","first_name","work_email","employment_status","start_date",'
        b'"end_date","a\nb"\n1,A,,active,,,\n2,B,,active,x,,\n',
        ("1:employed",),
        ("line 4 (2): start_date: 'x' it is no date (yyyy-mm-dd)",),
    ),
    Case("gzip", gzip.compress(rows(GOOD)), ("1:employed",)),
    Case("end-of-file sign of DOS", rows(GOOD) + b"\x1a", ("1:employed",)),
    Case("sixty people", (HEADER + "\n" + MANY).encode(), tuple(f"{number}:employed" for number in range(100, 160))),
]

BROKEN = [
    Broken("nothing at all", b"", "people.csv is empty"),
    Broken("only space", b" \n\n ", "people.csv is empty"),
    Broken("only a byte-order mark", b"\xef\xbb\xbf", "people.csv is empty"),
    Broken(
        "a column is missing",
        b"employee_id,employment_statuss,start_date,end_date\n1,active,,\n",
        "a column is missing: 'employment_status' (did you mean 'employment_statuss'?)",
    ),
    Broken(
        "all missing columns are named",
        b"a,b\n1,2\n",
        "columns are missing: 'employee_id', 'employment_status', 'end_date', 'start_date'",
    ),
    Broken("no header", b"1,Ann,active\n2,Bob,active\n", "columns are missing: 'employee_id'"),
    Broken(
        "a name twice", b"employee_id,employment_status,employment_status\n", "names 'employment_status' more than once"
    ),
    Broken("a name missing", b"employee_id,,employment_status\n", "line 1: the header has no name for column 2"),
    Broken("a name of ours", b"employee_id,_key\n", "the column name '_key' is reserved"),
    Broken("a name that is a pattern", b"employee_id,^emp.*$\n", "column 2 matches other columns' names"),
    Broken("a name that is a wildcard", b"employee_id,*\n", "column 2 matches other columns' names"),
    Broken("header never closed", b'"employee_id,b\n1,2\n', "line 1: the header cannot be read"),
    Broken("too many columns", ",".join(f"c{number}" for number in range(2001)).encode(), "has 2001 columns"),
    Broken("a login page", b"<!DOCTYPE html><html>", "is a web page"),
    Broken("an old workbook", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old or encrypted Excel"),
    Broken("half a gzip", gzip.compress(rows(GOOD))[:-12], "cut off"),
    Broken("a gzip within a gzip", gzip.compress(gzip.compress(rows(GOOD))), "is a gzip file within a gzip file"),
    Broken("a broken gzip", b"\x1f\x8b\x08\x00rubbish", "gzip"),
    Broken("a broken archive", b"PK\x03\x04rubbish", "broken archive"),
    Broken("a broken Parquet file", b"PAR1rubbish", "broken Parquet"),
    Broken("an empty gzip", gzip.compress(b""), "people.csv is empty"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_becomes_of_it(case: Case) -> None:
    changes = dict(case.settings)
    read = read_bytes(case.content, **changes)
    people = judge(read, settings(**changes), today=TODAY)
    found = [f"{key}:{verdict}" for key, verdict in people.frame.select("_key", "_verdict").iter_rows()]
    assert (tuple(found), tuple(map(str, people.rejects))) == (case.people, case.rejects)
    assert people.unreadable_keys is case.unreadable
    assert people.present == {reject.key for reject in people.rejects if reject.key}
    assert people.rows == len(found) + len(people.rejects)


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_what_is_refused(case: Broken) -> None:
    with pytest.raises(RosterError) as caught:
        read_bytes(case.content, **dict(case.settings))
    assert case.message in str(caught.value)


@pytest.mark.parametrize("encoding", ["klingon", "base64", "unicode_escape", ""])
def test_an_unknown_encoding_is_a_wrong_setting(encoding: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"roster\.encoding: there is no encoding '{encoding}'"):
        read_bytes(rows(GOOD), encoding=encoding)


def test_cells_are_what_the_file_says() -> None:
    frame = read_bytes(rows('1," Ann ""A"", Lee ", ,active,,', "2,Null,,active,,"), trim=False, nulls=()).frame
    assert frame["first_name"].to_list() == [' Ann "A", Lee ', "Null"]
    assert frame["work_email"].to_list() == [None, None]
    assert frame["_line"].to_list() == [2, 3]


def test_western_letters_survive_each_encoding() -> None:
    text = rows("1,Zoë Ångström,,active,,").decode()
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        assert read_bytes(text.encode(encoding)).frame["first_name"].to_list() == ["Zoë Ångström"]


def test_rejects_show_no_personal_value() -> None:
    shown = str(judge(read_bytes(rows("1,A,secret address,active,,")), settings(), today=TODAY).rejects)
    assert "secret" not in shown
