"""Redis goes away, comes back, or comes back empty: nothing acknowledged is forgotten, nobody is made twice."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from provisioner.admin.leaver_receipts import receipt
from provisioner.dispatch.outcome_spool import Spool, Spooled
from provisioner.dispatch.pool import deliver
from provisioner.dispatch.redis_loss import QUIET, remembers
from provisioner.errors import StoreError
from provisioner.runs import lifecycle
from provisioner.sandbox import Switchboard
from provisioner.store.queue.operations import QueueStore
from provisioner.store.queue.plans import PlanStore
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio


async def test_an_acknowledged_outcome_outlives_a_redis_that_does_not_answer(
    opened: Opened, roster: Path, switchboard: Switchboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster.write_text(company(3))
    async with opened(only=("traitly",)) as dep:
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)

        async def gone(*_: object, **__: object) -> bool:
            raise StoreError("Redis does not answer.")

        with monkeypatch.context() as patched:
            patched.setattr(QueueStore, "record", gone)
            with pytest.raises(StoreError):
                await deliver(dep, "traitly")
        spool = Spool(dep.settings.data_dir)
        (file,) = tmp_path.glob("outcomes.jsonl*")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        kept = len(file.read_bytes().splitlines())
        assert kept == len(switchboard.accounts("traitly")) > 0
        writes = switchboard.counts("traitly")["writes"]
        assert await spool.replay(dep.queue) == kept
        assert await spool.replay(dep.queue) == 0
        assert list(tmp_path.glob("outcomes.jsonl*")) == []
        assert switchboard.counts("traitly")["writes"] == writes
        await drain(dep)
        document = await dep.runs.document(run)
        assert document is not None
        assert document["targets"]["traitly"]["succeeded"] == {"create": 3, "event": 3}
        assert switchboard.counts("traitly")["by_endpoint"]["POST /api/v1/customer"] == 3


async def test_a_line_that_was_torn_by_a_crash_spoils_no_other(opened: Opened, roster: Path, tmp_path: Path) -> None:
    roster.write_text(company(2))
    async with opened(only=("traitly",)) as dep:
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)
        first, second = await dep.queue.claim("traitly", lease=60, token="t", limits={"*": 2})
        spool = Spool(dep.settings.data_dir)
        spool.add(Spooled(first, {"account": "W0000"}, "W0000"))
        path = tmp_path / "outcomes.jsonl"
        with path.open("ab") as file:
            file.write(b'{"run": "torn')
        spool.add(Spooled(second, {}, None, {"code": "no", "message": "because"}))
        assert await spool.replay(dep.queue) == 2
        rows = await dep.runs.operations(run, ["traitly"], limit=2)
        assert sorted(row["status"] for row in rows) == ["failed", "succeeded"]


async def test_a_redis_that_lost_everything_is_noticed_and_its_people_are_adopted(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    sales = {1: {"department": "Sales"}, 2: {"department": "Sales"}}
    roster.write_text(company(6, changes=sales))
    async with opened() as dep:
        before = await sync_once(dep)
        assert before["status"] == "succeeded"
        assert before["targets"]["tribal_habits"]["succeeded"]["enrol"] == 2
        memory = await remembers(dep)
        assert (memory.lost, memory.quiet) == (False, 0.0)
        held = {kind: switchboard.state(kind) for kind in dep.targets}
        RedisContents(dep).lose_everything()
        memory = await remembers(dep)
        assert memory.lost
        assert QUIET - 5 < memory.quiet <= QUIET
        after = await sync_once(dep)
        assert after["status"] == "succeeded"
        for target, figures in after["targets"].items():
            assert figures["adopted"] == 6, target
            # What no listing shows, such as habitate's boards, is written once more
            assert set(figures["succeeded"]) <= {"enrol", "update"}, target
        now = {kind: switchboard.state(kind) for kind in dep.targets}
        for kind, state in now.items():
            assert len(state["accounts"]) == len(held[kind]["accounts"]), kind
        assert now["tribal_habits"]["enrolments"] == held["tribal_habits"]["enrolments"]
        assert now["traitly"]["events"] == held["traitly"]["events"]
        assert (await remembers(dep)).lost


async def test_what_was_in_flight_when_redis_lost_everything_is_still_recorded(opened: Opened, roster: Path) -> None:
    roster.write_text(company(1))
    async with opened(only=("traitly",)) as dep:
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)
        (claim,) = await dep.queue.claim("traitly", lease=60, token="t", limits={"*": 1})
        RedisContents(dep).lose_everything()
        assert await dep.queue.done(claim, {"account": "W0000", "values": {"plan": "Employee"}}, "W0000")
        entry = await dep.ledger.entry("traitly", "W0000")
        assert entry is not None
        assert (entry.account, entry.version) == ("W0000", 1)
        assert not await dep.queue.done(claim, {"account": "W0000"}, "W0000")
        assert await dep.runs.operations(run, ["traitly"]) == []


async def test_a_fresh_redis_beside_a_fresh_folder_has_lost_nothing(opened: Opened) -> None:
    async with opened(only=("traitly",)) as dep:
        first = await remembers(dep)
        assert (first.lost, first.quiet) == (False, 0.0)
        assert await remembers(dep) == first


async def test_a_redis_that_goes_while_a_target_is_planned_fails_no_part_of_the_run(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster.write_text(company(2))
    async with opened(only=("mtribes",)) as dep:
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        (target,) = await lifecycle.begin(dep, run)

        async def gone(*_: object, **__: object) -> int:
            raise StoreError("Redis does not answer.")

        with monkeypatch.context() as patched:
            patched.setattr(PlanStore, "install", gone)
            with pytest.raises(StoreError):
                await lifecycle.plan(dep, run, target)
        assert (await dep.runs.target(run, target))["stage"] == "planning"
        assert await lifecycle.plan(dep, run, target)
        await drain(dep)
        document = await dep.runs.document(run)
        assert document is not None
        assert document["targets"]["mtribes"]["succeeded"] == {"create": 2}


@pytest.mark.parametrize("alone", [False, True], ids=["everybody", "by themselves"])
@pytest.mark.parametrize("adopted", ["leaver", "member"])
async def test_a_leaver_whose_boards_redis_forgot_keeps_none(
    opened: Opened, roster: Path, switchboard: Switchboard, adopted: str, *, alone: bool
) -> None:
    """No listing shows a board. They are on one that their row does not name, and somebody else's does."""
    sales, guest = {"department": "Sales"}, 5
    async with opened(only=("habitate",), guards={"leavers": {"percent": 1}}) as dep:
        roster.write_text(company(6, changes={1: sales, 2: sales}))
        await sync_once(dep)
        account = next(one for one in switchboard.accounts("habitate") if one["email"] == "p1@example.com")
        RedisContents(dep).lose_everything()
        await remembers(dep)
        if adopted == "leaver":
            # The leave was under way: role first, then boards
            switchboard.seed("habitate", [{"user_id": account["user_id"], "role_id": guest}])
        else:
            roster.write_text(company(6, changes={2: sales}))
            await sync_once(dep)
        sync = {"people": ("W0001",)} if alone else {}
        roster.write_text(company(6, gone=(1,), changes={2: sales}))
        document = await sync_once(dep, **sync)
        assert document["status"] == "succeeded", document
        assert document["targets"]["habitate"]["succeeded"]["leave"] == 1
        boards = switchboard.state("habitate")["boards"]
        assert not [name for name, those in boards.items() if account["msid"] in those]
        assert len(boards["Sales"]) == 1
        entry = await dep.ledger.entry("habitate", "W0001")
        assert entry is not None
        assert entry.state == "left"
        writes = switchboard.counts("habitate")["writes"]
        again = await sync_once(dep, people=("W0001",))
        assert (again["status"], switchboard.counts("habitate")["writes"]) == ("succeeded", writes)


async def test_a_leaver_after_a_loss_is_finished_once_their_boards_are_gone(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=("habitate",), guards={"updates": {"percent": 100}}) as dep:
        roster.write_text(company(6))
        await sync_once(dep)
        account = next(one for one in switchboard.accounts("habitate") if one["email"] == "p1@example.com")
        RedisContents(dep).lose_everything()
        await remembers(dep)
        switchboard.seed("habitate", [{"user_id": account["user_id"], "role_id": 5}])
        roster.write_text(company(6, gone=(1,)))
        boards = {"method": "PUT", "path_prefix": "/api/v1/boards"}
        switchboard.fault("habitate", match=boards, status=400, body={"error": "no"}, times=None)
        document = await sync_once(dep)
        assert document["targets"]["habitate"]["failed"]["leave"] == 1
        found = await receipt(dep, "W0001")
        assert found is not None
        assert (found["finished_at"], found["targets"]["habitate"]["status"]) == (None, "failed")
        switchboard.clear_faults("habitate")
        document = await sync_once(dep)
        assert document["status"] == "succeeded", document["targets"]
        found = await receipt(dep, "W0001")
        assert found is not None
        assert found["targets"]["habitate"]["status"] == "done"
