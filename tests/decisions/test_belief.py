"""Listings that are not believed, of every kind: nothing goes out on them but leaves of accounts that were seen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.model.run_document import exit_code
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import plan_once, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio
KINDS: Final = ("tribal_habits", "habitate", "traitly", "mtribes")
#: By what an account is known to be a person's, and by what it is taken away.
NAMED: Final = {"tribal_habits": "user_name", "habitate": "username", "traitly": "customer_id", "mtribes": "id"}
KEY: Final = {**NAMED, "habitate": "msid"}
PEOPLE: Final = 30
LEAVER: Final = "W0002"
HARMS: Final = ("empty", "cut at a third", "without emails")


def accounts(board: Switchboard, kind: str) -> dict[str, dict[str, Any]]:
    """The accounts of people by their key, with what else is known of them there."""
    state = board.state(kind)
    boards = state.get("boards", {})
    found = {}
    for account in state["accounts"]:
        name = str(account.get(NAMED[kind]) or "").upper()
        if name.startswith("W"):
            mine = sorted(board for board, members in boards.items() if account[KEY[kind]] in members)
            found[name] = {**account, "boards": mine}
    return found


async def good_run(dep: Deployment, kind: str) -> None:
    """Everybody has an account afterwards, and nothing is left to do."""
    assert exit_code(await sync_once(dep)) == 0
    RedisContents(dep).age_links(kind, 3600)
    if kind == "habitate":
        # Its details are dated by whole seconds, and the ledger wins over what was read in the same one
        await asyncio.sleep(1.1)
    else:
        await sync_once(dep)


def harm(board: Switchboard, kind: str, what: str) -> None:
    """Let the next listing be a wrong one, though well-formed."""
    there = accounts(board, kind)
    if what == "without emails":
        if kind == "habitate":
            board.options(kind, hide_email=True)
        else:
            board.seed(kind, [{KEY[kind]: one[KEY[kind]], "email": ""} for one in there.values()])
        return
    kept = PEOPLE // 3 if what == "cut at a third" else 0
    for name in sorted(there)[kept:]:
        board.remove(kind, there[name][KEY[kind]])


def another_day() -> str:
    """One leaves, one joins, one moves."""
    return company(PEOPLE + 1, gone=(2,), changes={3: {"first_name": "Anew", "job_title": "Sales Manager"}})


@pytest.mark.parametrize("what", HARMS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_listing_that_is_not_believed_lets_out_nothing_but_leaves_of_accounts_that_were_seen(
    opened: Opened, roster: Path, switchboard: Switchboard, kind: str, what: str
) -> None:
    async with opened(only=(kind,)) as dep:
        roster.write_text(company(PEOPLE))
        await good_run(dep, kind)
        harm(switchboard, kind, what)
        before = accounts(switchboard, kind)
        roster.write_text(another_day())
        run = await sync_once(dep, full=True)
        target = run["targets"][kind]
        seen = LEAVER in before
        assert (target["status"], run["status"], exit_code(run)) == ("failed", "failed", 5)
        sent = {(one["person"], one["kind"]) for one in await dep.runs.operations(run["run"], [kind])}
        assert sent == ({(LEAVER, "leave")} if seen else set())
        after = accounts(switchboard, kind)
        assert {name for name in before | after if before.get(name) != after.get(name)} == ({LEAVER} if seen else set())
        code, numbers = {
            "empty": ("listing_shrank", "no longer shows 30 of 30 linked accounts, more than the limit of 1"),
            "cut at a third": ("listing_shrank", "no longer shows 20 of 30 linked accounts, more than the limit of 1"),
            "without emails": ("listing_blank", "show none in its listing: email for 29 of 29 (limit "),
        }[what]
        assert target["error"]["code"] == code
        assert target["error"]["message"].startswith(f"{kind}: ")
        assert numbers in target["error"]["message"]
        assert not await dep.health.list(kind, "drift")
        assert not await dep.health.list(kind, "todos")


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_believed_again_once_the_values_are_back(
    opened: Opened, roster: Path, switchboard: Switchboard, kind: str
) -> None:
    async with opened(only=(kind,)) as dep:
        roster.write_text(company(PEOPLE))
        await good_run(dep, kind)
        good = accounts(switchboard, kind)
        harm(switchboard, kind, "without emails")
        for _ in range(3):
            run = await sync_once(dep)
            assert run["targets"][kind]["error"]["code"] == "listing_blank", "what is not believed is not remembered"
        if kind == "habitate":
            switchboard.options(kind, hide_email=False)
        else:
            switchboard.seed(kind, [{KEY[kind]: one[KEY[kind]], "email": one["email"]} for one in good.values()])
        run = await sync_once(dep)
        assert exit_code(run) == 0
        assert run["targets"][kind]["unchanged"] == PEOPLE
        assert sum(run["targets"][kind]["planned"].values()) == 0


async def test_a_plan_says_the_same_as_the_sync(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened(only=("traitly",)) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        harm(switchboard, "traitly", "without emails")
        roster.write_text(another_day())
        planned = await plan_once(dep)
        run = await sync_once(dep)
        assert planned["targets"]["traitly"]["error"] == run["targets"]["traitly"]["error"]
        assert exit_code(planned) == 5
        assert [one["id"] for one in planned["operations"]] == [
            one["id"] for one in await dep.runs.operations(run["run"], ["traitly"])
        ]


async def test_a_few_empty_values_are_drift_and_corrected(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=("tribal_habits",), guards={"missing": {"percent": 10}}) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        people = [f"W{number:04d}" for number in range(10)]
        # A third of the people without groups may be somebody's doing, three of thirty without an email too
        switchboard.seed("tribal_habits", [{"user_name": name, "groups": ""} for name in people])
        switchboard.seed("tribal_habits", [{"user_name": name, "email": ""} for name in people[:3]])
        run = await sync_once(dep)
        assert exit_code(run) == 0
        assert run["targets"]["tribal_habits"]["succeeded"] == {"update": 10}
        switchboard.seed("tribal_habits", [{"user_name": name, "email": ""} for name in people[:4]])
        run = await sync_once(dep)
        assert "email for 4 of 30 (limit 3)" in run["targets"]["tribal_habits"]["error"]["message"]


async def test_nobody_is_created_twice_where_emails_were_always_hidden(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    switchboard.seed(
        "habitate",
        [
            {"username": "w0000", "first_name": "First0", "email": "p0@example.com"},
            {"username": "ana", "first_name": "First1", "email": "p1@example.com"},
            {"username": "bob", "first_name": "Else", "email": "p2@example.com"},
        ],
    )
    switchboard.options("habitate", hide_email=True)
    async with opened(only=("habitate",)) as dep:
        roster.write_text(company(5))
        run = await sync_once(dep)
        target = run["targets"]["habitate"]
        # A username alone proves nothing; each of the others may be one of those whose email is hidden
        assert (target["adopted"], target["planned"]["create"], target["blocked"]) == (0, 0, 5)
        todos = {one["person"]: one["message"] for one in await dep.health.list("habitate", "todos")}
        assert "habitate hides the email of everybody" in todos["W0001"]
        assert "this person's username (w0000)" in todos["W0000"]
        switchboard.options("habitate", hide_email=False)
        RedisContents(dep).forget_observed("habitate")
        run = await sync_once(dep)
        target = run["targets"]["habitate"]
        assert (target["adopted"], target["succeeded"].get("create")) == (3, 2)
        emails = [one["email"] for one in switchboard.accounts("habitate") if one["email"].startswith("p")]
        assert len(emails) == len(set(emails)) == 5


async def test_a_joiner_who_may_be_a_member_with_a_hidden_email_is_a_to_do(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=("habitate",)) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        await sync_once(dep)
        switchboard.options("habitate", hide_email=True)
        switchboard.seed("habitate", [{"username": "joan", "first_name": "FIRST30", "email": "p30@example.com"}])
        roster.write_text(company(PEOPLE + 2))
        run = await sync_once(dep)
        target = run["targets"]["habitate"]
        assert target["planned"]["create"] == 0, "it may be anybody's, whatever the names are"
        todos = {one["person"]: one["message"] for one in await dep.health.list("habitate", "todos")}
        assert sorted(todos) == ["W0030", "W0031"]
        assert "hides the email of account" in todos["W0030"]
        assert "does not show whose that is" in todos["W0031"]


async def test_a_community_whose_emails_the_key_never_saw_goes_on(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    switchboard.options("habitate", hide_email=True)
    switchboard.seed("habitate", [])
    async with opened(only=("habitate",)) as dep:
        for people in (PEOPLE, PEOPLE, PEOPLE + 1):
            roster.write_text(company(people))
            run = await sync_once(dep)
            assert exit_code(run) == 0, run
        assert len(accounts(switchboard, "habitate")) == PEOPLE + 1
