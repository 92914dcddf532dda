"""habitate as its page leaves it open: statuses, empty pages, details that answer 404, deleted members, to-dos."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.admin.person_report import story
from provisioner.model.run_document import exit_code
from provisioner.progress.writeback import table_of
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import sync_once

pytestmark = pytest.mark.anyio
STATUSES: Final = {6: "UNVERIFIED", 5: "INVITED", 4: "WAITLIST", 0: "INACTIVE", -3: "BANNED"}
Club = Callable[..., AbstractAsyncContextManager[Deployment]]


@pytest.fixture
def club(opened: Opened, sandbox: SandboxServer) -> Club:
    """Opens the deployment with habitate alone; changes are those of its settings."""

    def open_it(**changes: Any) -> AbstractAsyncContextManager[Deployment]:
        own = {
            "base_url": f"{sandbox.url}/habitate",
            "api_key": "sandbox-habitate-key",
            "rate_limit": "20000/second",
            "match": ["username", "email"],
            "attributes": {
                "email": "LOWER(work_email)",
                "first_name": "first_name",
                "last_name": "last_name",
                "username": "LOWER(employee_id)",
                "role": "'Member'",
                "boards": "department",
            },
            "leaver": {"role": "'Guest'", "boards": {"from": "NULL", "empty": "clear"}},
        }
        guards = {"leavers": {"percent": 100}, "updates": {"percent": 100}, "settle": "0s"}
        return opened(only=("habitate",), guards=guards, targets={"habitate": {**own, **changes}})

    return open_it


async def sync(dep: Deployment, **request: Any) -> dict[str, Any]:
    """One run's part about habitate."""
    part: dict[str, Any] = (await sync_once(dep, **request))["targets"]["habitate"]
    return part


async def settle() -> None:
    """Details are dated by whole seconds, and the ledger wins over what was read in the same one."""
    await asyncio.sleep(1.1)


async def todos(dep: Deployment) -> dict[str, str]:
    """Everybody's to-dos here, by person."""
    found: dict[str, str] = {}
    for one in await dep.health.list("habitate", "todos"):
        found[one["person"]] = f"{found.get(one['person'], '')} {one['message']}".strip()
    return found


def member(board: Switchboard, person: str) -> dict[str, Any]:
    """A member by the person's username."""
    return next(one for one in board.accounts("habitate") if one["username"] == person.lower())


async def status_in_table(dep: Deployment, person: str) -> str:
    table = await table_of(dep)
    found = table.filter(table["employee_id"] == person)["habitate_status"][0]
    return str(found)


@pytest.mark.parametrize("status", sorted(STATUSES))
async def test_an_employed_person_who_is_not_active_is_a_todo(
    club: Club, switchboard: Switchboard, roster: Path, status: int
) -> None:
    roster.write_text(company(3))
    async with club() as dep:
        await sync(dep)
        await settle()
        assert await todos(dep) == {}
        assert await status_in_table(dep, "W0001") == "active"
        msid = member(switchboard, "W0001")["msid"]
        switchboard.seed("habitate", [{"user_id": int(msid.partition(".")[0]), "user_status": status}])
        part = await sync(dep)
        assert (part["linked"], part["unchanged"], part["todo"]) == (3, 2, 1)
        told = await todos(dep)
        assert list(told) == ["W0001"]
        assert f"user_status of account {msid} is {STATUSES[status]}" in told["W0001"]
        assert (await story(dep, "W0001"))["targets"]["habitate"]["todos"] == [told["W0001"]]
        assert await status_in_table(dep, "W0001") == STATUSES[status].lower()
        switchboard.seed("habitate", [{"user_id": int(msid.partition(".")[0]), "user_status": 10}])
        await sync(dep)
        assert await todos(dep) == {}


async def test_a_new_member_on_the_waitlist_is_a_todo(club: Club, switchboard: Switchboard, roster: Path) -> None:
    switchboard.options("habitate", created_status=4)
    roster.write_text(company(2, gone=(1,)))
    async with club() as dep:
        await sync(dep)
        await sync(dep)
        assert list(await todos(dep)) == ["W0000"], "a leaver needs no access"


