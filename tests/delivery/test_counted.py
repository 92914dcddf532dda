"""What one delivered operation costs, counted exactly: round trips, commands that Redis carries out, asyncio tasks.

Each bound is some hundredths above what was counted when it was last lowered, so that it can only go down. To lower
one: make the change, run this file with a bound of 0, and write the figure of the failure's message there. A bound is
never raised: a change that needs more of one has to spare it elsewhere.

Two loads of different size are delivered and their difference is divided by that of the operations, so that what a
delivery costs once, however much it delivers, is not in the figures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.dispatch import in_flight, pool
from provisioner.dispatch.pool import deliver
from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import Opened, company
from tests.support.round_trips import Trips, commands_so_far, counted_trips

pytestmark = pytest.mark.anyio

#: Of one target that takes one request per operation, and of one that takes a hundred.
ONE_EACH, BATCHES = "traitly", "mtribes"
SMALL, LARGE = 40, 140


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one operation. `commands` are those that Redis carries out, each call of a script and what it calls."""

    trips: float
    commands: float
    tasks: float


#: On a quiet machine 4.96, 82.8 and 8.3, and 0.1, 52.5 and 0.16. On a busy one the pace looks for a slot more often.
BOUNDS: Final = {ONE_EACH: Cost(5.1, 86.0, 8.6), BATCHES: Cost(0.11, 53.0, 0.2)}


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> Trips:
    # However slow the machine is, one delivery ends the queue
    monkeypatch.setattr(pool, "BUDGET", 600.0)
    # Nor do more senders look into the empty queue where answers take long
    monkeypatch.setattr(in_flight, "MOST", in_flight.FIRST)
    return counted_trips(monkeypatch)


class Tasks:
    """How many asyncio tasks the loop has made."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **named: Any) -> Any:
        self.count += 1
        return asyncio.Task(work, loop=loop, **named)


async def delivered(dep: Deployment, url: str, target: str, trips: Trips) -> tuple[int, int, int, int]:
    """Plan a run and deliver it: operations, round trips, commands, tasks."""
    run = await lifecycle.request_run(dep, Request(trigger="manual"))
    for one in await lifecycle.begin(dep, run):
        await lifecycle.plan(dep, run, one)
    tasks = Tasks()
    before, asked = trips.count, commands_so_far(url)
    loop = asyncio.get_running_loop()
    loop.set_task_factory(tasks)  # type: ignore[arg-type]  # a task is what it makes of a coroutine
    try:
        while (await deliver(dep, target)).seconds is not None:
            pass
    finally:
        loop.set_task_factory(None)
    counted = trips.since(before)
    document = await dep.runs.document(run)
    assert document is not None
    operations = sum(document["targets"][target]["succeeded"].values())
    return operations, counted, commands_so_far(url) - asked, tasks.count


@pytest.mark.parametrize("target", [ONE_EACH, BATCHES])
async def test_an_operation_costs_no_more_than_it_did(
    opened: Opened, roster: Path, switchboard: Switchboard, trips: Trips, target: str, redis_url: str
) -> None:
    del switchboard
    bound = BOUNDS[target]
    async with opened(only=(target,)) as dep:
        counted = []
        for people in (SMALL, SMALL + LARGE):
            roster.write_text(company(people))
            counted.append(await delivered(dep, redis_url, target, trips))
    (few, *small), (many, *large) = counted
    each = [(more - less) / (many - few) for less, more in zip(small, large, strict=True)]
    found = Cost(*(round(one, 2) for one in each))
    assert found.trips <= bound.trips, found
    assert found.commands <= bound.commands, found
    assert found.tasks <= bound.tasks, found
