"""What work costs, counted: round trips to Redis and requests to vendors. No clock is looked at.

The bounds are a little above what is needed today, so that one more round trip per operation, or one per person where
there was one for all, is noticed.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from provisioner.dispatch import leases, pool
from provisioner.dispatch.in_flight import FIRST, MOST
from provisioner.dispatch.pool import deliver
from provisioner.runs import lifecycle, observe, orders
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.queue.operations import Claim
from provisioner.store.runs.documents import Request
from provisioner.targets.habitate import listing
from provisioner.targets.mtribes import reading as mtribes_reading
from provisioner.targets.traitly import reading as traitly_reading
from tests.decisions.conftest import Opened, company
from tests.support.harness import FAST, drain, sync_once
from tests.support.round_trips import Trips, counted_trips

pytestmark = pytest.mark.anyio

FEW, MANY = 10, 70
#: Round trips by which two equal runs differ: another page of a scan, and a renewal more on a busy machine. One for
#: each of the people who are more would be thirty.
SLACK = 20
#: Besides the round trips of each request: what a nudge asks at its beginning and its end, that of the run among it.
PER_NUDGE = 110
#: A slot, a claim, the answer's word to the pace, and the record.
PER_REQUEST = 5


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> Trips:
    # However slow the machine is, one wave ends the queue
    monkeypatch.setattr(pool, "BUDGET", 600.0)
    return counted_trips(monkeypatch)


async def planned(dep: Deployment) -> str:
    run = await lifecycle.request_run(dep, Request(trigger="manual"))
    for target in await lifecycle.begin(dep, run):
        await lifecycle.plan(dep, run, target)
    return run


async def delivered(dep: Deployment, target: str, trips: Trips) -> int:
    """Round trips until the target's queue is empty."""
    before = trips.count
    while (await deliver(dep, target)).seconds is not None:
        pass
    return trips.since(before)


def asked(switchboard: Switchboard) -> dict[str, tuple[int, int]]:
    """Reads and writes by target since the last time."""
    found = {name: switchboard.counts(name) for name in FAST}
    for name in FAST:
        switchboard.clear_log(name)
    return {name: (counts["reads"], counts["writes"]) for name, counts in found.items()}


async def test_one_request_per_operation_takes_few_round_trips(
    opened: Opened, roster: Path, switchboard: Switchboard, trips: Trips
) -> None:
    roster.write_text(company(MANY))
    async with opened(only=("traitly",)) as dep:
        await planned(dep)
        cost = await delivered(dep, "traitly", trips)
        writes = switchboard.counts("traitly")["writes"]
        assert writes == 2 * MANY
        assert cost <= PER_REQUEST * writes + PER_NUDGE


