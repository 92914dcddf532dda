"""How closely four processes together keep to a vendor's limit, and whether they ever exceed it.

The stand-in enforces a strict sliding window at the arrival of each request. The processes share nothing but Redis, and
each has more senders than there are slots, so that every slot is fought for.
"""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.report import Figures
from benchmarks.staging import Stage, quietly, staged
from provisioner.runtime.context import Deployment
from provisioner.settings import load
from provisioner.targets.http import Http

TARGET, PROCESSES, SENDERS = "mtribes", 4, 16
LIMIT, WINDOW = 60, 2
#: Ten times the limit and a bit, so that the last window is begun by few.
REQUESTS = 10 * LIMIT + 20
RESERVE = math.floor(0.05 * LIMIT)
MOST = 1.05
_NOTE = (
    f"Pure limit: all but the first windows of {LIMIT - RESERVE} requests ({RESERVE} are kept for single-person work), "
    "each as long as the vendor's window and the longest answer."
)


@dataclass(frozen=True, slots=True)
class Sent:
    """What one process sent: when it began and ended (monotonic seconds), how many, and the longest answer."""

    began: float
    ended: float
    requests: int
    longest: float


def measure(people: int) -> Figures:
    """Send the same number of requests with even and with uneven answers; `people` changes nothing."""
    del people
    quietly()
    rows, reached = [], True
    with staged(0, targets=(TARGET,), limits={TARGET: f"{LIMIT}/{WINDOW}s"}) as stage:
        for name, shortest, longest in (("20 ms", 20, 20), ("20 to 400 ms", 20, 400)):
            row, good = _case(stage, name, shortest, longest)
            rows.append(row)
            reached = reached and good
    return Figures(
        title=f"pacing: {PROCESSES} processes, {LIMIT} requests per {WINDOW} s, {REQUESTS} requests",
        columns=("answers after", "429", "goal", "elapsed", "pure limit", "ratio", "goal"),
        rows=tuple(rows),
        reached=reached,
        notes=(_NOTE,),
    )


def _case(stage: Stage, name: str, shortest: int, longest: int) -> tuple[tuple[str, ...], bool]:
    board = stage.stand_ins[TARGET].board
    board.options(TARGET, rate_limit=LIMIT, rate_window=WINDOW, latency_ms=shortest)
    board.clear_faults(TARGET)
    steps = 8 if longest > shortest else 0
    for step in range(1, steps + 1):
        delay = (longest - shortest) * step / steps
        # Each takes its share of what the ones before it left over, so that all are as frequent
        board.fault(TARGET, delay_ms=delay, share=1 / (steps + 2 - step), seed=step, times=REQUESTS)
    # What the last case sent is out of every window
    time.sleep(WINDOW * 1.5 + 0.5)
    board.clear_log(TARGET)
    start = time.monotonic() + 4.0
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        work = partial(_send, stage.folder / "provisioner.yaml", start)
        sent = list(pool.map(work, [REQUESTS // PROCESSES] * PROCESSES))
    refused = int(board.counts(TARGET)["answers_429"])
    if sum(one.requests for one in sent) != REQUESTS:
        raise AssertionError(f"{sum(one.requests for one in sent)} requests were sent instead of {REQUESTS}")
    elapsed = max(one.ended for one in sent) - min(one.began for one in sent)
    answer = max(one.longest for one in sent)
    pure = (math.ceil(REQUESTS / (LIMIT - RESERVE)) - 1) * (WINDOW + answer)
    ratio = elapsed / pure
    row = (name, str(refused), "0", f"{elapsed:.1f} s", f"{pure:.1f} s", f"{ratio:.2f}", f"{MOST:.2f}")
    return row, refused == 0 and ratio <= MOST


def _send(settings: Path, start: float, count: int) -> Sent:
    quietly()
    return asyncio.run(_sending(settings, start, count))


async def _sending(settings: Path, start: float, count: int) -> Sent:
    async with Deployment.open(load(settings, environ={}).settings) as dep:
        pace, target = dep.pace_of(TARGET), dep.targets[TARGET]
        left, longest, requests = count, 0.0, 0

        async def sender() -> None:
            nonlocal left, longest, requests
            while left:
                left -= 1
                slot = await pace.slot(30.0)
                began = time.monotonic()
                http: Http = dep.http(TARGET, pace.prepaid(slot))
                await target.observe(http, {})
                longest = max(longest, time.monotonic() - began)
                requests += http.requests

        await asyncio.sleep(max(0.0, start - time.monotonic()))
        began = time.monotonic()
        await asyncio.gather(*(sender() for _ in range(SENDERS)))
        return Sent(began, time.monotonic(), requests, longest)
