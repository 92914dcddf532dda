"""A leave that a newer plan took is unfinished all the same, and so is the run that planned it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.decisions import Choice, decide_about
from provisioner.admin.leaver_receipts import unfinished
from provisioner.admin.rekeying import rekey
from provisioner.model.run_document import exit_code
from provisioner.progress.run_status import refresh_outdated
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.documents import anything
from tests.support.harness import drain, sync_once

pytestmark = pytest.mark.anyio

TARGET, PEOPLE, LIMIT = "traitly", 12, 2
GUARDS = {"leavers": {"percent": 100, "absolute": LIMIT}}


async def document_of(dep: Deployment, run: str) -> Any:
    # What each tick does
    await refresh_outdated(dep)
    found = await dep.runs.document(run)
    assert found is not None
    return anything(found)


def left(switchboard: Switchboard) -> int:
    return sum(one["plan"] == "Leaver" for one in switchboard.accounts(TARGET))


@pytest.mark.parametrize("people", [("W0001",), None])
async def test_a_run_whose_leaves_are_held_by_a_newer_plan_is_held(
    opened: Opened, roster: Path, switchboard: Switchboard, people: tuple[str, ...] | None
) -> None:
    async with opened(only=(TARGET,), guards=GUARDS) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        await dep.health.pause(TARGET, paused=True)
        roster.write_text(company(PEOPLE, gone=(1, 2)))
        older: Mapping[str, Any] = await sync_once(dep, people=people)
        assert older["targets"][TARGET]["status"] == "paused"
        roster.write_text(company(PEOPLE, gone=(1, 2, 3)))
        newer = await sync_once(dep)
        assert newer["targets"][TARGET]["held"]["leave"] == 3
        await dep.health.pause(TARGET, paused=False)
        await drain(dep)
        older = await document_of(dep, older["run"])
        assert (left(switchboard), older["status"], exit_code(older)) == (0, "held", 4)
        await decide_about(dep, newer["run"], "approved", Choice(), by="test")
        older = await document_of(dep, older["run"])
        assert older["status"] in ("running", "held")
        await drain(dep)
        older = await document_of(dep, older["run"])
        assert (left(switchboard), older["status"], exit_code(older)) == (3, "succeeded", 0)


@pytest.mark.parametrize("people", [("W0001",), None])
async def test_a_run_whose_leaves_a_newer_plan_sends_waits_for_them(
    opened: Opened, roster: Path, switchboard: Switchboard, people: tuple[str, ...] | None
) -> None:
    async with opened(only=(TARGET,), guards=GUARDS) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        await dep.health.pause(TARGET, paused=True)
        roster.write_text(company(PEOPLE, gone=(1, 2)))
        older: Mapping[str, Any] = await sync_once(dep, people=people)
        await sync_once(dep)
        older = await document_of(dep, older["run"])
        assert (older["targets"][TARGET]["status"], exit_code(older), left(switchboard)) == ("paused", 4, 0)
        await dep.health.pause(TARGET, paused=False)
        await drain(dep)
        older = await document_of(dep, older["run"])
        assert (left(switchboard), older["status"], exit_code(older)) == (2, "succeeded", 0)


async def test_a_run_whose_leaver_is_back_is_over(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened(only=(TARGET,), guards=GUARDS) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        await dep.health.pause(TARGET, paused=True)
        roster.write_text(company(PEOPLE, gone=(1,)))
        older: Mapping[str, Any] = await sync_once(dep, people=("W0001",))
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        older = await document_of(dep, older["run"])
        assert (left(switchboard), older["status"], exit_code(older)) == (0, "succeeded", 0)


async def test_a_run_goes_on_waiting_for_a_leaver_under_their_new_key(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=(TARGET,), guards=GUARDS) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        await dep.health.pause(TARGET, paused=True)
        roster.write_text(company(PEOPLE + 1, gone=(1, PEOPLE), changes={PEOPLE: {"employee_id": "N0001"}}))
        older: Mapping[str, Any] = await sync_once(dep)
        assert (older["targets"][TARGET]["status"], exit_code(older)) == ("paused", 4)
        await rekey(dep, "W0001", "N0001", by="test")
        older = await document_of(dep, older["run"])
        assert (left(switchboard), exit_code(older)) == (0, 4)
        assert [(one["person"], one["finished_at"]) for one in await unfinished(dep)] == [("N0001", None)]
        await dep.health.pause(TARGET, paused=False)
        await sync_once(dep)
        older = await document_of(dep, older["run"])
        assert (left(switchboard), older["status"], exit_code(older)) == (1, "succeeded", 0)
        assert await unfinished(dep) == []
