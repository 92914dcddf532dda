"""Values that nobody else has: chosen at create, kept for ever, never taken by two people."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import ConfigurationError
from provisioner.model.account import Account, LedgerEntry
from provisioner.model.attributes import Type, fold
from provisioner.model.operation import Kind
from provisioner.planning.first_free import numbered, promises
from provisioner.planning.spec import TargetSpec
from provisioner.planning.target_plan import TargetPlan
from provisioner.settings import AttributeRule
from tests.planning.support import World, attributes_of, linked, person, spec_of

TWO = ["LOWER(first_name)", "LOWER(first_name || last_name)"]


def spec(kind: str = "habitate", first_free: Sequence[str] = TWO, **more: Any) -> TargetSpec:
    name = {"habitate": "username", "tribal_habits": "user_name", "traitly": "customer_id", "mtribes": "id"}[kind]
    attributes = {**attributes_of(kind), name: {"first_free": list(first_free)}}
    return spec_of(kind, match=["email"], attributes=attributes, **more)


def chosen(plan: TargetPlan, name: str = "username") -> dict[str, str | None]:
    """By person the name that their new account gets."""
    return {one.person: one.after.get(name) for one in plan.operations if one.kind is Kind.CREATE}


def said(plan: TargetPlan) -> dict[str, str]:
    return {one.person: one.sentence for one in plan.todos}


def member(username: str, key: str = "x", **more: str) -> Account:
    values = {"username": username, "email": f"{key}@elsewhere.example", "user_status": "ACTIVE", **more}
    return Account(f"id-{username}", values)


def test_one_after_the_other_gets_the_first_that_is_free_and_then_a_number() -> None:
    people = [person(key) for key in ("P4", "P2", "P1", "P3")]
    assert chosen(World(spec(), people).plan()) == {
        "P1": "ana",
        "P2": "anasilva",
        "P3": "anasilva2",
        "P4": "anasilva3",
    }


@pytest.mark.parametrize("shown", ["ana", "ANA", "Ana"])
def test_what_any_account_shows_is_taken_as_the_vendor_compares(shown: str) -> None:
    """Whoever's it is: an orphan's, a leaver's, a bot's."""
    orphan = member(shown)
    bot = Account("bot", {"username": "anasilva", "email": None}, untouchable="a bot")
    world = World(spec(), [person("P1")], [orphan, bot])
    assert chosen(world.plan()) == {"P1": "anasilva2"}


def test_what_the_ledger_knows_is_taken_though_no_listing_shows_it() -> None:
    left = LedgerEntry("gone", "1.1", "left", {"username": "Ana"})
    assert chosen(World(spec(), [person("P1")], ledger=[left]).plan()) == {"P1": "anasilva"}


def test_of_an_identifier_what_accounts_are_addressed_by_is_taken_too() -> None:
    entry = linked("gone", "ana")
    plan = World(spec("tribal_habits"), [person("P1")], ledger=[entry]).plan()
    assert chosen(plan, "user_name") == {"P1": "anasilva"}


def test_a_null_candidate_falls_to_the_next_and_nothing_but_null_is_left_out() -> None:
    rule = ["CASE WHEN role = 'Learner' THEN NULL ELSE 'boss' END", "LOWER(first_name)"]
    assert chosen(World(spec(first_free=rule), [person("P1")]).plan()) == {"P1": "ana"}
    nothing = World(spec(first_free=["NULLIF(role, role)"]), [person("P1")]).plan()
    assert chosen(nothing) == {"P1": None}
    needed = World(spec("tribal_habits", ["NULLIF(role, role)"]), [person("P1")]).plan()
    assert chosen(needed, "user_name") == {}
    assert said(needed)["P1"].startswith("cannot be created without user_name")


def test_the_number_follows_the_last_candidate_that_is_not_null() -> None:
    rule = ["LOWER(first_name)", "NULLIF(role, role)"]
    world = World(spec(first_free=rule), [person("P1"), person("P2")])
    assert chosen(world.plan()) == {"P1": "ana", "P2": "ana2"}


def test_of_an_address_the_number_goes_before_the_at_sign() -> None:
    assert numbered("ana@example.com", 2) == "ana2@example.com"
    assert numbered("ana", 10) == "ana10"
    rule = ["LOWER(first_name) || '@example.com'"]
    world = World(spec("tribal_habits", rule), [person("P1"), person("P2"), person("P3")])
    assert chosen(world.plan(), "user_name") == {
        "P1": "ana@example.com",
        "P2": "ana2@example.com",
        "P3": "ana3@example.com",
    }


def test_what_the_vendor_would_refuse_is_passed_over() -> None:
    rule = ["LOWER(first_name) || '.' || LOWER(last_name)", "LOWER(first_name)"]
    assert chosen(World(spec(first_free=rule), [person("P1")]).plan()) == {"P1": "ana"}
    only_bad = World(spec(first_free=rule[:1]), [person("P1")]).plan()
    assert chosen(only_bad) == {}
    assert said(only_bad)["P1"].startswith("cannot be created: habitate takes only letters and digits")


def test_what_was_promised_stays_theirs_whoever_comes_before_them() -> None:
    promised = {"username": {"P9": "ana"}}
    world = World(spec(), [person("P1"), person("P9")])
    assert chosen(world.plan(promised=promised)) == {"P9": "ana", "P1": "anasilva"}
    # Also to somebody whom the plan is not about
    assert chosen(World(spec(), [person("P1")]).plan(promised=promised)) == {"P1": "anasilva"}


def test_a_promise_does_not_outlast_the_name_that_it_was_made_of() -> None:
    promised = {"username": {"P1": "ana"}}
    married = World(spec(), [person("P1", first_name="Eva")])
    assert chosen(married.plan(promised=promised)) == {"P1": "eva"}
    numbered_one = {"username": {"P1": "anasilva7"}}
    assert chosen(World(spec(), [person("P1")]).plan(promised=numbered_one)) == {"P1": "anasilva7"}


def test_a_promise_ends_where_an_account_has_the_name_by_now() -> None:
    world = World(spec(), [person("P1")], [member("ana")])
    assert chosen(world.plan(promised={"username": {"P1": "ana"}})) == {"P1": "anasilva"}


def test_the_id_of_a_create_does_not_change_with_the_number() -> None:
    first = World(spec(), [person("P1")]).plan().operations[0]
    second = World(spec(), [person("P1")], [member("ana")]).plan().operations[0]
    assert first.after != second.after
    assert first.id == second.id
    other = World(spec(), [person("P1", last_name="Souza")]).plan().operations[0]
    assert other.id != first.id
    # What somebody rejected stays rejected, whatever the number
    again = World(spec(), [person("P1")], [member("ana")]).plan(rejected={first.id: None})
    assert again.operations[0].refused


def test_an_account_that_is_gone_is_made_again_under_the_same_name() -> None:
    entry = linked("P1", "1.1", values={"username": "anna"})
    world = World(spec(), [person("P1")], ledger=[entry])
    assert chosen(world.plan()) == {"P1": "anna"}


def test_whoever_has_an_account_keeps_their_name_whatever_the_row_says() -> None:
    account = member("ana", "p1", email="p1@example.com", first_name="Eva", last_name="Silva", role="Learner")
    entry = linked("P1", account.id, values={"username": "ana", "boards": "Sales"})
    plan = World(spec(), [person("P1", first_name="Eva")], [account], [entry]).plan()
    assert [one.after for one in plan.operations if "username" in one.after] == []
    assert "username" not in " ".join(said(plan).values())


@pytest.mark.parametrize("asked", [None, frozenset({"P1"})])
def test_what_was_not_shown_whole_tells_nobody_which_name_is_free(asked: frozenset[str] | None) -> None:
    plan = World(spec(), [person("P1")], complete=False, asked=asked).plan()
    assert chosen(plan) == {}
    assert "nobody knows which username is free" in said(plan)["P1"]


def test_what_is_kept_while_the_create_waits_names_the_attribute_and_the_folded_value() -> None:
    assert promises(spec(), {"username": "Ana", "email": "a@b"}) == {"username\x1fana": "Ana"}
    assert promises(spec_of("habitate"), {"username": "Ana"}) == {}


WORDS = st.sampled_from(["Ana", "ana", "ANA", "Eva", "Anas", "İ", "ß", "a b", "", None, "O'Neil"])
KEYS = [f"P{number:02}" for number in range(12)]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    people = [
        person(key, first_name=draw(WORDS), last_name=draw(WORDS))
        for key in draw(st.lists(st.sampled_from(KEYS), unique=True, min_size=1))
    ]
    names = st.sampled_from(["ana", "ANA", "anasilva", "ana2", "ANASILVA2", "eva", "eva2", "anas", "ß"])
    accounts = [
        Account(f"a{place}", {"user_name": name, "email": f"a{place}@elsewhere.example", "active": "true"})
        for place, name in enumerate(draw(st.lists(names, unique_by=str.lower)))
    ]
    ledger = [
        LedgerEntry(f"gone{place}", f"g{place}", "left", {"user_name": name})
        for place, name in enumerate(draw(st.lists(names)))
    ]
    promised = draw(st.dictionaries(st.sampled_from(KEYS), names, max_size=3))
    world = World(spec("tribal_habits", draw(RULES)), people, accounts, ledger)
    world.circumstances["promised"] = {"user_name": promised}
    return world


RULES = st.sampled_from(
    [TWO, ["first_name"], ["LOWER(last_name)", "first_name"], ["'ana'"], ["NULLIF(role, role)", "LOWER(first_name)"]]
)


def _taken(world: World) -> set[str]:
    shown = {str(one.values["user_name"]) for one in world.accounts}
    return {fold(one, Type.FOLDED) or "" for one in shown | {str(e.values["user_name"]) for e in world.ledger}}


@given(worlds(), st.randoms(use_true_random=False))
def test_no_name_is_anybody_else_s_and_no_order_matters(world: World, chance: random.Random) -> None:
    promised: Mapping[str, str] = world.circumstances["promised"]["user_name"]
    plan = world.plan()
    names = chosen(plan, "user_name")
    folds = [fold(name, Type.FOLDED) or "" for name in names.values()]
    assert len(set(folds)) == len(folds)
    assert not set(folds) & _taken(world)
    for key, name in names.items():
        others = {fold(value, Type.FOLDED) for person_, value in promised.items() if person_ != key}
        assert fold(name, Type.FOLDED) not in others
    chance.shuffle(world.people)
    chance.shuffle(world.accounts)
    chance.shuffle(world.ledger)
    again = world.plan()
    assert {one.id: one.after for one in again.operations} == {one.id: one.after for one in plan.operations}


@given(worlds(), st.lists(st.sampled_from(KEYS), unique=True))
def test_a_create_that_waits_is_planned_again_as_it_was(world: World, joiners: list[str]) -> None:
    """Whoever joins meanwhile: two runs, of which the first has sent nothing."""
    names = chosen(world.plan(), "user_name")
    kept = {**world.circumstances["promised"]["user_name"], **{key: str(name) for key, name in names.items() if name}}
    here = {one["_key"] for one in world.people}
    world.people += [person(key, first_name="Ana") for key in joiners if key not in here]
    again = chosen(world.plan(promised={"user_name": kept}), "user_name")
    assert {key: again[key] for key in names} == names
    one_by_one: dict[str, str | None] = {}
    everybody = world.people
    for one in everybody:
        world.people = [one]
        one_by_one |= chosen(world.plan(promised={"user_name": kept}), "user_name")
    assert {key: name for key, name in one_by_one.items() if key in names} == names


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"first_free": []}, "first_free is empty"),
        ({"first_free": ["a"], "from": "b"}, "give either `from` or `first_free`"),
        ({"first_free": ["a"], "authority": "roster"}, "always create_only"),
        ({"first_free": ["a"], "authority": "target"}, "always create_only"),
        ({"first_free": ["a"], "empty": "clear"}, "neither `empty` nor `set`"),
        ({"first_free": ["a"], "set": "merge"}, "neither `empty` nor `set`"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttributeRule.model_validate(rule)


def test_one_expression_may_stand_without_a_list_and_a_rule_is_read_back_as_it_was() -> None:
    rule = AttributeRule.model_validate({"first_free": "LOWER(first_name)"})
    assert rule.first_free == ("LOWER(first_name)",)
    assert rule.authority == "create_only"
    assert AttributeRule.model_validate(rule.model_dump(by_alias=True)) == rule
    assert rule.text == "first free of: LOWER(first_name)"


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("habitate", {"attributes": {"role": {"first_free": "role"}}}, None),
        ("habitate", {"attributes": {"sso_id": {"first_free": "role"}}}, "no listing of habitate shows"),
        ("habitate", {"attributes": {"last_name": {"first_free": "role"}}}, "no listing of habitate shows"),
        ("habitate", {"attributes": {"banner": {"first_free": "role"}}}, "is not set at create"),
        ("habitate", {"attributes": {"boards": {"first_free": "role"}}}, "holds no text"),
        ("habitate", {"leaver": {"role": {"first_free": "role"}}}, "chosen at create only"),
        ("habitate", {"attributes": {"username": {"first_free": "role"}}, "match": ["username"]}, "match names"),
        ("tribal_habits", {"attributes": {"active": {"first_free": "role"}}}, "holds no text"),
    ],
)
def test_only_what_is_set_at_create_and_shown_can_be_chosen(
    kind: str, changes: dict[str, Any], message: str | None
) -> None:
    changes = {"match": ["email"], **changes}
    changes["attributes"] = {**attributes_of(kind), **changes.get("attributes", {})}
    if message is None:
        spec_of(kind, **changes)
        return
    with pytest.raises(ConfigurationError, match=message):
        spec_of(kind, **changes)
