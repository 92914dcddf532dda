"""Anyone's claim is no identity: what an account's user can choose adopts nothing by itself."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.account import Account
from provisioner.model.attributes import proves
from provisioner.planning.desired import desired_accounts
from provisioner.planning.target_plan import TargetPlan
from provisioner.planning.whose import Everybody
from provisioner.targets.registry import target_class
from tests.planning.support import TODAY, World, balanced, held_by, kinds_of, linked, people_of, person, spec_of
from tests.planning.test_decision_table import chosen

#: Every way in which a mail address looks like another one that is somebody else's.
LOOKALIKES = {
    "dots": "a.na@example.com",
    "plus tag": "ana+x@example.com",
    "Cyrillic a": "\u0430na@example.com",
    "full width": "\uff41na@example.com",
    "dotless i": "an\u0131@example.com",
    "sharp s for ss": "stra\u00dfe@example.com",
    "ligature": "\ufb01n@example.com",
    "long s": "\u017fana@example.com",
    "accent": "\u00e1na@example.com",
    "zero width": "a\u200bna@example.com",
    "other domain": "ana@examp1e.com",
    "trailing dot": "ana@example.com.",
    "subdomain": "ana@mail.example.com",
}


def community(*accounts: Account, people: tuple[dict[str, Any], ...] = (person("P1"),), **settings: Any) -> World:
    return World(spec_of("habitate", **settings), list(people), list(accounts))


def member(account: str, **values: str | None) -> Account:
    return Account(account, {**chosen("P1").values, **values})


def untouched(plan: TargetPlan) -> bool:
    return not plan.operations and not plan.links and balanced(plan)


def test_a_username_alone_is_a_todo_that_names_both_and_says_how_to_settle_it() -> None:
    plan = community(member("5.evil", username="P1", email="evil@example.com")).plan()
    assert untouched(plan)
    assert [(todo.person, todo.linked) for todo in plan.todos] == [("P1", False)]
    sentence = plan.todos[0].sentence
    assert "account 5.evil has this person's username (P1)" in sentence
    assert "provisioner link P1 habitate 5.evil" in sentence
    assert plan.orphans == ("5.evil",)
    assert plan.conflicts == ()


@pytest.mark.parametrize("status", ["UNVERIFIED", "INVITED", "WAITLIST", "INACTIVE", "SOMETHING NEW", None])
@pytest.mark.parametrize("username", ["p1", "whoever"])
def test_an_email_that_nobody_verified_is_a_claim_too(status: str | None, username: str) -> None:
    plan = community(member("5.x", username=username, user_status=status)).plan()
    assert untouched(plan)
    assert len(plan.todos) == 1


def test_a_status_that_no_listing_shows_proves_nothing() -> None:
    values = {name: value for name, value in chosen("P1").values.items() if name != "user_status"}
    assert untouched(community(Account("5.x", values)).plan())


@pytest.mark.parametrize("match", [["username", "email"], ["email", "username"], ["email"], ["username"]])
def test_a_verified_email_adopts_whatever_the_order_and_though_it_is_no_match_attribute(match: list[str]) -> None:
    plan = community(member("5.x"), match=match).plan()
    assert [link.account for link in plan.links] == ["5.x"]
    assert plan.todos == ()


def test_whoever_squats_a_username_does_not_keep_the_person_from_their_own_account() -> None:
    plan = community(
        member("5.evil", email="evil@example.com"), member("6.own", username="ana", email="P1@EXAMPLE.COM")
    ).plan()
    assert [(link.person, link.account, link.matched) for link in plan.links] == [("P1", "6.own", "email")]
    assert plan.orphans == ("5.evil",)
    # The vendor would refuse the username, run after run
    assert all("username" not in operation.after for operation in plan.operations)
    assert "username cannot become p1: account 5.evil in habitate has it" in plan.todos[0].sentence
    assert balanced(plan)


def test_two_accounts_of_one_address_of_which_one_is_verified() -> None:
    plan = community(member("5.evil", username="a", user_status="UNVERIFIED"), member("6.own", username="b")).plan()
    assert [link.account for link in plan.links] == ["6.own"]
    assert plan.conflicts == ()


def test_two_verified_accounts_are_a_conflict_as_ever() -> None:
    plan = community(member("5.x", username="a"), member("6.y", username="b")).plan()
    assert plan.operations == ()
    assert [conflict.accounts for conflict in plan.conflicts] == [("5.x", "6.y")]


def test_several_strangers_are_each_named() -> None:
    plan = community(
        member("5.x", email="evil@example.com"), member("6.y", username="b", user_status="UNVERIFIED")
    ).plan()
    assert untouched(plan)
    assert sorted(todo.sentence.split()[1] for todo in plan.todos) == ["5.x", "6.y"]


def test_an_employee_who_takes_the_username_of_another_keeps_their_own_account_and_no_more() -> None:
    one = community(member("5.ada", email="p2@example.com"), people=(person("P1"), person("P2")))
    one.ledger = [linked("P2", "5.ada")]
    plan = one.plan()
    assert plan.links == ()
    assert not any(operation.person == "P1" for operation in plan.operations)
    assert [todo.person for todo in plan.todos if not todo.linked] == ["P1"]


def test_a_link_made_by_hand_settles_a_claim() -> None:
    one = community(member("5.x", email="private@example.com"))
    one.ledger = [linked("P1", "5.x", matched="hand")]
    plan = one.plan()
    assert (plan.linked, plan.orphans) == (1, ())
    assert {operation.account for operation in plan.operations} == {"5.x"}


def test_what_was_unlinked_by_hand_is_not_matched_again_by_anything() -> None:
    one = community(member("5.x"))
    apart = {"P1": frozenset({"5.x"})}
    plan = one.plan(apart=apart)
    assert untouched(plan)
    assert "was unlinked from them by hand" in plan.todos[0].sentence
    # Somebody else may still be found by it, and the person by another account
    one.people.append(person("P2", employee_id="P1", work_email="p1@example.com"))
    assert [link.person for link in one.plan(apart=apart).links] == ["P2"]
    one = World(spec_of(), [person("P1")], [held_by("P1"), held_by("P1", id="own", user_name="own")])
    assert [link.account for link in one.plan(apart={"P1": {"P1"}}).links] == ["own"]


def test_a_leaver_is_not_demoted_by_a_stranger_s_name_and_is_listed() -> None:
    plan = community(member("5.evil", email="evil@example.com"), people=(person("P1", "leaver"),)).plan()
    assert untouched(plan)
    assert [todo.person for todo in plan.todos] == ["P1"]


@pytest.mark.parametrize("state", ["left", "active"])
@pytest.mark.parametrize("kind", ["habitate", "tribal_habits"])
def test_an_address_that_comes_back_does_not_hand_over_the_leaver_s_account(kind: str, state: Any) -> None:
    held = member("x", email="shared@example.com", username="old") if kind == "habitate" else None
    one = World(
        spec_of(kind),
        [person("OLD", "leaver", work_email="shared@example.com"), person("NEW", work_email="Shared@Example.com")],
        [held or held_by("x", email="shared@example.com", active="false")],
        [linked("OLD", "x", state=state)],
    )
    for gone in (False, True):
        if gone:
            # The leaver's row has vanished since; the ledger still knows whose it was
            del one.people[0]
        plan = one.plan()
        assert not any(operation.person == "NEW" for operation in plan.operations)
        assert not any(link.person == "NEW" for link in plan.links)
        assert [(conflict.person, conflict.accounts) for conflict in plan.conflicts] == [("NEW", ("x",))]
        assert "belongs to OLD" in plan.conflicts[0].sentence


@pytest.mark.parametrize("address", LOOKALIKES.values(), ids=LOOKALIKES)
@pytest.mark.parametrize("kind", ["habitate", "tribal_habits"])
def test_an_address_that_looks_alike_is_another_one(kind: str, address: str) -> None:
    own = {"sharp s for ss": "strasse@example.com", "ligature": "fin@example.com", "long s": "sana@example.com"}
    name = next(name for name, text in LOOKALIKES.items() if text == address)
    mine = own.get(name, "ani@example.com" if name == "dotless i" else "ana@example.com")
    account = member("x", username="other", email=address) if kind == "habitate" else held_by("x", email=address)
    one = World(spec_of(kind), [person("P1", work_email=mine)], [account])
    assert kinds_of(one.plan()) == {"P1": ["create"]}
    assert one.plan().links == ()


@pytest.mark.parametrize("address", ["ANA@EXAMPLE.COM", "Ana@Example.com", "  ana@example.com "])
def test_an_address_of_other_case_is_the_same(address: str) -> None:
    canonical = unicodedata.normalize("NFC", address).strip()
    plan = community(
        member("x", username="other", email=canonical), people=(person("P1", work_email="ana@example.com"),)
    ).plan()
    assert [link.account for link in plan.links] == ["x"]


USERNAMES = st.sampled_from(["p1", "P1", "p2", "other", None])
EMAILS = st.sampled_from(["p1@example.com", "P2@example.com", "evil@example.com", None])
STATUSES = st.sampled_from(["ACTIVE", "UNVERIFIED", "INVITED", "WAITLIST", "INACTIVE", None])
MEMBERS = st.lists(st.tuples(USERNAMES, EMAILS, STATUSES), max_size=4)
VERDICTS = st.sampled_from(["employed", "leaver", "absent", "future"])


@given(MEMBERS, st.lists(VERDICTS, min_size=2, max_size=2), st.permutations(["username", "email"]))
def test_whatever_is_linked_or_changed_was_verified_and_an_event_says_the_same(
    members: list[tuple[str | None, str | None, str | None]], verdicts: list[str], match: list[str]
) -> None:
    accounts = [
        member(f"{number}.x", username=username, email=email, user_status=status)
        for number, (username, email, status) in enumerate(members)
    ]
    people = (person("P1", verdicts[0]), person("P2", verdicts[1]))
    one = community(*accounts, people=people, match=match)
    plan = one.plan()
    assert balanced(plan)
    held = {account.id: account.values for account in accounts}
    touched = {(link.person, link.account) for link in plan.links}
    touched |= {(operation.person, operation.account) for operation in plan.operations if operation.account}
    email = target_class("habitate").catalogue["email"]
    for owner, account in touched:
        values = held[account or ""]
        assert (values["email"] or "").lower() == f"{owner}@example.com".lower()
        assert proves(email, values)
    claimed = {todo.person for todo in plan.todos if not todo.linked}
    created = {operation.person for operation in plan.operations if operation.kind == "create"}
    assert not claimed & created
    # An account alone, as an event tells of it, is never given to anybody whom the plan would not find by it
    desired = desired_accounts(one.spec, one.compiled, people_of(one.people), today=TODAY, today_utc=TODAY, ends=False)
    everybody = Everybody(one.spec, desired.frame)
    for alone in accounts:
        found = everybody.owner(alone.id, alone.values).person
        planned = community(alone, people=people, match=match).plan()
        assert {link.person for link in planned.links} == ({found} if found else set())
