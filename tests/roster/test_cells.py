"""Space that nobody sees, and errors of spreadsheets in place of values."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import RosterError
from provisioner.roster import pushed, read
from provisioner.roster.cells import trimmed, without_words
from provisioner.roster.forms import parse
from provisioner.roster.forms.table import Table
from provisioner.roster.legibility import legibility_notes
from provisioner.settings import RosterSettings
from tests.roster.support import HEADER, people, people_of, read_bytes
from tests.roster.workbooks import workbook

NAMES = HEADER.split(",")
PADDING = (" ", "\u00a0", "\u200b", "\ufeff", "\t", "\u3000", "\u2007 \u00a0")


@pytest.mark.parametrize("space", PADDING)
def test_space_around_a_cell_makes_nobody_a_leaver(space: str) -> None:
    rows = [f"{space}E1{space},{space}Ann,ann{space}@example.com,active{space},2026-01-01{space},{space}9999-12-31"]
    if space.strip(" \u00a0\u2007\t\u3000"):
        found = people(*rows)
    else:
        found = people(rows[0].replace(f"ann{space}@", f"{space}ann@"))
    assert found.rejects == ()
    row = found.frame.row(0, named=True)
    assert (row["_key"], row["_verdict"], row["employment_status"]) == ("E1", "employed", "active")
    assert (row["first_name"], row["work_email"], row["_ends"]) == ("Ann", "ann@example.com", None)


def test_space_stays_where_the_settings_say_so() -> None:
    assert people("1,A,,active ,,", trim=False).frame["_verdict"].to_list() == ["leaver"]
    assert people("1,A,,active ,,").frame["_verdict"].to_list() == ["employed"]
    assert people("1,A,,\u200b,,").frame.is_empty()


def test_space_inside_a_name_stays() -> None:
    assert people("1,Mary  Ann\u200bLee,,active,,").frame["first_name"].to_list() == ["Mary  Ann\u200bLee"]


@pytest.mark.parametrize("blank", [None, ""])
@pytest.mark.parametrize("error", ["#VALUE!", "#REF!", "#N/A", "#NAME?", "#DIV/0!", "=TODAY()"])
def test_an_error_of_a_workbook_is_a_bad_value_of_its_row(error: str, blank: str | None) -> None:
    # A first column that is empty throughout is none to the reader
    before = [] if blank is None else [None]
    rows = [
        [*before, *NAMES],
        [*before, "1", "A", "a@example.com", "active", None, error],
        [*before, "2", "B", "b@example.com", error, None, None],
        [*before, "3", error, "c@example.com", "active", None, None],
        [*before, error, "D", "d@example.com", "active", None, None],
        [*before, "5", "E", error, "left", None, None],
        [*before, "6", "F", "f@example.com", "active", None, None],
    ]
    found = people_of(workbook(Notes=[["x"]], People=[None, *rows]), sheet="People")
    verdicts = dict(found.frame.select("_key", "_verdict").iter_rows())
    assert verdicts == {"5": "leaver", "6": "employed"}
    told = {reject.line: str(reject) for reject in found.rejects}
    assert sorted(told) == [3, 4, 5, 6]
    what = "formula without its result" if error.startswith("=") else error
    assert what in told[3]
    assert "end_date" in told[3]
    assert "first_name" in told[5]
    if not error.startswith("="):
        assert "error of the spreadsheet" in told[6]
    assert found.unreadable_keys


def test_an_error_in_a_text_file_is_one_too() -> None:
    rows = ("1,#N/A,a@example.com,active,,", "2,B,b@example.com,#REF!,,", "3,#NA,c@example.com,active,,")
    found = people(*rows, nulls=())
    assert found.frame["_key"].to_list() == ["3"]
    assert [reject.line for reject in found.rejects] == [2, 3]
    # By default #N/A means empty in a text file, unless another error shows that a spreadsheet wrote it
    assert [reject.line for reject in people(*rows).rejects] == [2, 3]
    found = people(rows[0], rows[2])
    assert found.frame.select("_key", "first_name").rows() == [("1", None), ("3", "#NA")]
    # Who says which words mean empty is believed
    found = people(*rows, nulls=("#n/a",))
    assert found.frame.select("_key", "first_name").rows() == [("1", None), ("3", "#NA")]
    assert [reject.line for reject in found.rejects] == [3]
    assert read_bytes(f"{HEADER}\n1,#hashtag,a@example.com,active,,".encode()).doubts.is_empty()


def test_somebody_called_null_has_a_name() -> None:
    """By default, and only in columns that hold names; in others it means empty in any case of letters."""
    rows = "id,last,town,state\n1,Null,Null,in\n2,NULL,NULL,in\n3,null,x,in\n4, Null ,y,in\n"

    def last(**changes: Any) -> list[tuple[str | None, str | None]]:
        settings = RosterSettings(key="id", employed="state = 'in'", **changes)
        found = read(pushed(rows.encode(), "r.csv"), settings, needs=(), names=("last",))
        said = " ".join(str(note) for note in found.notes)
        assert ("2 cells of last read Null, and are taken for names" in said) == ("nulls" not in changes)
        return found.frame.select("last", "town").rows()

    assert last() == [("Null", None), (None, None), (None, "x"), ("Null", "y")]
    assert last(nulls=["null"]) == [(None, None), (None, None), (None, "x"), (None, "y")]
    assert last(nulls=[]) == [("Null", "Null"), ("NULL", "NULL"), ("null", "x"), ("Null", "y")]


SIGNS = st.text(alphabet=st.sampled_from("aN/Aul# ='\"\t\n\v\x1cé\u00a0\u200b!?1"), max_size=7)
WORDS = st.sampled_from(["NULL", "null", "N/A", "#N/A", "#REF!", '="007"', "-", " NULL ", "\u212aE", "a\t"])


@given(
    rows=st.lists(st.lists(SIGNS | WORDS, min_size=3, max_size=3), max_size=6),
    delimiter=st.sampled_from([",", ";", "\t", "\x1f"]),
    words=st.sampled_from([("NULL", "N/A", "#N/A"), ("#N/A",), (), ("-",), ("ke", "é")]),
)
def test_what_the_whole_text_tells_of_its_cells_changes_nothing(
    rows: list[list[str]], delimiter: str, words: tuple[str, ...]
) -> None:
    """Cells are not asked for what the text does not hold; they come out as if they had been."""
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows([["id", "b", "c"], *rows])
    with suppress(RosterError):
        table = parse(pushed(stream.getvalue().encode(), "x"), RosterSettings(key="id", delimiter=delimiter))
        _compare(table, words)


def _compare(table: Table, words: tuple[str, ...]) -> None:
    cleaned = []
    for one in (table, replace(table, lacks=frozenset())):
        found, errors = without_words(trimmed(one, ("b",)), words, "id", {"id"}, marks=True, sure=False)
        cleaned.append((found.frame.rows(), errors.rows(), legibility_notes(found, "x")))
    assert cleaned[0] == cleaned[1]
