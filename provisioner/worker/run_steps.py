"""Steps of a run that end in the run, whatever goes wrong in them: begin, plan, deliver.

A fault (see `faults`) of beginning or planning ends the run or its part at once: it would fail so again. One of
delivering is tried again ever more slowly, and ends the target's part of each run when it comes again and again; what
is left stays in the queue. A step that ends its process again and again is given up likewise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from provisioner.dispatch.pool import Again, Place, deliver
from provisioner.errors import UNEXPECTED, UnexpectedError
from provisioner.progress.notifications import begun, over
from provisioner.progress.run_status import end_with_error, give_up_planning, refresh
from provisioner.progress.run_trace import trace_of
from provisioner.runs import lifecycle
from provisioner.runs.enqueue import to_be_planned
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import SEE_LOG, is_fault, log_fault, named
from provisioner.runtime.tracing import during
from provisioner.store.runs.documents import Request
from provisioner.store.runs.faults import Fault

#: Runs that are looked through for those that a target's fault ends.
_NEWEST: Final = 50


async def begin_or_end(dep: Deployment, run: str) -> tuple[str, ...]:
    """Begin a run, see `lifecycle.begin`; a fault ends the run.

    Raises:
        StoreError: Redis does not answer.
    """
    try:
        return await lifecycle.begin(dep, run)
    except BaseException as exc:
        if not is_fault(exc, stopping=True):
            raise
        log_fault("beginning_failed", exc, run=run)
        message = f"Beginning run {run} ended with {named(exc)}."
        await end_with_error(dep, run, UnexpectedError(message, remedy=SEE_LOG))
        return ()


async def plan_or_give_up(dep: Deployment, run: str, target: str) -> bool:
    """Plan one target of a run, see `lifecycle.plan`; a fault ends the run's part for it.

    Raises:
        StoreError: Redis does not answer.
    """
    if not await to_be_planned(dep.runs, run, target):
        # It joined another run's part, or is over: a nudge for it is no try
        await refresh(dep, run)
        return True
    times = await dep.lifecycle.count_planning(run, target)
    if times > lifecycle.MOST_BEGINNINGS:
        message = f"{target}: planning was begun {times - 1} times and never ended. {SEE_LOG}"
        await give_up_planning(dep.runs, run, target, UNEXPECTED, message)
        await refresh(dep, run)
        return True
    try:
        with during(await trace_of(dep.runs, run), target):
            planned = await lifecycle.plan(dep, run, target)
    except BaseException as exc:
        if not is_fault(exc, stopping=True):
            raise
        log_fault("planning_failed", exc, run=run, target=target)
        await give_up_planning(
            dep.runs, run, target, UNEXPECTED, f"{target}: planning ended with {named(exc)}. {SEE_LOG}"
        )
        await refresh(dep, run)
        return True
    if not planned:
        # It waits for another run, which is no try
        await dep.lifecycle.uncount_planning(run, target)
    return planned


async def deliver_or_note(dep: Deployment, target: str, place: Place | None = None, *, urgent: bool = False) -> Again:
    """Work on a target's queue, see `deliver`; a fault is counted, and ends its part of the runs when it stays.

    Raises:
        StoreError: Redis does not answer.
    """
    place = place or Place()
    try:
        return await deliver(dep, target, urgent=urgent, place=place)
    except BaseException as exc:
        if not is_fault(exc, stopping=place.stopped()):
            raise
        return Again(await note_target(dep, target, exc))


async def note_target(dep: Deployment, target: str, exc: BaseException) -> float:
    """Count a fault of delivering to a target; seconds until it is to be tried again.

    Raises:
        StoreError: Redis does not answer.
    """
    log_fault("delivering_failed", exc, target=target)
    fault = await dep.faults.note_target(target, named(exc))
    if fault.lasting:
        for run in await dep.runs.unfinished(_NEWEST):
            if target in await dep.runs.targets(run):
                await refresh(dep, run)
    return max(0.0, fault.due - fault.at)


async def carry_through(dep: Deployment, run: str, *, stopped: Callable[[], bool]) -> None:
    """A single-person run in one go: begin, and for each target plan and deliver at once.

    Raises:
        StoreError: Redis does not answer.
    """

    async def one(target: str) -> None:
        await plan_or_give_up(dep, run, target)
        await deliver_or_note(dep, target, Place(stopped=stopped), urgent=True)

    targets = await begin_or_end(dep, run)
    await asyncio.gather(*(one(target) for target in targets))
    await refresh(dep, run)


async def requested_or_failed(dep: Deployment, request: Request) -> str | None:
    """Ask for a run, see `lifecycle.request_run`; None after a fault, which a run that failed then shows.

    Raises:
        StoreError: Redis does not answer.
    """
    try:
        return await lifecycle.request_run(dep, request)
    except BaseException as exc:
        if not is_fault(exc, stopping=True):
            raise
        log_fault("run_not_requested", exc, trigger=request.trigger)
        await _failed_run(dep, request, f"Asking for a run ({request.trigger}) ended with {named(exc)}.")
        return None


async def _failed_run(dep: Deployment, request: Request, message: str) -> None:
    run = await dep.runs.create(request, stage="over")
    await end_with_error(dep, run, UnexpectedError(message, remedy=SEE_LOG))


async def take_steps(
    dep: Deployment,
    task: str,
    steps: Mapping[str, Callable[[], Awaitable[object]]],
    *,
    stopped: Callable[[], bool],
    trigger: str | None = None,
) -> None:
    """Take the steps of a task that comes again and again. A fault of one holds up no other; it is counted,
    reported when it stays, and tried again ever more slowly.

    Args:
        trigger: of the failed run that shows the first fault in a row; None: no run would have come of it.

    Raises:
        StoreError: Redis does not answer.
    """
    faults = await dep.faults.of([f"{task}:{step}" for step in steps])
    now = await dep.clock.now() if faults else 0.0
    for step, take in steps.items():
        work = f"{task}:{step}"
        before = faults.get(work, Fault())
        if before.due > now:
            continue
        try:
            await take()
        except BaseException as exc:
            if not is_fault(exc, stopping=stopped()):
                raise
            log_fault("step_failed", exc, task=task, step=step)
            fault = await dep.faults.note(work, named(exc))
            sentence = f"{work} in the worker ended with {fault.reason}"
            if trigger is not None and fault.count == 1:
                await _failed_run(dep, Request(trigger=trigger), f"{sentence}.")
            if fault.lasting:
                await begun(dep, "failed", f"work:{work}", f"{sentence} {fault.count} times in a row. {SEE_LOG}")
        else:
            if before.count:
                await dep.faults.clear(work)
                await over(dep.notices, dep.settings, "failed", f"work:{work}", f"{work} in the worker works again.")
