"""When two values are the same, and where what is held is known from."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

import pytest

from provisioner.model.account import Account
from provisioner.model.attributes import DETAILS_READ_AT
from tests.planning.support import (
    AFTER,
    BEFORE,
    BEGAN,
    World,
    attributes_of,
    held_by,
    linked,
    only,
    person,
    spec_of,
)


def habitate(*, recorded: float = BEFORE, values: Mapping[str, str | None] | None = None, **shown: str | None) -> World:
    base: dict[str, str | None] = {
        "username": "p1",
        "first_name": "Ana",
        "last_name": "Silva",
        "email": "p1@example.com",
        "role": "Learner",
        "msid": "1.a",
    }
    return World(
        spec_of("habitate"),
        [person("P1")],
        [Account("1.a", base | shown)],
        [linked("P1", "1.a", recorded=recorded, values=values or {"boards": "Sales"})],
    )


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        ({"work_email": "Anne@Example.com"}, {"email": "ANNE@example.COM"}),
        ({"role": "learner"}, {"role_1": "LEARNER"}),
        ({"groups": "Sales;night shift"}, {"groups": "NIGHT SHIFT;sales"}),
        ({"groups": "b; a ;;b"}, {"groups": "a;b"}),
        ({"first_name": "  Ana "}, {"first_name": "Ana"}),
        ({"first_name": unicodedata.normalize("NFD", "Zoë")}, {"first_name": "Zoë"}),
        ({"groups": ""}, {"groups": None}),
        ({"groups": " ; "}, {"groups": None}),
    ],
)
def test_the_same_spelt_otherwise_is_no_change(cells: dict[str, str], shown: dict[str, str | None]) -> None:
    world = World(spec_of(), [person("P1", **cells)], [held_by("P1", **shown)], [linked("P1")])
    assert world.plan().operations == ()


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        ({"first_name": "ana"}, {"first_name": "Ana"}),
        ({"first_name": "Zoe"}, {"first_name": "Zoë"}),
        ({"groups": "a;b"}, {"groups": "a;b;c"}),
    ],
)
def test_what_is_not_the_same_is_changed(cells: dict[str, str], shown: dict[str, str | None]) -> None:
    world = World(spec_of(), [person("P1", **cells)], [held_by("P1", **shown)], [linked("P1")])
    assert set(only(world.plan()).after) == set(shown)


@pytest.mark.parametrize(("created", "paid"), [("1700000000", "10.50"), ("1700000000.0", "010.5"), ("1.7e9", "10.500")])
def test_numbers_and_moments_are_compared_by_value(created: str, paid: str) -> None:
    shown = {
        "customer_id": "P1",
        "name": "Ana Silva",
        "email": "p1@example.com",
        "plan": "Employee",
        "created_at": "1700000000",
        "monthly_payment_amount": "10.5",
        "custom_attributes.role": "Learner",
    }
    world = World(spec_of("traitly"), [person("P1", created=created, paid=paid)], [Account("P1", shown)])
    plan = world.plan()
    assert plan.operations == ()
    assert plan.adopted == plan.unchanged == 1


def test_what_can_be_neither_observed_nor_found_is_written_once_and_not_counted() -> None:
    world = habitate(values={"role": "Learner"})
    operation = only(world.plan())
    assert operation.after == {"boards": "Sales"}
    assert operation.before == {"boards": None}
    assert not operation.counted
    assert habitate().plan().operations == ()


def test_beside_a_known_difference_it_is_counted() -> None:
    world = habitate(values={"role": "Learner"}, first_name="Anna")
    operation = only(world.plan())
    assert operation.after == {"boards": "Sales", "first_name": "Ana"}
    assert operation.counted


def test_clearing_the_unknown_is_no_news() -> None:
    world = habitate(values={"username": "p1"})
    world.people = [person("P1", groups=None)]
    assert world.plan().operations == ()


def test_what_was_recorded_after_the_listing_began_wins_over_it() -> None:
    values = {"first_name": "Ana", "boards": "Sales"}
    assert habitate(first_name="Anna", values=values, recorded=AFTER).plan().operations == ()
    assert only(habitate(first_name="Anna", values=values, recorded=BEFORE).plan()).after == {"first_name": "Ana"}


def test_details_are_as_old_as_their_reading() -> None:
    values = {"last_name": "Silva", "boards": "Sales"}
    shown: dict[str, str | None] = {"last_name": "Silvia", DETAILS_READ_AT: str(BEFORE - 1)}
    assert habitate(values=values, recorded=BEFORE, **shown).plan().operations == ()
    shown[DETAILS_READ_AT] = str(BEFORE + 1)
    operation = only(habitate(values=values, recorded=BEFORE, **shown).plan())
    assert operation.after == {"last_name": "Silva"}
    assert operation.drift
    assert BEFORE + 1 < BEGAN


def test_details_that_nobody_shows_are_hidden_and_not_empty() -> None:
    values = {"last_name": "Silva", "email": "p1@example.com", "boards": "Sales"}
    assert habitate(values=values, last_name=None, email=None).plan().operations == ()


def test_what_no_update_takes_is_a_todo_with_advice() -> None:
    plan = habitate(email="old@example.com").plan()
    assert plan.operations == ()
    assert "habitate's API cannot change an email" in plan.todos[0].sentence


def mtribes(tags: str | None, held: str | None, ours: str | None, verdict: str = "employed") -> World:
    shown = {"id": "P1", "name": "Ana Silva", "email": "p1@example.com", "tags": held}
    values = {} if ours is None else {"tags": ours}
    return World(
        spec_of("mtribes"), [person("P1", verdict, groups=tags)], [Account("P1", shown)], [linked("P1", values=values)]
    )


def test_others_tags_are_kept_and_only_ours_are_taken_away() -> None:
    operation = only(mtribes("b", "a;X", "a").plan())
    assert operation.after == {"tags": "b;X"}
    assert operation.owned == {"tags": "b"}
    assert mtribes("A", "a;X", "a").plan().operations == ()
    assert mtribes("b", "B;x", None).plan().operations == ()


def test_a_leaver_keeps_the_tags_of_others() -> None:
    operation = only(mtribes("a", "a;X", "a", "leaver").plan())
    assert operation.kind == "leave"
    assert operation.after == {"tags": "employment/left;X"}


def test_the_id_of_an_operation_is_that_of_the_change() -> None:
    def world(name: str) -> World:
        return World(spec_of(), [person("P1", first_name=name)], [held_by("P1")], [linked("P1")])

    assert only(world("Eva").plan(snapshot="a")).id == only(world("Eva").plan(snapshot="b")).id
    assert only(world("Eva").plan()).id != only(world("Ada").plan()).id


def test_custom_fields_are_compared_to_the_letter() -> None:
    spec = spec_of(attributes=attributes_of("tribal_habits") | {"X-Country": "department"})
    world = World(spec, [person("P1", department="sales")], [held_by("P1", **{"X-Country": "Sales"})], [linked("P1")])
    assert only(world.plan()).after == {"X-Country": "sales"}
