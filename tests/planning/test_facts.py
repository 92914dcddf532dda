"""Events once per fact, enrolments once ever."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.model.account import Account
from provisioner.model.operation import AccountChange, Kind, Operation
from provisioner.planning.target_plan import TargetPlan
from tests.planning.support import NOW, World, linked, only, person, spec_of

MOMENT = int(NOW.timestamp())


def customer(key: str, **changes: str | None) -> Account:
    values: dict[str, str | None] = {
        "customer_id": key,
        "name": "Ana Silva",
        "email": f"{key.lower()}@example.com",
        "plan": "Employee",
        "custom_attributes.role": "Learner",
    }
    return Account(key, values | changes)


def told(plan: TargetPlan) -> list[tuple[str, str | None]]:
    return [(operation.person, operation.after["name"]) for operation in plan.operations if operation.kind == "event"]


def the(plan: TargetPlan, kind: Kind) -> Operation:
    (found,) = [operation for operation in plan.operations if operation.kind is kind]
    return found


@pytest.mark.parametrize(
    ("row", "accounts", "ledger", "leader", "event"),
    [
        (person("P1"), [], [], Kind.CREATE, "Onboarded"),
        (person("P1", "leaver"), [customer("P1")], [linked("P1")], Kind.LEAVE, "Offboarded"),
        (person("P1", role="Manager"), [customer("P1")], [linked("P1")], Kind.UPDATE, "Role changed"),
        (
            person("P1", role="Manager"),
            [customer("P1", plan="Leaver")],
            [linked("P1", state="left")],
            Kind.REJOIN,
            "Role changed",
        ),
    ],
)
def test_a_fact_is_told_after_what_brings_it_about(
    row: dict[str, Any], accounts: list[Account], ledger: list[Any], leader: Kind, event: str
) -> None:
    plan = World(spec_of("traitly"), [row], accounts, ledger).plan()
    first, second = the(plan, leader), the(plan, Kind.EVENT)
    assert second.follows == first.id
    assert second.after == {"name": event, "created_at": str(MOMENT)}
    assert isinstance(first, AccountChange)
    assert first.owes == {second.reason: MOMENT}
    assert plan.operations.index(first) < plan.operations.index(second)


@pytest.mark.parametrize(
    ("row", "accounts", "ledger"),
    [
        (person("P1"), [customer("P1")], []),
        (person("P1", "leaver"), [], []),
        (person("P1", first_name="Eva"), [customer("P1")], [linked("P1")]),
        (person("P1"), [customer("P1", plan="Leaver")], [linked("P1", state="left")]),
        (person("P1", "leaver"), [customer("P1", plan="Leaver")], [linked("P1")]),
    ],
)
def test_nothing_is_told_that_we_did_not_bring_about(
    row: dict[str, Any], accounts: list[Account], ledger: list[Any]
) -> None:
    assert told(World(spec_of("traitly"), [row], accounts, ledger).plan()) == []


def test_an_event_without_a_name_is_not_sent() -> None:
    world = World(spec_of("traitly", events={"left": "Offboarded"}), [person("P1")])
    assert told(world.plan()) == []
    create = the(world.plan(), Kind.CREATE)
    assert isinstance(create, AccountChange)
    assert create.owes == {}


def test_what_is_still_owed_is_told_as_of_its_moment() -> None:
    world = World(spec_of("traitly"), [person("P1")], [customer("P1")], [linked("P1", owed={"created": 1234})])
    event = only(world.plan())
    assert event.after == {"name": "Onboarded", "created_at": "1234"}
    assert event.follows is None
    assert event.account == "P1"
    assert event.id == only(world.plan()).id


def test_the_same_fact_owed_and_anew_stand_beside_each_other() -> None:
    ledger = [linked("P1", owed={"left": 1234})]
    plan = World(spec_of("traitly"), [person("P1", "leaver")], [customer("P1")], ledger).plan()
    events = [operation for operation in plan.operations if operation.kind is Kind.EVENT]
    assert len({event.slot for event in events}) == len({event.id for event in events}) == 2


def test_an_event_is_held_rejected_and_approved_with_what_it_follows() -> None:
    world = World(
        spec_of("traitly", guards={"leavers": {"percent": 100, "absolute": 0}}),
        [person("P1", "leaver")],
        [customer("P1")],
        [linked("P1")],
    )
    plan = world.plan()
    leave, event = the(plan, Kind.LEAVE), the(plan, Kind.EVENT)
    assert event.hold == leave.hold
    assert event.hold is not None
    later = world.plan(now=NOW.replace(hour=9))
    assert {operation.id for operation in later.operations} == {leave.id, event.id}
    assert all(operation.refused for operation in world.plan(rejected={leave.id: leave.row}).operations)
    assert not any(operation.hold for operation in world.plan(approved=frozenset({leave.id})).operations)


def test_a_leave_from_a_listing_that_is_not_believed_owes_its_event() -> None:
    keys = [f"P{number}" for number in range(4)]
    world = World(
        spec_of("traitly", guards={"missing": {"percent": 1, "absolute": 0}}),
        [person("P0", "leaver"), *(person(key) for key in keys[1:])],
        [customer(key) for key in keys[:3]],
        [linked(key) for key in keys],
    )
    operation = only(world.plan())
    assert isinstance(operation, AccountChange)
    assert operation.kind is Kind.LEAVE
    assert operation.owes == {"left": MOMENT}


def enrolling(*people: dict[str, Any], **changes: Any) -> World:
    rule = {"code": "TH-1", "when": "department = 'Sales'", "due_in_days": 30}
    return World(spec_of(enrolments=[rule]), list(people), **changes)


def test_a_joiner_is_enrolled_once_the_account_is_there() -> None:
    plan = enrolling(person("P1"), person("P2", department="Finance")).plan()
    enrol = the(plan, Kind.ENROL)
    create = next(operation for operation in plan.operations if operation.person == "P1" and operation.kind == "create")
    assert enrol.follows == create.id
    assert enrol.after == {"enrolment_code": "TH-1", "due_date": "2026-04-09"}
    assert enrol.slot == "enrol:TH-1"


def test_nobody_is_enrolled_twice_whatever_the_day() -> None:
    world = enrolling(person("P1"), accounts=[Account("P1", {**habits("P1")})], ledger=[linked("P1")])
    first = only(world.plan())
    later = only(world.plan(today=NOW.date().replace(day=20)))
    assert first.id == later.id
    assert first.after != later.after
    world.ledger = [linked("P1", enrolled=("TH-1",))]
    assert world.plan().operations == ()


def habits(key: str) -> dict[str, str | None]:
    return {
        "user_name": key,
        "first_name": "Ana",
        "last_name": "Silva",
        "email": f"{key.lower()}@example.com",
        "active": "true",
        "org_admin": "false",
        "role_1": "Learner",
        "groups": "Sales",
    }


@pytest.mark.parametrize("verdict", ["leaver", "future", "absent", "unchanged", "excluded"])
def test_only_members_are_enrolled(verdict: str) -> None:
    world = enrolling(person("P1", verdict), accounts=[Account("P1", habits("P1"))], ledger=[linked("P1")])
    assert all(operation.kind is not Kind.ENROL for operation in world.plan().operations)


def test_nobody_is_enrolled_whose_row_cannot_be_mapped_or_whose_rule_is_unknown() -> None:
    rule = {"code": "TH-1", "when": "role <> 'Manager'"}
    attributes = {
        **spec_of().settings.model_dump(by_alias=True)["attributes"],
        "lms_reference": "CAST(groups AS INTEGER)",
    }
    world = World(
        spec_of(enrolments=[rule], attributes=attributes),
        [person("P1"), person("P2", role=None, groups="1")],
        [Account("P1", habits("P1")), Account("P2", {**habits("P2"), "lms_reference": "1"})],
        [linked("P1"), linked("P2")],
    )
    plan = world.plan()
    assert all(operation.kind is not Kind.ENROL for operation in plan.operations)
    assert {(fault.person, fault.where.rpartition(".")[2]) for fault in plan.faults} == {
        ("P1", "lms_reference"),
        ("P2", "when"),
    }
