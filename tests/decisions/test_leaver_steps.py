"""Leavers in steps, from the roster to the account: the day stays in the ledger, receipts say what is to come."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.access_report import AccessRow, access
from provisioner.admin.decisions import Choice, decide_about
from provisioner.admin.leaver_receipts import receipt, unfinished
from provisioner.model.run_document import exit_code
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio
PEOPLE = 20
STEPS = [{"plan": "'Leaver'"}, {"after": "30d", "plan": "'Gone'"}]


async def entry(dep: Deployment, key: str) -> Any:
    found = await dep.ledger.entry("traitly", key)
    assert found is not None
    return found


async def access_of(dep: Deployment, key: str) -> AccessRow:
    rows = [row async for batch in access(dep, ("traitly",)) for row in batch]
    return next(row for row in rows if row["person"] == key)


def plan_of(switchboard: Switchboard, key: str) -> str:
    return next(str(one["plan"]) for one in switchboard.accounts("traitly") if one["customer_id"] == key)


def kinds(run: dict[str, Any]) -> dict[str, int]:
    return {kind: count for kind, count in run["targets"]["traitly"]["planned"].items() if count}


async def test_a_step_becomes_due_without_a_change_of_the_roster(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=("traitly",), leaver={"traitly": STEPS}) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=(1,)))
        first = await sync_once(dep)
        assert kinds(first) == {"leave": 1, "event": 1}
        today, _ = await dep.clock.today()
        known = await entry(dep, "W0001")
        assert (known.state, known.left, known.step) == ("left", today.isoformat(), 1)
        told = await receipt(dep, "W0001")
        assert told is not None
        # What is not due yet is no unfinished work
        assert told["finished_at"] is not None
        assert told["targets"]["traitly"]["next"] == (today + timedelta(days=30)).isoformat()
        assert await unfinished(dep) == []
        shown = await access_of(dep, "W0001")
        assert (shown["access"], shown["rule"]) == ("left", "left by the roster")
        assert shown["next_step"] == (today + timedelta(days=30)).isoformat()
        assert shown["next_step_sets"] == {"plan": "'Gone'"}
        assert (await access_of(dep, "W0002"))["next_step"] is None
        assert exit_code(first) == exit_code(await sync_once(dep)) == 0

        RedisContents(dep).age_leaves("traitly", 30)
        RedisContents(dep).forget_sent("traitly", "leavers")
        await rekey_back_and_forth(dep)
        shown = await access_of(dep, "W0001")
        assert shown["rule"] == "left by the roster; step 2 of 2 is due and unfinished"
        assert (shown["next_step"], shown["next_step_sets"]) == (None, {})
        second = await sync_once(dep)
        assert (kinds(second), exit_code(second)) == ({"leave": 1}, 0)
        known = await entry(dep, "W0001")
        assert (known.left, known.step) == ((today - timedelta(days=30)).isoformat(), 2)
        told = await receipt(dep, "W0001")
        assert told is not None
        assert told["targets"]["traitly"]["next"] is None
        assert plan_of(switchboard, "W0001") == "Gone"
        shown = await access_of(dep, "W0001")
        assert (shown["rule"], shown["next_step"]) == ("left by the roster", None)
        assert kinds(await sync_once(dep)) == {}

        roster.write_text(company(PEOPLE))
        assert kinds(await sync_once(dep)) == {"rejoin": 1}
        known = await entry(dep, "W0001")
        assert (known.state, known.left, known.step) == ("active", "", 1)
        assert plan_of(switchboard, "W0001") == "Employee"


async def rekey_back_and_forth(dep: Deployment) -> None:
    """The day of leaving goes with the link, also over another key."""
    before = (await entry(dep, "W0001")).left
    await dep.ledger.rename("traitly", "W0001", "X0001")
    assert (await entry(dep, "X0001")).left == before
    await dep.ledger.rename("traitly", "X0001", "W0001")


async def test_a_rehire_between_two_steps_ends_them_and_the_next_leave_counts_anew(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=("traitly",), leaver={"traitly": STEPS}) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=(1,)))
        await sync_once(dep)
        RedisContents(dep).age_leaves("traitly", 20)
        today, _ = await dep.clock.today()
        assert (await access_of(dep, "W0001"))["next_step"] == (today + timedelta(days=10)).isoformat()

        roster.write_text(company(PEOPLE))
        assert kinds(await sync_once(dep)) == {"rejoin": 1}
        assert plan_of(switchboard, "W0001") == "Employee"
        shown = await access_of(dep, "W0001")
        assert (shown["access"], shown["next_step"], shown["next_step_sets"]) == ("active", None, {})
        assert kinds(await sync_once(dep)) == {}

        RedisContents(dep).forget_sent("traitly", "leavers")
        roster.write_text(company(PEOPLE, gone=(1,)))
        again = await sync_once(dep)
        assert (kinds(again)["leave"], exit_code(again)) == (1, 0)
        assert plan_of(switchboard, "W0001") == "Leaver"
        known = await entry(dep, "W0001")
        assert (known.left, known.step) == (today.isoformat(), 1)
        assert (await access_of(dep, "W0001"))["next_step"] == (today + timedelta(days=30)).isoformat()


async def test_a_held_step_is_unfinished_until_it_is_approved(opened: Opened, roster: Path) -> None:
    async with opened(only=("traitly",), leaver={"traitly": STEPS}) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        for number in range(3):
            # One a day is what the guard lets pass
            roster.write_text(company(PEOPLE, gone=tuple(range(number + 1))))
            await sync_once(dep)
            RedisContents(dep).forget_sent("traitly", "leavers")
        assert await unfinished(dep) == []
        RedisContents(dep).age_leaves("traitly", 31)
        run = await sync_once(dep)
        assert run["targets"]["traitly"]["held"] == {"leave": 3}
        assert exit_code(run) == 4
        assert [one["targets"]["traitly"]["status"] for one in await unfinished(dep)] == ["held"] * 3
        # Another run leaves it so, and since when
        since = [one["since"] for one in await unfinished(dep)]
        again = await sync_once(dep)
        assert exit_code(again) == 4
        assert [one["since"] for one in await unfinished(dep)] == since
        await decide_about(dep, again["run"], "approved", Choice(), by="test")
        await drain(dep)
        assert await unfinished(dep) == []
        assert {(await entry(dep, f"W{number:04d}")).step for number in range(3)} == {2}


async def test_who_left_before_the_setting_goes_on_from_their_day(opened: Opened, roster: Path) -> None:
    async with opened(only=("traitly",)) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=(1, 2)))
        await sync_once(dep)
    long_ago = (date(2026, 1, 1)).isoformat()
    async with opened(only=("traitly",), leaver={"traitly": STEPS}) as dep:
        RedisContents(dep).forget_days_of_leaving("traitly")
        none = await sync_once(dep)
        assert kinds(none) == {}
        today, _ = await dep.clock.today()
        assert (await entry(dep, "W0001")).left == today.isoformat()
        RedisContents(dep).age_leaves("traitly", 5)
        RedisContents(dep).forget_sent("traitly", "leavers")
        roster.write_text(company(PEOPLE, gone=(1, 2), changes={2: {"end_date": long_ago}}))
        run = await sync_once(dep)
        assert kinds(run) == {"leave": 1}
        assert (await entry(dep, "W0002")).left == "2026-01-02"
        # A date that HR moves later moves nothing
        roster.write_text(company(PEOPLE, gone=(1, 2), changes={2: {"end_date": "2026-06-01"}}))
        assert kinds(await sync_once(dep)) == {}
        assert (await entry(dep, "W0002")).left == "2026-01-02"
