"""What `plan` says is what the sync does: open ends, moments with a zone, and values that a target would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import plan_once, sync_once

pytestmark = pytest.mark.anyio

_TH = "tribal_habits"


async def test_an_open_end_deactivates_nobody(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    ends = ("9999-12-31", "9999-12-30", "2999-12-31", "31.12.9999", "00.00.0000", "4712-12-31", "9999-12-31T00:00:00Z")
    changes = {number: {"end_date": end} for number, end in enumerate(ends)}
    roster.write_text(company(len(ends), changes=changes))
    async with opened(only=(_TH,)) as dep:
        planned = await plan_once(dep)
        done = await sync_once(dep)
        assert done["targets"][_TH]["planned"] == planned["targets"][_TH]["planned"]
        assert done["targets"][_TH]["succeeded"] == {"create": len(ends)}
        assert [one.get("deactivate_scheduled_date") for one in switchboard.accounts(_TH)] == [None] * len(ends)
        # From a real last day to none
        roster.write_text(company(len(ends), changes={**changes, 0: {"end_date": "2199-12-31"}}))
        await sync_once(dep)
        assert switchboard.accounts(_TH)[0]["deactivate_scheduled_date"].startswith("2200-01-01")
        roster.write_text(company(len(ends), changes=changes))
        await sync_once(dep)
        assert switchboard.accounts(_TH)[0]["deactivate_scheduled_date"] is None
        assert (await sync_once(dep))["targets"][_TH]["planned"]["update"] == 0


async def test_a_moment_is_a_day_of_the_organisation(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    moments = ("2030-11-28T13:00:00Z", "2030-11-29", "2030-11-29T00:00:00+11:00", "2030-11-28T12:00:00Z")
    roster.write_text(company(4, changes={number: {"end_date": text} for number, text in enumerate(moments)}))
    async with opened(only=(_TH,), timezone="Australia/Sydney") as dep:
        assert (await sync_once(dep))["targets"][_TH]["succeeded"] == {"create": 4}
        days = [one["deactivate_scheduled_date"][:10] for one in switchboard.accounts(_TH)]
        assert days == ["2030-11-30"] * 3 + ["2030-11-29"]


@pytest.mark.parametrize(
    ("target", "change", "why"),
    [
        ("habitate", {"employee_id": "W-1"}, "letters and digits"),
        ("mtribes", {"department": "a/b/c/d"}, "levels"),
    ],
)
async def test_what_a_target_would_refuse_is_a_to_do(
    opened: Opened, roster: Path, switchboard: Switchboard, target: str, change: dict[str, str], why: str
) -> None:
    roster.write_text(company(3, changes={1: change}))
    async with opened(only=(target,)) as dep:
        planned = (await plan_once(dep))["targets"][target]
        done = (await sync_once(dep))["targets"][target]
        assert (done["planned"], done["status"]) == (planned["planned"], planned["status"])
        assert (done["succeeded"]["create"], done["failed"]) == (2, {})
        (todo,) = await dep.health.list(target, "todos")
        assert todo["person"] == change.get("employee_id", "W0001")
        assert why in todo["message"]
        assert "p1@example.com" not in str(switchboard.accounts(target))
