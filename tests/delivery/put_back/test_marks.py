"""Who notices that Redis was put back: whoever has seen it further on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.preflight.redis import store
from provisioner.dispatch.leases import LEASE, Lease
from provisioner.dispatch.pool import deliver
from provisioner.dispatch.redis_loss import note_position, remembers
from provisioner.errors import ClaimLostError, RedisBehindError
from provisioner.model.check_result import Line
from provisioner.runs import lifecycle
from provisioner.runtime.clock import since_boot
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.admin.position import WENT_BACK
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import company
from tests.delivery.put_back.forgetting import PEOPLE, plans, put_back
from tests.support.harness import drain, due_now, sync_once
from tests.support.redis_contents import RedisContents
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio


async def test_a_process_that_has_seen_more_takes_nothing(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    """Redis is put back between two of its requests, before anybody looked."""
    async with opened("traitly") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        await dep.health.pause("traitly", paused=True)
        roster.write_text(company(PEOPLE, gone=(1,)))
        await sync_once(dep)
        await dep.health.pause("traitly", paused=False)

        async def sent() -> None:
            await drain(dep)

        await put_back(server, dep, tmp_path / "copy", sent)
        writes = switchboard.counts("traitly")["writes"]
        with pytest.raises(RedisBehindError):
            await dep.queue.claim("traitly", lease=60, token="t", limits={"*": 1})
        assert (await deliver(dep, "traitly")).seconds is not None
        assert switchboard.counts("traitly")["writes"] == writes


async def test_a_check_says_so_before_any_worker_has_noticed(
    opened: Callable[..., Any], server: RedisServer, roster: Path, tmp_path: Path
) -> None:
    async with opened("traitly") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        assert not [line for line in await lines_about_redis(dep) if line.verdict == "fail"]

        async def left() -> None:
            roster.write_text(company(PEOPLE, gone=(1,)))
            await sync_once(dep)

        await put_back(server, dep, tmp_path / "copy", left)
        before = await lines_about_redis(dep)
        assert [line.message for line in before if line.verdict == "fail"] == [f"{WENT_BACK}: traitly."]
        assert not (await dep.health.of("traitly")).unseen, "a check changes nothing"
        await remembers(dep)
        assert await lines_about_redis(dep) == before, "it says the same once they have"


async def lines_about_redis(dep: Deployment) -> list[Line]:
    return [line for line in (await store(dep.settings, needed=True)).lines if line.subject == "redis"]


async def test_what_was_claimed_before_is_claimed_no_more(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    """The copy is of a moment at which a worker that is suspended since had an update; the person left meanwhile."""
    async with opened("traitly") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, changes={1: {"last_name": "Changed"}}))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)
        claims = await dep.queue.claim("traitly", lease=LEASE, token="frozen", limits={"*": 1})
        suspended = Lease(dep.queue, "traitly", claims, since_boot())

        async def left() -> None:
            RedisContents(dep).end_leases("traitly")
            await dep.queue.reap("traitly")
            await drain(dep)
            roster.write_text(company(PEOPLE, gone=(1,)))
            assert (await sync_once(dep))["targets"]["traitly"]["succeeded"]["leave"] == 1

        await put_back(server, dep, tmp_path / "copy", left)
        writes = switchboard.counts("traitly")["writes"]
        slots = dep.pace_of("traitly")
        # Nobody has noted it yet, but this process knows of more
        with pytest.raises(ClaimLostError):
            await slots.try_slot(1.0, suspended)
        await remembers(dep)
        # By now it holds for processes that knew of nothing
        dep.queue.position = 0
        again = Lease(dep.queue, "traitly", claims, since_boot())
        with pytest.raises(ClaimLostError):
            await slots.try_slot(1.0, again)
        with pytest.raises(ClaimLostError):
            await again.renew()
        assert (await sync_once(dep))["status"] == "succeeded"
        await due_now(dep, "traitly")
        await drain(dep)
        assert switchboard.counts("traitly")["writes"] == writes
        assert plans(switchboard)["W0001"] == "Leaver"


async def test_a_mark_of_an_earlier_version_says_nothing_of_a_position(
    opened: Callable[..., Any], roster: Path, tmp_path: Path
) -> None:
    async with opened("traitly") as dep:
        roster.write_text(company(2))
        await sync_once(dep)
        path = tmp_path / "data" / "redis-mark"
        mark, position = path.read_text().split()
        assert int(position) > 0
        path.write_text(mark)
        memory = await remembers(dep)
        assert not memory.went_back
        assert path.read_text().split()[0] == mark


@pytest.mark.parametrize("copy", [True, False], ids=["data_dir kept", "data_dir emptied too"])
async def test_a_redis_that_lost_everything_was_not_put_back(
    opened: Callable[..., Any], roster: Path, tmp_path: Path, copy: bool
) -> None:
    """Another process notices first and gives Redis a new mark; this one remembers a position of the old."""
    async with opened("traitly") as dep, opened("traitly") as other:
        roster.write_text(company(2))
        await sync_once(dep)
        assert dep.queue.position > 0
        RedisContents(dep).delete_ours()
        if not copy:
            (tmp_path / "data" / "redis-mark").unlink()
        assert (await remembers(other)).lost is copy
        memory = await remembers(dep)
        assert memory.lost is copy
        assert not memory.went_back


async def test_a_redis_that_is_brought_back_from_before_its_loss_was_put_back(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    """Somebody finds it empty, and brings back the last copy of its volume."""
    async with opened("traitly") as dep, opened("traitly") as other:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=(1,)))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)
        await remembers(dep)

        async def lost() -> None:
            RedisContents(dep).delete_ours()
            assert (await remembers(dep)).lost

        # Nothing was changed between the copy and the loss, so its position is the greatest that is known
        await put_back(server, dep, tmp_path / "copy", lost)
        with pytest.raises(RedisBehindError):
            await dep.queue.claim("traitly", lease=60, token="t", limits={"*": 9})
        assert (await remembers(dep)).went_back
        assert (await dep.health.of("traitly")).unseen
        await deliver(dep, "traitly")
        assert plans(switchboard)["W0001"] == "Employee"
        position = (await dep.position.read()).number
        assert (await remembers(other)).went_back
        assert (await remembers(dep)).went_back
        assert (await dep.position.read()).number == position, "noted once"
        await sync_once(dep)
        assert plans(switchboard)["W0001"] == "Leaver"


async def test_a_position_of_before_a_loss_is_not_kept_for_the_new_redis(
    opened: Callable[..., Any], roster: Path
) -> None:
    """Another process notices the loss while this one delivers."""
    async with opened("traitly") as dep, opened("traitly") as other:
        roster.write_text(company(2))
        await sync_once(dep)
        RedisContents(dep).delete_ours()
        await remembers(other)
        await note_position(dep.queue, dep.settings)
        assert not (await remembers(other)).went_back
