"""A run says what is true of it now: it is held only while something waits, and over only while nothing goes on."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from provisioner.admin.decisions import Choice, decide_about
from provisioner.progress.run_status import refresh
from provisioner.runtime.context import Deployment
from provisioner.web.pages.run_view import progress
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, sync_once

pytestmark = pytest.mark.anyio
T = "traitly"
PEOPLE = 20


async def held(dep: Deployment, roster: Path) -> dict[str, Any]:
    roster.write_text(company(PEOPLE))
    await sync_once(dep)
    roster.write_text(company(PEOPLE, gone=(3, 4, 5)))
    document = await sync_once(dep)
    assert document["status"] == "held"
    assert document["targets"][T]["guards"][0].endswith("held until approved.")
    return document


async def now(dep: Deployment, run: str) -> dict[str, Any]:
    document = await dep.runs.document(run)
    assert document is not None
    return cast("dict[str, Any]", document)


async def test_a_run_of_which_a_newer_plan_took_all_is_held_while_its_leavers_are(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,)) as dep:
        first = await held(dep, roster)
        second = await sync_once(dep)
        assert second["status"] == "held"
        older = await now(dep, first["run"])
        # Nobody has left yet, whoever holds it
        assert older["status"] == older["targets"][T]["status"] == "held"
        assert older["targets"][T]["superseded"]["leave"] == 3
        assert older["targets"][T]["guards"][0].endswith("held at first.")
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        assert (await now(dep, second["run"]))["status"] == "succeeded"
        assert (await now(dep, first["run"]))["status"] == "succeeded"
        assert not await dep.lifecycle.outdated()


async def test_of_a_run_that_a_plan_about_one_person_took_something_from(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,)) as dep:
        first = await held(dep, roster)
        roster.write_text(company(PEOPLE, gone=(4, 5)))
        await sync_once(dep, people=("W0003",))
        older = await now(dep, first["run"])
        assert older["status"] == "held"
        assert older["targets"][T]["held"]["leave"] == 2


async def test_a_kept_account_counts_in_the_newest_plan_only(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,)) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        dep.specs[T].settings.__dict__["protect"] = "customer_id = 'W0003'"
        roster.write_text(company(PEOPLE, gone=(3,)))
        first, second = await sync_once(dep), await sync_once(dep)
        assert first["status"] == second["status"] == "held"
        assert (await now(dep, first["run"]))["status"] == "succeeded"
        assert (await now(dep, second["run"]))["status"] == "held"
        await refresh(dep, first["run"])
        assert (await now(dep, first["run"]))["status"] == "succeeded"


async def test_a_degraded_roster_is_no_hold_once_a_newer_one_was_planned(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,)) as dep:
        roster.write_text(company(40))
        await sync_once(dep)
        roster.write_text(company(20))
        first = await sync_once(dep)
        assert first["status"] == "held"
        roster.write_text(company(40))
        assert (await sync_once(dep))["status"] == "succeeded"
        assert (await now(dep, first["run"]))["status"] == "succeeded"


async def test_a_run_that_goes_on_is_not_over(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,)) as dep:
        first = await held(dep, roster)
        assert progress(first["targets"][T]).percent < 100
        assert progress(first["targets"][T]).ended == 0
        await asyncio.sleep(0.1)
        await decide_about(dep, first["run"], "approved", Choice(), by="bob")
        going = await now(dep, first["run"])
        assert (going["status"], going["finished_at"]) == ("running", None)
        assert (await dep.runs.heads([first["run"]]))[first["run"]]["finished_at"] is None
        await drain(dep)
        over = await now(dep, first["run"])
        assert over["status"] == "succeeded"
        assert datetime.fromisoformat(over["finished_at"]) > datetime.fromisoformat(first["finished_at"])
        assert progress(over["targets"][T]).percent == 100
        assert over["targets"][T]["guards"][0].endswith("held at first.")
