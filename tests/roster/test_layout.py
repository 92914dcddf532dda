"""Banners above the header, signs between cells, rows that are too short, names over several lines."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.errors import RosterError
from provisioner.roster import People, judge
from tests.roster.support import TODAY, read_bytes, settings
from tests.roster.test_exports import people_of as export


def rows(people: People) -> list[tuple[Any, ...]]:
    return people.frame.select("_line", *people.columns).rows()


def text(content: str, **changes: Any) -> People:
    """The people of a text whose key is `id`; a column that is not named in `needs` is read by nobody."""
    changes = {"key": "id", "employed": "TRUE", "starts": None, "ends": None, **changes}
    return judge(read_bytes(content.encode(), (), **changes), settings(**changes), today=TODAY)


ANN, TOM = ("Ann", "Lee", "ann.lee@example.com", "Active"), ("Tom", "Berg", "tom.berg@example.com", "Active")


@pytest.mark.parametrize(
    ("name", "line", "others"),
    [("banner_footer.csv", 4, [(7, "Total Employees:", "2", None, None, None)]), ("banner_unpadded.csv", 4, [])],
)
@pytest.mark.parametrize("header_row", ["auto", 4])
def test_a_banner_is_skipped_and_said(name: str, line: int, others: list[Any], header_row: Any) -> None:
    people = export(name, key="Employee ID", header_row=header_row)
    assert rows(people) == [(line + 1, "E1", *ANN), (line + 2, "E2", *TOM), *others]
    said = [str(note) for note in people.notes]
    auto = ["The header is in line 4; lines 1 to 3 above it were skipped (2 of them are not blank)."]
    assert said == (auto if header_row == "auto" else [])
    bad = [(one.line, one.reason) for one in people.rejects]
    assert bad == ([(8, "has 1 cells, the header has 5")] if "unpadded" in name else [])


def test_a_template_with_its_version_above() -> None:
    people = export("entra_bulk_template.csv", key="User name [userPrincipalName] Required")
    assert people.frame["_key"].to_list() == ["ann.lee@example.com", "tom.berg@example.com"]
    assert [str(note) for note in people.notes] == [
        "The header is in line 2; line 1 above it was skipped (1 of them is not blank)."
    ]


@pytest.mark.parametrize(("key", "line"), [("USERID", 1), ("User ID", 2)])
def test_of_two_headers_the_one_that_names_the_key(key: str, line: int) -> None:
    people = export("successfactors_two_headers.csv", key=key)
    assert key in people.columns
    assert people.frame["_line"][0] == line + 1
    assert "1001" in people.frame["_key"].to_list()


def test_a_line_number_wins_and_one_beyond_the_file_is_refused() -> None:
    content = "id,name\nid,name\n1,Ann\n"
    assert text(content).frame["_line"].to_list() == [2, 3]
    assert text(content, header_row=2).frame["_line"].to_list() == [3]
    assert text(content, header_row="2").frame["_line"].to_list() == [3]
    with pytest.raises(RosterError, match="has no header"):
        text(content, header_row=9)
    with pytest.raises(ValueError, match="header_row"):
        settings(header_row=0)


def test_a_cell_that_looks_like_the_key_is_no_header() -> None:
    # The first line that names the key wins, and the key as one cell of a banner is none
    people = text("id,name\n1,id\nid,Ann\n")
    assert people.frame["_line"].to_list() == [2, 3]
    assert text("\nReport of id\nid;name\n1;Ann\n").frame["_line"].to_list() == [4]


@pytest.mark.parametrize("banner", ["Employees", "Employees;;", "# made 2026-01-01, by: HR"])
def test_without_the_key_the_columns_of_the_table_are_named(banner: str) -> None:
    with pytest.raises(RosterError, match="missing: 'id'") as caught:
        text(f"{banner}\nPersNr;Vorname;Nachname\n1;Ann;Lee\n2;Tom;Berg\n")
    if banner != "# made 2026-01-01, by: HR":
        assert "PersNr, Vorname, Nachname" in str(caught.value.remedy)


@pytest.mark.parametrize("name", ["tilde.csv", "ctrl_a.csv"])
@pytest.mark.parametrize("named", [True, False])
def test_signs_of_databases(name: str, named: bool) -> None:
    sign = "~" if name == "tilde.csv" else "\x01"
    people = export(name, **({"delimiter": sign} if named else {}))
    assert people.frame.select("_key", "first_name", "last_name").rows() == [("E1", "Ann", "Lee")]
    assert people.notes == ()


def test_a_delimiter_by_name() -> None:
    assert text("id,x;name\n1,x;Ann\n", key="id,x", delimiter=";").columns == ("id,x", "name")
    assert text("id\tname,x\n1\tAnn\n", delimiter="tab").columns == ("id", "name,x")
    assert text("id\tname,x\n1\tAnn\n", delimiter="\\t").columns == ("id", "name,x")
    with pytest.raises(ValueError, match="delimiter"):
        settings(delimiter=", ")


def test_empty_columns_at_the_end_go_and_others_do_not() -> None:
    people = export("trailing_comma.csv", key="Employee ID")
    assert rows(people) == [(2, "E1", *ANN), (3, "E2", *TOM)]
    assert [str(note) for note in people.notes] == ["The column 6 has neither a name nor a value, and is left out."]
    two = text("id,name,,\n1,Ann,,\n2,Tom\n")
    assert (rows(two), two.rejects) == ([(2, "1", "Ann"), (3, "2", "Tom")], ())
    assert "columns 3 to 4 have neither" in str(two.notes[0])
    with pytest.raises(RosterError, match="no name for column 3, which holds values"):
        text("id,name,\n1,Ann,x\n")
    with pytest.raises(RosterError, match="no name for column 2"):
        text("id,,name\n1,,Ann\n")


def test_a_short_row_is_filled_up_where_nothing_reads_what_it_lacks() -> None:
    people = export("short_rows.csv", key="email")
    assert rows(people) == [
        (2, "Ann", "Lee", "ann@example.com", "US", None, None),
        (3, "Tom", "Berg", "tom@example.com", "US", "G1", None),
    ]
    assert people.rejects == ()
    (note,) = people.notes
    assert "2 rows are shorter than the header and filled up" in note.message
    assert "the first is in line 2" in note.message
    wanted = export("short_rows.csv", key="email", employed="type IS NULL")
    assert [str(one) for one in wanted.rejects] == [
        "line 2: has 4 cells, the header has 6",
        "line 3: has 5 cells, the header has 6",
    ]


def test_a_row_that_may_be_cut_off_is_not_filled_up() -> None:
    content = "id,name,a,b\n1,Ann,x\n2,Tom,y"
    people = text(content)
    assert people.frame["_key"].to_list() == ["1"]
    assert [str(one) for one in people.rejects] == ["line 3 (2): has 3 cells, the header has 4"]
    assert text(f"{content}\n").rejects == ()
    # Neither is one without its first cell, or with too many
    assert len(text("id,name,a\n,Ann\n2,a,b,c\n3,x,y\n").rejects) == 2
    # and a few cells beneath a wide table are no row
    assert len(text("id,a,b,c,d\n1,x,x,x,x\nTotal: 1\nTotal,1\n").rejects) == 2


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_header_names_over_several_lines(end: str) -> None:
    people = export("header_linebreak.csv", key="Employee ID")
    assert people.columns == ("Employee ID", "First Name", "Last Name", "E-Mail (work)", "Status")
    assert rows(people) == [(4, "E1", "Ann", "Lee", "ann@example.com", "active")]
    broken = text(f'"Employee{end}ID","First{end}Name"{end}1,Ann{end}', key="Employee ID")
    assert rows(broken) == [(4, "1", "Ann")]


def test_quoted_cells_behind_comma_and_space() -> None:
    people = export("space_quote.csv")
    assert rows(people) == [
        (2, "E1", "Ann", "Lee", "ann@example.com", "active"),
        (3, "E2", "Tom", "Berg, Jr.", "tom@example.com", "active"),
    ]
    assert people.rejects == ()
    # Where that is not how the file is written, such a cell is what it is
    plain = text('id,name,x\n1,"a, b",y\n2, "q" r,z\n"3","c","d"\n', trim=False)
    assert [row[2] for row in rows(plain)] == ["a, b", ' "q" r', "c"]
