"""A run that could not be planned does not tell of a plan that was never installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.runs import lifecycle
from provisioner.runs.orders import EVERYTHING
from provisioner.runs.plan_figures import part_of
from provisioner.runs.planned import make_plan
from provisioner.sandbox import Switchboard
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import Opened, company
from tests.support.harness import sync_once

pytestmark = pytest.mark.anyio
TARGET = "traitly"


async def test_the_figures_of_a_plan_that_others_overtook_go_when_the_next_try_fails(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    """The first try wrote what it planned, its guards had to count again, and then the listing could not be read."""
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(12))
        await sync_once(dep)
        roster.write_text(company(12, changes={1: {"last_name": "Changed"}}))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        await lifecycle.begin(dep, run)
        snapshot = await dep.frames.for_run(run, None)
        assert snapshot is not None
        first = await make_plan(dep, TARGET, snapshot, orders=EVERYTHING)
        await dep.runs.set_target(run, TARGET, part_of(first.plan))
        document = await dep.runs.document(run)
        assert document is not None
        assert document["targets"][TARGET]["planned"]["update"] == 1
        switchboard.fault(TARGET, status=400, body={"error": "no"}, times=None)
        assert await lifecycle.plan(dep, run, TARGET)
        switchboard.clear_faults(TARGET)
        document = await dep.runs.document(run)
        assert document is not None
        part = document["targets"][TARGET]
        assert (document["status"], part["error"]["exit"]) == ("failed", 5)
        assert sum(part["planned"].values()) == 0
        assert "predicted" not in part
