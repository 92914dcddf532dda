"""Plans about very many people are made batch by batch; what comes of it is the same."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.operation import URGENCY, Kind, Operation, Status
from provisioner.model.operation_batches import Packed, batches_of, gathered, rewritten
from provisioner.model.operation_record import OperationRecord
from provisioner.planning import build
from provisioner.planning.target_plan import TargetPlan
from tests.planning.support import World, held_by, linked, person, spec_of
from tests.planning.test_properties import worlds

FACTS = {"created": "Onboarded", "left": "Offboarded"}
#: What spec_of leaves out: events, enrolments that ride, and records.
MORE: dict[str, Any] = {"facts": FACTS, "bundled_enrolments": 1}
KNOWLEDGE = [
    {"knowledge_type": "'Licence'", "title": "first_name", "provider": "'Us'", "date_obtained": "'2024-01-31'"}
]


def in_batches(world: World, people: int) -> TargetPlan:
    with patch.object(build, "PEOPLE", people):
        return world.plan()


def told(plan: TargetPlan) -> dict[str, Any]:
    """All of a plan, with what is in the order of the batches in an order of its own."""
    found = {field.name: getattr(plan, field.name) for field in fields(plan)}
    order = {"links": lambda one: one.person, "todos": lambda one: (one.person, one.sentence)}
    order |= {"drift": order["todos"]}
    found |= {name: sorted(found[name], key=key) for name, key in order.items()}
    found["operations"] = sorted(plan.operations, key=lambda one: (URGENCY[one.kind], one.person, one.slot))
    return found


@given(worlds(), st.integers(1, 3), st.booleans())
def test_a_plan_in_batches_is_the_plan(world: World, people: int, told_of: bool) -> None:
    if told_of:
        world.spec = replace(world.spec, **MORE)
    assert told(in_batches(world, people)) == told(world.plan())


def test_what_is_about_a_person_lies_in_one_batch_in_the_order_of_delivery() -> None:
    spec = spec_of(enrolments=[{"code": "TH-1", "when": "TRUE"}], external_knowledge=KNOWLEDGE)
    world = World(replace(spec, **MORE), [person(key, first_name="Eva") for key in ("P3", "P1", "P2", "P4")])
    world.accounts, world.ledger = [held_by("P1"), held_by("P4")], [linked("P1"), linked("P4")]
    plan = in_batches(world, 2)
    assert isinstance(plan.operations, Packed)
    people = [[one.person for one in batch] for batch in batches_of(plan.operations)]
    assert [sorted(set(batch)) for batch in people] == [["P1", "P2"], ["P3", "P4"]]
    for batch in batches_of(plan.operations):
        urgency = [URGENCY[one.kind] for one in batch]
        assert urgency == sorted(urgency)
        ids = {one.id for one in batch}
        assert {one.follows for one in batch if one.follows} <= ids
    assert plan.planned[Kind.CREATE] == plan.planned[Kind.EVENT] == 2
    assert plan.planned[Kind.ENROL] == 8
    assert plan.tally[Status.PENDING] == {kind: count for kind, count in plan.planned.items() if count}


def operation(number: int) -> Operation:
    return OperationRecord(
        str(number), "t", f"P{number}", Kind.UPDATE, "a", {"x": None}, {"x": str(number)}
    ).operation()


def test_one_batch_is_a_tuple_and_several_are_packed() -> None:
    assert gathered([]) == ()
    assert gathered([[operation(1), operation(2)]]) == (operation(1), operation(2))
    batches = [[operation(1), operation(2)], [], [operation(3)]]
    packed = gathered(batches)
    assert isinstance(packed, Packed)
    assert len(packed) == 3
    assert list(packed) == list(packed) == [operation(1), operation(2), operation(3)]
    assert [packed[0], packed[2], packed[-1]] == [operation(1), operation(3), operation(3)]
    assert packed[1:] == [operation(2), operation(3)]
    for beyond in (3, -4):
        with pytest.raises(IndexError):
            packed[beyond]


def test_batches_are_taken_one_after_the_other_and_rewritten_so() -> None:
    alive: list[int] = []

    def batches() -> Any:
        for number in range(5):
            alive.append(number)
            yield [operation(number)]

    packed = gathered(batches())
    assert alive == [0, 1, 2, 3, 4]
    doubled = rewritten(packed, lambda batch: [*batch, *batch])
    assert [one.id for one in doubled] == ["0", "0", "1", "1", "2", "2", "3", "3", "4", "4"]
    assert [len(batch) for batch in batches_of(doubled)] == [2] * 5
