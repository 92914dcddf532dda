"""A status that no clean roster held yet."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.roster.statuses import statuses_of, unfamiliar
from tests.roster.support import TODAY, people, settings

SEEN = {"employment_status": {"active", "left"}}


def wondered(*rows: str, seen: Any = SEEN, **changes: Any) -> dict[str, str]:
    found = people(*rows, **changes)
    return unfamiliar(found.frame, settings(**changes), seen, today=TODAY)


def test_who_leaves_by_a_new_word_is_named_with_it() -> None:
    found = wondered("1,Ann,,active,,", "2,Bob,,left,,", "3,Cleo,,on leave,,", "4,Dan,,,,")
    assert found == {"3": "employment_status 'on leave'"}


def test_a_last_day_needs_no_word() -> None:
    assert wondered("1,Ann,,gone,2020-01-01,2026-03-01") == {}
    assert set(wondered("1,Ann,,gone,2020-01-01,2026-03-02")) == {"1"}


@pytest.mark.parametrize("seen", [{}, {"employment_status": {"active"}}, {"first_name": {"Ann"}}])
def test_the_first_word_for_leaving_is_none_to_wonder_about(seen: Any) -> None:
    assert wondered("1,Ann,,left,,", seen=seen) == {}


def test_a_new_word_beside_one_that_says_it_all_is_nothing() -> None:
    both = "employment_status = 'active' AND first_name <> 'robot'"
    seen = {"employment_status": {"active", "left"}, "first_name": {"Ann", "robot"}}
    assert wondered("1,Zoe,,left,,", "2,Zoe,,active,,", seen=seen, employed=both) == {}
    assert set(wondered("1,Zoe,,lefft,,", seen=seen, employed=both)) == {"1"}


def test_only_columns_of_few_texts_hold_statuses() -> None:
    many = people(*(f"{number},N{number},,active,," for number in range(300)))
    both = settings(employed="employment_status = 'active' AND first_name <> 'x'")
    assert statuses_of(many.frame, both) == {"employment_status": frozenset({"active"})}
