"""Changes that do not stay are counted, stopped at the third run in a row, and start over when either side changes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.account import LedgerEntry
from provisioner.model.attributes import Attribute, Type
from provisioner.model.operation import Kind, Status
from provisioner.planning.rewrite_loops import MOST, Loop, Watch, known_loops
from tests.planning.support import BEGAN, World, balanced, held_by, kinds_of, linked, only, person, spec_of

NAMES = {"name": Attribute("name"), "groups": Attribute("groups", Type.SET)}


def watch(began: float, last: str | None = "other") -> Watch:
    """One run's; `last` is what the listing before showed, None if there is none."""
    return Watch(NAMES, began, began, {"a": {"name": last}} if last is not None else None)


@given(st.lists(st.tuples(st.sampled_from("wv"), st.sampled_from("op")), min_size=1, max_size=12))
def test_it_stops_at_the_third_run_in_a_row_that_sees_the_same(runs: list[tuple[str, str]]) -> None:
    loop, row, before = None, 0, None
    for number, sides in enumerate(runs):
        loop = watch(float(number)).count(loop, "a", "name", *sides, recorded=number - 0.5)
        row = row + 1 if sides == before else 1
        before = sides
        assert loop.count == min(row, MOST)
        assert loop.stopped == (row >= MOST)
        assert loop.since == float(number - row + 1)


@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_a_run_counts_only_where_it_was_written_again(written: list[bool]) -> None:
    loop = watch(0.0, last="w").count(None, "a", "name", "w", "o", recorded=-1.0)
    assert loop.by_hand
    recorded = -1.0
    for number, again in enumerate(written, 1):
        recorded = number - 0.5 if again else recorded
        loop = watch(float(number)).count(loop, "a", "name", "w", "o", recorded=recorded)
    assert loop.count == min(MOST, 1 + sum(written))


def test_one_observation_counts_once_and_without_a_last_listing_nothing_is_presumed() -> None:
    first = watch(1.0).count(None, "a", "name", "w", "o", recorded=0.5)
    assert watch(1.0).count(first, "a", "name", "w", "o", recorded=0.5) == first
    assert not first.by_hand
    assert watch(1.0, last=None).count(None, "a", "name", "w", "o", recorded=0.5).by_hand


def test_spelling_that_means_the_same_is_the_same() -> None:
    first = watch(1.0).count(None, "a", "groups", "A;B", "C", recorded=0.5)
    assert watch(2.0).count(first, "a", "groups", "a;b", "c", recorded=1.5).count == 2


def entry(loop: Loop | None = None, **changes: Any) -> LedgerEntry:
    loops = {"first_name": loop.to_json()} if loop else {}
    return linked("P1", values={"first_name": "Ana", "active": "true"}, loops=loops, **changes)


def world(loop: Loop | None = None, **changes: Any) -> World:
    """Ana, who is shown as Anna, and was in the listing before."""
    account = held_by("P1", first_name="Anna", **changes)
    last = pl.DataFrame({"_account": ["P1"], "first_name": ["Anna"]})
    return World(spec_of(), [person("P1")], [account], [entry(loop)], last=last)


def counted(times: int) -> Loop:
    """The loop of `world` after so many runs."""
    loop = None
    for number in range(times):
        made = Watch(spec_of().attributes, float(number), 7.0, {})
        loop = made.count(loop, "P1", "first_name", "Ana", "Anna", recorded=number - 0.5)
    assert loop is not None
    return loop


def test_a_rewrite_is_counted_by_the_ledger_and_by_no_guard() -> None:
    guards = {"updates": {"percent": 0, "absolute": 0}}
    made = world()
    made.spec = spec_of(guards=guards)
    plan = made.plan()
    assert (only(plan).kind, only(plan).hold, only(plan).counted) == (Kind.UPDATE, None, False)
    (noted,) = plan.loops
    text = json.dumps({name: loop.to_json() for name, loop in noted.loops.items()})
    assert known_loops(text) == noted.loops
    assert (noted.loops["first_name"].count, noted.loops["first_name"].at) == (1, BEGAN)
    # Another change besides it is counted, and so is what was changed by hand
    made.accounts = [held_by("P1", first_name="Anna", last_name="Other")]
    assert only(made.plan()).hold is not None
    made = world()
    made.spec = spec_of(guards=guards)
    made.last = pl.DataFrame({"_account": ["P1"], "first_name": ["Ana"]})
    assert only(made.plan()).hold is not None


@pytest.mark.parametrize("also", [False, True])
def test_the_third_is_not_written_and_is_a_to_do_while_other_things_go_on(also: bool) -> None:
    made = world(counted(2), **({"last_name": "Other"} if also else {}))
    plan = made.plan()
    assert [sorted(one.after) for one in plan.operations] == ([["last_name"]] if also else [])
    (todo,) = plan.todos
    assert (todo.code, todo.about["written"], todo.about["observed"]) == ("rewrite_loop", "Ana", "Anna")
    assert todo.about["since"] == "1970-01-01T00:00:07Z"
    assert plan.stopped == {("P1", "first_name")}
    assert balanced(plan)
    # The wanted side changes
    made.people = [person("P1", first_name="Ann")]
    plan = made.plan()
    assert "first_name" in only(plan).after
    assert not any(todo.code for todo in plan.todos)
    # The observed side changes
    made = world(counted(3))
    made.accounts = [held_by("P1", first_name="Anya")]
    assert only(made.plan()).after == {"first_name": "Ana"}
    # It stays at last
    made.accounts = [held_by("P1")]
    plan = made.plan()
    assert plan.operations == ()
    assert [dict(one.loops) for one in plan.loops] == [{}]


def test_a_leaver_who_keeps_access_fails_instead_of_being_forgotten() -> None:
    last = pl.DataFrame({"_account": ["P1"], "active": ["true"]})
    loops: dict[str, Any] = {}
    for number in range(MOST):
        entry = linked("P1", state="left", values={"active": "false"}, loops=loops, recorded=BEGAN - 0.5)
        assert entry.finished is (number == 0)
        plan = World(spec_of(), [person("P1", "leaver")], [held_by("P1")], [entry], last=last).plan()
        (noted,) = plan.loops
        assert noted.left
        loop = noted.loops["active"]
        loops = {"active": replace(loop, at=BEGAN - 1).to_json()}
        assert loop.count == number + 1
        failing = number + 1 == MOST
        assert only(plan).planned_status is (Status.FAILED if failing else Status.PENDING)
        assert kinds_of(plan) == {"P1": ["update"]}
        assert (only(plan).planned_error or {}).get("code") == ("rewrite_loop" if failing else None)
        assert {todo.code for todo in plan.todos} == ({"rewrite_loop"} if failing else set())
