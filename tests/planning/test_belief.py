"""Which listings are believed: what counts as a lost value, how many are too many, and who is in doubt behind one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from provisioner.model.account import Account
from provisioner.model.operation import Kind
from provisioner.runs.observe import frame_of
from tests.planning.support import AFTER, World, attributes_of, held_by, linked, person, spec_of

PEOPLE: Final = [f"P{number:02}" for number in range(20)]
GUARDS: Final[dict[str, Any]] = {"missing": {"percent": 10}}


def portal(name: str, blank: int, *, mapping: dict[str, Any] | None = None, **link: Any) -> World:
    """Twenty people with accounts as they should be, but that the first of them show no value of one attribute."""
    spec = spec_of(guards=GUARDS, attributes=mapping or attributes_of("tribal_habits"))
    accounts = [held_by(key, **({name: None} if number < blank else {})) for number, key in enumerate(PEOPLE)]
    links = [linked(key, values=dict(held_by(key).values), **link) for key in PEOPLE]
    return World(spec, [person(key) for key in PEOPLE], accounts, links)


@pytest.mark.parametrize(("blank", "believed"), [(0, True), (2, True), (3, False), (20, False)])
def test_what_a_vendor_demands_of_everybody_may_be_empty_for_as_many_as_may_be_missing(
    blank: int, believed: bool
) -> None:
    plan = portal("email", blank).plan()
    assert (plan.unbelieved is None) is believed
    if not believed:
        assert plan.disbelief == "listing_blank"
        assert f"email for {blank} of 20 (limit 2)" in str(plan.unbelieved)
        assert (plan.operations, plan.drift, plan.todos, plan.links) == ((), (), (), ())


@pytest.mark.parametrize(("blank", "believed"), [(3, True), (10, True), (11, False)])
def test_what_anybody_can_empty_must_be_gone_from_more_than_half(blank: int, believed: bool) -> None:
    plan = portal("groups", blank).plan()
    assert (plan.unbelieved is None) is believed
    assert plan.planned[Kind.UPDATE] == (blank if believed else 0)


def test_without_guards_there_is_no_gate() -> None:
    world = portal("email", 20)
    settings = world.spec.settings.model_copy(update={"guards": None})
    world.spec = replace(world.spec, settings=settings)
    assert world.plan().unbelieved is None


def test_what_was_written_since_or_is_known_to_be_empty_is_no_loss() -> None:
    assert portal("email", 20, recorded=AFTER).plan().unbelieved is None
    world = portal("groups", 20)
    world.ledger = [replace(entry, values={**entry.values, "groups": ""}) for entry in world.ledger]
    world.last = frame_of([held_by(key) for key in PEOPLE], ())
    assert world.plan().unbelieved is None


def test_what_is_not_ours_or_not_wanted_is_no_loss() -> None:
    mapping = attributes_of("tribal_habits")
    theirs = {**mapping, "groups": {"from": "groups", "authority": "create_only"}}
    assert portal("groups", 20, mapping=theirs).plan().unbelieved is None
    cleared = {**mapping, "groups": {"from": "NULLIF(groups, 'Sales')", "empty": "clear"}}
    assert portal("groups", 20, mapping=cleared).plan().unbelieved is None


def test_leavers_do_not_count_but_those_who_were_seen_go() -> None:
    world = portal("email", 20)
    world.people = [person(key, "leaver" if number < 5 else "employed") for number, key in enumerate(PEOPLE)]
    plan = world.plan()
    assert "email for 15 of 15" in str(plan.unbelieved)
    assert {(one.person, one.kind) for one in plan.operations} == {(key, Kind.LEAVE) for key in PEOPLE[:5]}


def test_nobody_is_adopted_by_what_is_left_to_match_by() -> None:
    world = portal("email", 20)
    world.people += [person("NEW1"), person("NEW2", "leaver")]
    world.accounts += [held_by("NEW1", email=None), held_by("NEW2", email=None)]
    plan = world.plan()
    assert (plan.adopted, plan.links, plan.operations) == (0, (), ())


def member(key: str, **changes: str | None) -> Account:
    values = {"msid": f"{key}.s", "username": key.lower(), "first_name": "Ana", "last_name": "Silva", "role": "Learner"}
    return Account(f"{key}.s", {**values, "email": f"{key.lower()}@example.com", **changes})


def community(*accounts: Account, last: tuple[Account, ...] | None = None, joiners: tuple[str, ...] = ()) -> World:
    spec = spec_of("habitate", guards=GUARDS)
    values = {"first_name": "Ana", "last_name": "Silva", "boards": "Sales"}
    links = [
        linked(key, f"{key}.s", values={**values, "username": key.lower(), "email": f"{key.lower()}@example.com"})
        for key in PEOPLE
    ]
    world = World(spec, [person(key) for key in (*PEOPLE, *joiners)], list(accounts), links)
    world.last = None if last is None else frame_of(last, ("email",))
    return world


def test_a_key_that_never_saw_emails_is_believed() -> None:
    hidden = [member(key, email=None) for key in PEOPLE]
    bot = Account("1.s", {"msid": "1.s", "email": None}, "a bot")
    assert community(*hidden).plan().unbelieved is None, "the ledger stands in for details that nobody shows"
    assert community(*hidden, bot, last=(bot,)).plan().unbelieved is None
    assert community(*hidden, last=tuple(hidden)).plan().unbelieved is None


def test_a_key_that_saw_emails_before_is_not() -> None:
    hidden = [member(key, email=None) for key in PEOPLE]
    for last in ((), (Account("1.s", {"email": "bot@example.com"}, "a bot"),), tuple(member(key) for key in PEOPLE)):
        plan = community(*hidden, last=last).plan()
        assert "email for 20 of 20" in str(plan.unbelieved)


def test_whoever_may_be_behind_a_hidden_email_is_not_created() -> None:
    known = [member(key) for key in PEOPLE]
    other = member("X1", username="x", first_name="Bea", email=None)
    alike = member("X2", username="y", first_name="ANA", email=None)
    assert community(*known, other, joiners=("NEW",)).plan().planned[Kind.CREATE] == 1
    plan = community(*known, other, alike, joiners=("NEW",)).plan()
    assert plan.planned[Kind.CREATE] == 0
    [todo] = plan.todos
    assert (todo.person, todo.linked) == ("NEW", False)
    assert "hides the email of account X2.s" in todo.sentence


def test_where_nobody_shows_an_email_nobody_is_created_unless_every_account_is_known() -> None:
    known = [member(key, email=None) for key in PEOPLE]
    other = member("X1", username="x", first_name="Bea", email=None)
    plan = community(*known, other, joiners=("NEW",)).plan()
    assert plan.planned[Kind.CREATE] == 0
    assert "hides the email of everybody" in plan.todos[0].sentence
    assert community(*known, joiners=("NEW",)).plan().planned[Kind.CREATE] == 1


def test_a_leave_carries_what_the_listing_hides() -> None:
    spec = spec_of("traitly", guards=GUARDS)
    values: dict[str, str | None] = {"customer_id": "", "name": "Ana Silva", "plan": "Employee"}
    people = [person(key, "leaver" if key == "P00" else "employed") for key in PEOPLE]
    accounts = [Account(key, {**values, "customer_id": key, "email": None}) for key in PEOPLE]
    links = [linked(key, values={"email": f"{key}@example.com"}) for key in PEOPLE[1:]] + [linked("P00")]
    world = World(spec, people, accounts, links)
    world.last = frame_of([Account("P00", {"email": "seen@example.com"})], ())
    plan = world.plan()
    assert plan.disbelief == "listing_blank"
    [leave] = plan.operations
    assert leave.wanted["email"] == "seen@example.com"
