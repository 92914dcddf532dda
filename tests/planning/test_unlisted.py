"""Leavers of a target that does not list all of an account: what is left to take away, and whether guards count it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from provisioner.model.account import Account
from provisioner.model.operation import Kind
from provisioner.planning.unlisted import telling, unlisted
from tests.planning.support import TODAY, World, ledger_of, linked, only, people_of, person, spec_of

YIELDS: Mapping[str, Sequence[str]] = {"boards": ("finance", "sales")}
DAYS: Mapping[str, Any] = {"today": TODAY, "today_utc": TODAY, "ends": False}


def member(key: str, role: str = "Guest") -> Account:
    """The habitate account that `person(key)` has."""
    return Account(
        key,
        {
            "username": key.lower(),
            "first_name": "Ana",
            "last_name": "Silva",
            "email": f"{key}@example.com".lower(),
            "user_status": "ACTIVE",
            "role": role,
        },
    )


def world(*entries: Any, verdict: str = "leaver", role: str = "Guest", **cells: str) -> World:
    return World(spec_of("habitate"), [person("P1", verdict, **cells)], [member("P1", role)], list(entries))


def left_over(world: World, **circumstances: Any) -> Mapping[str, str | None]:
    operation = only(world.plan(**circumstances))
    assert operation.kind is Kind.LEAVE
    return operation.before


@pytest.mark.parametrize("entries", [(), (linked("P1", values={"boards": ""}),)], ids=["as a leaver", "as a member"])
def test_whoever_was_adopted_after_a_loss_is_taken_out_of_each_board_that_there_may_be(entries: Sequence[Any]) -> None:
    before = left_over(world(*entries), perhaps=YIELDS)
    assert before == {"boards": "finance (perhaps);sales (perhaps)"}
    plan = world(*entries).plan(perhaps=YIELDS)
    assert plan.leavers == {"P1"}
    assert [link.state for link in plan.links] == ([] if entries else ["active"])


def test_what_is_known_of_them_is_taken_away_too() -> None:
    entry = linked("P1", values={"boards": "Board of theirs"})
    before = left_over(world(entry), perhaps=YIELDS)
    assert before == {"boards": "Board of theirs;finance (perhaps);sales (perhaps)"}


@pytest.mark.parametrize(
    "entry",
    [
        linked("P1", state="left", values={"boards": ""}),
        linked("P1", created=True, state="left", values={"boards": ""}),
    ],
    ids=["left", "left and made by us"],
)
def test_of_whom_everything_is_known_nothing_is_doubted(entry: Any) -> None:
    assert not world(entry).plan(perhaps=YIELDS).operations


def test_of_an_account_that_we_made_everything_is_known() -> None:
    entry = linked("P1", created=True, values={"boards": "Sales"})
    assert left_over(world(entry), perhaps=YIELDS) == {"boards": "Sales"}


def test_a_member_is_taken_out_of_nothing() -> None:
    entry = linked("P1", values={"boards": "Sales"})
    staying = world(entry, verdict="employed", role="Learner")
    assert not staying.plan(perhaps=YIELDS).operations


@pytest.mark.parametrize(
    ("role", "known_by", "counted"),
    [("Guest", {"role"}, False), ("Guest", set(), True), ("Learner", {"role"}, True)],
    ids=["all that is shown is a leaver's", "it is a member's as well", "it is not a leaver's"],
)
def test_what_is_left_to_do_for_whoever_has_left_counts_for_no_guard(
    role: str, known_by: set[str], counted: bool
) -> None:
    entry = linked("P1", created=True, values={"boards": "Sales"})
    operation = only(world(entry, role=role).plan(telling=frozenset(known_by)))
    assert (operation.kind, operation.counted) == (Kind.LEAVE, counted)


@pytest.mark.parametrize(("roles", "found"), [(("Learner", "Manager"), {"role"}), (("Learner", "guest"), set())])
def test_an_attribute_tells_a_leaver_where_no_member_is_given_that_value(
    roles: tuple[str, str], found: set[str]
) -> None:
    spec, people = spec_of("habitate"), [person("P1", role=roles[0]), person("P2", "leaver", role=roles[1])]
    compiled = World(spec, people).compiled
    assert telling(spec, compiled, people_of(people), **DAYS) == found


def test_what_there_may_be_is_what_the_mapping_yields_for_anybody() -> None:
    spec = spec_of("habitate")
    people = [person("P1", groups="Sales"), person("P2", "leaver", groups="Finance;Sales")]
    entries = ledger_of([linked("P3", values={"boards": "Elsewhere"})], spec)
    found = unlisted(spec, World(spec).compiled, people_of(people), entries, **DAYS)
    assert found == {"boards": ["elsewhere", "finance", "sales"]}
