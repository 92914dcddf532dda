"""How many operations a second are delivered by vendors who answer at once and set no limit, besides bare requests.

Everybody's name changes, and the updates go out: one request per person to one target, full batches to the other. The
floor sends as many requests of the same size, as many at once, by httpx alone: no claim, no pace, no record. It has a
stand-in of its own, and takes turns with ours, so that a noisy moment falls on both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

from benchmarks.goals import Turns, compared, measured, milliseconds, number
from benchmarks.report import Figures
from benchmarks.staging import (
    UNLIMITED,
    Stage,
    StandIn,
    cpu_seconds,
    finished,
    pids_of,
    quietly,
    staged,
    stand_in,
    write_roster,
)
from provisioner.runtime.context import Deployment, build_targets
from provisioner.settings import Settings
from provisioner.store.runs.documents import Request
from provisioner.targets.http import new_client
from tests.chaos.fleet import Fleet

#: Target → where it takes a change, how many go together, and what the floor sends for each.
KINDS: Final[Mapping[str, tuple[str, int]]] = {
    "traitly": ("/api/v1/customer", 1),
    "mtribes": ("/v1.0/spaces/{}/users", 100),
}
#: The target and the number of processes that the goals are about.
JUDGED: Final = ("traitly", 1)
PROCESSES: Final = (1, 2)
TURNS: Final = 5
#: Requests that the floor has under way.
IN_FLIGHT: Final = 8
#: Of the floor's rate; seconds of our processor and of Redis's for one operation.
LEAST_OF_FLOOR, MOST_OURS, MOST_REDIS = 1.0, 0.0008, 0.00025


@dataclass(frozen=True, slots=True)
class Sent:
    """One turn of one side: operations a second, and processor seconds an operation, of it and of Redis."""

    rate: float
    cpu: float
    redis: float = 0.0


def measure(people: int) -> Figures:
    """Change half as many people as asked for, again and again, in turns with bare requests."""
    quietly()
    size = max(200, people // 2)
    ours: dict[tuple[str, int], list[Sent]] = {}
    floors: dict[str, list[Sent]] = {}
    with ExitStack() as stack:
        stage = stack.enter_context(staged(size, targets=tuple(KINDS)))
        bare = {target: stack.enter_context(stand_in()) for target in KINDS}
        for target, one in bare.items():
            one.board.options(target, rate_limit=UNLIMITED, rate_window=1)
            # The first time makes accounts, which is not what is measured
            _alone(stage, one, target, size)
        with stage.fleet():
            finished(stage.settings, stage.ask(Request(trigger="manual")), within=3600)
        renamed = False
        for processes in PROCESSES:
            with stage.fleet(concurrency=processes) as fleet:
                for _ in range(TURNS):
                    renamed = not renamed
                    write_roster(stage.roster, size, renamed=size if renamed else 0)
                    for target, one in bare.items():
                        ours.setdefault((target, processes), []).append(_delivered(stage, fleet, target, size))
                        if processes == JUDGED[1]:
                            floors.setdefault(target, []).append(_alone(stage, one, target, size))
    return _figures(size, ours, floors)


def _figures(size: int, ours: Mapping[tuple[str, int], list[Sent]], floors: Mapping[str, list[Sent]]) -> Figures:
    rows = []
    for (target, processes), turns in ours.items():
        floor = floors[target]
        rate, bare = (Turns(tuple(one.rate for one in side)) for side in (turns, floor))
        rows.append(
            (
                f"{target}, {KINDS[target][1]} per request, {processes} process{'es' * (processes > 1)}",
                rate.shown(number, best=rate.high),
                bare.shown(number, best=bare.high),
                f"{rate.high / bare.high:.2f}",
                Turns(tuple(one.cpu for one in turns)).shown(milliseconds),
                Turns(tuple(one.redis for one in turns)).shown(milliseconds),
                Turns(tuple(one.cpu for one in floor)).shown(milliseconds),
            )
        )
    judged, floor = ours[JUDGED], floors[JUDGED[0]]
    return Figures(
        title=f"delivery: {size:,} updates per target, vendors without limit or delay",
        columns=("target", "operations/s", "bare requests/s", "ours ÷ bare", "our processor", "Redis's", "bare's"),
        rows=tuple(rows),
        goals=(
            compared(
                "operations a second beside bare requests",
                "at least",
                LEAST_OF_FLOOR,
                Turns(tuple(one.rate for one in judged)),
                Turns(tuple(one.rate for one in floor)),
            ),
            measured(
                "our processor for an operation", "at most", MOST_OURS,
                Turns(tuple(one.cpu for one in judged)), milliseconds,
            ),
            measured(
                "Redis's processor for an operation", "at most", MOST_REDIS,
                Turns(tuple(one.redis for one in judged)), milliseconds,
            ),
        ),
        notes=(
            f"Judged: {JUDGED[0]} by {JUDGED[1]} process. Each side is the best of {TURNS} turns, which alternate.",
            "Time and processor time are those of delivery: from the first planned operation to the end of the run.",
            f"Bare requests: {IN_FLIGHT} under way in one process, by httpx, to a stand-in of their own.",
        ),
    )  # fmt: skip


def _delivered(stage: Stage, fleet: Fleet, target: str, size: int) -> Sent:
    """From the plan to the end of its run."""
    run = stage.ask(Request(trigger="manual", targets=(target,)))
    asyncio.run(planned(stage.settings, run, target))
    began, before = time.monotonic(), (cpu_seconds(pids_of(fleet)), cpu_seconds([stage.redis.pid]))
    done = finished(stage.settings, run, within=3600)
    elapsed = time.monotonic() - began
    cpu, redis = cpu_seconds(pids_of(fleet)) - before[0], cpu_seconds([stage.redis.pid]) - before[1]
    sent = sum(done["targets"][target]["succeeded"].values())
    if sent != size:
        raise AssertionError(f"{sent} of {size} updates reached {target}: {done}")
    return Sent(size / elapsed, cpu / size, redis / size)


async def planned(settings: Settings, run: str, target: str) -> None:
    """Wait until the first operations can be sent."""
    async with Deployment.open(settings) as dep:
        while not (await dep.runs.target(run, target)).get("planned:update"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


def _alone(stage: Stage, vendor: StandIn, target: str, size: int) -> Sent:
    """Bare requests, in a process of their own."""
    path, batch = KINDS[target]
    headers = dict(build_targets(stage.settings)[0][target].headers())
    place = path.format(stage.document["targets"][target].get("space_id", ""))
    address = f"{vendor.board.url}/{target}{place}"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        seconds, cpu = pool.submit(_bare, address, headers, size, batch).result()
    return Sent(size / seconds, cpu / size)


def _bare(address: str, headers: dict[str, str], size: int, batch: int) -> tuple[float, float]:
    return asyncio.run(_bare_loop(address, headers, size, batch))


async def _bare_loop(address: str, headers: dict[str, str], size: int, batch: int) -> tuple[float, float]:
    bodies = iter([_body(start, min(batch, size - start), batch) for start in range(0, size, batch)])

    async def sender() -> None:
        for body in bodies:
            answer = await client.post(address, json=body, headers=headers)
            if answer.status_code not in (200, 201, 202):
                raise AssertionError(f"the floor was answered {answer.status_code}: {answer.text[:200]}")

    async with new_client() as client:
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(sender() for _ in range(IN_FLIGHT)))
        return time.perf_counter() - began, time.process_time() - cpu


def _body(start: int, count: int, batch: int) -> object:
    people = [
        {"name": "Ann Bare", "email": f"p{number:07}@example.com", "key": f"p{number:07}"}
        for number in range(start, start + count)
    ]
    if batch == 1:
        one = people[0]
        return {"customer_id": one["key"], "name": one["name"], "email": one["email"], "plan": "Employee"}
    return {"users": [{"id": one["key"], "name": one["name"], "email": one["email"]} for one in people]}
