"""The end of a run: when nothing of it is pending or being sent, or what is left waits for a target."""

from __future__ import annotations

import json
from collections.abc import Mapping

import structlog

from provisioner.errors import ProvisionerError
from provisioner.model.run_document import run_status
from provisioner.progress.metrics import note_end
from provisioner.progress.notifications import roster_rejected, run_changed
from provisioner.progress.writeback import ask_for_table
from provisioner.runtime.context import Deployment
from provisioner.store.redis import keys
from provisioner.store.redis.connection import redis_errors
from provisioner.store.runs.documents import counts, unfinished
from provisioner.store.runs.target_health import Health

log = structlog.get_logger(__name__)

_OVER = frozenset({"succeeded", "held", "failed", "rejected", "quarantined", "unreachable", "paused", "skipped"})


def target_status(fields: Mapping[str, str], health: Health) -> str:
    """The status of a run's part for one target, from its counters and the target's health."""
    stage = fields.get("stage", "")
    if stage in ("", "queued", "planning"):
        return "running"
    if stage == "skipped":
        return "skipped"
    moving, waiting = unfinished(fields)
    if moving + waiting and health.status:
        return health.status
    if moving + waiting and stage != "refused":
        return "running"
    if stage == "refused":
        # Observation failed: why is in `outcome`
        return fields.get("outcome", "failed")
    if stage == "unbelieved" or counts(fields, "failed"):
        return "failed"
    return "held" if counts(fields, "held") else "succeeded"


async def refresh(dep: Deployment, run: str) -> str:
    """Bring a run's statuses up to date with its counters, and end it if it is over; its status."""
    before = await dep.runs.get(run, "status")
    if before is None or before == "rejected" or await dep.runs.get(run, "stage") != "begun":
        return before or "running"
    statuses: dict[str, str] = {}
    changed: dict[str, str] = {}
    for target in await dep.runs.targets(run):
        fields = await dep.runs.target(run, target)
        status = target_status(fields, await dep.health.of(target))
        if status == "running" and target not in dep.targets:
            # Taken out of the settings, or switched off, since
            status = "skipped"
        statuses[target] = status
        if fields.get("status") != status and "joined" not in fields:
            await dep.runs.set_target(run, target, {"status": status})
            changed[target] = status
    status = run_status(statuses.values())
    if status != before:
        await dep.runs.set(run, {"status": status})
    first = status != "running" and await _ends_now(dep, run)
    if first:
        await dep.frames.drop_for_run(run)
        await ask_for_table(dep, run)
        log.info("run_finished", run=run, status=status)
    if first or status not in ("running", before):
        await note_end(dep, run, status, first=first)
    await run_changed(dep, run, changed)
    return status


async def _ends_now(dep: Deployment, run: str) -> bool:
    """Whether the run had not ended before; of several who ask at once, one hears yes."""
    now = await dep.runs.now()
    with redis_errors():
        return bool(await dep.redis.hsetnx(keys.run(run), "finished", now))


async def abandon_unplannable(dep: Deployment, run: str) -> bool:
    """End those parts of a begun run that wait to be planned although the people to plan from are no longer kept."""
    with redis_errors():
        if await dep.redis.exists(keys.run_people(run)):
            return False
    found = False
    for target in await dep.runs.targets(run):
        fields = await dep.runs.target(run, target)
        if fields.get("stage") in ("queued", "planning"):
            found = True
            await give_up_planning(dep, run, target, "people_gone", "What this run planned from is no longer kept.")
    return found


async def give_up_planning(dep: Deployment, run: str, target: str, code: str, message: str) -> None:
    """End a run's part for one target before it was planned, for a reason that another try would not mend."""
    error = {"code": code, "message": message, "exit": 1}
    await dep.runs.set_target(run, target, {"stage": "refused", "outcome": "failed", "error": json.dumps(error)})
    log.error("target_not_planned", run=run, target=target, code=code)


async def end_with_error(dep: Deployment, run: str, error: ProvisionerError, *, status: str = "failed") -> None:
    """End a run that could not be carried out at all."""
    document = {"code": error.code, "message": str(error), "exit": error.exit_code}
    await dep.runs.set(
        run, {"status": status, "stage": "over", "finished": await dep.runs.now(), "error": json.dumps(document)}
    )
    for target in await dep.runs.targets(run):
        await dep.runs.set_target(run, target, {"stage": "over", "status": status})
    await dep.frames.drop_for_run(run)
    await note_end(dep, run, status, first=True)
    if status == "rejected":
        await roster_rejected(dep, run)
    log.error("run_ended", run=run, status=status, code=error.code)
