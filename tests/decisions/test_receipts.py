"""A leaver's receipt: one record over all targets, from the first leave that is planned to the last that is done."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from provisioner.admin.decisions import Choice, decide_about
from provisioner.admin.erase import forget
from provisioner.admin.leaver_receipts import receipt, unfinished
from provisioner.admin.person_report import story
from provisioner.admin.retention import sweep
from provisioner.progress import metrics
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.documents import anything
from tests.support.harness import drain, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio
BOTH = ("tribal_habits", "traitly")
PEOPLE = 20


async def test_a_receipt_goes_from_pending_to_done_in_every_target(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=("tribal_habits", "traitly", "mtribes")) as dep:
        # Contractors are not in scope of two of the three, so they have one account only
        outside = {5: {"department": "Contractors"}}
        roster.write_text(company(PEOPLE, changes=outside))
        await sync_once(dep)
        assert await receipt(dep, "W0005") is None
        switchboard.fault("traitly", match={"method": "POST"}, times=1, status=422, body={"message": "no"})
        roster.write_text(company(PEOPLE, gone=(5,), changes=outside))
        run = await sync_once(dep)
        found = await receipt(dep, "W0005")
        assert found is not None
        parts = {name: part["status"] for name, part in found["targets"].items()}
        assert parts == {"tribal_habits": "no account", "traitly": "failed", "mtribes": "done"}
        assert found["finished_at"] is None
        assert "no" in (found["targets"]["traitly"]["message"] or "")
        assert [one["person"] for one in await unfinished(dep)] == ["W0005"]
        assert [one["person"] for one in await unfinished(dep, ("mtribes",))] == []
        await decide_about(dep, run["run"], "retried", Choice(), by="test")
        await drain(dep)
        over = await receipt(dep, "W0005")
        assert over is not None
        assert over["finished_at"] is not None
        assert over["targets"]["traitly"]["status"] == "done"
        assert over["targets"]["traitly"]["since"] == found["targets"]["traitly"]["since"] == found["since"]
        assert await unfinished(dep) == []


async def test_the_figure_of_the_oldest_leaver_is_the_receipts(opened: Opened, roster: Path) -> None:
    async with opened(only=BOTH) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=(1, 2, 3)))
        await sync_once(dep)
        run = await sync_once(dep)
        assert {one["held"]["leave"] for one in run["targets"].values()} == {3}
        found = await unfinished(dep)
        assert [one["person"] for one in found] == ["W0001", "W0002", "W0003"]
        assert {part["status"] for one in found for part in one["targets"].values()} == {"held"}
        assert "3 leavers are more than the limit of 2" in (found[0]["targets"]["traitly"]["message"] or "")
        figures = await metrics.take(dep)
        for target in BOTH:
            since = datetime.fromisoformat(found[0]["targets"][target]["since"] or "").timestamp()
            assert figures.targets[target].leavers == 3
            assert figures.targets[target].oldest_leaver == pytest.approx(figures.now - since, abs=0.01)
        # Back again: nobody waits for it any more
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        assert await unfinished(dep) == []
        back = await receipt(dep, "W0001")
        assert back is not None
        assert {part["status"] for part in back["targets"].values()} == {"no longer wanted"}
        assert (await metrics.take(dep)).targets["traitly"].leavers == 0


async def test_receipts_outlive_operations_and_go_with_the_runs(opened: Opened, roster: Path) -> None:
    async with opened(only=BOTH) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=(1,)))
        await sync_once(dep)
        now, kept = await dep.clock.now(), dep.settings.retention
        await sweep(dep, now=now + kept.operations.total_seconds() + 3600)
        assert (await receipt(dep, "W0001")) is not None
        assert await dep.runs.history("W0001") == []
        RedisContents(dep).let_history_be_trimmed()
        await sweep(dep, now=now + kept.runs.total_seconds() + 3600)
        assert (await receipt(dep, "W0001")) is None
        assert RedisContents(dep).receipts() == 0


async def test_an_unfinished_receipt_is_never_swept(opened: Opened, roster: Path) -> None:
    async with opened(only=BOTH) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=(1, 2, 3)))
        await sync_once(dep)
        assert await dep.receipts.forget_before(await dep.clock.now() + 1, dep.targets) == 0
        assert len(await dep.receipts.unfinished(dep.targets)) == 3


async def test_whoever_is_forgotten_has_no_receipt(opened: Opened, roster: Path) -> None:
    async with opened(only=BOTH) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=(1,)))
        await sync_once(dep)
        told = anything(await story(dep, "W0001"))
        assert told["receipt"]["finished_at"] is not None
        assert (await forget(dep, "W0001", by="test")).erased["receipts"] == 2
        assert not RedisContents(dep).receipt_is_kept("W0001")
