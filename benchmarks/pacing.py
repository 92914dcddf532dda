"""How closely four workers together keep to a vendor's limit, and whether they ever exceed it.

Everything is real but the vendor: four Celery workers with a process each, a beat, and a stand-in that enforces a
strict sliding window as each request arrives. Each person gets an account and an event, one request each, so that
every permit is fought for. The time is the vendor's: from the first request after the listing to the last,
all of which count, the look before a create among them.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.goals import Goal, Turns, counted, measured
from benchmarks.report import Figures
from benchmarks.staging import finished, quietly, staged
from provisioner.store.runs.documents import Request

TARGET, WORKERS = "traitly", 4
#: The window's seconds and the vendor's limit in it.
WINDOWS: Final[Sequence[tuple[int, int]]] = ((1, 20), (3, 60))
#: Measured too where `PROVISIONER_BENCH_LONG` is set: a turn takes ten minutes.
LONG: Final = (60, 300)
LONG_VARIABLE: Final = "PROVISIONER_BENCH_LONG"
TURNS: Final = 3
#: Windows that a turn takes, and a half, so that the last one is begun by few.
WHOLE: Final = 10
LATENCY_MS: Final = 20
MOST: Final = 1.05
_PURE: Final = (
    "Pure limit: all but the first windows of 95 % of the limit (5 % are kept for single-person work), each as long as "
    "the vendor's window and an answer."
)


@dataclass(frozen=True, slots=True)
class Turn:
    """Seconds from the first write to the last, those of the pure limit, and how many requests were refused."""

    elapsed: float
    pure: float
    refused: int


def measure(people: int) -> Figures:
    """Send as many requests as ten and a half windows admit; `people` changes nothing."""
    del people
    quietly()
    rows: list[tuple[str, ...]] = []
    goals: list[Goal] = []
    for window, limit in (*WINDOWS, *([LONG] if os.environ.get(LONG_VARIABLE) else [])):
        turns = [_turn(window, limit) for _ in range(1 if (window, limit) == LONG else TURNS)]
        refused = sum(one.refused for one in turns)
        ratio = Turns(tuple(one.elapsed / one.pure for one in turns))
        goals += [
            measured(f"time beside the pure limit, window of {window} s", "at most", MOST, ratio, _times),
            counted(f"refusals, window of {window} s", "0", str(refused), met=not refused),
        ]
        elapsed, pure = (Turns(values) for values in zip(*((one.elapsed, one.pure) for one in turns), strict=True))
        rows.append((f"{limit} in {window} s", elapsed.shown(_seconds), pure.shown(_seconds), str(refused)))
    return Figures(
        title=f"pacing: {WORKERS} Celery workers, answers after {LATENCY_MS} ms",
        columns=("limit", "elapsed", "pure limit", "429"),
        rows=tuple(rows),
        goals=tuple(goals),
        notes=(
            _PURE,
            f"A window of {LONG[0]} s is measured too where {LONG_VARIABLE} is set.",
        ),
    )  # fmt: skip


def _turn(window: int, limit: int) -> Turn:
    free = limit - math.floor(0.05 * limit)
    # Each person is a look, an account and an event
    people = (WHOLE * free + free // 2) // 3
    with staged(people, targets=(TARGET,), limits={TARGET: f"{limit}/{window}s"}) as stage:
        board = stage.stand_ins[TARGET].board
        board.options(TARGET, rate_limit=limit, rate_window=window, latency_ms=LATENCY_MS)
        with stage.fleet(workers=WORKERS, concurrency=1):
            # So that all of them are there
            time.sleep(8.0)
            done = finished(stage.settings, stage.ask(Request(trigger="manual")), within=3600)
        if done["status"] != "succeeded":
            raise AssertionError(f"the run did not succeed: {done}")
        entries = board.log(TARGET)
        refused = int(board.counts(TARGET)["answers_429"])
    first = next(place for place, one in enumerate(entries) if one["method"] != "GET")
    # The look before the first create is the request before it
    moments = [_moment(one) for one in entries[max(0, first - 1) :]]
    if len(moments) - refused < 2 * people:
        raise AssertionError(f"{len(moments)} requests came instead of {3 * people}")
    pure = (math.ceil(len(moments) / free) - 1) * (window + LATENCY_MS / 1000)
    return Turn(max(moments) - min(moments), pure, refused)


def _moment(entry: dict[str, Any]) -> float:
    return float(entry["at"])


def _times(value: float) -> str:
    return f"{value:.2f} x"


def _seconds(value: float) -> str:
    return f"{value:.1f} s"
