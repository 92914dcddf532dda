"""What a plan costs, counted instead of timed: Python sees those who changed, however many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given

from provisioner.model.operation import AccountChange, Enrolment, KnowledgeRecord, Operation, TargetEvent
from provisioner.planning import account_changes, creations, plan, side_changes
from tests.planning.support import World, held_by, linked, person, spec_of
from tests.planning.test_properties import worlds

#: By which polars hands rows and values to Python.
HANDED = (
    *((pl.DataFrame, name) for name in ("iter_rows", "rows", "rows_by_key", "to_dicts")),
    *((pl.Series, name) for name in ("to_list", "__iter__", "map_elements")),
)


def company(people: int, changed: int = 0) -> World:
    """Everybody holds what they should, but the first ones have another name."""
    world = World(spec_of())
    for number in range(people):
        key = f"P{number:05}"
        world.people.append(person(key, first_name="Eva" if number < changed else "Ana"))
        world.accounts.append(held_by(key))
        world.ledger.append(linked(key))
    world.accounts.reverse()
    return world


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], Counter[str]]:
    """How many rows and values Python saw of a plan, and how many operations it made."""
    count: Counter[str] = Counter()

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def handed(self: Any, *arguments: Any, **named: Any) -> Any:
            count["rows"] += len(self)
            return original(self, *arguments, **named)

        return handed

    def made(type_: Callable[..., Operation]) -> Callable[..., Operation]:
        def make(**named: Any) -> Operation:
            count["operations"] += 1
            return type_(**named)

        return make

    for owner, name in HANDED:
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    for module in (account_changes, creations, side_changes):
        for type_ in (AccountChange, Enrolment, KnowledgeRecord, TargetEvent):
            if hasattr(module, type_.__name__):
                monkeypatch.setattr(module, type_.__name__, made(type_))

    def counting(world: World) -> Counter[str]:
        # Once in a process the expressions are checked, with rows that are about nobody
        world.plan()
        count.clear()
        assert len(world.plan().operations) == count["operations"]
        return Counter(count)

    return counting


def test_where_nothing_changed_python_sees_nobody(cost: Callable[[World], Counter[str]]) -> None:
    few, many = cost(company(20)), cost(company(400))
    assert few["operations"] == many["operations"] == 0
    assert few == many
    # What is left is not about anybody: samples of the expressions, and the distinct values of a few attributes
    assert many["rows"] < 400


def test_the_cost_grows_with_the_change_and_not_with_the_people(cost: Callable[[World], Counter[str]]) -> None:
    assert cost(company(20, 8)) == cost(company(400, 8))
    none, some, more = (cost(company(100, changed)) for changed in (0, 10, 30))
    assert (some["operations"], more["operations"]) == (10, 30)
    assert more["rows"] - none["rows"] == 3 * (some["rows"] - none["rows"])


def test_a_value_spelt_otherwise_costs_no_python(cost: Callable[[World], Counter[str]]) -> None:
    world = company(50)
    world.accounts = [
        replace(account, values={**account.values, "email": str(account.values["email"]).upper()})
        for account in world.accounts
    ]
    assert cost(world) == cost(company(50))


@given(worlds())
def test_whoever_is_left_behind_has_nothing_to_be_done(world: World) -> None:
    with patch.object(plan, "suspects", lambda *arguments: arguments[2]):
        whole = world.plan()
    assert world.plan() == whole
