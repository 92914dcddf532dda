"""Claim, send, record: order, batches, retries, and what an answer that never came leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.dispatch.pool import Place, deliver
from provisioner.runs import lifecycle
from provisioner.runs.estimate import estimate, finish_estimate
from provisioner.sandbox import Switchboard
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import Opened, company
from tests.support.documents import anything
from tests.support.harness import drain, due_now, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio


async def test_a_batch_that_fails_whole_is_halved_to_the_bad_row(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(company(16, changes={11: {"last_name": "Poison"}}))
    switchboard.fault("mtribes", match={"method": "POST", "contains": "Poison"}, status=422, times=None)
    switchboard.fault("mtribes", match={"method": "PUT", "contains": "Poison"}, status=422, times=None)
    async with opened(only=("mtribes",)) as dep:
        run = await sync_once(dep)
        target = run["targets"]["mtribes"]
        assert (target["succeeded"], target["failed"]) == ({"create": 15}, {"create": 1})
        failed = anything(await dep.runs.operations(run["run"], ["mtribes"], statuses=["failed"]))
        assert [one["person"] for one in failed] == ["W0011"]
        assert failed[0]["error"]["code"] == "invalid"
        assert [one["code"] for one in failed[0]["tries"]] == ["invalid"]
        assert switchboard.counts("mtribes")["writes"] == 9, "1 of 16, 2 of 8, 2 of 4, 2 of 2, 2 of 1"


async def test_an_event_whose_answer_was_lost_is_looked_up_and_not_sent_again(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(company(1))
    switchboard.fault("traitly", match={"method": "POST", "path_prefix": "/api/v1/event"}, drop="after")
    async with opened(only=("traitly",)) as dep:
        run = await sync_once(dep)
        await due_now(dep, "traitly")
        await drain(dep)
        assert switchboard.counts("traitly")["dropped"] == 1
        assert [one["name"] for one in switchboard.state("traitly")["events"]] == ["Onboarded"]
        (event,) = [one for one in await dep.runs.operations(run["run"], ["traitly"]) if one["kind"] == "event"]
        assert (event["status"], event["attempts"]) == ("succeeded", 2)
        assert [one["code"] for one in event["tries"]] == ["connection_lost"]


async def test_what_a_worker_had_in_hand_when_it_died_is_unclear_and_done_once(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(company(1))
    async with opened(only=("habitate",)) as dep:
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)
        (claim,) = await dep.queue.claim("habitate", lease=60, token="dead", limits={"*": 1})
        http = dep.http("habitate", dep.pace_of("habitate"))
        await dep.targets["habitate"].write(http, [claim.operation])
        assert await dep.queue.reap("habitate") == 0
        RedisContents(dep).lease("habitate", claim.member)
        assert await dep.queue.reap("habitate") == 1
        await drain(dep)
        assert len([one for one in switchboard.accounts("habitate") if not one["is_bot"]]) == 1
        (operation,) = await dep.runs.operations(run, ["habitate"])
        assert operation["status"] == "succeeded"
        assert [one["code"] for one in operation["tries"]] == ["lease_expired"]
        assert not await dep.queue.done(claim, {}, None), "the late answer of the dead comes to nothing"


async def test_a_leaver_of_a_newer_plan_overtakes_what_waits(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(company(30))
    async with opened(only=("traitly",), guards={"leavers": {"percent": 100}, "updates": {"percent": 100}}) as dep:
        await sync_once(dep)
        await dep.health.pause("traitly", paused=True)
        changed = {number: {"location": "Perth"} for number in range(30)}
        roster.write_text(company(30, changes=changed))
        older = await sync_once(dep)
        roster.write_text(company(30, gone=(29,), changes=changed))
        newer = await sync_once(dep)
        replaced = await dep.runs.document(older["run"])
        assert replaced is not None
        assert replaced["targets"]["traitly"]["superseded"] == {"update": 30}
        assert newer["targets"]["traitly"]["waiting"] == {"update": 29, "leave": 1, "event": 1}
        await dep.health.pause("traitly", paused=False)
        (claim,) = await dep.queue.claim("traitly", lease=60, token="one", limits={"*": 1})
        assert (claim.operation.kind, claim.operation.person) == ("leave", "W0029")
        await dep.queue.give_back(claim)
        await drain(dep)
        left = [one["customer_id"] for one in switchboard.accounts("traitly") if one["plan"] == "Leaver"]
        assert left == ["W0029"]


async def test_stopped_returns_at_once_with_nothing_in_hand(opened: Opened, roster: Path) -> None:
    roster.write_text(company(5))
    async with opened(only=("traitly",)) as dep:
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)
        again = await deliver(dep, "traitly", place=Place(stopped=lambda: True))
        backlog = await dep.queue.backlog("traitly")
        assert (again.seconds, backlog.ready, backlog.leased) == (0.0, 5, 0)


async def test_how_long_the_queue_will_take(opened: Opened, roster: Path) -> None:
    roster.write_text(company(25))
    slow = {"traitly": "10/minute", "tribal_habits": "10/minute"}
    async with opened(only=("traitly", "tribal_habits")) as dep:
        fast = {name: dep.settings.targets[name] for name in slow}
        assert set(fast) == set(slow)
        for target in dep.targets:
            await dep.health.pause(target, paused=True)
        await sync_once(dep)
        assert await finish_estimate(dep, "traitly") is None
        await dep.health.pause("traitly", paused=False)
        await dep.health.pause("tribal_habits", paused=False)
        assert (await dep.queue.bands("traitly"))[1] == 25
        assert await finish_estimate(dep, "traitly") == pytest.approx(0.0)
        assert await estimate(dep, "traitly", {"create": 60_000, "event": 0}) >= 3.0
        assert await estimate(dep, "tribal_habits", {"create": 60_000}) == pytest.approx(0.0)
        await drain(dep)
        assert await finish_estimate(dep, "traitly") == 0.0
