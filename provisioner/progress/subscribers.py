"""Who hears of a run's events: figures, notices, the write-back table, and the snapshot that is no longer needed.

A subscriber that fails keeps no other from hearing: the run says what failed, and that it is over all the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from provisioner.progress.metrics import note_end
from provisioner.progress.notifications import roster_rejected, run_changed
from provisioner.progress.run_events import PartsChanged, RunEnded, RunEvent
from provisioner.progress.run_trace import send_trace
from provisioner.progress.writeback import ask_for_table
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import is_fault, log_fault, named, note_in_run

Listener: TypeAlias = Callable[[Deployment, RunEvent], Awaitable[None]]


async def _people(dep: Deployment, event: RunEvent) -> None:
    if isinstance(event, RunEnded) and event.first:
        await dep.frames.drop_for_run(event.run)


async def _table(dep: Deployment, event: RunEvent) -> None:
    if isinstance(event, RunEnded) and event.first and event.carried_out:
        await ask_for_table(dep.table_requests, dep.settings, event.run)


async def _figures(dep: Deployment, event: RunEvent) -> None:
    if isinstance(event, RunEnded):
        await note_end(dep, event.run, event.status, first=event.first)


async def _trace(dep: Deployment, event: RunEvent) -> None:
    if isinstance(event, RunEnded) and event.first:
        await send_trace(dep, event.run, event.status)


async def _notices(dep: Deployment, event: RunEvent) -> None:
    if isinstance(event, PartsChanged):
        await run_changed(dep, event.run, event.parts)
        for target in event.parts:
            await dep.runs.set_target(event.run, target, {"noticed": event.noticed[target]})
    elif event.status == "rejected":
        await roster_rejected(dep, event.run)


#: What each does, as the run says it where it fails; in this order.
SUBSCRIBERS: Final[Mapping[str, Listener]] = {
    "dropping its people": _people,
    "asking for the write-back table": _table,
    "noting its end": _figures,
    "telling of its end": _notices,
    "sending its trace": _trace,
}


async def emit(dep: Deployment, event: RunEvent) -> None:
    """Tell an event to all subscribers.

    Raises:
        BaseException: what stops the process; never a fault of a subscriber.
    """
    for what, listener in SUBSCRIBERS.items():
        try:
            await listener(dep, event)
        except BaseException as exc:
            if not is_fault(exc, stopping=True):
                raise
            log_fault("end_of_run_failed", exc, run=event.run, what=what)
            await note_in_run(dep.runs, event.run, f"Run {event.run} is over, but {what} ended with {named(exc)}.")
