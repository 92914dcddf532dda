"""The first plan for accounts that are there already: what it would overwrite waits, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from provisioner.model.account import Account
from provisioner.model.operation import Kind
from provisioner.planning.target_plan import TargetPlan
from tests.planning.support import World, held_by, linked, person, spec_of

KEYS = [f"P{number}" for number in range(10)]
HOLDING = {"overwrites": {"percent": 0, "absolute": 0}}


def has(kind: str, key: str, changes: Mapping[str, str | None]) -> Account:
    """The account that `person(key)` should hold, but for the changes."""
    if kind == "tribal_habits":
        return held_by(key, **changes)
    return Account(
        key, {"id": key, "name": "Ana Silva", "email": f"{key}@example.com".lower(), "tags": "sales", **changes}
    )


def world(*, guards: Any = HOLDING, kind: str = "mtribes", ledger: list[Any] | None = None, **held: Any) -> World:
    """Ten people whose accounts are there; those of `held` by number hold something else."""
    accounts = [has(kind, key, held.get(f"n{number}", {})) for number, key in enumerate(KEYS)]
    return World(spec_of(kind, guards=guards), [person(key) for key in KEYS], accounts, ledger or [])


def first(some: World, **circumstances: Any) -> TargetPlan:
    return some.plan(first_contact=True, **circumstances)


def test_what_would_be_overwritten_is_held_and_named() -> None:
    some = world(n0={"name": "Anna S."}, n1={"name": "By hand", "email": "old@example.com"})
    plan = first(some)
    assert plan.adopted == 10
    assert [(one.person, one.kind) for one in plan.operations] == [("P0", Kind.UPDATE), ("P1", Kind.UPDATE)]
    (guard,) = plan.guards
    assert {one.hold for one in plan.operations} == {guard.sentence}
    assert guard.sentence == (
        "First contact: values that we never wrote would be overwritten in 2 accounts found there (name of 2, email "
        "of 1; P0, P1), more than the limit of 0 (of 10 linked accounts): held until approved."
    )
    assert plan.overwriting == ("P0", "P1")


def test_accounts_that_agree_or_are_empty_are_not_held() -> None:
    plan = first(world(n0={"name": None}, n1={"tags": None}, n2={"tags": "hand/made"}))
    assert [one.person for one in plan.operations] == ["P0", "P1", "P2"]
    assert {one.hold for one in plan.operations} == {None}
    assert (plan.guards, plan.overwriting) == ((), ())
    assert not [one for one in plan.notes if one.startswith("First contact")]


def test_a_later_run_holds_them_still_until_they_are_approved_written_or_agree() -> None:
    some = world(n0={"name": "Anna S."}, ledger=[linked(key) for key in KEYS])
    later = some.plan(overwriting=frozenset({"P0", "P1"}))
    assert [(one.person, bool(one.hold)) for one in later.operations] == [("P0", True)]
    assert later.overwriting == ("P0",)
    approved = some.plan(overwriting=frozenset({"P0"}), approved=frozenset({later.operations[0].id}))
    assert [one.hold for one in approved.operations] == [None]
    # An approval ends some day
    assert approved.overwriting == ("P0",)
    some.ledger[0] = linked("P0", values={"name": "Anna S."})
    written = some.plan(overwriting=frozenset({"P0"}))
    assert ([one.hold for one in written.operations], written.overwriting) == ([None], ())


def test_who_was_met_before_is_an_ordinary_mover() -> None:
    some = world(n0={"name": "Anna S."}, ledger=[linked(key) for key in KEYS])
    assert [one.hold for one in some.plan().operations] == [None]
    # So is whoever is linked already at a first contact: a ledger that was restored, or a link by hand
    assert [one.hold for one in first(some).operations] == [None]


@pytest.mark.parametrize(("limit", "held"), [(20, 0), (10, 2), (0, 2)])
def test_the_limit_is_a_share_of_the_linked_accounts(limit: int, held: int) -> None:
    some = world(guards={"overwrites": {"percent": limit}}, n0={"name": "A"}, n1={"name": "B"})
    plan = first(some)
    assert sum(1 for one in plan.operations if one.hold) == held
    # What is not held is said nevertheless
    assert [one.partition(":")[0] for one in plan.notes] == ([] if held else ["First contact"])


def test_without_the_guard_it_is_only_said() -> None:
    plan = first(world(guards={}, n0={"name": "Anna S."}))
    assert [one.hold for one in plan.operations] == [None]
    (said,) = plan.notes
    assert said == (
        "First contact: values that we never wrote would be overwritten in 1 account found there (name of 1; P0). "
        "targets.mtribes.guards.overwrites can hold them."
    )


def test_members_of_a_set_that_would_go_are_overwritten_and_those_that_come_are_not() -> None:
    guards = {**HOLDING, "removals": None}
    some = world(kind="tribal_habits", guards=guards, n0={"groups": "Sales;Choir"}, n1={"groups": "sales"})
    some.people[1] = person("P1", groups="Sales;Chess")
    plan = first(some)
    assert [(one.person, bool(one.hold)) for one in plan.operations] == [("P0", True), ("P1", False)]


def test_a_leave_is_for_the_guard_of_leavers() -> None:
    some = world(n0={"name": "Anna S."})
    some.people[0] = person("P0", "leaver")
    (leave,) = first(some).operations
    assert (leave.kind, leave.hold) == (Kind.LEAVE, None)


def test_a_listing_that_is_not_believed_is_no_contact() -> None:
    gone = [f"Q{number}" for number in range(30)]
    guards = {**HOLDING, "missing": {"percent": 5}}
    some = world(guards=guards, n0={"name": "Anna S."}, ledger=[linked(key) for key in gone])
    some.people += [person(key) for key in gone]
    plan = first(some)
    assert plan.unbelieved
    assert (len(plan.operations), plan.overwriting) == (0, ())
