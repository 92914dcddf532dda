"""Where a target takes long to read, those who left do not wait for it: a run about them alone goes before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.admin.leaver_receipts import receipt
from provisioner.runs import leavers_first as module
from provisioner.runs import lifecycle
from provisioner.runs.leavers_first import leavers_first
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.runs.documents import Request
from provisioner.store.runs.locks import FORGETTING
from provisioner.worker.run_steps import deliver_or_note
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, sync_once

pytestmark = pytest.mark.anyio

TARGET: Final = "habitate"
PEOPLE: Final = 30
GUEST, MEMBER = 5, 4


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every waiting counts as long."""
    monkeypatch.setattr(module, "PATIENCE", 0.0)


@pytest.fixture
def slow(switchboard: Switchboard) -> Iterator[Callable[[], None]]:
    """From its call on, a listing of everybody does not come to its end before the test is over."""

    def hold() -> None:
        # The first request for members is that of a listing
        switchboard.fault(
            TARGET, match={"method": "GET", "path_prefix": "/api/v1/users"}, times=1, delay_ms=28_000, hold=True
        )

    yield hold
    switchboard.clear_faults(TARGET)


@asynccontextmanager
async def reading(dep: Deployment, switchboard: Switchboard, **request: Any) -> AsyncIterator[str]:
    """A run about everybody that reads its target meanwhile."""
    switchboard.clear_log(TARGET)
    run = await lifecycle.request_run(dep, Request(trigger="manual", **request))
    await lifecycle.begin(dep, run)
    task = asyncio.ensure_future(lifecycle.plan(dep, run, TARGET))
    for _ in range(100):
        if any(entry["path"].endswith("/roles") for entry in switchboard.log(TARGET)):
            break
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    yield run
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def carry_out(dep: Deployment, asked: list[tuple[str, str]]) -> None:
    for run, target in asked:
        await lifecycle.plan(dep, run, target)
    await deliver_or_note(dep, TARGET, urgent=True)


def role(switchboard: Switchboard, person: str) -> int:
    return int(next(one["role_id"] for one in switchboard.accounts(TARGET) if one["username"] == person.lower()))


def writes(switchboard: Switchboard) -> int:
    return int(switchboard.counts(TARGET)["writes"])


async def asked_people(dep: Deployment, asked: list[tuple[str, str]]) -> list[tuple[str, ...] | None]:
    requests = [await dep.runs.request(run) for run, _ in asked]
    return [one.people for one in requests if one is not None]


async def test_who_left_is_sent_while_everybody_is_being_read(
    opened: Opened, roster: Path, switchboard: Switchboard, slow: Callable[[], None]
) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=(TARGET,)) as dep:
        assert (await sync_once(dep))["status"] == "succeeded"
        slow()
        roster.write_text(company(PEOPLE, gone=(3,), changes={4: {"last_name": "Other"}}))
        async with reading(dep, switchboard) as run:
            asked = await leavers_first(dep)
            assert await asked_people(dep, asked) == [("W0003",)]
            assert await leavers_first(dep) == []
            await carry_out(dep, asked)
            assert (role(switchboard, "W0003"), role(switchboard, "W0004")) == (GUEST, MEMBER)
            found = await receipt(dep, "W0003")
            assert found is not None
            assert found["finished_at"] is not None
            document = await dep.runs.document(asked[0][0])
            assert document is not None
            assert (document["trigger"], document["status"]) == ("leavers", "succeeded")
        switchboard.clear_faults(TARGET)
        before = writes(switchboard)
        assert await lifecycle.plan(dep, run, TARGET)
        await drain(dep)
        whole = await dep.runs.document(run)
        assert whole is not None
        # All that was left to do is the other's name
        assert (whole["status"], writes(switchboard) - before) == ("succeeded", 1)
        assert whole["targets"][TARGET]["planned"]["leave"] == 0


async def test_a_run_that_waits_for_the_reading_of_another_asks_by_its_own_roster(
    opened: Opened, roster: Path, switchboard: Switchboard, slow: Callable[[], None]
) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=(TARGET,)) as dep:
        await sync_once(dep)
        slow()
        roster.write_text(company(PEOPLE, gone=(3,)))
        async with reading(dep, switchboard):
            await carry_out(dep, await leavers_first(dep))
            roster.write_text(company(PEOPLE, gone=(3, 4)))
            waiting = await lifecycle.request_run(dep, Request(trigger="roster"))
            await lifecycle.begin(dep, waiting)
            assert not await lifecycle.plan(dep, waiting, TARGET)
            asked = await leavers_first(dep)
            assert await asked_people(dep, asked) == [("W0004",)]
            await carry_out(dep, asked)
            assert [role(switchboard, f"W000{number}") for number in (3, 4, 5)] == [GUEST, GUEST, MEMBER]


