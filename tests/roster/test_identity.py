"""Who is the same person, by their key."""

from __future__ import annotations

import random
import unicodedata
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from provisioner.roster import advance_absence
from provisioner.roster.identity import Spelling, fold_key, fold_keys, moved, spelt_as_known
from provisioner.settings import AbsenceSettings
from tests.roster.support import HEADER, people, people_of, read_bytes

#: Letters whose case, form or width is easily taken for another: dotted and dotless i, ligatures, final sigma, ß.
LETTERS = st.text("abcIİıSßſΣςσÅÅǅ０9-/ é", min_size=1, max_size=6)


def series(*keys: str | None) -> pl.Series:
    return pl.Series(keys, dtype=pl.String)


@pytest.mark.parametrize(
    ("one", "other"),
    [("E00002", "e00002"), ("É4", "E\u03014"), (" E1 ", "e1"), ("E\u200b1", "e1"), ("STRASSE", "straße"), ("Σ", "ς")],
)
def test_what_nobody_can_tell_apart_is_one_key(one: str, other: str) -> None:
    assert fold_key(one) == fold_key(other)


@pytest.mark.parametrize(("one", "other"), [("E1", "E01"), ("E1", "F1"), ("E-1", "E1"), ("e", "é")])
def test_other_keys_are_others(one: str, other: str) -> None:
    assert fold_key(one) != fold_key(other)


@given(st.lists(st.one_of(LETTERS, st.none()), max_size=8))
def test_a_column_is_folded_as_its_texts_are(keys: list[str | None]) -> None:
    assert fold_keys(series(*keys)).to_list() == [fold_key(key) if key is not None else None for key in keys]


@given(LETTERS)
def test_to_fold_twice_is_to_fold_once(key: str) -> None:
    assert fold_key(fold_key(key)) == fold_key(key)


@given(st.lists(LETTERS, min_size=1, unique_by=fold_key), st.randoms(use_true_random=False))
def test_known_people_keep_their_spelling(keys: list[str], dice: random.Random) -> None:
    known = Spelling(keys)
    changed = [dice.choice((key.upper, key.lower, key.swapcase, lambda key=key: f" {key}"))() for key in keys]
    same = [now for now, key in zip(changed, keys, strict=True) if fold_key(now) == fold_key(key)]
    assert [fold_key(known.of(now)) for now in same] == [fold_key(now) for now in same]
    assert set(known.column(series(*same))) <= set(keys)


def test_to_spell_a_column_leaves_the_column_as_it_was() -> None:
    keys = series("e1", None, "E2")
    assert Spelling(["E1"]).column(keys).to_list() == ["E1", None, "E2"]
    assert keys.to_list() == ["e1", None, "E2"]


def test_the_key_s_own_column_is_spelt_so_too() -> None:
    text = f"{HEADER}\ne1,A,,active,,\nE2,B,,active,,\ne3,C,,active,,,,,"
    found = spelt_as_known(read_bytes(text.encode()), Spelling(["E1", "E3"]), "employee_id")
    assert found.frame.select("_key", "employee_id").rows() == [("E1", "E1"), ("E2", "E2")]
    assert found.present == {"E3"}
    assert [one.key for one in found.rejects] == ["E3"]


ROWS = [
    "E1,Ann,ann@example.com,active,,",
    "é2,Bob,bob@example.com,left,,",
    "E3,Cleo,,active,2027-01-01,",
    "E4,Dan,dan@example.com,active,,2026-03-01",
]


@given(st.permutations(ROWS), st.lists(st.booleans(), min_size=4, max_size=4))
def test_neither_order_nor_case_changes_anything(rows: list[str], shout: list[bool]) -> None:
    usual = people(*ROWS)
    known = advance_absence(None, usual, clean=True, written="a", last_written=None, now=NOW, settings=AT_ONCE)
    spelling = Spelling(known["_key"])
    told = []
    for row, loud in zip(rows, shout, strict=True):
        key, _, rest = row.partition(",")
        told.append(f"{unicodedata.normalize('NFD', key.swapcase()) if loud else key},{rest}")
    text = "\n".join([HEADER, *told])
    found = people_of(text, spelling=spelling)
    after = advance_absence(known, found, clean=True, written="b", last_written="a", now=NOW, settings=AT_ONCE)
    assert_frame_equal(after.drop("_line").sort("_key"), known.drop("_line").sort("_key"))


NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
AT_ONCE = AbsenceSettings.model_validate({"snapshots": 1, "grace": "0s"})


def test_a_ledger_follows_the_roster_s_spelling_and_earlier_keys() -> None:
    linked, here = series("e1", "E2", "OLD", "gone"), series("E1", "E2", "NEW")
    assert moved(linked, here, {"OLD": "NEW", "X": "Y"}) == ({"e1": "E1", "OLD": "NEW"}, {})


def test_two_spellings_in_a_ledger_are_told() -> None:
    assert moved(series("e1", "E1"), series("E1"), {}) == ({}, {"e1": "E1"})
    assert moved(series("e1", "E1", "é", "É"), series("É"), {}) == ({}, {"é": "É"})


def test_a_key_that_has_an_account_takes_no_other() -> None:
    assert moved(series("OLD", "NEW"), series("NEW"), {"OLD": "NEW"}) == ({}, {})
    assert moved(series("A", "B"), series("NEW"), {"A": "NEW", "B": "NEW"})[0] == {"A": "NEW"}


def test_the_earlier_key_counts_while_its_row_says_left() -> None:
    text = "\n".join(
        [
            f"{HEADER},was",
            "N1,A,,active,,,o1",
            "O1,A,,left,,,",
            "N2,B,,active,,,O2",
            "O2,B,,active,,,",
            "N3,C,,active,,,O3",
            "O3,C,,active,,2026-01-01,",
        ]
    )
    assert people_of(text, previous_key="was").renamed == {"o1": "N1", "O3": "N3"}


EXCLUDED = "first_name = 'ended'"


def test_rows_that_are_excluded_contest_no_key() -> None:
    found = people(
        "1,Ann,ann@example.com,active,,",
        "1,ended,,left,,",
        "1,ended,nonsense,left,,",
        ",ended,,left,,",
        "2,ended,,left,,",
        "2,ended,,left,,",
        exclude=EXCLUDED,
    )
    assert found.frame.select("_key", "_verdict").rows() == [("1", "employed"), ("2", "excluded")]
    assert found.rejects == ()
    assert not found.unreadable_keys


def test_rows_of_which_nobody_knows_whether_they_are_excluded_do() -> None:
    found = people("1,Ann,,active,,", "1,,,left,,", exclude=EXCLUDED)
    assert [(one.line, one.key) for one in found.rejects] == [(2, "1"), (3, "1")]


@given(st.permutations(["1,Ann,,active,,", "1,ended,,left,,", "2,ended,,left,,", "3,Bob,,active,,", "3,Bo,,active,,"]))
def test_the_order_of_excluded_rows_says_nothing(rows: list[str]) -> None:
    found = people(*rows, exclude=EXCLUDED)
    assert sorted(found.frame.select("_key", "_verdict").rows()) == [("1", "employed"), ("2", "excluded")]
    assert {one.key for one in found.rejects} == {"3"}
