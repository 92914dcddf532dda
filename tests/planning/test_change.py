"""What an operation on an account carries, and in which order operations go. The decisions: test_decision_table.py."""

from __future__ import annotations

from provisioner.model.operation import Kind
from tests.planning.support import World, attributes_of, balanced, held_by, linked, only, person, spec_of


def test_a_create_carries_all_that_the_account_takes() -> None:
    operation = only(World(spec_of(), [person("P1", groups=None)]).plan())
    assert operation.before == {}
    assert operation.after == operation.wanted
    assert operation.after == {
        "user_name": "P1",
        "first_name": "Ana",
        "last_name": "Silva",
        "email": "p1@example.com",
        "active": "true",
        "role_1": "Learner",
    }
    assert (operation.account, operation.reason, operation.drift) == (None, "joiner", False)


def test_before_and_after_hold_the_changes_and_wanted_the_whole() -> None:
    world = World(spec_of(), [person("P1", first_name="Eva")], [held_by("P1", language="en")], [linked("P1")])
    operation = only(world.plan())
    assert operation.before == {"first_name": "Ana"}
    assert operation.after == {"first_name": "Eva"}
    assert operation.wanted["last_name"] == "Silva"
    assert operation.wanted["first_name"] == "Eva"
    assert operation.account == "P1"
    assert operation.snapshot == "sha256:0"


def test_a_leave_touches_nothing_but_what_leaver_names() -> None:
    operation = only(
        World(spec_of(), [person("P1", "leaver", first_name="Eva")], [held_by("P1")], [linked("P1")]).plan()
    )
    assert operation.after == {"active": "false"}
    assert operation.reason == "leaver"
    out = only(World(spec_of(), [person("P1", department="Contractors")], [held_by("P1")], [linked("P1")]).plan())
    assert out.reason == "out of scope"


def test_a_rejoin_brings_everything_up_to_date_at_once() -> None:
    world = World(
        spec_of(),
        [person("P1", role="Manager", first_name="Eva")],
        [held_by("P1", active="false")],
        [linked("P1", state="left")],
    )
    operation = only(world.plan())
    assert operation.kind is Kind.REJOIN
    assert operation.after == {"active": "true", "role_1": "Manager", "first_name": "Eva"}


def test_who_starts_later_with_an_old_account_rejoins_on_the_day() -> None:
    world = World(spec_of(), [person("P1", "future")], [held_by("P1", active="false")])
    (link,) = world.plan().links
    world.ledger = [linked("P1", state=link.state)]
    world.people = [person("P1")]
    operation = only(world.plan())
    assert (operation.kind, operation.hold) == (Kind.REJOIN, None)


def test_a_protected_account_is_never_deactivated_by_an_ordinary_mapping_either() -> None:
    spec = spec_of(attributes=attributes_of("tribal_habits") | {"active": "role = 'Learner'"})
    world = World(spec, [person("P1", role="Manager")], [held_by("P1", org_admin="true")], [linked("P1")])
    plan = world.plan()
    assert plan.operations == ()
    assert "active, role_1 should change" in plan.todos[0].sentence
    world.accounts = [held_by("P1")]
    assert only(world.plan()).after == {"active": "false", "role_1": "Manager"}


def test_without_an_account_of_theirs_shown_everybody_is_protected() -> None:
    world = World(
        spec_of("mtribes", protect="name = 'Root'"),
        [person("P1", "leaver")],
        [],
        [linked("P1", values={"tags": "a"})],
        complete=False,
    )
    assert world.plan().operations == ()
    world.spec = spec_of("mtribes")
    assert only(world.plan()).kind is Kind.LEAVE


def test_drift_is_what_we_once_brought_about_and_is_no_longer_so() -> None:
    world = World(spec_of(), [person("P1")], [held_by("P1", first_name="Anna", groups="Else")])
    world.ledger = [linked("P1", values={"first_name": "Ana"})]
    plan = world.plan()
    assert only(plan).drift
    assert [drift.sentence for drift in plan.drift] == ["changed in the target behind our back: first_name."]
    world.spec = spec_of(drift="report")
    reported = only(world.plan())
    assert set(reported.after) == {"groups"}
    assert not reported.drift


def test_operations_go_in_the_order_of_urgency_then_of_person() -> None:
    spec = spec_of(enrolments=[{"code": "B"}, {"code": "A"}])
    people = [
        person("U1", first_name="Eva"),
        person("R1", role="Manager"),
        person("C2"),
        person("L1", "leaver"),
        person("C1"),
        person("J1"),
    ]
    accounts = [held_by("U1"), held_by("R1"), held_by("L1"), held_by("J1", active="false")]
    world = World(spec, people, accounts, [linked("U1"), linked("R1"), linked("L1"), linked("J1", state="left")])
    plan = world.plan()
    assert [(operation.person, operation.kind.value) for operation in plan.operations if operation.kind != "enrol"] == [
        ("L1", "leave"),
        ("C1", "create"),
        ("C2", "create"),
        ("J1", "rejoin"),
        ("R1", "role"),
        ("U1", "update"),
    ]
    enrolled = [(operation.person, operation.slot) for operation in plan.operations if operation.kind == "enrol"]
    assert enrolled == sorted(enrolled)
    assert balanced(plan)


def test_degraded_removals_wait_and_nothing_else() -> None:
    world = World(spec_of(), [person("L1", "leaver"), person("P1", role="Manager")], [held_by("L1"), held_by("P1")])
    plan = world.plan(removals_wait="wait for it")
    assert {operation.kind.value: operation.hold for operation in plan.operations} == {
        "leave": "wait for it",
        "role": None,
    }
