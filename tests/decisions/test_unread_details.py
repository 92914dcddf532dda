"""habitate's details are read aside: leavers and roles go on from the listing, and nothing is guessed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.erase import forget
from provisioner.admin.person_report import story
from provisioner.runs import details
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import company
from tests.decisions.test_habitate_members import Club, club, member, settle, sync, todos
from tests.support.harness import plan_once

__all__ = ["club"]
pytestmark = pytest.mark.anyio
#: Members whom nobody of the roster is.
STRANGERS = 30


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Takes runs all their time for details, or gives it back."""

    def switch(none: bool) -> None:
        monkeypatch.setattr(details, "WITHIN", 0.0 if none else 60.0)

    return switch


def strangers(*numbers: int) -> list[dict[str, Any]]:
    """Members as the community holds them."""
    return [
        {
            "user_id": 5000 + number,
            "email": f"stranger{number}@example.com",
            "first_name": f"Stranger{number}",
            "username": f"stranger{number}",
        }
        for number in numbers
    ]


def asked(board: Switchboard) -> int:
    """How many details were asked for since the log was cleared."""
    paths = [one["path"] for one in board.log("habitate") if one["method"] == "GET"]
    return sum("/api/v1/users/" in path and not path.endswith("/me") for path in paths)


async def read_all(dep: Deployment) -> None:
    """Let the workers read whatever waits."""
    for _ in range(100):
        again = (await details.read_on(dep, "habitate", stopped=lambda: False)).again
        if again is None:
            return
        await asyncio.sleep(again)
    raise AssertionError("reading never ends")


async def test_a_leaver_does_not_wait_for_details(
    club: Club, switchboard: Switchboard, roster: Path, no_time: Callable[[bool], None]
) -> None:
    roster.write_text(company(4))
    async with club() as dep:
        await sync(dep)
        await settle()
        await sync(dep)
        switchboard.seed("habitate", strangers(*range(STRANGERS)))
        # The details of someone who is linked are out of date, too
        msid = member(switchboard, "W0002")["msid"]
        switchboard.seed(
            "habitate",
            [
                {
                    "user_id": int(msid.partition(".")[0]),
                    "user_avatar": "https://example.com/new.png",
                    "last_name": "Else",
                }
            ],
        )
        no_time(True)
        roster.write_text(company(5, gone=(1,), changes={3: {"department": "Sales"}}))
        part = await sync(dep)
        assert part["succeeded"] == {"leave": 1, "update": 1}, part
        assert part["orphans"] == 0
        assert part["status"] == "succeeded"
        (note,) = [one for one in part["notes"] if "details of" in one]
        assert f"The details of {STRANGERS + 1} accounts are still to be read" in note
        assert member(switchboard, "W0002")["last_name"] == "Else"
        waiting = await todos(dep)
        assert list(waiting) == ["W0004"]
        assert f"details of {STRANGERS} accounts are still to be read" in waiting["W0004"]
        assert (await story(dep, "W0004"))["targets"]["habitate"]["todos"] == [waiting["W0004"]]
        await read_all(dep)
        switchboard.clear_log("habitate")
        part = await sync(dep)
        assert part["succeeded"] == {"create": 1, "update": 1}, part
        assert member(switchboard, "W0002")["last_name"] == "Last2"
        assert part["orphans"] == STRANGERS
        # The leaver's role is another one now, so their details are read again in time
        assert await dep.details.count("habitate") == (1, 0)
        # Whoever is updated is read right before
        assert asked(switchboard) == 1


async def test_somebody_whose_details_wait_is_adopted_once_they_are_read(
    club: Club, switchboard: Switchboard, roster: Path, no_time: Callable[[bool], None]
) -> None:
    roster.write_text(company(2, gone=(1,)))
    ours = [
        {"user_id": 5000 + n, "email": f"p{n}@example.com", "first_name": f"First{n}", "username": f"w000{n}"}
        for n in range(2)
    ]
    switchboard.seed("habitate", ours)
    async with club() as dep:
        no_time(True)
        part = await sync(dep)
        assert (part["adopted"], part["conflicts"], part["succeeded"]) == (0, 0, {})
        waiting = await todos(dep)
        assert set(waiting) == {"W0000", "W0001"}
        assert all("still to be read" in one or "are read" in one for one in waiting.values()), waiting
        await read_all(dep)
        part = await sync(dep)
        assert (part["adopted"], part["succeeded"]["leave"]) == (2, 1)


