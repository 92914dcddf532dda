"""What a leaver has in a target that no run has read so far, nobody knows: until one has, their leave is unfinished."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from provisioner.admin.decisions import pause, resume
from provisioner.admin.erase import forget
from provisioner.admin.leaver_receipts import receipt, unfinished
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.decisions.test_unfinished import PEOPLE, figures, is_unfinished, ready
from tests.support.harness import sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio

READ, UNREAD = "tribal_habits", "traitly"


async def first_contact(dep: Deployment, roster: Path, switchboard: Switchboard) -> dict[str, object]:
    """Redis lost everything; of the accounts that are there, those of one target cannot be read, while one leaves."""
    await ready(dep, roster)
    RedisContents(dep).delete_ours()
    switchboard.fault(UNREAD, times=None, status=503)
    roster.write_text(company(PEOPLE, gone=(3,)))
    return await sync_once(dep)


@asynccontextmanager
async def with_a_new_target_that_is_down(
    opened: Opened, roster: Path, switchboard: Switchboard, unread: str
) -> AsyncIterator[Deployment]:
    """A company in one target, to which another one came that a run has tried to read."""
    async with opened(only=(READ,)) as dep:
        await ready(dep, roster)
    switchboard.fault(unread, times=None, status=503)
    async with opened(only=(READ, unread)) as dep:
        await sync_once(dep)
        yield dep


async def read_at_last(dep: Deployment, switchboard: Switchboard) -> None:
    switchboard.clear_faults(UNREAD)
    await resume(dep, UNREAD, by="test")
    assert (await sync_once(dep))["status"] == "succeeded"


async def test_a_leaver_is_unfinished_where_nobody_has_looked(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=(READ, UNREAD)) as dep:
        document = await first_contact(dep, roster, switchboard)
        said = await is_unfinished(dep, "W0003", UNREAD, "waiting", document)
        assert said == "traitly cannot be reached"
        found = await receipt(dep, "W0003")
        assert found is not None
        assert found["targets"][READ]["status"] == "done"
        await read_at_last(dep, switchboard)
        over = await receipt(dep, "W0003")
        assert over is not None
        assert over["finished_at"] is not None
        assert over["targets"][UNREAD]["status"] == "done"
        assert await unfinished(dep) == []
        left = {one["customer_id"]: one["plan"] for one in switchboard.accounts(UNREAD)}
        assert left["W0003"] == "Leaver"


async def test_without_an_account_there_they_are_finished_once_somebody_has_looked(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=(READ, UNREAD)) as dep:
        await ready(dep, roster)
        RedisContents(dep).delete_ours()
        switchboard.reset(UNREAD)
        switchboard.fault(UNREAD, times=None, status=503)
        roster.write_text(company(PEOPLE, gone=(3,)))
        await is_unfinished(dep, "W0003", UNREAD, "waiting", await sync_once(dep))
        await read_at_last(dep, switchboard)
        over = await receipt(dep, "W0003")
        assert over is not None
        assert over["finished_at"] is not None
        assert over["targets"][UNREAD]["status"] == "no account"
        assert set((await figures(dep)).values()) == {0}


async def test_a_run_about_one_person_reads_no_target_for_the_others(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=(READ, UNREAD)) as dep:
        await first_contact(dep, roster, switchboard)
        switchboard.clear_faults(UNREAD)
        await resume(dep, UNREAD, by="test")
        await sync_once(dep, people=("W0005",))
        found = await receipt(dep, "W0003")
        assert found is not None
        assert found["targets"][UNREAD]["message"] == "no run about everybody has read traitly so far"
        assert found["finished_at"] is None
        await sync_once(dep)
        assert await unfinished(dep) == []


async def test_who_left_before_we_came_has_no_receipt(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    """A first contact that fails lists nobody of whom no account is known."""
    async with opened(only=(READ, UNREAD)) as dep:
        switchboard.fault(UNREAD, times=None, status=503)
        roster.write_text(company(PEOPLE, gone=(3, 4)))
        await sync_once(dep)
        assert await receipt(dep, "W0003") is None
        assert set((await figures(dep)).values()) == {0}


@pytest.mark.parametrize("unread", ["habitate", UNREAD])
async def test_a_target_that_is_new_and_cannot_be_read_in_whatever_order(
    opened: Opened, roster: Path, switchboard: Switchboard, unread: str
) -> None:
    """It comes before the other one by name, and after it; a run without a leaver may have met it already."""
    async with with_a_new_target_that_is_down(opened, roster, switchboard, unread) as dep:
        roster.write_text(company(PEOPLE, gone=(3,)))
        await is_unfinished(dep, "W0003", unread, "waiting", await sync_once(dep))


async def test_who_is_unfinished_elsewhere_already_is_noted_in_a_new_target_too(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=(READ,)) as dep:
        await ready(dep, roster)
        await pause(dep, READ, by="test")
        roster.write_text(company(PEOPLE, gone=(3,)))
        await sync_once(dep)
    switchboard.fault(UNREAD, times=None, status=503)
    async with opened(only=(READ, UNREAD)) as dep:
        await resume(dep, READ, by="test")
        await is_unfinished(dep, "W0003", UNREAD, "waiting", await sync_once(dep))


async def test_a_target_that_is_disabled_before_it_was_read_is_asked_of_nobody(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with with_a_new_target_that_is_down(opened, roster, switchboard, UNREAD):
        pass
    async with opened(only=(READ,)) as dep:
        roster.write_text(company(PEOPLE, gone=(3,)))
        await sync_once(dep)
        found = await receipt(dep, "W0003")
        assert found is not None
        assert found["finished_at"] is not None
        assert UNREAD not in found["targets"]


async def test_who_is_forgotten_is_unfinished_nowhere(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened(only=(READ, UNREAD)) as dep:
        await first_contact(dep, roster, switchboard)
        roster.write_text(company(3))
        await forget(dep, "W0003", by="test")
        assert await unfinished(dep) == []
        assert (await figures(dep))[UNREAD] == 0
