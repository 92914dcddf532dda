"""What others put into a set is not taken away by many small runs either: `guards.removals` adds them up."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.admin.decisions import Choice, decide_about
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, sync_once

pytestmark = pytest.mark.anyio

TARGET = "tribal_habits"
#: Each is in two groups by the mapping, so that 5 % of the members observed are 4, once ten hold a third one.
PEOPLE, LIMIT = 40, 4
BY_HAND = range(10)


def put_by_hand(switchboard: Switchboard, *groups: str) -> None:
    """Add groups to some accounts, as an administrator of the portal does."""
    there = {one["user_name"]: one for one in switchboard.accounts(TARGET)}
    for number in BY_HAND:
        account = there[f"W{number:04d}"]
        switchboard.seed(TARGET, [{**account, "groups": ";".join([account["groups"], *groups])}])


def kept(switchboard: Switchboard, group: str) -> int:
    return sum(group in one["groups"].split(";") for one in switchboard.accounts(TARGET))


@pytest.mark.parametrize("paused", [False, True], ids=["sent one after the other", "decided while paused"])
async def test_small_runs_add_up(opened: Opened, roster: Path, switchboard: Switchboard, paused: bool) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=(TARGET,)) as dep:
        await sync_once(dep)
        put_by_hand(switchboard, "Choir")
        await sync_once(dep)
        assert kept(switchboard, "Choir") == len(BY_HAND), "one run about everybody holds them"
        if paused:
            await dep.health.pause(TARGET, paused=True)
        runs = [(await sync_once(dep, people=(f"W{number:04d}",)))["run"] for number in BY_HAND]
        await dep.health.pause(TARGET, paused=False)
        await drain(dep)
        assert kept(switchboard, "Choir") == len(BY_HAND) - LIMIT
        last = await dep.runs.document(runs[-1])
        assert last is not None
        assert last["targets"][TARGET]["held"] == {"update": 1}
        (said,) = last["targets"][TARGET]["guards"]
        assert "groups 'Choir' of 1) and 4 sent or decided without approval in the window make 5" in said
        # What somebody approves goes out, and counts for nothing
        await decide_about(dep, runs[-1], "approved", Choice(), by="test")
        await drain(dep)
        assert kept(switchboard, "Choir") == len(BY_HAND) - LIMIT - 1
        assert await dep.health.unsent(TARGET, "removals") == 0
        assert await dep.health.sent(TARGET, "removals", 0.0) == LIMIT


async def test_values_are_counted_and_not_people(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=(TARGET,)) as dep:
        await sync_once(dep)
        put_by_hand(switchboard, "Choir", "Chess", "Cooks")
        await sync_once(dep)
        await sync_once(dep, people=("W0000",))
        await sync_once(dep, people=("W0001",))
        # 5 % of 110 are 5, and the second would have made six
        assert [kept(switchboard, group) for group in ("Choir", "Chess", "Cooks")] == [9, 9, 9]


async def test_each_run_alone_without_a_window(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=(TARGET,), guards={"window": "0s"}) as dep:
        await sync_once(dep)
        put_by_hand(switchboard, "Choir")
        await sync_once(dep)
        for number in BY_HAND:
            await sync_once(dep, people=(f"W{number:04d}",))
        assert kept(switchboard, "Choir") == 0