@pytest.mark.parametrize("gone", [(), tuple(range(1, 6))], ids=["nobody", "more than the guard lets through"])
async def test_nobody_goes_before(
    opened: Opened, roster: Path, switchboard: Switchboard, slow: Callable[[], None], gone: tuple[int, ...]
) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=(TARGET,)) as dep:
        await sync_once(dep)
        slow()
        roster.write_text(company(PEOPLE, gone=gone))
        async with reading(dep, switchboard):
            assert await leavers_first(dep) == []
        assert {role(switchboard, f"W{number:04}") for number in range(PEOPLE)} == {MEMBER}


async def test_what_went_out_in_the_window_counts_before_they_are_parted(
    opened: Opened, roster: Path, switchboard: Switchboard, slow: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan about everybody would hold all of them, where one part of them would pass."""
    monkeypatch.setattr(module, "LOOKED_UP", 2)
    roster.write_text(company(PEOPLE))
    async with opened(only=(TARGET,), guards={"leavers": {"percent": 100, "absolute": 5}}) as dep:
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=(1, 2, 3)))
        await sync_once(dep)
        slow()
        roster.write_text(company(PEOPLE, gone=(1, 2, 3, 4, 5, 6)))
        async with reading(dep, switchboard):
            assert await leavers_first(dep) == []
        assert [role(switchboard, f"W000{number}") for number in (4, 5, 6)] == [MEMBER] * 3


async def test_parts_within_the_guard_all_go(
    opened: Opened, roster: Path, switchboard: Switchboard, slow: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOKED_UP", 2)
    roster.write_text(company(PEOPLE))
    async with opened(only=(TARGET,), guards={"leavers": {"percent": 100, "absolute": 5}}) as dep:
        await sync_once(dep)
        slow()
        roster.write_text(company(PEOPLE, gone=(4, 5, 6)))
        async with reading(dep, switchboard):
            asked = await leavers_first(dep)
            assert await asked_people(dep, asked) == [("W0004", "W0005"), ("W0006",)]
            await carry_out(dep, asked)
            assert [role(switchboard, f"W000{number}") for number in (4, 5, 6)] == [GUEST] * 3


async def test_of_a_degraded_roster_nobody_does(
    opened: Opened, roster: Path, switchboard: Switchboard, slow: Callable[[], None]
) -> None:
    """Its removals wait for somebody to accept it."""
    roster.write_text(company(PEOPLE))
    async with opened(only=(TARGET,), guards={"leavers": {"percent": 100}}) as dep:
        await sync_once(dep)
        slow()
        # Half of them are not there any more
        roster.write_text(company(PEOPLE // 2, gone=(3,)))
        async with reading(dep, switchboard):
            assert await leavers_first(dep) == []
        assert role(switchboard, "W0003") == MEMBER


async def test_whose_account_may_go_on_under_another_key_does_not(
    opened: Opened, roster: Path, switchboard: Switchboard, slow: Callable[[], None]
) -> None:
    """The same name and address stand in a new row, while the old one left."""
    roster.write_text(company(PEOPLE))
    async with opened(only=(TARGET,)) as dep:
        await sync_once(dep)
        slow()
        new = company(PEOPLE).splitlines()[4].replace("W0003", "X0003")
        roster.write_text(f"{company(PEOPLE, gone=(3,))}{new}\n")
        async with reading(dep, switchboard):
            assert await leavers_first(dep) == []
        assert role(switchboard, "W0003") == MEMBER


async def test_who_is_not_linked_waits_for_the_listing(
    opened: Opened, roster: Path, switchboard: Switchboard, slow: Callable[[], None]
) -> None:
    roster.write_text(company(PEOPLE, gone=(3,)))
    async with opened(only=(TARGET,)) as dep:
        slow()
        async with reading(dep, switchboard):
            assert await leavers_first(dep) == []


async def test_a_run_about_some_people_asks_for_no_other(
    opened: Opened, roster: Path, slow: Callable[[], None]
) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=(TARGET,)) as dep:
        await sync_once(dep)
        slow()
        roster.write_text(company(PEOPLE, gone=(3,)))
        run = await lifecycle.request_run(dep, Request(trigger="manual", people=("W0003",)))
        await lifecycle.begin(dep, run)
        assert await leavers_first(dep) == []


async def test_while_somebody_is_forgotten_nobody_is_copied(
    opened: Opened, roster: Path, switchboard: Switchboard, slow: Callable[[], None]
) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=(TARGET,)) as dep:
        await sync_once(dep)
        slow()
        roster.write_text(company(PEOPLE, gone=(3,)))
        async with reading(dep, switchboard):
            async with dep.locks.work(FORGETTING, seconds=20):
                assert await leavers_first(dep) == []
            assert await asked_people(dep, await leavers_first(dep)) == [("W0003",)]
