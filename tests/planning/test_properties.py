"""What holds of every plan, whatever the roster, the accounts, the ledger and the settings."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.account import Account, LedgerEntry
from provisioner.model.operation import Kind
from provisioner.planning.guards import COVERS, limit_of
from provisioner.planning.shared_sets import TooManyRemovals
from provisioner.planning.target_plan import TargetPlan
from tests.planning.support import AFTER, BEFORE, World, balanced, held_by, linked, person, spec_of

KEYS = ["P1", "p2", "P3", "É4", "P5", "P6"]
NAMES = st.sampled_from(["Ana", "ana", "Zoë", "Zoe\u0308", "  ", "O'Neil", None])
GROUPS = st.sampled_from(["Sales", "sales;Night", "Night;Sales", ";;", "a;b;c", None])
EMAILS = st.sampled_from([*(f"{key}@example.com".lower() for key in KEYS), "SHARED@example.com", "", None])
ROLES = st.sampled_from(["Learner", "LEARNER", "Manager", None])
BOOLEANS = st.sampled_from(["true", "false", None])
VERDICTS = st.sampled_from(["employed"] * 4 + ["leaver"] * 2 + ["future", "absent", "unchanged", "excluded"])


@st.composite
def worlds(draw: st.DrawFn) -> World:
    drawn: dict[str, Any] = {}
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True)):
        drawn[key] = person(
            key,
            draw(VERDICTS),
            first_name=draw(NAMES),
            work_email=draw(EMAILS),
            role=draw(ROLES),
            groups=draw(GROUPS),
            department=draw(st.sampled_from(["Sales", "Sales", "Contractors", None])),
        )
    accounts = [
        Account(
            account.id,
            dict(account.values)
            | {
                "first_name": draw(NAMES),
                "email": draw(EMAILS),
                "role_1": draw(ROLES),
                "active": draw(BOOLEANS),
                "org_admin": draw(BOOLEANS),
                "groups": draw(GROUPS),
            },
            draw(st.sampled_from([None, None, None, "a bot"])),
        )
        for account in map(held_by, draw(st.lists(st.sampled_from([*KEYS, "x", "y"]), unique=True)))
    ]
    known = [*(account.id for account in accounts), "lost"]
    ledger = [
        draw(links(key, draw(st.sampled_from(known))))
        for key in draw(st.lists(st.sampled_from([*KEYS, "elsewhere"]), unique=True, max_size=5))
    ]
    limit = st.fixed_dictionaries({"percent": st.integers(0, 100), "absolute": st.sampled_from([None, 0, 1, 3])})
    settings: dict[str, Any] = {
        "drift": draw(st.sampled_from(["correct", "report"])),
        "enrolments": draw(st.sampled_from([[], [{"code": "TH-1", "when": "department = 'Sales'"}]])),
        "guards": {name: draw(limit) for name in draw(st.sets(st.sampled_from([*COVERS, "missing"])))},
    }
    return World(
        spec_of(**settings),
        list(drawn.values()),
        accounts,
        ledger,
        circumstances={
            "sent": draw(st.dictionaries(st.sampled_from([*COVERS]), st.integers(0, 3))),
            "removals_wait": draw(st.sampled_from([None, None, "the roster is degraded"])),
        },
    )


@st.composite
def links(draw: st.DrawFn, key: str, account: str) -> LedgerEntry:
    values = {
        "first_name": draw(st.sampled_from(["Ana", "Eva"])),
        "groups": draw(GROUPS) or "",
        "active": draw(BOOLEANS),
    }
    return linked(
        key,
        account,
        state=draw(st.sampled_from(["active", "left"])),
        values={name: value for name, value in values.items() if value is not None},
        recorded=draw(st.sampled_from([BEFORE, BEFORE, AFTER])),
        enrolled=draw(st.sampled_from([(), ("TH-1",)])),
    )


@given(worlds())
def test_no_plan_deactivates_or_demotes_what_it_must_not(world: World) -> None:
    plan = world.plan()
    theirs = {entry.person: entry.account for entry in world.ledger} | {
        link.person: link.account for link in plan.links
    }
    shown = {account.id: account for account in world.accounts}
    for operation in plan.operations:
        if operation.kind in (Kind.CREATE, Kind.ENROL) or operation.account is None:
            continue
        account = shown[operation.account]
        assert theirs[operation.person] == account.id
        assert account.untouchable is None
        if account.values["org_admin"] != "false":
            assert operation.after.get("active") != "false"
            assert "role_1" not in operation.after
        if operation.after.get("active") == "false":
            assert operation.kind is Kind.LEAVE or theirs[operation.person] in _left(world)
        if operation.kind is Kind.LEAVE and world.circumstances["removals_wait"]:
            assert operation.hold


def _left(world: World) -> set[str]:
    return {entry.account for entry in world.ledger if entry.state == "left"}


@given(worlds())
def test_exactly_the_exceeding_kinds_are_held(world: World) -> None:
    world.circumstances["removals_wait"] = None
    plan = world.plan()
    guards = world.spec.settings.guards
    assert guards is not None
    removals = {trip.sentence for trip in plan.guards if isinstance(trip, TooManyRemovals)}
    for guard, kinds in COVERS.items():
        own = [operation for operation in plan.operations if operation.kind in kinds]
        limit = getattr(guards, guard)
        counted = [operation for operation in own if operation.counted]
        sent = world.circumstances["sent"].get(guard, 0)
        exceeded = limit is not None and bool(counted) and len(counted) + sent > limit_of(limit, plan.base)
        for operation in own:
            reported = operation.kind is Kind.REJOIN and operation.drift
            strips = operation.kind is Kind.UPDATE and operation.hold in removals
            # Somebody without an account may be the leaver under another key, whatever the guards say
            same = operation.kind is Kind.LEAVE and "may be the same person" in (operation.hold or "")
            assert bool(operation.hold) is ((exceeded and operation.counted) or reported or strips or same)
    held = {operation.id for operation in plan.operations if operation.hold}
    for operation in plan.operations:
        if operation.kind in (Kind.ENROL, Kind.EVENT):
            assert bool(operation.hold) is (operation.follows in held)


def _unordered(plan: TargetPlan) -> TargetPlan:
    lists = ("links", "conflicts", "todos", "faults", "drift", "orphans", "missing")
    ordered: dict[str, Any] = {name: tuple(sorted(getattr(plan, name), key=repr)) for name in lists}
    return replace(plan, **ordered)


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_accounts_changes_nothing(world: World, shuffling: random.Random) -> None:
    first = world.plan()
    for rows in (world.people, world.accounts):
        shuffling.shuffle(rows)
    second = world.plan()
    assert second.operations == first.operations
    assert _unordered(second) == _unordered(first)


@given(worlds())
def test_the_figures_add_up(world: World) -> None:
    plan = world.plan()
    assert balanced(plan)
    assert plan.unchanged >= 0
    assert plan.adopted <= plan.linked
    assert len({(operation.person, operation.slot) for operation in plan.operations}) == len(plan.operations)
    assert len({operation.id for operation in plan.operations}) == len(plan.operations)
    asked = {operation.person for operation in plan.operations if operation.kind is Kind.CREATE}
    assert asked.isdisjoint(conflict.person for conflict in plan.conflicts)


@given(worlds())
def test_an_unbelieved_listing_lets_only_leaves_through(world: World) -> None:
    plan = world.plan()
    guards = world.spec.settings.guards
    assert guards is not None
    shrank = len(plan.missing) > 0 and len(plan.missing) > limit_of(guards.missing, plan.base)
    assert (bool(plan.unbelieved) and plan.disbelief == "listing_shrank") is shrank
    if plan.unbelieved:
        assert shrank or _has_lost_values(world)
        assert {operation.kind for operation in plan.operations} <= {Kind.LEAVE}


def _has_lost_values(world: World) -> bool:
    """Whether the listing shows an account without a value that its ledger entry or its person has."""
    shown = {account.id: account for account in world.accounts}
    return any(
        not shown[entry.account].values.get(name)
        for entry in world.ledger
        if entry.account in shown
        for name in ("first_name", "email", "role_1", "active", "org_admin", "groups")
    )
