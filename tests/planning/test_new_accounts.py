"""Accounts that a listing does not show yet, and accounts that no listing ever showed."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.account import LedgerEntry
from provisioner.model.operation import AccountChange, Kind, Status
from provisioner.model.outcome import Done
from provisioner.planning.ledger_update import ledger_patch
from provisioner.planning.new_accounts import MOST
from tests.planning.support import BEFORE, NOW, World, held_by, kinds_of, linked, only, person, spec_of

SETTLE = 900.0


def last(*accounts: str) -> pl.DataFrame:
    """The last listing that was believed."""
    return pl.DataFrame({"_account": list(accounts)}, schema={"_account": pl.String})


def world(entry: LedgerEntry, *shown: str, kind: str = "traitly") -> World:
    return World(spec_of(kind), [person("P1")], ledger=[entry], last=last(*shown))


@given(age=st.floats(0, 4 * SETTLE), settle=st.sampled_from([0.0, 60.0, SETTLE]))
def test_a_new_account_is_believed_as_long_as_guards_settle_says(age: float, settle: float) -> None:
    entry = linked("P1", linked=NOW.timestamp() - age)
    spec = spec_of("traitly", guards={"settle": f"{settle:g}s"})
    plan = World(spec, [person("P1")], ledger=[entry]).plan()
    if age < settle:
        assert "create" not in kinds_of(plan).get("P1", [])
        assert plan.missing == ()
        assert plan.linked == 1
    elif age > settle:
        assert kinds_of(plan)["P1"] == ["create", "event"]
        assert plan.missing == ("P1",)


def test_a_new_account_that_is_not_shown_is_updated_and_left_by_what_was_acknowledged() -> None:
    values = {"name": "Ana Silva", "email": "p1@example.com", "plan": "Employee", "custom_attributes.role": "Learner"}
    entry = linked("P1", linked=NOW.timestamp(), values=values)
    assert kinds_of(world(entry).plan()) == {}
    moved = World(spec_of("traitly"), [person("P1", first_name="Eve")], ledger=[entry]).plan()
    assert only(moved).before == {"name": "Ana Silva"}
    gone = World(spec_of("traitly"), [person("P1", "leaver")], ledger=[entry]).plan()
    assert kinds_of(gone) == {"P1": ["leave", "event"]}
    assert [link.state for link in gone.links] == []


@pytest.mark.parametrize(
    ("makes", "shown", "again"),
    [
        # Made by us once, and shown at last: somebody deleted it
        (1, ("P1",), 0),
        (1, (), 1),
        # Adopted: it was there
        (0, (), 0),
    ],
)
def test_what_was_made_once_is_made_again_and_counted_if_it_was_never_shown(
    makes: int, shown: tuple[str, ...], again: int
) -> None:
    plan = world(linked("P1", linked=BEFORE, makes=makes), *shown).plan()
    create = next(one for one in plan.operations if isinstance(one, AccountChange) and one.kind is Kind.CREATE)
    assert (create.makes, create.fails, create.drift) == (again, "", True)
    assert ledger_patch(create, Done("P1"))["makes"] == again + 1


def test_what_was_made_twice_and_never_shown_fails_and_counts_for_nothing() -> None:
    people = [person(f"P{number}") for number in range(4)]
    ledger = [linked(f"P{number}", linked=BEFORE, makes=MOST) for number in range(4)]
    guards = {"missing": {"percent": 0, "absolute": 0}, "creates": {"percent": 0, "absolute": 0}}
    plan = World(spec_of("traitly", guards=guards), people, ledger=ledger, last=last()).plan()
    assert plan.unbelieved is None
    assert plan.guards == ()
    assert {one.planned_status for one in plan.operations} == {Status.FAILED}
    assert plan.tally[Status.FAILED] == {Kind.CREATE: 4}
    assert plan.planned[Kind.CREATE] == 4
    assert [one.kind for one in plan.operations] == [Kind.CREATE] * 4
    assert {(todo.person, todo.code) for todo in plan.todos} == {(f"P{number}", "not_kept") for number in range(4)}
    assert (plan.operations[0].planned_error or {})["code"] == "not_kept"


def test_the_count_ends_when_the_account_is_shown() -> None:
    made = World(spec_of(), [person("P1")], [held_by("P1")], [linked("P1", linked=BEFORE, makes=MOST)])
    assert made.plan().shown == ("P1",)
    once = World(spec_of(), [person("P1")], [held_by("P1")], [linked("P1", linked=BEFORE, makes=1)])
    assert once.plan().shown == ()
