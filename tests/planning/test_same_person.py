"""Who may be somebody else under a new key."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.operation import Kind
from provisioner.planning.same_person import Pair, same_people
from provisioner.planning.spec import Alike
from provisioner.runs.same_person import at_target
from tests.planning.support import ROW, World, attributes_of, held_by, kinds_of, linked, only, person, spec_of

COLUMNS = ["employee_id", *ROW]


def rows(*people: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(people), schema=dict.fromkeys(["_key", *COLUMNS], pl.String), strict=False)


def found(
    gone: pl.DataFrame, here: pl.DataFrame, *, kinds: tuple[str, ...] = ("tribal_habits",), **more: Any
) -> list[Pair]:
    specs = {kind: spec_of(kind) for kind in kinds}
    return list(same_people(specs, COLUMNS, gone, here, more.get("same_person", ()), more.get("vanished", ())))


def ann(key: str, **cells: Any) -> dict[str, Any]:
    return person(key, work_email="Ann@example.com", **cells)


@pytest.mark.parametrize("kinds", [("tribal_habits",), ("traitly",), ("mtribes",), ("habitate", "mtribes")])
def test_the_same_address_and_name_is_the_same_person(kinds: tuple[str, ...]) -> None:
    gone, here = rows(ann("OLD"), person("P2")), rows(ann("NEW", first_name="ANA "), person("P3"))
    assert found(gone, here, kinds=kinds) == [Pair("OLD", "NEW", "email and name", sure=True)]


def test_the_same_address_alone_is_nothing_sure() -> None:
    assert found(rows(ann("OLD")), rows(ann("NEW", last_name="Costa"))) == [Pair("OLD", "NEW", "email", sure=False)]


def test_the_same_name_alone_is_nothing() -> None:
    assert found(rows(person("OLD")), rows(person("NEW"))) == []
    assert found(rows(person("OLD", work_email=None)), rows(person("NEW", work_email=None))) == []


def test_two_who_agree_with_one_are_nothing_sure() -> None:
    pairs = found(rows(ann("OLD")), rows(ann("N1"), ann("N2")))
    assert [(pair.new, pair.sure) for pair in pairs] == [("N1", False), ("N2", False)]


def test_a_mailbox_of_many_tells_nobody() -> None:
    assert found(rows(*(ann(f"O{number}") for number in range(6))), rows(ann("NEW"))) == []


def test_columns_that_tell_people_take_the_place_of_the_address() -> None:
    gone, here = rows(ann("OLD", created="1980"), ann("O2", created="1970")), rows(ann("NEW", created="1980"))
    assert found(gone, here, same_person=("created",)) == [Pair("OLD", "NEW", "created", sure=True)]
    moved = rows(person("NEW", created="1980", last_name="Costa"))
    assert found(gone, moved, same_person=("created",)) == [Pair("OLD", "NEW", "created", sure=False)]
    assert found(gone, rows(ann("NEW", created=None)), same_person=("created",)) == []


def test_every_address_that_accounts_are_matched_by_has_to_agree() -> None:
    private = spec_of("habitate", attributes=attributes_of("habitate") | {"email": "groups"}, match=["email"])
    specs = {"tribal_habits": spec_of(), "habitate": private}
    gone = rows(ann("OLD", groups="a@x.org"))
    assert same_people(specs, COLUMNS, gone, rows(ann("NEW", groups="b@x.org")), ()) == ()
    assert len(same_people(specs, COLUMNS, gone, rows(ann("NEW", groups="A@x.org")), ())) == 1
    assert len(same_people(specs, COLUMNS, gone, rows(ann("NEW", groups=None)), ())) == 1


EMAILS = st.sampled_from(["a@example.com", "A@EXAMPLE.COM", "b@example.com", None])
PEOPLE = st.lists(st.tuples(EMAILS, st.sampled_from(["Ana", "Eva"])), max_size=5)


@given(PEOPLE, PEOPLE, st.randoms(use_true_random=False))
def test_the_order_of_rows_says_nothing(old: Any, new: Any, dice: Any) -> None:
    gone = [person(f"O{place}", work_email=email, first_name=name) for place, (email, name) in enumerate(old)]
    here = [person(f"N{place}", work_email=email, first_name=name) for place, (email, name) in enumerate(new)]
    usual = found(rows(*gone), rows(*here))
    dice.shuffle(gone)
    dice.shuffle(here)
    assert found(rows(*gone), rows(*here)) == usual
    assert all(pair.agrees.startswith("email") for pair in usual)


def ledger(**states: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"_person": list(states), "_state": list(states.values())}, schema_overrides={"_person": pl.String}
    )


SURE, UNSURE = Pair("OLD", "NEW", "email and name", sure=True), Pair("OLD", "NEW", "email", sure=False)
LOST = Pair("OLD", "NEW", "email and name", sure=True, vanished=True)


@pytest.mark.parametrize(
    ("pair", "states", "handed", "waits"),
    [
        (SURE, {"OLD": "left"}, True, False),
        (SURE, {"OLD": "active"}, False, True),
        (SURE, {}, False, False),
        (SURE, {"OLD": "left", "NEW": "active"}, False, False),
        (UNSURE, {"OLD": "left"}, False, True),
        (UNSURE, {}, False, False),
        (LOST, {"OLD": "left"}, False, True),
        (LOST, {"OLD": "active"}, False, True),
        (LOST, {}, False, True),
    ],
)
def test_what_follows_in_a_target(pair: Pair, states: dict[str, str], *, handed: bool, waits: bool) -> None:
    moves, alike = at_target([pair], ledger(**states))
    assert moves == ({"OLD": "NEW"} if handed else {})
    assert set(alike) == ({"NEW"} if waits else set())
    assert all("provisioner rekey OLD NEW" in one.sentence for one in alike.values())


def test_two_accounts_that_might_be_theirs_are_handed_to_nobody() -> None:
    pairs = [SURE, Pair("O2", "NEW", "email and name", sure=True)]
    moves, alike = at_target(pairs, ledger(OLD="left", O2="left"))
    assert moves == {}
    assert alike["NEW"].old == ("O2", "OLD")


def world() -> World:
    one = World(spec_of("traitly"))
    one.people = [person("OLD", "leaver", work_email="s@example.com"), person("NEW", work_email="s@example.com")]
    one.accounts = [
        held_by("OLD", id="OLD", customer_id="OLD", name="Ana Silva", plan="Employee", email="s@example.com")
    ]
    one.ledger = [linked("OLD")]
    return one


def test_neither_is_anything_done_while_nobody_said_who_they_are() -> None:
    plan = world().plan(alike={"NEW": Alike(("OLD",), "who is it?")})
    held = {(one.person, one.kind, bool(one.hold)) for one in plan.operations if one.slot == "account"}
    assert held == {("OLD", Kind.LEAVE, True), ("NEW", Kind.CREATE, True)}
    assert {todo.person for todo in plan.todos} == {"OLD", "NEW"}
    usual = world().plan()
    assert not any(one.hold for one in usual.operations)


def test_nobody_gets_an_account_beside_one_with_their_address() -> None:
    one = world()
    one.people[0]["work_email"] = None
    one.ledger = [linked("OLD", state="left", values={"email": "S@example.com"})]
    held = next(each for each in one.plan().operations if each.kind is Kind.CREATE)
    assert held.hold
    assert "provisioner rekey OLD NEW" in held.hold
    assert not any(each.hold for each in one.plan(newcomers=frozenset({"NEW"})).operations)
    del one.people[0]
    assert all(each.hold for each in one.plan().operations)
    one.ledger = [linked("OLD", values={"email": "S@example.com"})]
    assert not any(each.hold for each in one.plan().operations)


def test_what_was_approved_goes_out() -> None:
    alike = {"NEW": Alike(("OLD",), "who is it?")}
    ids = frozenset(one.id for one in world().plan(alike=alike).operations)
    plan = world().plan(alike=alike, approved=ids)
    assert not any(one.hold for one in plan.operations)


def test_an_account_that_a_colleague_matches_is_not_left() -> None:
    one = World(spec_of())
    one.people = [person("OLD", "leaver", work_email="s@example.com"), person("NEW", work_email="s@example.com")]
    one.accounts = [held_by("OLD", email="s@example.com")]
    one.ledger = [linked("OLD")]
    leave = only(one.plan())
    assert (leave.kind, leave.person) == (Kind.LEAVE, "OLD")
    assert leave.hold
    assert "provisioner rekey OLD NEW" in leave.hold
    one.people[1]["_verdict"] = "leaver"
    assert not only(one.plan()).hold


def test_a_run_about_the_leaver_alone_knows_who_claims_the_account() -> None:
    one = World(spec_of(), [person("OLD", "leaver")], [held_by("OLD")], [linked("OLD")])
    assert kinds_of(one.plan()) == {"OLD": ["leave"]}
    assert only(one.plan(disputed={"OLD": "NEW"})).hold


def test_a_claim_that_proves_nothing_stops_no_leave() -> None:
    one = World(spec_of("habitate"))
    one.people = [person("OLD", "leaver"), person("NEW")]
    values = {"username": "new", "email": "old@example.com", "role": "Learner", "user_status": "ACTIVE"}
    one.accounts = [held_by("OLD", id="7.x", **values)]
    one.ledger = [linked("OLD", "7.x")]
    leave = next(each for each in one.plan().operations if each.kind is Kind.LEAVE)
    assert (leave.person, leave.hold) == ("OLD", None)
