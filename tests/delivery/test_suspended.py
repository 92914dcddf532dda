"""A process that is suspended for longer than its lease, and goes on when another has the work: it writes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog

from provisioner.admin import erase
from provisioner.admin.erase import forget
from provisioner.errors import ProvisionerError
from provisioner.progress.run_status import refresh
from provisioner.progress.writeback import ask_for_table, write_due
from provisioner.runs import enqueue, lifecycle
from provisioner.runs.planned import Planned, make_plan
from provisioner.runs.roster_snapshot import Taken, take
from provisioner.runs.target_lock import held
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.runs.counters import counts
from provisioner.store.runs.documents import Request
from provisioner.worker.run_steps import plan_or_give_up
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio

TARGET = "traitly"


def lose(dep: Deployment, lock: str) -> None:
    """What a suspension does to a lock: its lease runs out, and another has it."""
    contents = RedisContents(dep)
    assert contents.is_held(lock), "it is not held"
    contents.hold(lock)


async def people(dep: Deployment) -> list[str]:
    known = await dep.frames.known()
    return [] if known is None else sorted(known["_key"].to_list())


async def test_a_beginner_that_was_suspended_keeps_no_roster(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(4))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))

        async def suspended(dep: Deployment, request: Request, content: bytes | None) -> Taken:
            taken = await take(dep, request, content)
            lose(dep, RedisContents.beginning_lock(run))
            return taken

        monkeypatch.setattr(lifecycle, "take", suspended)
        assert await lifecycle.begin(dep, run) == ()
        assert await dep.runs.get(run, "stage") == "queued"
        assert await people(dep) == []
        assert await dep.frames.for_run(run) is None
        monkeypatch.setattr(lifecycle, "take", take)
        assert await lifecycle.begin(dep, run) == (), "another one has it"
        RedisContents(dep).free(RedisContents.beginning_lock(run))
        assert await lifecycle.begin(dep, run) == (TARGET,)
        assert len(await people(dep)) == 4


async def test_a_run_that_was_begun_is_not_begun_again_by_whoever_looked_before(opened: Opened, roster: Path) -> None:
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(3))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        found = await asyncio.gather(*(lifecycle.begin(dep, run) for _ in range(5)))
        assert sorted(map(len, found)) == [0, 0, 0, 0, 1]
        assert await lifecycle.begin(dep, run) == ()


async def test_of_two_runs_the_one_that_read_the_roster_later_is_remembered(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a leave would be checked against a roster in which the person has not come back yet."""
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(3))
        older = await lifecycle.request_run(dep, Request(trigger="manual"))
        newer = await lifecycle.request_run(dep, Request(trigger="manual", full=True))
        assert older != newer

        async def slow(dep: Deployment, request: Request, content: bytes | None) -> Taken:
            taken = await take(dep, request, content)
            monkeypatch.setattr(lifecycle, "take", take)
            roster.write_text(company(5))
            assert await lifecycle.begin(dep, newer) == (TARGET,)
            return taken

        monkeypatch.setattr(lifecycle, "take", slow)
        assert await lifecycle.begin(dep, older) == (TARGET,)
        assert len(await people(dep)) == 5


