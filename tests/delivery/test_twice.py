"""A client that had no answer sends its command again: twice must come to the same as once."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.model.operation import Operation
from provisioner.model.outcome import Done
from provisioner.planning.ledger_update import ledger_patch
from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.queue.entries import Entry
from provisioner.store.runs.counters import counts
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio
LIMITS = {"*": 1}


def _entry(operation: Operation) -> Entry:
    return Entry(operation, "event")


async def planned(dep: Deployment) -> str:
    run = await lifecycle.request_run(dep, Request(trigger="manual"))
    for target in await lifecycle.begin(dep, run):
        await lifecycle.plan(dep, run, target)
    return run


async def state(dep: Deployment, run: str) -> dict[str, dict[str, int]]:
    fields = await dep.runs.target(run, "traitly")
    statuses = ("pending", "sending", "waiting", "succeeded", "failed", "superseded")
    return {status: found for status in statuses if (found := counts(fields, status))}


async def test_a_claim_is_answered_again_with_the_same(opened: Opened, roster: Path) -> None:
    roster.write_text(company(4))
    async with opened(only=("traitly",)) as dep:
        run = await planned(dep)
        first = await dep.queue.claim("traitly", lease=60, token="t", limits={"*": 2})
        assert await dep.queue.claim("traitly", lease=60, token="t", limits={"*": 2}) == first
        assert len(first) == 2
        assert (await state(dep, run))["sending"] == {"create": 2}
        await dep.queue.done(first[0], {"account": "W0000"}, "W0000")
        assert await dep.queue.claim("traitly", lease=60, token="t", limits={"*": 2}) == first[1:]


async def test_the_end_of_an_operation_is_counted_once(opened: Opened, roster: Path) -> None:
    roster.write_text(company(4))
    async with opened(only=("traitly",)) as dep:
        run = await planned(dep)
        claims = await dep.queue.claim("traitly", lease=60, token="t", limits={"*": 4})
        why = {"code": "no", "message": "because"}
        for _ in range(2):
            await dep.queue.done(claims[0], {"account": "W0000", "values": {}}, "W0000")
            await dep.queue.fail(claims[1], why)
            await dep.queue.park(claims[2], 600, why, unclear=False, spend=False)
            await dep.queue.give_back(claims[3])
        assert (
            await state(dep, run)
            == {
                "pending": {"create": 1, "event": 3},
                "waiting": {"create": 1},
                "succeeded": {"create": 1},
                "failed": {"create": 1, "event": 1},
            }
            or (await state(dep, run))["pending"]["event"] == 3
        )
        attempts = {one["person"]: one["attempts"] for one in await dep.runs.operations(run, ["traitly"], limit=4)}
        assert sorted(attempts.values())[:2] == [0, 0]
        assert (await dep.ledger.entry("traitly", claims[0].operation.person)).version == 1  # type: ignore[union-attr]


async def test_a_plan_is_installed_once(opened: Opened, roster: Path) -> None:
    roster.write_text(company(3))
    async with opened(only=("traitly",)) as dep:
        run = await planned(dep)
        before = await state(dep, run)
        for _ in range(2):
            assert await dep.plans.install(run, "traitly", [], _entry, [], began=0, people=None, urgent=False) == 0
        assert await state(dep, run) == before
        assert (await dep.queue.backlog("traitly")).ready == 3


async def test_a_plan_that_was_broken_off_leaves_nothing_behind(opened: Opened, roster: Path) -> None:
    roster.write_text(company(3))
    async with opened(only=("traitly",)) as dep:
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        await lifecycle.begin(dep, run)
        RedisContents(dep).half_lay_down(run, "traitly", "stale")
        await lifecycle.plan(dep, run, "traitly")
        rows = await dep.runs.operations(run, ["traitly"])
        assert len(rows) == 6
        assert not RedisContents(dep).operation_exists(run, "traitly", "stale")


async def test_what_follows_an_operation_in_flight_survives_a_newer_plan(opened: Opened, roster: Path) -> None:
    roster.write_text(company(1))
    async with opened(only=("traitly",)) as dep:
        older = await planned(dep)
        (claim,) = await dep.queue.claim("traitly", lease=60, token="t", limits=LIMITS)
        newer = await planned(dep)
        # Superseded, and to be planned again
        assert await state(dep, newer) == {"waiting": {"create": 1, "event": 1}}
        assert await state(dep, older) == {"sending": {"create": 1}, "pending": {"event": 1}}
        await dep.queue.done(claim, {"account": "W0000"}, "W0000")
        (event,) = await dep.queue.claim("traitly", lease=60, token="u", limits=LIMITS)
        assert event.operation.kind == "event"


async def test_an_event_that_was_told_since_is_not_told_again(opened: Opened, roster: Path) -> None:
    roster.write_text(company(1))
    async with opened(only=("traitly",)) as dep:
        run = await planned(dep)
        rows = await dep.runs.operations(run, ["traitly"])
        (create,) = await dep.queue.claim("traitly", lease=60, token="a", limits=LIMITS)
        await dep.queue.done(create, ledger_patch(create.operation, Done(account="W0000")), "W0000")
        (event,) = await dep.queue.claim("traitly", lease=60, token="b", limits=LIMITS)
        began = await dep.clock.now()
        await dep.queue.done(event, ledger_patch(event.operation, Done()), "W0000")
        assert len(rows) == 2
        # A plan whose observation began before the event went out would ask for it once more
        again = await lifecycle.request_run(dep, Request(trigger="manual"))
        dropped = await dep.plans.install(
            again, "traitly", [event.operation], _entry, [], began=began, people=None, urgent=False
        )
        assert dropped == 1


async def test_a_create_that_came_about_unseen_is_still_ours_and_is_told(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(company(1))
    async with opened(only=("traitly",)) as dep:
        older = await planned(dep)
        (claim,) = await dep.queue.claim("traitly", lease=60, token="dead", limits=LIMITS)
        http = dep.http("traitly", dep.pace_of("traitly"))
        await dep.targets["traitly"].write(http, [claim.operation])
        RedisContents(dep).lease("traitly", claim.member)
        await dep.queue.reap("traitly")
        newer = await planned(dep)
        assert await state(dep, newer) == {}, "the account is there, so nothing is planned"
        assert (await state(dep, older))["succeeded"] == {"create": 1}
        entry = await dep.ledger.entry("traitly", "W0000")
        assert entry is not None
        assert entry.created
        await drain(dep)
        assert [one["name"] for one in switchboard.state("traitly")["events"]] == ["Onboarded"]
        assert (await state(dep, older)) == {"succeeded": {"create": 1, "event": 1}}


async def test_an_unclear_event_stays_unclear_when_it_is_planned_as_owed(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(company(1))
    async with opened(only=("traitly",)) as dep:
        await planned(dep)
        (create,) = await dep.queue.claim("traitly", lease=60, token="a", limits=LIMITS)
        http = dep.http("traitly", dep.pace_of("traitly"))
        await dep.targets["traitly"].write(http, [create.operation])
        await dep.queue.done(create, ledger_patch(create.operation, Done(account="W0000")), "W0000")
        (event,) = await dep.queue.claim("traitly", lease=60, token="b", limits=LIMITS)
        await dep.targets["traitly"].write(http, [event.operation])
        await planned(dep)
        assert (await dep.queue.backlog("traitly")).ready == 0, "the same fact is on its way"
        RedisContents(dep).lease("traitly", event.member)
        await dep.queue.reap("traitly")
        await planned(dep)
        await drain(dep)
        assert [one["name"] for one in switchboard.state("traitly")["events"]] == ["Onboarded"]


async def test_a_failed_leader_takes_its_followers_along_when_it_goes_again(opened: Opened, roster: Path) -> None:
    roster.write_text(company(1))
    async with opened(only=("traitly",)) as dep:
        run = await planned(dep)
        (claim,) = await dep.queue.claim("traitly", lease=60, token="t", limits=LIMITS)
        await dep.queue.fail(claim, {"code": "no", "message": "because"})
        assert await state(dep, run) == {"failed": {"create": 1, "event": 1}}
        assert await dep.queue.release(run, "traitly", claim.operation.id, {"who": "test"})
        assert not await dep.queue.release(run, "traitly", claim.operation.id, {"who": "test"})
        assert await state(dep, run) == {"pending": {"create": 1, "event": 1}}
        assert (await dep.queue.backlog("traitly")).ready == 1


class KilledError(BaseException):
    """The planner's process was killed."""


async def test_a_plan_that_was_broken_off_is_installed_though_the_target_is_away(
    opened: Opened, switchboard: Switchboard, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.store.queue.plans._PART", 0)
    roster.write_text(company(6))
    async with opened(only=("mtribes",)) as dep:
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        await lifecycle.begin(dep, run)
        script, parts = dep.plans._script, 3

        async def dying(names: list[str], arguments: list[str]) -> object:
            nonlocal parts
            parts -= 1
            if parts < 0:
                raise KilledError
            return await script(names, arguments)

        with monkeypatch.context() as killed:
            killed.setattr(dep.plans, "_script", dying)
            with pytest.raises(KilledError):
                await lifecycle.plan(dep, run, "mtribes")
        switchboard.fault("mtribes", drop="before", times=None)
        await lifecycle.plan(dep, run, "mtribes")
        rows = await dep.runs.operations(run, ["mtribes"])
        assert [row["status"] for row in rows] == ["pending"] * 6
        switchboard.clear_faults("mtribes")
        await drain(dep)
        document = await dep.runs.document(run)
        assert document is not None
        assert document["targets"]["mtribes"]["succeeded"] == {"create": 6}
        assert document["status"] == "succeeded"
