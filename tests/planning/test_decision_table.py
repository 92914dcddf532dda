"""docs/decision-table.md, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.model.account import Account
from provisioner.model.operation import digest
from provisioner.planning.rewrite_loops import Loop
from provisioner.planning.spec import Alike
from provisioner.planning.target_plan import TargetPlan
from tests.planning.support import BEFORE, NOW, World, held_by, linked, only, person, spec_of

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "decision-table.md"
COLUMNS: Final = ("Roster", "Account", "Ledger", "Policy", "Operation", "Recorded", "Listed")
NOTHING: Final = "—"
KEY: Final = "P1"
OTHER: Final = "P2"

ROSTER: Final[dict[str, dict[str, Any]]] = {
    "employed": {},
    "left": {"verdict": "leaver"},
    "out of scope": {"department": "Contractors"},
    "scope unknown": {"department": None},
    "vanished": {"verdict": "absent"},
    "row rejected": {"verdict": "unchanged"},
    "excluded": {"verdict": "excluded"},
    "starts later": {"verdict": "future"},
}
ACCOUNT: Final[dict[str, dict[str, str | None]]] = {
    "as wanted": {},
    "differs": {"first_name": "Anna"},
    "changed by hand": {"first_name": "Anna"},
    "role differs": {"role_1": "Manager"},
    "role and name differ": {"role_1": "Manager", "first_name": "Anna"},
    "inactive": {"active": "false"},
    "inactive, role differs": {"active": "false", "role_1": "Manager"},
    "does not stay": {"first_name": "Anna"},
    "does not stay, role differs": {"first_name": "Anna", "role_1": "Manager"},
    "stays active": {},
    "two match": {"user_name": "one", "id": "one"},
    "claimed by a colleague": {},
    "another's": {"user_name": "theirs", "id": "theirs"},
}
#: What the ledger wrote of accounts that do not keep it: attribute, and both values.
UNKEPT: Final[dict[str, tuple[str, str, str]]] = {
    "does not stay": ("first_name", "Ana", "Anna"),
    "does not stay, role differs": ("first_name", "Ana", "Anna"),
    "stays active": ("active", "false", "true"),
}
#: Accounts that are not shown, and what the ledger knows of them besides.
NOT_SHOWN: Final[dict[str, dict[str, Any]]] = {
    "none": {},
    "gone": {},
    "new, not shown": {"linked": NOW.timestamp() - 60, "values": held_by(KEY).values},
    "made twice, never shown": {"linked": BEFORE, "makes": 2},
}
#: Accounts of habitate, whose users choose their username, and whose email may be verified.
CHOSEN: Final[dict[str, dict[str, str | None]]] = {
    "claimed by username": {"email": "stranger@example.com"},
    "claimed by an unverified email": {"username": "stranger", "user_status": "UNVERIFIED"},
    "username and verified email": {},
    "verified email": {"username": "stranger"},
}
#: Settings, then circumstances; ids of operations are filled in by the test.
POLICY: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    NOTHING: ({}, {}),
    "drift: correct": ({}, {}),
    "drift: report": ({"drift": "report"}, {}),
    "updates exceeded": ({"guards": {"updates": {"percent": 100, "absolute": 0}}}, {}),
    "leavers exceeded": ({"guards": {"leavers": {"percent": 100, "absolute": 0}}}, {}),
    "removals wait": ({}, {"removals_wait": "the roster is degraded"}),
    "one person asked": ({}, {}),
    "approved": ({}, {}),
    "perhaps known": ({}, {"alike": {KEY: Alike((OTHER,), "P1 agrees with P2")}}),
    "unlinked by hand": ({}, {"apart": {KEY: frozenset({"7.x"})}}),
    "rejected": ({}, {}),
    "rejected for another row": ({}, {}),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    roster: str
    account: str
    ledger: str
    policy: str
    operation: str
    recorded: str
    listed: str


def cases() -> list[Case]:
    lines = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert tuple(cells[0]) == COLUMNS
    return [Case(*row) for row in cells[2:]]


def chosen(key: str, **changes: str | None) -> Account:
    """The habitate member that `person(key)` should be."""
    values = {
        "username": key.lower(),
        "email": f"{key}@example.com".lower(),
        "first_name": "Ana",
        "last_name": "Silva",
        "role": "Learner",
        "user_status": "ACTIVE",
    }
    return Account("7.x", values | changes)


def account_of(text: str) -> Account:
    if text in CHOSEN:
        return chosen(KEY, **CHOSEN[text])
    untouchable = None
    changes: dict[str, str | None] = {}
    for mark, values in (("protected, ", {"org_admin": "true"}), ("protection unknown, ", {"org_admin": None})):
        if text.startswith(mark):
            text, changes = text.removeprefix(mark), dict(values)
    if text.startswith("untouchable, "):
        text, untouchable = text.removeprefix("untouchable, "), "a bot"
    made = held_by(KEY, **{**changes, **ACCOUNT[text]})
    return Account(made.id, made.values, untouchable)


def unkept(account: str) -> dict[str, Any]:
    """What the ledger knows of an account that did not keep what was written, after two runs."""
    if account not in UNKEPT:
        return {}
    name, ours, theirs = UNKEPT[account]
    loop = Loop(2, digest(ours, size=8), digest(theirs, size=8), BEFORE, BEFORE - 1)
    return {"values": {name: ours}, "loops": {name: loop.to_json()}}


def world_of(case: Case) -> World:
    settings: dict[str, Any] = {}
    circumstances: dict[str, Any] = {}
    for part in case.policy.split(", "):
        own, around = POLICY[part]
        settings |= own
        circumstances |= around
    row = dict(ROSTER[case.roster])
    people = [person(KEY, row.pop("verdict", "employed"), **row)]
    kind = "habitate" if case.account in CHOSEN else "tribal_habits"
    world = World(spec_of(kind, **settings), people, circumstances=circumstances)
    if case.account not in NOT_SHOWN:
        world.accounts.append(account_of(case.account))
    if case.account == "two match":
        world.accounts.append(held_by(KEY, id="two", user_name="two"))
    if case.account == "another's":
        world.ledger.append(linked(OTHER, "theirs"))
    if case.account == "claimed by a colleague":
        world.people.append(person(OTHER, work_email=f"{KEY}@example.com"))
    if case.ledger != NOTHING:
        values = {"first_name": "Ana"} if case.account == "changed by hand" else {}
        about = {"values": values, **NOT_SHOWN.get(case.account, {}), **unkept(case.account)}
        world.ledger.append(linked(KEY, state=case.ledger, **about))
    if case.policy == "one person asked":
        world.complete, world.asked = False, frozenset({KEY})
    return world


def decided(world: World, policy: str) -> TargetPlan:
    """The plan, with the decisions on it that the policy speaks of."""
    if "approved" in policy:
        return world.plan(approved=frozenset({only(world.plan()).id}))
    if "rejected" in policy:
        first = only(world.plan())
        return world.plan(rejected={first.id: "another" if "another row" in policy else first.row})
    return world.plan()


def operation_in(plan: TargetPlan) -> str:
    if not plan.operations:
        return NOTHING
    operation = only(plan)
    words = [operation.kind.value]
    if operation.fails:
        words.append("failed")
    elif operation.refused:
        words.append("rejected")
    elif operation.hold:
        words.append("held")
    return ", ".join(words)


def listed_in(plan: TargetPlan) -> str:
    lists = {
        "to-do": plan.todos,
        "drift": plan.drift,
        "conflict": plan.conflicts,
        "missing": plan.missing,
        "fault": plan.faults,
        "orphan": plan.orphans,
    }
    return ", ".join(name for name, rows in lists.items() if rows) or NOTHING


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.roster}-{case.account}-{case.ledger}-{case.policy}")
def test_the_table_is_what_a_plan_does(case: Case) -> None:
    plan = decided(world_of(case), case.policy)
    states = [link.state for link in plan.links if link.person == KEY]
    assert (operation_in(plan), ", ".join(states) or NOTHING, listed_in(plan)) == (
        case.operation,
        case.recorded,
        case.listed,
    )
    if "conflict" not in case.listed:
        shown = case.account not in NOT_SHOWN or case.account == "new, not shown"
        assert plan.linked == (1 if shown and "orphan" not in case.listed else 0)


def test_every_roster_state_is_told_with_and_without_an_account() -> None:
    table = cases()
    assert {case.roster for case in table} == set(ROSTER)
    for roster in ROSTER:
        told = {case.account == "none" for case in table if case.roster == roster}
        assert told == {True, False}, roster
    assert len({(case.roster, case.account, case.ledger, case.policy) for case in table}) == len(table)
