"""Whether beat ticks and workers answer: one judgement for `check`, `/readyz`, the overview and the figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from provisioner.model.check_result import Verdict
from provisioner.model.wording import counted
from provisioner.settings import Settings
from provisioner.store.admin.heartbeats import Heartbeats, HeartbeatStore

#: Seconds between ticks, and between the signs of life of beat and of each worker.
TICK: Final = 2.0
#: Seconds of silence after which a process counts as silent: three ticks are missing, and the next one is due.
SILENT_AFTER: Final = 4 * TICK
#: Seconds that the processes have to start, from the first sign of any of them.
STARTING: Final = 15.0
#: Seconds without a sign of any child process, while beat ticks and a parent answers, after which they hang.
STUCK_AFTER: Final = 60.0
#: Seconds for which all child processes may be busy at once before somebody is notified.
BUSY_AFTER: Final = 300.0

State = Literal["ok", "never", "silent", "busy", "stuck"]


@dataclass(frozen=True, slots=True)
class Sign:
    """The judgement on one kind of process. `verdict` is `fail` where work that is due is not done."""

    process: Literal["beat", "worker"]
    state: State
    verdict: Verdict
    message: str
    remedy: str | None = None

    @property
    def sentence(self) -> str:
        """What is so, and what to do about it."""
        return f"{self.message} {self.remedy}" if self.remedy else self.message


@dataclass(frozen=True, slots=True)
class Vitals:
    """The judgement on beat and on the workers; `alive`: how many workers answer; `signs`: what it follows from."""

    beat: Sign
    worker: Sign
    alive: int
    signs: Heartbeats

    @property
    def silent(self) -> tuple[Sign, ...]:
        """The processes that fail to do work that is due."""
        return tuple(one for one in (self.beat, self.worker) if one.verdict == "fail")


async def vitals(heartbeats: HeartbeatStore, settings: Settings) -> Vitals:
    """Look at the signs of life, and judge them.

    Raises:
        StoreError: Redis does not answer.
    """
    return judge(await heartbeats.look(), scheduled=scheduled(settings))


def scheduled(settings: Settings) -> bool:
    """Whether runs are to begin by themselves."""
    return any((settings.schedule.sync, settings.schedule.full, settings.schedule.watch_roster))


def judge(signs: Heartbeats, *, scheduled: bool) -> Vitals:
    """Judge the signs of life.

    A process that was never seen is no fault before anything was started. It is one as soon as the other kind has run
    for longer than it takes to start both.

    Args:
        scheduled: whether runs are to begin by themselves; without beat, none does.
    """
    alive = sum(seen <= SILENT_AFTER for _, seen, _ in signs.workers)
    beat = _beat(signs, scheduled=scheduled)
    return Vitals(beat, _worker(signs, alive), alive, signs)


def _started(signs: Heartbeats) -> bool:
    return signs.first is not None and signs.first > STARTING


def _beat(signs: Heartbeats, *, scheduled: bool) -> Sign:
    begins = "so no run begins by itself" if scheduled else "so what was put off is not taken up again"
    if signs.beat is None:
        verdict: Verdict = "fail" if scheduled and _started(signs) else "warn"
        remedy = "Start `provisioner beat`, or `provisioner up`, which runs everything."
        return Sign("beat", "never", verdict, f"Beat never ticked, {begins}.", remedy)
    if signs.beat <= SILENT_AFTER:
        return Sign("beat", "ok", "ok", "Beat ticks.")
    message = f"Beat has not ticked for {ago(signs.beat)}, {begins}."
    remedy = "Look at `provisioner beat` and its log, and start it again."
    return Sign("beat", "silent", "fail" if scheduled else "warn", message, remedy)


def _worker(signs: Heartbeats, alive: int) -> Sign:
    if not alive:
        if signs.worker is None:
            message = "No worker was ever started, so nothing is carried out."
            remedy = "Start `provisioner worker`, or `provisioner up`, which runs everything."
            return Sign("worker", "never", "fail" if _started(signs) else "warn", message, remedy)
        message = f"No worker has answered for {ago(signs.worker)}, so nothing is carried out."
        remedy = "Look at `provisioner worker` and its log, and start it again."
        return Sign("worker", "silent", "fail", message, remedy)
    answer = counted(alive, "worker answers", "workers answer")
    unticked, idle = _since_last_work(signs)
    if idle > STUCK_AFTER:
        message = f"{answer}, but carried out nothing for {ago(idle)}."
        remedy = "Look at the log of `provisioner worker`, and start it again: its processes hang or fail."
        return Sign("worker", "stuck", "fail", message, remedy)
    if unticked > BUSY_AFTER:
        message = f"{answer}, but all their processes have been busy for {ago(unticked)}, so nothing else begins."
        remedy = "Start another `provisioner worker`, or give it more processes with --concurrency."
        return Sign("worker", "busy", "warn", message, remedy)
    return Sign("worker", "ok", "ok", f"{answer}.")


def _since_last_work(signs: Heartbeats) -> tuple[float, float]:
    """Seconds for which no tick was carried out, and for which no child process was at work, though both could be.

    Neither is longer than beat has ticked and a worker has answered. Both are 0 while beat is silent: without ticks,
    an idle worker gives no sign of its children.
    """
    if signs.beat is None or signs.beat > SILENT_AFTER:
        return 0.0, 0.0
    running = (started for _, seen, started in signs.workers if seen <= SILENT_AFTER)
    possible = min(max(running, default=0.0), signs.beat_since or 0.0)
    unticked = possible if signs.tick is None else min(possible, signs.tick)
    return unticked, unticked if signs.work is None else min(unticked, signs.work)


def ago(seconds: float) -> str:
    """A length of time in one unit: 40 s, 3 min, 2 h, 5 d."""
    whole = max(0, round(seconds))
    for length, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if whole >= length:
            return f"{whole // length} {word}"
    return f"{whole} s"
