"""How many operations a second go to a vendor who sets no limit and takes 200 ms to answer, by one process and by four.

Nothing but waiting is to be done, so the rate says how many requests are under way at once. In a turn everybody's name
changes, one request each, and a stretch of it is measured: it ends when all were sent or the time is over. What is left
then is sent to a vendor who answers at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from benchmarks.goals import Turns, compared, measured, milliseconds, number
from benchmarks.report import Figures
from benchmarks.staging import Stage, cpu_seconds, finished, pids_of, quietly, staged, write_roster
from provisioner.store.runs.documents import Request
from tests.chaos.fleet import Fleet

TARGET: Final = "traitly"
LATENCY_MS: Final = 200
PROCESSES: Final = (1, 4)
TURNS: Final = 3
#: Seconds of a turn that are measured at most, after so many in which as many come under way as will.
SECONDS, WARM_UP = 15.0, 3.0
#: Operations a second in one process; the rate of the most processes divided by that of one.
LEAST, LEAST_OF_ONE = 500.0, 3.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Writes a second that the vendor took, and processor seconds of ours and of Redis for each."""

    rate: float
    ours: float
    redis: float


def measure(people: int) -> Figures:
    """Change everybody, as far as a turn goes."""
    quietly()
    turns: dict[int, list[Stretch]] = {processes: [] for processes in PROCESSES}
    with staged(people, targets=(TARGET,)) as stage:
        with stage.fleet():
            finished(stage.settings, stage.ask(Request(trigger="manual")), within=3600)
        renamed = False
        for _ in range(TURNS):
            for processes in PROCESSES:
                renamed = not renamed
                write_roster(stage.roster, people, renamed=people if renamed else 0)
                with stage.fleet(concurrency=processes) as fleet:
                    turns[processes].append(_stretch(stage, fleet))
    rates = {processes: Turns(tuple(one.rate for one in found)) for processes, found in turns.items()}
    one, most = PROCESSES
    rows = tuple(
        (
            f"{processes} process{'es' * (processes > 1)}",
            rates[processes].shown(number, best=rates[processes].high),
            f"{rates[processes].high * LATENCY_MS / 1000:.0f}",
            Turns(tuple(found.ours for found in turns[processes])).shown(milliseconds),
            Turns(tuple(found.redis for found in turns[processes])).shown(milliseconds),
        )
        for processes in PROCESSES
    )
    return Figures(
        title=f"a slow vendor: answers after {LATENCY_MS} ms, without limit, one request per operation",
        columns=("processes", "operations/s", "under way", "our processor", "Redis's"),
        rows=rows,
        goals=(
            measured("operations a second in one process", "at least", LEAST, rates[one], number),
            compared(f"{most} processes beside one", "at least", LEAST_OF_ONE, rates[most], rates[one]),
        ),
        notes=(
            f"Best of {TURNS} turns, which alternate. Each is {SECONDS:.0f} s after {WARM_UP:.0f} s.",
            "Under way: as many requests at once as the rate says, by Little's law.",
        ),
    )


def _stretch(stage: Stage, fleet: Fleet) -> Stretch:
    board = stage.stand_ins[TARGET].board
    board.clear_log(TARGET)
    board.options(TARGET, latency_ms=LATENCY_MS)
    run = stage.ask(Request(trigger="manual"))
    until = time.monotonic() + 600.0
    while not board.counts(TARGET)["writes"]:
        if time.monotonic() > until:
            raise TimeoutError(f"{TARGET} was sent nothing")
        time.sleep(0.1)
    time.sleep(WARM_UP)
    first, began = int(board.counts(TARGET)["writes"]), time.monotonic()
    before = cpu_seconds(pids_of(fleet)), cpu_seconds([stage.redis.pid])
    last, ended = first, began
    while ended - began < SECONDS:
        time.sleep(0.5)
        # Only up to the last write: what comes after all were sent is no delivery
        now, moment = int(board.counts(TARGET)["writes"]), time.monotonic()
        if now == last and moment - ended > 5.0:
            break
        if now > last:
            last, ended = now, moment
    ours, redis = cpu_seconds(pids_of(fleet)) - before[0], cpu_seconds([stage.redis.pid]) - before[1]
    done = last - first
    if not done:
        raise AssertionError(f"{TARGET} was sent nothing after the first {WARM_UP:.0f} s; more people are needed")
    board.options(TARGET, latency_ms=0)
    status = finished(stage.settings, run, within=3600)["status"]
    if status != "succeeded":
        raise AssertionError(f"the run ended as {status}")
    return Stretch(done / (ended - began), ours / done, redis / done)
