"""History is trimmed: what is over and old goes, what still waits stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.admin.retention import sweep
from provisioner.model.decision_document import KeptDecision
from provisioner.runtime.context import Deployment
from tests.decisions.conftest import Opened, company
from tests.support.harness import sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio
DAY = 86400.0


async def sweep_in(dep: Deployment, days: float) -> None:
    RedisContents(dep).let_history_be_trimmed()
    assert await sweep(dep, now=await dep.clock.now() + days * DAY)


async def test_operations_go_first_and_runs_later(opened: Opened, roster: Path) -> None:
    roster.write_text(company(5))
    async with opened(only=("traitly",)) as dep:
        run = (await sync_once(dep))["run"]
        people = [row["person"] for row in await dep.runs.operations(run, ["traitly"])]
        await sweep_in(dep, 89)
        assert len(await dep.runs.operations(run, ["traitly"])) == 10
        assert not await sweep(dep), "once an hour is enough"
        await sweep_in(dep, 91)
        assert await dep.runs.operations(run, ["traitly"]) == []
        document = await dep.runs.document(run)
        assert document is not None
        assert document["targets"]["traitly"]["succeeded"] == {"create": 5, "event": 5}
        for person in people:
            assert not RedisContents(dep).history_is_kept(person)
        await sweep_in(dep, 401)
        assert await dep.runs.document(run) is None
        assert await dep.runs.recent(10) == ()
        assert RedisContents(dep).run_names() == set()
        assert await dep.ledger.size("traitly") == 5


async def test_a_held_operation_is_not_history(opened: Opened, roster: Path) -> None:
    async with opened(only=("traitly",)) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        roster.write_text(company(20, gone=(0, 1, 2, 3)))
        run = (await sync_once(dep))["run"]
        await sweep_in(dep, 91)
        left = await dep.runs.operations(run, ["traitly"])
        assert {(row["kind"], row["status"]) for row in left} >= {("leave", "held")}
        assert not [row for row in left if row["status"] not in ("held", "pending")]


async def test_decisions_and_counts_go_when_nobody_asks_for_them_any_more(opened: Opened, roster: Path) -> None:
    roster.write_text(company(1))
    async with opened(only=("traitly",)) as dep:
        now = await dep.clock.now()
        for name, verdict, at in (("old-yes", "approved", now - 80 * 3600), ("new-yes", "approved", now)):
            decision: KeptDecision = {"by": "test", "at": at, "reason": "", "verdict": verdict, "row": ""}
            await dep.health.decide("traitly", name, decision)
        refusal: KeptDecision = {
            "by": "test", "at": now - 80 * 3600, "reason": "", "verdict": "rejected", "row": "r"
        }  # fmt: skip
        await dep.health.decide("traitly", "old-no", refusal)
        RedisContents(dep).note_sent("traitly", "leavers", {"a": now - 25 * 3600, "b": now})
        assert await sweep(dep)
        assert set(await dep.health.decisions("traitly")) == {"new-yes", "old-no"}
        assert await dep.health.sent("traitly", "leavers", 0) == 1