async def test_a_deleted_member_explains_its_conflict_once(club: Club, switchboard: Switchboard, roster: Path) -> None:
    roster.write_text(company(30))
    async with club() as dep:
        await sync(dep)
        await settle()
        deleted = member(switchboard, "W0003")
        switchboard.seed("habitate", [{"user_id": deleted["user_id"], "user_status": -100}])
        first = await sync_once(dep)
        assert exit_code(first) == 5
        (failed,) = [one for one in await dep.runs.history("W0003", 5) if one["status"] == "failed"]
        assert failed["error"] is not None
        assert failed["error"]["code"] == "deleted_account"
        assert deleted["msid"] in failed["error"]["message"]
        writes = switchboard.counts("habitate")["writes"]
        for _ in range(2):
            again = await sync_once(dep)
            assert exit_code(again) == 0
            assert "not created again" in (await todos(dep))["W0003"]
        assert switchboard.counts("habitate")["writes"] == writes
        switchboard.remove("habitate", deleted["msid"])
        part = await sync(dep)
        assert part["succeeded"] == {"create": 1}, "nothing is in the way any more"


@pytest.mark.parametrize("every", [2, 3])
async def test_empty_pages_are_pages(club: Club, switchboard: Switchboard, roster: Path, every: int) -> None:
    roster.write_text(company(9))
    async with club(page_size=2) as dep:
        await sync(dep)
        switchboard.options("habitate", empty_every=every)
        part = await sync(dep)
        assert (part["status"], part["linked"], part["unchanged"]) == ("succeeded", 9, 9)


@pytest.mark.parametrize("switch", ["details_gone", "details_forbidden"])
async def test_nobody_is_created_while_a_listed_member_is_unread(
    club: Club, switchboard: Switchboard, roster: Path, switch: str
) -> None:
    roster.write_text(company(4))
    # Each calls themselves otherwise in the community, so that names tell nothing
    people = [{"email": f"p{number}@example.com", "first_name": "X", "username": f"x{number}"} for number in range(3)]
    switchboard.seed("habitate", people)
    switchboard.options("habitate", **{switch: ["*"]})
    async with club() as dep:
        # The key's own member may be asked about
        run = await sync_once(dep)
        assert (exit_code(run), run["targets"]["habitate"]["planned"]["create"]) == (0, 0)
        assert set(await todos(dep)) == {f"W000{number}" for number in range(4)}
        assert switchboard.counts("habitate")["writes"] == 0
        switchboard.options("habitate", **{switch: []})
        if switch == "details_forbidden":
            return
        part = await sync(dep)
        assert (part["adopted"], part["planned"]["create"]) == (3, 1)


async def test_one_404_does_not_beat_the_listing(club: Club, switchboard: Switchboard, roster: Path) -> None:
    roster.write_text(company(3))
    async with club() as dep:
        await sync(dep)
        await settle()
        await sync(dep)
        msid = member(switchboard, "W0001")["msid"]
        # What the listing shows of them changed, so the details are asked for
        switchboard.seed("habitate", [{"user_id": int(msid.partition(".")[0]), "first_name": "Changed"}])
        switchboard.options("habitate", details_gone=[msid])
        part = await sync(dep)
        assert (part["planned"]["create"], part["linked"]) == (0, 3)
        assert len([one for one in switchboard.accounts("habitate") if not one.get("is_bot")]) == 3


async def test_a_refused_status_is_named(club: Club, switchboard: Switchboard, roster: Path) -> None:
    roster.write_text(company(2))
    switchboard.options("habitate", statuses_refused=[-3])
    async with club() as dep:
        part = await sync(dep)
        assert part["status"] == "failed"
        assert "listing members of status -3 (BANNED)" in part["error"]["message"]
    switchboard.options("habitate", statuses_refused=[-100])
    async with club() as dep:
        part = await sync(dep)
        assert part["status"] == "succeeded", "deleted members only explain what is refused"


async def test_a_settled_todo_goes_with_the_next_run(club: Club, switchboard: Switchboard, roster: Path) -> None:
    roster.write_text(company(3))
    async with club() as dep:
        await sync(dep)
        await settle()
        await sync(dep)
        roster.write_text(
            company(3, changes={1: {"work_email": "new@example.com"}, 2: {"work_email": "two@example.com"}})
        )
        await sync(dep)
        assert sorted(await todos(dep)) == ["W0001", "W0002"]
        for person, email in (("W0001", "new@example.com"), ("W0002", "two@example.com")):
            switchboard.seed("habitate", [{"user_id": member(switchboard, person)["user_id"], "email": email}])
        await sync(dep, people=("W0002",))
        assert sorted(await todos(dep)) == ["W0001"], "the run of one person settles theirs alone"
        switchboard.clear_log("habitate")
        await sync(dep)
        assert await todos(dep) == {}
        asked = [one["path"] for one in switchboard.log("habitate") if one["template"] == "/api/v1/users/{msid}"]
        assert len(asked) <= 2, "nobody else's details are read again"


