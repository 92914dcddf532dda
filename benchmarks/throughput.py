"""How many operations a second are delivered by vendors who answer at once and set no limit, besides bare requests.

Everybody's name changes, and the updates go out: one request per person to one target, full batches to the other. The
floor sends as many requests of the same size, as many at once, by httpx alone: no claim, no pace, no record.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.report import Figures
from benchmarks.staging import Stage, cpu_seconds, finished, pids_of, quietly, staged, write_roster
from provisioner.dispatch.in_flight import FIRST as SENDERS
from provisioner.runtime.context import Deployment, build_targets
from provisioner.settings import Settings
from provisioner.store.runs.documents import Request
from provisioner.targets.http import new_client

#: Target → where it takes a change, how many go together, and what the floor sends for each.
KINDS = {"traitly": ("/api/v1/customer", 1), "mtribes": ("/v1.0/spaces/{}/users", 100)}
PROCESSES = (1, 2, 4)
_SEATS = (
    f"A process has {SENDERS} requests under way at a vendor who answers at once. Further processes join it after a "
    "second, if there is so much to do (docs/decisions/0009)."
)


def measure(people: int) -> Figures:
    """Change half as many people as asked for, once for each number of processes."""
    quietly()
    size = max(200, people // 2)
    measured = []
    with staged(size, targets=tuple(KINDS)) as stage:
        with stage.fleet():
            finished(stage.settings, stage.ask(Request(trigger="manual")), within=3600)
        renamed = False
        for processes in PROCESSES:
            renamed = not renamed
            write_roster(stage.roster, size, renamed=size if renamed else 0)
            with stage.fleet(concurrency=processes) as fleet:
                for target in KINDS:
                    before = cpu_seconds(pids_of(fleet)), cpu_seconds([stage.redis.pid])
                    rate = _delivered(stage, target, size)
                    ours = cpu_seconds(pids_of(fleet)) - before[0]
                    redis = cpu_seconds([stage.redis.pid]) - before[1]
                    measured.append((target, processes, rate, ours, redis))
        # Last: the bare bodies say less of a person than ours, which the next listing would show
        floors = {target: _alone(stage, target, size) for target in KINDS}
    rows = tuple(
        (
            f"{target}, {KINDS[target][1]} per request, {processes} process{'es' * (processes > 1)}",
            f"{rate:,.0f}",
            f"{floors[target]:,.0f}",
            f"{floors[target] / rate:.1f}",
            f"{1000 * ours / size:.2f} ms",
            f"{1000 * redis / size:.2f} ms",
        )
        for target, processes, rate, ours, redis in measured
    )
    return Figures(
        title=f"delivery: {size:,} updates per target, vendors without limit or delay",
        columns=("target", "operations/s", "bare requests", "bare ÷ ours", "our processor", "Redis's"),
        rows=rows,
        reached=None,
        notes=(
            "Processor time is per operation, that of reading and planning the change included.",
            _SEATS,
        ),
    )


def _delivered(stage: Stage, target: str, size: int) -> float:
    """Operations a second, from the plan to the end of its run."""
    run = stage.ask(Request(trigger="manual", targets=(target,)))
    began = asyncio.run(_planned(stage.settings, run, target))
    done = finished(stage.settings, run, within=3600)
    elapsed = time.monotonic() - began
    sent = sum(done["targets"][target]["succeeded"].values())
    if sent != size:
        raise AssertionError(f"{sent} of {size} updates reached {target}: {done}")
    return size / elapsed


async def _planned(settings: Settings, run: str, target: str) -> float:
    """The monotonic time at which the first operations could be sent."""
    async with Deployment.open(settings) as dep:
        while not (await dep.runs.target(run, target)).get("planned:update"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
        return time.monotonic()


def _alone(stage: Stage, target: str, size: int) -> float:
    """Changes a second by bare requests, in a process of its own."""
    path, batch = KINDS[target]
    made = build_targets(stage.settings)[0][target]
    address = made.origin + path.format(stage.document["targets"][target].get("space_id", ""))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return size / pool.submit(_bare, address, dict(made.headers()), size, batch).result()


def _bare(address: str, headers: dict[str, str], size: int, batch: int) -> float:
    return asyncio.run(_bare_loop(address, headers, size, batch))


async def _bare_loop(address: str, headers: dict[str, str], size: int, batch: int) -> float:
    bodies = iter([_body(start, min(batch, size - start), batch) for start in range(0, size, batch)])

    async def sender() -> None:
        for body in bodies:
            answer = await client.post(address, json=body, headers=headers)
            if answer.status_code not in (200, 201, 202):
                raise AssertionError(f"the floor was answered {answer.status_code}: {answer.text[:200]}")

    async with new_client() as client:
        began = time.perf_counter()
        await asyncio.gather(*(sender() for _ in range(SENDERS)))
        return time.perf_counter() - began


def _body(start: int, count: int, batch: int) -> object:
    people = [
        {"name": "Ann Bare", "email": f"p{number:07}@example.com", "key": f"p{number:07}"}
        for number in range(start, start + count)
    ]
    if batch == 1:
        one = people[0]
        return {"customer_id": one["key"], "name": one["name"], "email": one["email"], "plan": "Employee"}
    return {"users": [{"id": one["key"], "name": one["name"], "email": one["email"]} for one in people]}
