"""What is forgotten in time: operations, runs, receipts, expired decisions, and what guards no longer ask for."""

from __future__ import annotations

from typing import Final

import structlog

from provisioner.model.operation import FINAL, Status
from provisioner.planning.guards import WINDOWED
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.admin.history import HistoryStore
from provisioner.store.people.snapshots import FrameStore
from provisioner.store.runs.documents import RunStore

log = structlog.get_logger(__name__)

#: Seconds between two sweeps.
EVERY: Final = 3600
#: Runs that one sweep goes through at most; the next one takes the rest.
_RUNS: Final = 500
#: Over for good; a held operation still waits for someone.
_OVER: Final = frozenset(status.value for status in FINAL - {Status.HELD})


async def sweep(dep: Deployment, *, now: float | None = None) -> bool:
    """Trim history once an hour; False if that was done already.

    Args:
        now: epoch seconds to take for the present, by Redis's clock otherwise.

    Raises:
        StoreError: Redis does not answer; what was begun is finished by a later sweep.
    """
    if not await dep.history.begin_trimming(EVERY):
        return False
    moment = await dep.clock.now() if now is None else now
    for target in dep.targets:
        await _trim_counts(dep.history, dep.settings, target, moment)
        await _trim_decisions(dep, target, moment)
    retention = dep.settings.retention
    operations = await _trim_operations(dep.history, dep.runs, moment - retention.operations.total_seconds())
    runs = await _trim_runs(dep.history, dep.frames, moment - retention.runs.total_seconds())
    await dep.receipts.forget_before(moment - retention.runs.total_seconds(), dep.settings.targets)
    if operations or runs:
        log.info("history_trimmed", operations=operations, runs=runs)
    return True


async def _trim_counts(history: HistoryStore, settings: Settings, target: str, now: float) -> None:
    window = settings.guards_of(target).window.total_seconds()
    for guard in WINDOWED:
        await history.forget_sent(target, guard, now - max(window, 86400.0))


async def _trim_decisions(dep: Deployment, target: str, now: float) -> None:
    """Approvals and rejections go when they have expired."""
    guards = dep.settings.guards_of(target)
    approval = guards.approval.total_seconds()
    kept = {"approved": approval, "rejected": guards.rejection.total_seconds()}
    decisions = await dep.health.decisions(target)
    old = [name for name, made in decisions.items() if now - made["at"] > kept.get(made["verdict"], approval)]
    await dep.history.forget_decisions(target, old)


async def _trim_operations(history: HistoryStore, runs: RunStore, before: float) -> int:
    """Forget operations that are over, of runs from before a moment; how many."""
    count = 0
    for run, moment in await history.runs_between(await history.trimmed_to(), before, _RUNS):
        for target in await runs.targets(run):
            count += await history.forget_operations(run, target, _OVER)
        await history.note_trimmed(moment)
    return count


async def _trim_runs(history: HistoryStore, frames: FrameStore, before: float) -> int:
    """Forget whole runs from before a moment; how many."""
    found = await history.runs_before(before, _RUNS)
    for run in found:
        await history.forget_run(run, _OVER)
        await frames.drop_for_run(run)
        await history.unlist_run(run)
    return len(found)
