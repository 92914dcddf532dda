"""The status of a run, from its counters; each change is reported once, and so is its end.

A run is over when nothing of it is pending or being sent, or when what is left waits for a target.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import structlog

from provisioner.errors import ProvisionerError, UnexpectedError
from provisioner.model.operation import Kind
from provisioner.model.run_document import RunStatus, removals_wait, run_status
from provisioner.progress.run_events import PartsChanged, RunEnded
from provisioner.progress.subscribers import emit
from provisioner.runtime.clock import Clock
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import SEE_LOG, fault_document, is_fault, log_fault, named
from provisioner.store.people.snapshots import FrameStore
from provisioner.store.queue.overtaken import PutOff
from provisioner.store.runs.counters import counts, unfinished
from provisioner.store.runs.documents import RunStore
from provisioner.store.runs.follow import awaits
from provisioner.store.runs.lifecycle import LifecycleStore
from provisioner.store.runs.target_health import Health

log = structlog.get_logger(__name__)

#: What becomes of the work of a target to which delivering fails.
_GOES_ON: Final = "What is left waits, is tried again ever more slowly, and is planned again by the next run."


def target_status(fields: Mapping[str, str], health: Health) -> str:
    """The status of a run's part for one target, from its counters and the target's health."""
    stage = fields.get("stage", "")
    if stage in ("", "queued", "planning", "pulling"):
        return "running"
    if stage == "skipped":
        return "skipped"
    moving, waiting = unfinished(fields)
    if awaits(fields):
        # Whoever was overtaken is planned again as soon as the target can be read
        return health.status if health.status and health.quarantined else "running"
    if moving + waiting and health.status:
        return health.status
    if moving + waiting and stage != "refused":
        return "running"
    if stage == "refused":
        # Observation failed: why is in `outcome`
        return fields.get("outcome", "failed")
    if stage == "unbelieved" or counts(fields, "failed"):
        return "failed"
    incomplete = counts(fields, "held") or _leavers_left(fields) or int(fields.get("left_out") or 0)
    return "held" if incomplete else "succeeded"


def _leavers_left(fields: Mapping[str, str]) -> bool:
    """Whether somebody who left keeps their account, and nothing is on its way to change that.

    A part whose place a newer plan about everybody took says nothing of it any more.
    """
    if fields.get("replaced"):
        return False
    return bool(int(fields.get("leavers_left") or 0) or counts(fields, "rejected").get(Kind.LEAVE))


def put_off_status(leaves: PutOff, health: Health) -> str:
    """The status of a part that is done but for leaves that something newer took: over when these people have left."""
    if not leaves.unfinished:
        return "succeeded"
    return (health.status or "running") if leaves.way else "held"


async def refresh(dep: Deployment, run: str) -> str:
    """Bring a run's statuses up to date with its counters, and end it if it is over; its status.

    A run for which this fails again and again ends with that error; others are not held up by it.

    Raises:
        StoreError: Redis does not answer.
    """
    try:
        return await _refresh(dep, run)
    except BaseException as exc:
        if not is_fault(exc, stopping=True):
            raise
        await run_fault(dep, run, exc)
        return await dep.runs.get(run, "status") or "running"


async def refresh_outdated(dep: Deployment) -> None:
    """Let the runs of which a newer plan took operations say so; else they would be held for ever.

    Raises:
        StoreError: Redis does not answer.
    """
    for run in await dep.lifecycle.outdated():
        # Noted first: what is taken meanwhile is looked at again
        await dep.lifecycle.up_to_date(run)
        await refresh(dep, run)


async def run_fault(dep: Deployment, run: str, exc: BaseException) -> None:
    """Count a fault of looking after a run, and end the run with it when it comes again and again.

    What the run has in the queue goes on being sent.

    Raises:
        StoreError: Redis does not answer.
    """
    log_fault("run_not_looked_after", exc, run=run)
    fault = await dep.faults.note(f"run:{run}", named(exc))
    if fault.lasting and await dep.runs.get(run, "stage") != "over":
        message = f"Looking after run {run} ended with {named(exc)} {fault.count} times."
        await end_with_error(dep, run, UnexpectedError(message, remedy=SEE_LOG))


async def _refresh(dep: Deployment, run: str) -> str:
    before = await dep.runs.get(run, "status")
    if before is None or before == "rejected" or await dep.runs.get(run, "stage") != "begun":
        return before or "running"
    statuses: dict[str, str] = {}
    changed: dict[str, str] = {}
    noticed: dict[str, str] = {}
    replaced: list[bool] = []
    for target in await dep.runs.targets(run):
        fields = await dep.runs.target(run, target)
        health = await dep.health.of(target)
        status = target_status(fields, health)
        if status == "succeeded" and (fields.get("put_off") or "follow" in fields):
            runs = await dep.runs.holders(run, target)
            status = put_off_status(await dep.overtaken.put_off(runs, target), health)
        if status == "running" and target not in dep.targets:
            # Taken out of the settings, or switched off, since
            status = "skipped"
        statuses[target] = status
        replaced.append("replaced" in fields)
        if "joined" in fields:
            continue
        # A status may hide one behind another, so notices look at each
        figures = "|".join(f"{sum(counts(fields, one).values())}" for one in ("held", "failed"))
        if "installed" in fields and figures != fields.get("noticed", "0|0"):
            changed[target] = status
        noticed[target] = figures
        fault = _fault(target, status, fields, health)
        if fields.get("status") != status:
            if await dep.lifecycle.change_part(run, target, status, fault):
                changed[target] = status
        elif bool(fault) != bool(fields.get("fault")):
            await dep.runs.set_target(run, target, {"fault": fault})
    roster = json.loads(await dep.runs.get(run, "roster") or "null")
    waits = removals_wait(roster) and not (replaced and all(replaced))
    status = run_status(statuses.values(), removals_wait=waits)
    first = status != "running" and await _ends_now(dep.lifecycle, dep.clock, run)
    # Before the status, so that whoever waits for the run hears of what fails here
    if first or status not in ("running", before):
        await emit(dep, RunEnded(run, status, first=first))
    if changed:
        await emit(dep, PartsChanged(run, changed, noticed))
    if status != before:
        await dep.runs.set(run, {"status": status})
    if before == "running" and status != "running" and not first:
        # It had ended and went on, approved or tried again
        await dep.runs.set(run, {"finished": await dep.clock.now()})
    if first:
        log.info("run_finished", run=run, status=status)
    parent = await dep.runs.get(run, "parent")
    if parent is not None:
        # What becomes of these people is part of what becomes of the run that was overtaken
        await refresh(dep, parent)
    return status


def _fault(target: str, status: str, fields: Mapping[str, str], health: Health) -> str:
    """The error, as JSON, of a part that fails because delivering does; empty for any other."""
    if status != "failed" or health.status != "failed" or not sum(unfinished(fields)):
        return ""
    fault = health.fault
    message = f"{target}: delivering ended with {fault.reason} {fault.count} times in a row. {SEE_LOG} {_GOES_ON}"
    return fault_document(message)


async def _ends_now(lifecycle: LifecycleStore, clock: Clock, run: str) -> bool:
    """Whether the run had not ended before; of several who ask at once, one hears yes."""
    return await lifecycle.end(run, await clock.now())


async def abandon_unplannable(frames: FrameStore, runs: RunStore, run: str) -> bool:
    """End those parts of a begun run that wait to be planned although the people to plan from are no longer kept."""
    if await frames.has_for_run(run):
        return False
    found = False
    for target in await runs.targets(run):
        fields = await runs.target(run, target)
        if fields.get("stage") in ("queued", "planning"):
            found = True
            await give_up_planning(runs, run, target, "people_gone", "What this run planned from is no longer kept.")
    return found


async def give_up_planning(runs: RunStore, run: str, target: str, code: str, message: str) -> None:
    """End a run's part for one target before it was planned, for a reason that another try would not fix."""
    error = {"code": code, "message": message, "exit": 1}
    await runs.set_target(run, target, {"stage": "refused", "outcome": "failed", "error": json.dumps(error)})
    log.error("target_not_planned", run=run, target=target, code=code)


async def end_with_error(dep: Deployment, run: str, error: ProvisionerError, *, status: RunStatus = "failed") -> None:
    """End a run that could not be carried out at all."""
    document = {"code": error.code, "message": str(error), "exit": error.exit_code}
    await dep.runs.set(
        run, {"status": status, "stage": "over", "finished": await dep.clock.now(), "error": json.dumps(document)}
    )
    for target in await dep.runs.targets(run):
        await dep.runs.set_target(run, target, {"stage": "over", "status": status})
    await emit(dep, RunEnded(run, status, first=True, carried_out=False))
    log.error("run_ended", run=run, status=status, code=error.code)
