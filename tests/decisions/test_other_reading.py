"""Settings that read the roster otherwise: a run about some people goes by them too, though the file is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.runs.simulate import simulate
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.reviewed.support import undone
from tests.support.harness import plan_once, sync_once

pytestmark = pytest.mark.anyio
TARGET = "traitly"
#: Columns that are computed otherwise, and with them who is employed.
WRONG = {"columns": {"works": "CASE WHEN employee_id = 'W0001' THEN 'left' ELSE employment_status END"}}
RIGHT = {"columns": {"works": "employment_status"}}
ALIKE = {"employed": "works = 'active'", "gate": {"max_leaving": "100%", "max_age": "3650d"}}
OPEN = {"window": "0s", "leavers": {"percent": 100}, "updates": {"percent": 100}}


async def test_a_person_who_left_by_a_corrected_setting_only_is_no_leaver_any_more(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(company(6))
    async with opened(only=(TARGET,), reading={**ALIKE, **RIGHT}, guards=OPEN) as dep:
        await sync_once(dep)
    async with opened(only=(TARGET,), reading={**ALIKE, **WRONG}, guards=OPEN) as dep:
        left = await sync_once(dep)
        assert left["targets"][TARGET]["succeeded"]["leave"] == 1
        wrong = dep.settings
    async with opened(only=(TARGET,), reading={**ALIKE, **RIGHT}, guards=OPEN) as dep:
        # The rows are those that the wrong settings read
        assert (await simulate(dep, dep.settings, "same.yaml"))["people"] == []
        assert [one["person"] for one in (await simulate(dep, wrong, "wrong.yaml"))["people"]] == ["W0001"]
        planned = await plan_once(dep, people=("W0001",))
        assert planned["targets"][TARGET]["planned"].get("rejoin") == 1
        back, code = await undone(dep, left["run"])
        assert (code, back["left_out"]) == (0, [])
        plans = {one["customer_id"]: one["plan"] for one in switchboard.accounts(TARGET)}
        assert plans["W0001"] == "Employee"


async def test_a_person_is_planned_from_the_last_clean_roster_where_all_is_the_same(
    opened: Opened, roster: Path
) -> None:
    roster.write_text(company(6))
    async with opened(only=(TARGET,), reading={**ALIKE, **RIGHT}, guards=OPEN) as dep:
        await sync_once(dep)
        digest = (await dep.frames.roster())["read_by"].decode()
        assert digest == dep.settings.reading_digest
    # How a person is shown, and what the gate takes, says nothing about a row
    other = {**ALIKE, "gate": {"max_leaving": "50%", "max_age": "3650d"}, "label": "last_name"}
    async with opened(only=(TARGET,), reading={**other, **RIGHT}, guards=OPEN) as dep:
        assert dep.settings.reading_digest == digest
    async with opened(only=(TARGET,), reading={**ALIKE, **WRONG}, guards=OPEN) as dep:
        assert dep.settings.reading_digest != digest
