"""What each target should hold of a person, by standing."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from provisioner.errors import ConfigurationError
from provisioner.planning.compiled import check_overlay, compile_target
from provisioner.planning.desired import desired_accounts
from provisioner.planning.spec import TargetSpec
from tests.planning.support import (
    ROW,
    TODAY,
    World,
    attributes_of,
    held_by,
    kinds_of,
    linked,
    only,
    people_of,
    person,
    spec_of,
)

DATE = "deactivate_scheduled_date"


def desired(spec: TargetSpec, *rows: dict[str, Any], ends: bool = False) -> pl.DataFrame:
    compiled = compile_target(spec, ["employee_id", *ROW])
    return desired_accounts(spec, compiled, people_of(rows), today=TODAY, today_utc=TODAY, ends=ends).frame


@pytest.mark.parametrize(
    ("verdict", "department", "standing"),
    [
        ("employed", "Sales", "member"),
        ("employed", "Contractors", "leaver"),
        ("employed", None, "still"),
        ("leaver", "Sales", "leaver"),
        ("leaver", None, "leaver"),
        ("future", "Sales", "future"),
        ("excluded", "Sales", "still"),
        ("absent", "Sales", "still"),
        ("unchanged", "Sales", "still"),
    ],
)
def test_the_standing_follows_from_verdict_and_scope(verdict: str, department: str | None, standing: str) -> None:
    assert desired(spec_of(), person("P1", verdict, department=department))["_standing"].to_list() == [standing]


def test_a_scope_that_is_unknown_is_listed_and_one_that_fails_rejects() -> None:
    world = World(spec_of(), [person("P1", department=None), person("P2", "leaver", department=None)])
    assert [(fault.person, fault.fatal) for fault in world.plan().faults] == [("P1", False)]
    world.spec = spec_of(scope="CAST(department AS INTEGER) > 1")
    world.people = [person("P1", department="many")]
    plan = world.plan()
    assert [(fault.person, fault.fatal) for fault in plan.faults] == [("P1", True)]
    assert plan.operations == ()


def test_of_a_leaver_only_the_overlay_is_wanted() -> None:
    row = desired(spec_of(), person("P1", "leaver", first_name="Zoe")).row(0, named=True)
    assert row["w:active"] == "false"
    assert row["w:first_name"] is None
    assert row["m:user_name"] == "P1"


def test_a_leavers_malformed_cells_leave_those_attributes_alone() -> None:
    attributes = attributes_of("traitly")
    world = World(spec_of("traitly", attributes=attributes), [person("P1", "leaver", paid="much", created="then")])
    assert world.plan().faults == ()


def test_a_value_that_does_not_fit_its_type_is_left_alone_and_listed() -> None:
    world = World(spec_of("traitly"), [person("P1", paid="much")])
    plan = world.plan()
    assert [(fault.person, fault.where, fault.fatal) for fault in plan.faults] == [
        ("P1", "targets.traitly.attributes.monthly_payment_amount", False)
    ]
    assert "much" not in plan.faults[0].reason
    assert "monthly_payment_amount" not in only_create(plan.operations).after


def only_create(operations: Any) -> Any:
    (found,) = [operation for operation in operations if operation.kind == "create"]
    return found


@pytest.mark.parametrize(("authority", "created", "updated"), [("create_only", True, False), ("target", False, False)])
def test_authority_says_who_has_the_last_word(authority: str, created: bool, updated: bool) -> None:
    rule = {"from": "first_name", "authority": authority}
    spec = spec_of(attributes=attributes_of("tribal_habits") | {"lms_reference": rule})
    world = World(spec, [person("P1"), person("P2")], [held_by("P2", lms_reference="else")], [linked("P2")])
    plan = world.plan()
    assert ("lms_reference" in only_create(plan.operations).after) is created
    assert ("P2" in kinds_of(plan)) is updated


def test_null_keeps_and_clear_empties() -> None:
    attributes = attributes_of("tribal_habits") | {"groups": {"from": "groups", "empty": "clear"}, "role_1": "role"}
    world = World(spec_of(attributes=attributes), [person("P1", groups=None, role=None)], [held_by("P1")])
    world.ledger = [linked("P1")]
    operation = only(world.plan())
    assert operation.before == {"groups": "Sales"}
    assert operation.after == {"groups": None}


def ending(ends: date | None, held: str | None, acknowledged: str | None, **changes: Any) -> World:
    values = {} if acknowledged is None else {DATE: acknowledged}
    return World(
        spec_of(),
        [person("P1", ends=ends, **changes)],
        [held_by("P1", **{DATE: held})],
        [linked("P1", values=values)],
        circumstances={"ends": True},
    )


def test_an_account_is_to_end_the_day_after_the_last() -> None:
    world = ending(date(2026, 3, 31), None, None)
    assert only(world.plan()).after == {DATE: "2026-04-01"}
    assert only(World(spec_of(), world.people, circumstances={"ends": True}).plan()).after[DATE] == "2026-04-01"
    assert World(spec_of(), world.people).plan(ends=False).operations[0].after.get(DATE) is None


def test_the_day_follows_a_last_day_that_moves() -> None:
    assert only(ending(date(2026, 5, 31), "2026-04-01", "2026-04-01").plan()).after == {DATE: "2026-06-01"}
    assert ending(date(2026, 3, 31), "2026-04-01", "2026-04-01").plan().operations == ()


def test_the_day_is_cleared_with_the_last_day_where_we_set_it() -> None:
    operation = only(ending(None, "2026-04-01", "2026-04-01").plan())
    assert operation.before == {DATE: "2026-04-01"}
    assert operation.after == {DATE: None}


@pytest.mark.parametrize("acknowledged", [None, "", "2026-09-09"])
def test_a_day_that_somebody_set_by_hand_is_never_cleared(acknowledged: str | None) -> None:
    assert ending(None, "2026-04-01", acknowledged).plan().operations == ()


def test_an_update_does_not_make_a_day_that_was_set_by_hand_ours() -> None:
    operation = only(ending(None, "2026-04-01", None, first_name="Anna").plan())
    assert operation.after == {"first_name": "Anna"}
    assert DATE not in operation.wanted


def test_a_last_day_that_is_over_somewhere_sets_no_day() -> None:
    assert ending(TODAY - timedelta(days=1), None, None).plan().operations == ()


@pytest.mark.parametrize("name", ["user_name", "created_at"])
def test_a_leaver_can_only_be_given_what_an_update_takes(name: str) -> None:
    settings = spec_of().settings.model_copy(update={"leaver": {name: spec_of().settings.leaver["active"]}})
    base = spec_of()
    spec = TargetSpec(name=base.name, settings=settings, attributes=base.attributes)
    with pytest.raises(ConfigurationError, match=name):
        check_overlay(spec)


def test_an_expression_over_a_missing_column_names_its_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"targets\.tribal_habits\.attributes\.groups"):
        compile_target(spec_of(), [name for name in ["employee_id", *ROW] if name != "groups"])
