"""Guards count what is decided and not yet sent: many small runs add up like one large one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.queue.plans import PlanStore
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio

TARGET = "traitly"
PEOPLE, LIMIT = 120, 5
#: By guard: the kind that it holds, and what one person's row says who gets such an operation.
CHANGES: dict[str, tuple[str, dict[str, str]]] = {
    "leavers": ("leave", {"employment_status": "left"}),
    "updates": ("update", {"last_name": "Changed"}),
    "creates": ("create", {}),
    "rejoins": ("rejoin", {}),
}


def guards(guard: str) -> dict[str, Any]:
    return {guard: {"percent": 100, "absolute": LIMIT}}


def writes_of(document: Mapping[str, Any], status: str, kind: str) -> int:
    return int(document["targets"][TARGET].get(status, {}).get(kind, 0))


async def prepare(dep: Deployment, roster: Path, guard: str, people: range) -> None:
    """Everybody as they are before, and the roster that changes these people."""
    _, row = CHANGES[guard]
    if guard == "creates":
        roster.write_text(company(PEOPLE - len(people)))
        await sync_once(dep)
        roster.write_text(company(PEOPLE))
        return
    if guard == "rejoins":
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=tuple(people)))
        await sync_once(dep)
        roster.write_text(company(PEOPLE))
        return
    roster.write_text(company(PEOPLE))
    await sync_once(dep)
    roster.write_text(company(PEOPLE, changes=dict.fromkeys(people, row)))


async def sent(dep: Deployment, runs: list[str], kind: str) -> int:
    documents = [await dep.runs.document(run) for run in runs]
    return sum(writes_of(one, "succeeded", kind) for one in documents if one is not None)


@pytest.mark.parametrize("guard", list(CHANGES))
async def test_small_runs_of_a_paused_target_add_up(
    opened: Opened, roster: Path, switchboard: Switchboard, guard: str
) -> None:
    kind, _ = CHANGES[guard]
    people = range(PEOPLE - 9, PEOPLE)
    async with opened(only=(TARGET,)) as dep:
        await prepare(dep, roster, guard, people)
    async with opened(only=(TARGET,), guards=guards(guard)) as dep:
        made = len(switchboard.accounts(TARGET))
        # What was sent while this was prepared must not count
        RedisContents(dep).forget_sent(TARGET, *CHANGES)
        await dep.health.pause(TARGET, paused=True)
        runs = []
        for number in people:
            document = await sync_once(dep, people=(f"W{number:04}",))
            runs.append(document["run"])
        await dep.health.pause(TARGET, paused=False)
        await drain(dep)
        assert await sent(dep, runs, kind) == LIMIT
        held = [await dep.runs.document(run) for run in runs]
        assert sum(writes_of(one, "held", kind) for one in held if one is not None) == 9 - LIMIT
        if guard == "creates":
            assert len(switchboard.accounts(TARGET)) == made + LIMIT
        # A plan for everybody takes the place of all of them, and counts each once
        whole = await sync_once(dep)
        assert writes_of(whole, "held", kind) == 9 - LIMIT


async def test_small_runs_at_once_add_up(opened: Opened, roster: Path) -> None:
    """Each is planned before any other is in the queue."""
    async with opened(only=(TARGET,), guards=guards("leavers")) as dep:
        people = range(9)
        await prepare(dep, roster, "leavers", people)
        await dep.health.pause(TARGET, paused=True)
        runs = [
            await lifecycle.request_run(dep, Request(trigger="manual", people=(f"W{number:04}",))) for number in people
        ]
        for run in runs:
            await lifecycle.begin(dep, run)
        while not all(await asyncio.gather(*(lifecycle.plan(dep, run, TARGET) for run in runs))):
            pass
        await dep.health.pause(TARGET, paused=False)
        await drain(dep)
        assert await sent(dep, runs, "leave") == LIMIT


async def test_what_is_put_off_counts_once(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    """A leave that the vendor refuses for now is neither forgotten nor counted twice."""
    async with opened(only=(TARGET,), guards=guards("leavers")) as dep:
        await prepare(dep, roster, "leavers", range(9))
        switchboard.fault(TARGET, match={"method": "POST"}, status=503, times=3)
        runs = [(await sync_once(dep, people=(f"W{number:04}",)))["run"] for number in range(9)]
        counted = await dep.health.sent(TARGET, "leavers", 0) + await dep.health.unsent(TARGET, "leavers")
        assert counted == LIMIT
        documents = [await dep.runs.document(run) for run in runs]
        assert sum(writes_of(one, "held", "leave") for one in documents if one is not None) == 9 - LIMIT


async def test_whom_a_run_is_about_does_not_count_against_themselves(opened: Opened, roster: Path) -> None:
    async with opened(only=(TARGET,), guards={"leavers": {"percent": 100, "absolute": 1}}) as dep:
        await prepare(dep, roster, "leavers", range(1))
        await dep.health.pause(TARGET, paused=True)
        documents = [await sync_once(dep, people=("W0000",)) for _ in range(3)]
        assert [writes_of(document, "held", "leave") for document in documents] == [0, 0, 0]
        await dep.health.pause(TARGET, paused=False)
        await drain(dep)
        assert await sent(dep, [documents[-1]["run"]], "leave") == 1


async def test_what_was_approved_counts_for_nobody(opened: Opened, roster: Path) -> None:
    async with opened(only=(TARGET,), guards={"leavers": {"percent": 100, "absolute": 1}}) as dep:
        await prepare(dep, roster, "leavers", range(3))
        await dep.health.pause(TARGET, paused=True)
        document = await sync_once(dep, people=("W0000", "W0001"))
        assert writes_of(document, "held", "leave") == 2
        for row in await dep.runs.operations(document["run"], [TARGET]):
            await dep.queue.release(document["run"], TARGET, row["id"], {"by": "test"})
        assert await dep.health.unsent(TARGET, "leavers") == 0
        assert writes_of(await sync_once(dep, people=("W0002",)), "held", "leave") == 0


@pytest.mark.parametrize("moment", ["sent", "decided"])
@pytest.mark.parametrize("besides", [1, 2])
async def test_a_run_about_everybody_counts_who_leaves_while_it_plans(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch, moment: str, besides: int
) -> None:
    """Somebody more is decided about by themselves after the large plan looked: within the limit both go, else one."""
    async with opened(only=(TARGET,), guards=guards("leavers")) as dep:
        await prepare(dep, roster, "leavers", range(LIMIT - 1))
        install = PlanStore.install
        small: list[str] = []

        async def interleaved(*args: Any, **kwargs: Any) -> int | None:
            if kwargs["people"] is None and not small:
                # Newer rows than those that the large run planned from
                leaving = {number: {"employment_status": "left"} for number in (*range(LIMIT - 1), 50, 51)}
                roster.write_text(company(PEOPLE, changes=leaving))
                keys = ("W0050", "W0051")[:besides]
                small.append(await lifecycle.request_run(dep, Request(trigger="manual", people=keys)))
                await lifecycle.begin(dep, small[0])
                while not await lifecycle.plan(dep, small[0], TARGET):
                    pass
                if moment == "sent":
                    await drain(dep)
            return await install(*args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(PlanStore, "install", interleaved)
            large = await sync_once(dep)
        await drain(dep)
        together = await sent(dep, [small[0], large["run"]], "leave")
        if besides == 1:
            assert together == LIMIT
        else:
            # By its older roster the large plan, made again, takes the place of neither
            assert (together, writes_of(large, "held", "leave")) == (2, LIMIT - 1)