async def test_a_run_that_reads_the_roster_already_is_not_joined(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written since would wait for the next schedule."""
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(3))
        reading = await lifecycle.request_run(dep, Request(trigger="manual"))
        assert await lifecycle.request_run(dep, Request(trigger="roster")) == reading
        asked: list[str] = []

        async def meanwhile(dep: Deployment, request: Request, content: bytes | None) -> Taken:
            taken = await take(dep, request, content)
            asked.append(await lifecycle.request_run(dep, Request(trigger="roster")))
            return taken

        monkeypatch.setattr(lifecycle, "take", meanwhile)
        assert await lifecycle.begin(dep, reading) == (TARGET,)
        assert asked
        assert asked != [reading]


async def test_a_clock_that_was_set_back_does_not_keep_newer_rosters_out(opened: Opened, roster: Path) -> None:
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(3))
        await sync_once(dep)
        await dep.frames.note_roster({"taken": await dep.clock.now() + 86400})
        roster.write_text(company(4))
        await sync_once(dep)
        assert len(await people(dep)) == 4


@pytest.mark.parametrize("asked", [None, ("W0001",)], ids=["everybody", "one person"])
async def test_a_planner_that_was_suspended_installs_nothing(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...] | None
) -> None:
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(3))
        run = await lifecycle.request_run(dep, Request(trigger="manual", people=asked))
        await lifecycle.begin(dep, run)
        lock = RedisContents.planning_lock(TARGET, None if asked is None else run)

        async def suspended(*args: Any, **more: Any) -> Planned:
            planned = await make_plan(*args, **more)
            lose(dep, lock)
            return planned

        monkeypatch.setattr(enqueue, "make_plan", suspended)
        assert not await lifecycle.plan(dep, run, TARGET)
        assert await dep.runs.operations(run, [TARGET]) == []
        assert (await dep.runs.target(run, TARGET)).get("stage") in ("queued", "planning")
        monkeypatch.setattr(enqueue, "make_plan", make_plan)
        RedisContents(dep).free(lock)
        assert await lifecycle.plan(dep, run, TARGET)
        assert await dep.runs.operations(run, [TARGET])


@pytest.mark.parametrize("asked", [None, ("W0001",)], ids=["everybody", "one person"])
async def test_a_run_that_waited_plans_from_the_roster_that_came_since(
    opened: Opened, roster: Path, switchboard: Switchboard, asked: tuple[str, ...] | None
) -> None:
    """Else who left meanwhile would get back what the older row gave them."""
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(12))
        await sync_once(dep)
        roster.write_text(company(12, changes={1: {"last_name": "Changed"}}))
        waits = await lifecycle.request_run(dep, Request(trigger="manual", people=asked))
        assert await lifecycle.begin(dep, waits) == (TARGET,)
        roster.write_text(company(12, gone=(1,)))
        assert (await sync_once(dep))["targets"][TARGET]["succeeded"]["leave"] == 1
        assert await lifecycle.plan(dep, waits, TARGET)
        await drain(dep)
        document = await dep.runs.document(waits)
        assert document is not None
        assert sum(document["targets"][TARGET]["planned"].values()) == 0
        (gone,) = [one for one in switchboard.accounts(TARGET) if one["customer_id"] == "W0001"]
        assert gone["plan"] == "Leaver"


async def test_a_clean_roster_is_planned_by_the_run_with_a_degraded_one_that_it_joined(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(40))
        await sync_once(dep)
        busy = await lifecycle.request_run(dep, Request(trigger="manual"))
        await lifecycle.begin(dep, busy)
        async with held(dep.locks, TARGET, busy) as hold:
            assert hold is not None
            roster.write_text(company(20))
            degraded = await lifecycle.request_run(dep, Request(trigger="manual"))
            await lifecycle.begin(dep, degraded)
            assert not await lifecycle.plan(dep, degraded, TARGET)
            roster.write_text(company(40, gone=(1,)))
            clean = await lifecycle.request_run(dep, Request(trigger="manual"))
            await lifecycle.begin(dep, clean)
            assert await lifecycle.plan(dep, clean, TARGET), "it joined the one that waits"
        assert await lifecycle.plan(dep, degraded, TARGET)
        await drain(dep)
        (gone,) = [one for one in switchboard.accounts(TARGET) if one["customer_id"] == "W0001"]
        assert gone["plan"] == "Leaver"


async def three_begun(dep: Deployment, roster: Path) -> list[str]:
    """Three runs about everybody, each of which has read the roster."""
    roster.write_text(company(3))
    runs = []
    for _ in range(3):
        runs.append(await lifecycle.request_run(dep, Request(trigger="manual")))
        await lifecycle.begin(dep, runs[-1])
    return runs


async def test_a_part_that_joined_another_is_nudged_as_often_as_it_likes(opened: Opened, roster: Path) -> None:
    """Each look at waiting runs nudges it, however long the target is busy."""
    async with opened(only=(TARGET,)) as dep:
        busy, waits, joins = await three_begun(dep, roster)
        async with held(dep.locks, TARGET, busy) as hold:
            assert hold is not None
            for _ in range(2 * lifecycle.MOST_BEGINNINGS):
                assert not await plan_or_give_up(dep, waits, TARGET)
                assert await plan_or_give_up(dep, joins, TARGET)
        assert "error" not in await dep.runs.own_part(joins, TARGET)
        assert await plan_or_give_up(dep, waits, TARGET)
        await drain(dep)
        assert [await refresh(dep, run) for run in (waits, joins)] == ["succeeded", "succeeded"]


async def test_two_runs_never_join_each_other(opened: Opened, roster: Path) -> None:
    """Who waits is known for a while only, and a worker may ask again for the run that joined."""
    async with opened(only=(TARGET,)) as dep:
        busy, first, second = await three_begun(dep, roster)
        async with held(dep.locks, TARGET, busy) as hold:
            assert hold is not None
            assert not await lifecycle.plan(dep, first, TARGET)
            assert await lifecycle.plan(dep, second, TARGET), "it joined the one that waits"
            await dep.lifecycle.wait_no_more(TARGET)
            await lifecycle.plan(dep, second, TARGET)
            await lifecycle.plan(dep, first, TARGET)
        assert await lifecycle.plan(dep, first, TARGET)
        assert await lifecycle.plan(dep, second, TARGET)
        await drain(dep)
        for run in (first, second):
            # As each tick does
            await refresh(dep, run)
            document = await dep.runs.document(run)
            assert document is not None
            assert document["targets"][TARGET]["planned"]["create"] == 3
            assert document["status"] == "succeeded"


async def test_a_planner_suspended_within_its_installation_takes_nothing_from_the_next_one(
    opened: Opened, roster: Path, switchboard: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(3))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        await lifecycle.begin(dep, run)
        lay_down = dep.plans._lay_down
        again: list[bool] = []

        async def suspended(*args: Any, **more: Any) -> Any:
            rows = await lay_down(*args, **more)
            if not again:
                again.append(True)
                RedisContents(dep).free(RedisContents.planning_lock(TARGET))
                assert await lifecycle.plan(dep, run, TARGET)
                await drain(dep)
            return rows

        monkeypatch.setattr(type(dep.plans), "_lay_down", lambda _self, *args, **more: suspended(*args, **more))
        assert not await lifecycle.plan(dep, run, TARGET)
        assert len(switchboard.accounts(TARGET)) == 3
        assert counts(await dep.runs.target(run, TARGET), "succeeded")["create"] == 3
        document = await dep.runs.document(run)
        assert document is not None
        assert document["status"] == "succeeded"


async def test_one_person_is_planned_by_one_task_at_a_time(opened: Opened, roster: Path) -> None:
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(3))
        run = await lifecycle.request_run(dep, Request(trigger="manual", people=("W0001",)))
        await lifecycle.begin(dep, run)
        async with held(dep.locks, TARGET, run, urgent=True) as hold:
            assert hold is not None
            assert not await lifecycle.plan(dep, run, TARGET)
        done = await asyncio.gather(*(lifecycle.plan(dep, run, TARGET) for _ in range(4)))
        assert any(done)
        await drain(dep)
        assert counts(await dep.runs.target(run, TARGET), "succeeded")["create"] == 1


async def test_who_was_forgotten_by_a_suspended_process_is_said_to_be_known_still(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(3))
        await sync_once(dep)
        within = erase._within

        async def suspended(*args: Any) -> int:
            lose(dep, RedisContents.planning_lock(TARGET))
            return await within(*args)

        monkeypatch.setattr(erase, "_within", suspended)
        with pytest.raises(ProvisionerError, match="not forgotten yet") as raised:
            await forget(dep, "W0001", by="test")
        assert raised.value.remedy == "Ask again."
        monkeypatch.setattr(erase, "_within", within)
        RedisContents(dep).free(RedisContents.planning_lock(TARGET))
        await sync_once(dep)
        await forget(dep, "W0001", by="test")
        assert await people(dep) == ["W0000", "W0002"]


async def test_no_run_begins_while_somebody_is_forgotten(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(only=(TARGET,)) as dep:
        roster.write_text(company(3))
        await sync_once(dep)
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        within = erase._within
        tried: list[tuple[str, ...]] = []

        async def meanwhile(*args: Any) -> int:
            tried.append(await lifecycle.begin(dep, run))
            return await within(*args)

        monkeypatch.setattr(erase, "_within", meanwhile)
        await forget(dep, "W0001", by="test")
        assert tried == [()]
        assert await people(dep) == ["W0000", "W0002"]
        assert await lifecycle.begin(dep, run) == (TARGET,)


async def test_a_table_that_was_written_under_a_lost_lock_is_written_again(
    opened: Opened, roster: Path, tmp_path: Path
) -> None:
    async with opened(only=(TARGET,), writeback={"url": str(tmp_path / "table.csv")}) as dep:
        roster.write_text(company(2))
        await sync_once(dep)
        assert await write_due(dep) is not None
        await ask_for_table(dep.table_requests, dep.settings, "run")
        async with dep.locks.work("writeback", seconds=60) as hold:
            assert hold is not None
            lose(dep, RedisContents.work_lock("writeback"))
            assert await write_due(dep, hold) is not None
        assert await write_due(dep) is not None
        assert await write_due(dep) is None


async def test_the_loss_of_a_lock_is_logged(opened: Opened) -> None:
    async with opened(only=(TARGET,)) as dep:
        with structlog.testing.capture_logs() as logs:
            async with held(dep.locks, TARGET, "run") as hold:
                assert hold is not None
                lose(dep, RedisContents.planning_lock(TARGET))
                assert not await hold.still()
        assert [one["event"] for one in logs] == ["hold_lost"]