async def test_an_sso_id_that_is_mapped_later_is_a_todo(club: Club, switchboard: Switchboard, roster: Path) -> None:
    roster.write_text(company(2))
    plain = {
        "email": "LOWER(work_email)",
        "first_name": "first_name",
        "username": "LOWER(employee_id)",
    }
    leaver = {"first_name": "first_name"}
    async with club(attributes=plain, leaver=leaver) as dep:
        await sync(dep)
    async with club(attributes={**plain, "sso_id": "employee_id"}, leaver=leaver) as dep:
        roster.write_text(company(3))
        await sync(dep)
        assert sorted(await todos(dep)) == ["W0000", "W0001"], "who is made with it needs nothing"
        assert "second account" in (await todos(dep))["W0000"]
        assert switchboard.counts("habitate")["writes"] == 3
    once = {"from": "employee_id", "authority": "create_only"}
    async with club(attributes={**plain, "sso_id": once}, leaver=leaver) as dep:
        await sync(dep)
        assert await todos(dep) == {}


async def test_a_username_that_habitate_cannot_take_is_a_todo(
    club: Club, switchboard: Switchboard, roster: Path
) -> None:
    attributes = {"email": "LOWER(work_email)", "first_name": "first_name", "username": "last_name"}
    leaver = {"first_name": "first_name"}
    async with club(attributes=attributes, leaver=leaver) as dep:
        roster.write_text(company(3, changes={0: {"last_name": "no good"}}))
        run = await sync_once(dep)
        assert (exit_code(run), run["targets"]["habitate"]["succeeded"]) == (0, {"create": 2})
        assert "cannot be created: habitate takes only letters and digits" in (await todos(dep))["W0000"]
        await settle()
        roster.write_text(company(3, changes={1: {"last_name": "not-good", "first_name": "Else"}}))
        run = await sync_once(dep)
        assert exit_code(run) == 0
        assert "username cannot become 'not-good'" in (await todos(dep))["W0001"]
        names = {one["email"]: one["first_name"] for one in switchboard.accounts("habitate")}
        assert names["p1@example.com"] == "Else", "the rest of the change goes out"


async def test_a_stranger_with_the_mapped_username_is_not_taken_over(
    club: Club, switchboard: Switchboard, roster: Path
) -> None:
    switchboard.act("habitate", "join", email="stranger@example.org", first_name="Zed", username="w0001")
    before = member(switchboard, "W0001")
    roster.write_text(company(2))
    async with club() as dep:
        part = await sync(dep)
        assert part["succeeded"] == {"create": 1}
        assert list(await todos(dep)) == ["W0001"]
        assert member(switchboard, "W0001") == before


async def test_a_taken_username_does_not_travel_with_another_change(
    club: Club, switchboard: Switchboard, roster: Path
) -> None:
    roster.write_text(company(2))
    attributes = {"email": "LOWER(work_email)", "first_name": "first_name", "username": "last_name"}
    async with club(attributes=attributes, leaver={"first_name": "first_name"}) as dep:
        await sync(dep)
        await settle()
        roster.write_text(company(2, changes={1: {"last_name": "Last0", "first_name": "Else"}}))
        run = await sync_once(dep)
        assert exit_code(run) == 0
        names = {one["email"]: (one["username"], one["first_name"]) for one in switchboard.accounts("habitate")}
        assert names["p1@example.com"] == ("Last1", "Else")


async def test_a_role_s_remark_names_the_run(club: Club, switchboard: Switchboard, roster: Path) -> None:
    switchboard.options("habitate", created_role=5)
    roster.write_text(company(1))
    async with club() as dep:
        run = (await sync_once(dep))["run"]
        assert member(switchboard, "W0000")["role_details"] == f"provisioner, run {run}"


async def test_a_bot_whose_details_are_refused_is_never_put_into_a_board(
    club: Club, switchboard: Switchboard, roster: Path
) -> None:
    bot = {"email": "p0@example.com", "first_name": "First0", "username": "w0000", "is_bot": True}
    switchboard.seed("habitate", [bot])
    msid = member(switchboard, "W0000")["msid"]
    roster.write_text(company(2))
    async with club() as dep:
        switchboard.options("habitate", details_forbidden=[msid])
        # Unknown as it is, nobody is made besides it
        assert (await sync(dep))["planned"]["create"] == 0
        switchboard.options("habitate", details_forbidden=[])
        await sync(dep)
        switchboard.seed("habitate", [{"user_id": int(msid.partition(".")[0]), "first_name": "Changed"}])
        switchboard.options("habitate", details_forbidden=[msid])
        await sync(dep)
        boards = switchboard.state("habitate")["boards"]
        assert all(msid not in members for members in boards.values())
