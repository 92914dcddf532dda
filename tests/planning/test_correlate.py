"""Whose account is whose."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from provisioner.model.account import Account
from provisioner.model.operation import Kind
from tests.planning.support import World, balanced, held_by, kinds_of, linked, only, person, spec_of


def world(**settings: Any) -> World:
    return World(spec_of(**settings))


def matched(one: World) -> dict[str, tuple[str, str]]:
    return {link.person: (link.account, link.matched) for link in one.plan().links}


def test_a_link_wins_over_whatever_would_match() -> None:
    one = world()
    one.people = [person("P1")]
    one.accounts = [held_by("P1", id="old", user_name="old"), held_by("P9", user_name="P1", id="P1")]
    one.ledger = [linked("P1", "old")]
    plan = one.plan()
    assert plan.linked == 1
    assert plan.adopted == 0
    assert [todo.sentence for todo in plan.todos] == [
        "user_name differs and cannot be changed by us: change user_name in tribal_habits by hand."
    ]
    assert plan.orphans == ("P1",)


def test_attributes_are_tried_in_their_order() -> None:
    one = world()
    one.people = [person("P1"), person("P2")]
    one.accounts = [held_by("P1", email="else@example.com"), held_by("P2", id="x", user_name="x")]
    assert matched(one) == {"P1": ("P1", "user_name"), "P2": ("x", "email")}


def test_the_first_match_stands_though_a_later_attribute_leads_elsewhere() -> None:
    one = world()
    one.people = [person("P1")]
    one.accounts = [held_by("P1", email="else@example.com"), held_by("P1", id="x", user_name="x")]
    assert matched(one) == {"P1": ("P1", "user_name")}
    assert one.plan().orphans == ("x",)


def test_matching_ignores_case_where_the_vendor_does() -> None:
    one = world()
    one.people = [person("p1"), person("P2", work_email="ÉMILE@example.com")]
    one.accounts = [held_by("P1", email="else@example.com"), held_by("x", email="émile@EXAMPLE.com")]
    assert matched(one) == {"p1": ("P1", "user_name"), "P2": ("x", "email")}


def test_a_blank_matches_nothing() -> None:
    one = world()
    one.people = [person("P1", work_email=None)]
    one.accounts = [held_by("x", email=None)]
    assert one.plan().links == ()


def test_two_accounts_for_one_person_are_a_conflict_and_no_create() -> None:
    one = world(match=["email"])
    one.people = [person("P1")]
    one.accounts = [held_by("P1", id="a", user_name="a"), held_by("P1", id="b", user_name="b")]
    plan = one.plan()
    assert plan.operations == ()
    assert [(conflict.person, conflict.accounts) for conflict in plan.conflicts] == [("P1", ("a", "b"))]
    assert plan.orphans == ()
    assert balanced(plan)


def test_two_people_for_one_account_are_a_conflict_and_no_create() -> None:
    one = world()
    one.people = [person("P1", work_email="s@example.com"), person("P2", work_email="S@example.com")]
    one.accounts = [held_by("x", email="s@example.com")]
    plan = one.plan()
    assert plan.operations == ()
    assert plan.links == ()
    assert [(conflict.person, conflict.accounts) for conflict in plan.conflicts] == [("P1", ("x",)), ("P2", ("x",))]
    assert "2 people" in plan.conflicts[0].sentence


def test_two_joiners_who_would_get_one_account_are_a_conflict() -> None:
    one = world()
    one.people = [
        person("P1", work_email="s@example.com"),
        person("P2", work_email="S@Example.com"),
        person("P3"),
    ]
    plan = one.plan()
    assert kinds_of(plan) == {"P3": ["create"]}
    assert [conflict.sentence for conflict in plan.conflicts] == [
        "shares its email with P2. Correct one of the rows.",
        "shares its email with P1. Correct one of the rows.",
    ]


def test_an_account_that_belongs_to_somebody_else_is_a_conflict_even_if_they_are_in_no_roster() -> None:
    one = world()
    one.people = [person("P1")]
    one.accounts = [held_by("P1", id="x", user_name="x")]
    one.ledger = [linked("gone-long-ago", "x")]
    plan = one.plan()
    assert plan.operations == ()
    assert "belongs to gone-long-ago" in plan.conflicts[0].sentence
    assert plan.orphans == ()


def test_two_people_linked_to_one_account_are_a_conflict() -> None:
    one = world()
    one.people = [person("P1"), person("P2", "leaver")]
    one.accounts = [held_by("x")]
    one.ledger = [linked("P1", "x"), linked("P2", "x")]
    plan = one.plan()
    assert plan.operations == ()
    assert [conflict.person for conflict in plan.conflicts] == ["P1", "P2"]
    assert balanced(plan)


def test_a_leaver_is_matched_but_yields_to_whoever_is_here() -> None:
    one = world()
    one.people = [
        person("OLD", "leaver", work_email="s@example.com"),
        person("NEW", work_email="s@example.com"),
        person("GONE", "leaver"),
    ]
    one.accounts = [held_by("x", email="s@example.com"), held_by("y", email="gone@example.com")]
    plan = one.plan()
    assert plan.conflicts == ()
    assert kinds_of(plan) == {"GONE": ["leave"]}
    assert {link.person: link.account for link in plan.links} == {"NEW": "x", "GONE": "y"}


def test_a_lost_account_that_was_made_anew_is_found_again_and_taken_as_it_is() -> None:
    one = world()
    one.people = [person("P1", groups="Sales")]
    one.accounts = [held_by("P1", id="new", user_name="new", groups=None)]
    one.ledger = [linked("P1", "old", values={"groups": "Sales", "first_name": "Ana"}, recorded=5000.0)]
    plan = one.plan()
    assert only(plan).after == {"groups": "Sales"}
    assert only(plan).account == "new"
    assert not only(plan).drift
    assert plan.missing == ("P1",)
    assert plan.base == 1
    assert [(link.account, link.matched) for link in plan.links] == [("new", "email")]


def test_a_lost_account_is_created_again_and_marked() -> None:
    one = world()
    one.people = [person("P1")]
    one.ledger = [linked("P1")]
    operation = only(one.plan())
    assert operation.kind == "create"
    assert operation.drift
    assert operation.account is None


def test_without_a_listing_the_ledger_stands_in_and_nobody_is_missing() -> None:
    one = world()
    one.people = [person("P1", first_name="Anna"), person("P2")]
    one.ledger = [linked("P1", values={"first_name": "Ana", "last_name": "Silva"})]
    one.complete = False
    plan = one.plan()
    assert plan.missing == ()
    assert kinds_of(plan) == {"P2": ["create"], "P1": ["update"]}
    assert next(operation for operation in plan.operations if operation.person == "P1").before["first_name"] == "Ana"


def test_orphans_are_accounts_without_a_person_and_are_never_touched() -> None:
    one = world()
    one.people = [person("P1")]
    one.accounts = [held_by("P1"), held_by("robot"), held_by("stranger")]
    one.accounts[1] = Account("robot", one.accounts[1].values, "a bot")
    plan = one.plan()
    assert plan.orphans == ("stranger",)
    assert plan.operations == ()


def test_the_excluded_are_not_matched_and_their_link_stays_untouched() -> None:
    one = world()
    one.people = [person("P1", "excluded"), person("P2", "excluded")]
    one.accounts = [held_by("P1", first_name="Anna"), held_by("P2", first_name="Anna")]
    one.ledger = [linked("P1")]
    plan = one.plan()
    assert plan.operations == ()
    assert plan.links == ()
    assert plan.orphans == ("P2",)
    assert plan.unchanged == 1


def test_a_missing_value_that_every_create_needs_is_a_todo() -> None:
    one = world()
    one.people = [person("P1", last_name=None)]
    plan = one.plan()
    assert plan.operations == ()
    assert [(todo.person, todo.linked) for todo in plan.todos] == [("P1", False)]
    assert "last_name" in plan.todos[0].sentence
    assert plan.linked == 0


def test_texts_that_share_a_digest_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    one = world()
    one.people = [person(key) for key in ("P1", "P2", "P3", "P4")]
    one.accounts = [held_by(key, id=f"of {key}") for key in ("P3", "P1", "P2", "P9")]
    one.ledger = [linked("P2", "of P2"), linked("P1", "of P1"), linked("P7", "of P7")]
    usual = one.plan()
    assert (usual.linked, usual.adopted, usual.planned[Kind.CREATE], usual.orphans) == (3, 1, 1, ("of P9",))
    digest = pl.Series.hash

    def colliding(self: pl.Series, seed: int = 0) -> pl.Series:
        return digest(self, seed) if seed else pl.Series([7] * len(self), dtype=pl.UInt64)

    monkeypatch.setattr(pl.Series, "hash", colliding)
    assert one.plan() == usual