async def test_what_is_renewed_by_the_clock_does_not_count(
    opened: Opened, roster: Path, trips: Trips, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster.write_text(company(FEW))
    async with opened(only=("mtribes",)) as dep:
        costs = []
        for lease in (leases.LEASE, 0.006):
            monkeypatch.setattr(leases, "LEASE", lease)
            await planned(dep)
            before = trips.count
            async with leases.renewed(dep, "mtribes", await _claimed(dep), 0.0):
                await asyncio.sleep(0.1)
            costs.append(trips.since(before))
            await drain(dep)
            roster.write_text(company(FEW, changes={1: {"last_name": "Changed"}}))
        assert costs[0] == costs[1]


async def _claimed(dep: Deployment) -> list[Claim]:
    return await dep.queue.claim("mtribes", lease=60, token="one", limits={"*": 1})


@pytest.mark.parametrize("target", ["tribal_habits", "mtribes"])
async def test_a_batch_takes_as_many_round_trips_for_few_as_for_many(
    opened: Opened, roster: Path, switchboard: Switchboard, trips: Trips, target: str
) -> None:
    async with opened(only=(target,)) as dep:
        costs = []
        for people in (FEW, FEW + MANY):
            roster.write_text(company(people))
            await planned(dep)
            switchboard.clear_log(target)
            costs.append(await delivered(dep, target, trips))
            assert switchboard.counts(target)["writes"] == 1
        assert costs[1] <= costs[0] + 2
        assert costs[0] <= PER_REQUEST + PER_NUDGE


async def test_a_change_is_one_request_per_batch(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    changed = 5
    # They would be held otherwise
    async with opened(guards={"updates": {"percent": 100}}) as dep:
        roster.write_text(company(FEW))
        await sync_once(dep)
        await sync_once(dep)
        asked(switchboard)
        roster.write_text(company(FEW, changes={number: {"last_name": "Changed"} for number in range(changed)}))
        await sync_once(dep)
        writes = {name: count for name, (_, count) in asked(switchboard).items()}
        assert writes == {"tribal_habits": 1, "habitate": changed, "traitly": changed, "mtribes": 1}


async def costs_of_a_third_run(
    opened: Opened, roster: Path, switchboard: Switchboard, trips: Trips, **request: Any
) -> tuple[list[int], list[dict[str, tuple[int, int]]]]:
    """Round trips, and requests by target, of a run after all is as it should be: among few people and among more.

    Two such rosters fit into one page of every listing.
    """
    costs: list[int] = []
    asks: list[dict[str, tuple[int, int]]] = []
    async with opened() as dep:
        for people in (FEW, FEW * 4):
            roster.write_text(company(people))
            await sync_once(dep)
            await sync_once(dep)
            asked(switchboard)
            before = trips.count
            document = await sync_once(dep, **request)
            costs.append(trips.since(before))
            asks.append(asked(switchboard))
            assert document["status"] == "succeeded"
    return costs, asks


async def test_a_run_in_which_nothing_changed_costs_the_same_for_few_and_for_many(
    opened: Opened, roster: Path, switchboard: Switchboard, trips: Trips
) -> None:
    costs, asks = await costs_of_a_third_run(opened, roster, switchboard, trips)
    assert asks[0] == asks[1]
    assert all(writes == 0 for _, writes in asks[1].values())
    assert costs[1] <= costs[0] + SLACK


async def test_one_person_costs_the_same_among_few_and_among_many(
    opened: Opened, roster: Path, switchboard: Switchboard, trips: Trips
) -> None:
    costs, asks = await costs_of_a_third_run(opened, roster, switchboard, trips, people=("W0003",))
    assert asks[0] == asks[1]
    assert sum(reads for reads, _ in asks[1].values()) <= 10
    assert asks[1]["mtribes"] == (0, 0), "its last listing stands"
    assert costs[1] <= costs[0] + SLACK


async def test_as_many_requests_are_under_way_as_there_are_senders(
    opened: Opened, roster: Path, switchboard: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster.write_text(company(MANY))
    async with opened(only=("traitly",)) as dep:
        await planned(dep)
        made = dep.targets["traitly"]
        write, busy, most = made.write, 0, 0

        async def watched(*arguments: Any) -> Any:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            try:
                # As long as all that could come need to come
                for _ in range(200):
                    if most >= FIRST:
                        break
                    await asyncio.sleep(0.01)
                return await write(*arguments)
            finally:
                busy -= 1

        monkeypatch.setattr(made, "write", watched)
        # One delivery has a time to end in, which a busy machine may need more of
        await drain(dep)
        # More where the answers take long beside our own work
        assert FIRST <= most <= MOST
        assert switchboard.counts("traitly")["writes"] == 2 * MANY


async def test_what_takes_long_for_many_runs_beside_the_loop(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would say meanwhile that the target is held, and another worker would begin the same again."""
    where: set[tuple[str, bool]] = set()

    def watched(owner: Any, name: str) -> None:
        work = getattr(owner, name)

        def seen(*arguments: Any, **named: Any) -> Any:
            where.add((name, threading.current_thread() is threading.main_thread()))
            return work(*arguments, **named)

        monkeypatch.setattr(owner, name, seen)

    watched(observe, "frame_of")
    watched(observe, "accounts_of")
    watched(orders, "plan_target")
    watched(traitly_reading, "listing")
    watched(mtribes_reading, "_made")
    watched(listing, "_by_msid")
    roster.write_text(company(FEW))
    async with opened() as dep:
        await sync_once(dep)
        await sync_once(dep)
    assert {name for name, _ in where} >= {"frame_of", "plan_target", "listing", "_made", "_by_msid"}
    assert not [name for name, on_the_loop in where if on_the_loop]