async def test_a_listing_without_details_is_believed(
    club: Club, roster: Path, no_time: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    roster.write_text(company(20))
    async with club() as dep:
        await sync(dep)
        await settle()
        no_time(True)
        await sync(dep)
        # Of some it is known what they are called, and that of the others it should be
        with monkeypatch.context() as patch:
            patch.setattr(details, "_TAKEN_UP", 8)
            await details.read_on(dep, "habitate", stopped=lambda: False)
        roster.write_text(company(20, gone=(1,)))
        part = await sync(dep)
        assert part["status"] == "succeeded", part
        assert part["succeeded"] == {"leave": 1}
        assert await dep.health.list("habitate", "drift") == []
        await read_all(dep)
        part = await sync(dep)
        assert (part["status"], part["succeeded"]) == ("succeeded", {})


async def test_details_are_kept_as_they_come_and_read_once(
    club: Club, switchboard: Switchboard, roster: Path, no_time: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    roster.write_text(company(1))
    switchboard.seed("habitate", strangers(*range(STRANGERS)))
    async with club() as dep:
        no_time(True)
        await sync(dep)
        # Besides them the member whose key we use
        everybody = STRANGERS + 1
        assert await dep.details.count("habitate") == (everybody, 0)
        switchboard.clear_log("habitate")
        # One wake-up ends after the first answers
        monkeypatch.setattr(details, "_TAKEN_UP", 7)
        assert (await details.read_on(dep, "habitate", stopped=lambda: False)).again is not None
        assert await dep.details.count("habitate") == (everybody - 7, 7)
        monkeypatch.setattr(details, "_TAKEN_UP", 2000)
        # A run that comes between asks for none of those that were read
        await sync(dep)
        await read_all(dep)
        assert asked(switchboard) == everybody
        await sync(dep)
        assert asked(switchboard) == everybody


async def test_a_plan_reads_everything_and_keeps_nothing(
    club: Club, switchboard: Switchboard, roster: Path, no_time: Callable[[bool], None]
) -> None:
    roster.write_text(company(1))
    switchboard.seed("habitate", strangers(*range(STRANGERS)))
    async with club() as dep:
        no_time(True)
        part = (await plan_once(dep))["targets"]["habitate"]
        assert (part["planned"]["create"], part["orphans"]) == (1, STRANGERS)
        assert await dep.details.count("habitate") == (0, 0)


async def test_whoever_is_forgotten_is_forgotten_there_too(
    club: Club, switchboard: Switchboard, roster: Path, no_time: Callable[[bool], None]
) -> None:
    roster.write_text(company(2))
    async with club() as dep:
        await sync(dep)
        await settle()
        no_time(True)
        await sync(dep)
        await read_all(dep)
        msid = member(switchboard, "W0001")["msid"]
        assert msid in await dep.details.kept("habitate")
        await forget(dep, "W0001", by="test")
        assert msid not in await dep.details.kept("habitate")


async def test_details_that_lost_their_values_are_dropped_with_the_listing(
    club: Club, switchboard: Switchboard, roster: Path, no_time: Callable[[bool], None]
) -> None:
    roster.write_text(company(20))
    async with club() as dep:
        await sync(dep)
        await settle()
        no_time(True)
        await sync(dep)
        switchboard.options("habitate", hide_email=True)
        await read_all(dep)
        part = await sync(dep)
        assert part["error"]["code"] == "listing_blank"
        assert await dep.details.count("habitate") == (0, 0)
        switchboard.options("habitate", hide_email=False)
        part = await sync(dep)
        assert (part["status"], part["unchanged"], part["unread_details"]["accounts"]) == ("succeeded", 20, 20)
        await read_all(dep)
        part = await sync(dep)
        assert (part["status"], part["unchanged"], sum(part["planned"].values())) == ("succeeded", 20, 0)
        assert "unread_details" not in part


async def test_details_outlast_a_listing_that_lacks_accounts(
    club: Club, switchboard: Switchboard, roster: Path, no_time: Callable[[bool], None]
) -> None:
    roster.write_text(company(20))
    async with club() as dep:
        await sync(dep)
        await settle()
        no_time(True)
        await sync(dep)
        await read_all(dep)
        for number in range(15):
            switchboard.remove("habitate", member(switchboard, f"W{number:04d}")["msid"])
        part = await sync(dep)
        assert part["error"]["code"] == "listing_shrank"
        # That accounts are missing says nothing about the details of the others: they are judged again
        assert await dep.details.count("habitate") == (0, 20)


async def test_whoever_changed_since_their_details_were_read_is_read_again(
    club: Club, switchboard: Switchboard, roster: Path, no_time: Callable[[bool], None]
) -> None:
    roster.write_text(company(3))
    async with club() as dep:
        await sync(dep)
        await settle()
        no_time(True)
        await sync(dep)
        await read_all(dep)
        number = int(member(switchboard, "W0001")["msid"].partition(".")[0])
        switchboard.seed("habitate", [{"user_id": number, "first_name": "Renamed", "last_name": "Since"}])
        part = await sync(dep)
        # What the listing shows is corrected at once, and what it does not show is left alone
        assert (part["succeeded"], part["unread_details"]["accounts"]) == ({"update": 1}, 1)
        await read_all(dep)
        await sync(dep)
        found = member(switchboard, "W0001")
        assert (found["first_name"], found["last_name"]) == ("First1", "Last1")


async def test_a_detail_that_is_gone_by_now_counts_as_empty(
    club: Club, switchboard: Switchboard, roster: Path, no_time: Callable[[bool], None]
) -> None:
    roster.write_text(company(2))
    async with club() as dep:
        await sync(dep)
        await settle()
        await sync(dep)
        no_time(True)
        number = int(member(switchboard, "W0001")["msid"].partition(".")[0])
        away = {"user_id": number, "user_avatar": "https://example.com/new.png", "last_name": None}
        switchboard.seed("habitate", [away])
        part = await sync(dep)
        assert (part["succeeded"], part["unread_details"]["accounts"]) == ({}, 1)
        await read_all(dep)
        part = await sync(dep)
        assert part["succeeded"] == {"update": 1}
        assert member(switchboard, "W0001")["last_name"] == "Last1"


async def test_a_member_whose_details_are_not_found_does_not_wait_for_ever(
    club: Club, switchboard: Switchboard, roster: Path, no_time: Callable[[bool], None]
) -> None:
    roster.write_text(company(1))
    switchboard.seed("habitate", strangers(1, 2))
    stranger = next(one for one in switchboard.accounts("habitate") if one["username"] == "stranger1")["msid"]
    switchboard.options("habitate", details_gone=[stranger])
    async with club() as dep:
        no_time(True)
        await sync(dep)
        assert "are still to be read" in (await todos(dep))["W0000"]
        await read_all(dep)
        assert await dep.details.count("habitate") == (0, 3)
        await sync(dep)
        assert "does not show whose that is" in (await todos(dep))["W0000"]
        assert await dep.details.count("habitate") == (0, 0)


async def test_one_that_always_fails_holds_up_no_other(
    club: Club, switchboard: Switchboard, roster: Path, no_time: Callable[[bool], None]
) -> None:
    roster.write_text(company(1))
    switchboard.seed("habitate", strangers(*range(5)))
    async with club() as dep:
        no_time(True)
        await sync(dep)
        switchboard.fault("habitate", match={"path_prefix": "/api/v1/users/5003."}, times=None, status=500)
        passes = [await details.read_on(dep, "habitate", stopped=lambda: False) for _ in range(2)]
        assert passes[-1].stuck
        assert await dep.details.count("habitate") == (1, 5)
        no_time(False)
        part = await sync(dep)
        assert (part["status"], part["unread_details"]["accounts"], part["orphans"]) == ("succeeded", 1, 4)
        (note,) = [one for one in part["notes"] if "still to be read" in one]
        assert "Some could not be read: " in note
        switchboard.clear_faults("habitate")
        part = await sync(dep)
        assert (part["orphans"], part["succeeded"]) == (5, {"create": 1})


async def test_a_run_that_was_killed_while_it_read_is_gone_on_with(
    club: Club, switchboard: Switchboard, roster: Path, no_time: Callable[[bool], None]
) -> None:
    roster.write_text(company(1))
    switchboard.seed("habitate", strangers(*range(STRANGERS)))
    async with club() as dep:
        no_time(False)
        switchboard.fault("habitate", match={"path_prefix": "/api/v1/users/5"}, times=None, delay_ms=300)
        killed = asyncio.create_task(sync(dep))
        for _ in range(200):
            await asyncio.sleep(0.05)
            if (await dep.details.count("habitate"))[1] >= 8:
                break
        killed.cancel()
        with suppress(asyncio.CancelledError):
            await killed
        _, read = await dep.details.count("habitate")
        assert 8 <= read < STRANGERS
        # What was under way is in the log once it was delayed
        await asyncio.sleep(1.0)
        switchboard.clear_faults("habitate")
        switchboard.clear_log("habitate")
        part = await sync(dep)
        assert asked(switchboard) <= STRANGERS + 1 - read
        assert (part["orphans"], part["succeeded"]) == (STRANGERS, {"create": 1})
