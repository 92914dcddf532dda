"""The end of a run: when nothing of it is pending or being sent, or what is left waits for a target."""

from __future__ import annotations

import json
from collections.abc import Mapping

import structlog

from provisioner.delivery.deployment import Deployment
from provisioner.errors import ProvisionerError
from provisioner.store import keys
from provisioner.store.connection import redis_errors
from provisioner.store.health import Health
from provisioner.store.runs import counts, unfinished

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


def run_status(statuses: Mapping[str, str]) -> str:
    """The status of a run from those of its targets."""
    found = set(statuses.values())
    if "running" in found:
        return "running"
    if found & {"failed", "quarantined", "unreachable"}:
        return "failed"
    return "held" if found & {"held", "paused"} else "succeeded"


async def refresh(dep: Deployment, run: str) -> str:
    """Bring a run's statuses up to date with its counters, and end it if it is over; its status."""
    before = await dep.runs.get(run, "status")
    if before is None or before == "rejected" or await dep.runs.get(run, "stage") != "begun":
        return before or "running"
    statuses: dict[str, str] = {}
    for target in await dep.runs.targets(run):
        fields = await dep.runs.target(run, target)
        status = target_status(fields, await dep.health.of(target))
        statuses[target] = status
        if fields.get("status") != status and "joined" not in fields:
            await dep.runs.set_target(run, target, {"status": status})
    status = run_status(statuses)
    if status != before:
        await dep.runs.set(run, {"status": status})
    if status != "running" and await _ends_now(dep, run):
        await dep.frames.drop_for_run(run)
        log.info("run_finished", run=run, status=status)
    return status


async def _ends_now(dep: Deployment, run: str) -> bool:
    """Whether the run had not ended before; of several who ask at once, one hears yes."""
    now = await dep.runs.now()
    with redis_errors():
        return bool(await dep.redis.hsetnx(keys.run(run), "finished", now))


async def end_with_error(dep: Deployment, run: str, error: ProvisionerError, *, status: str = "failed") -> None:
    """End a run that could not be carried out at all."""
    document = {"code": error.code, "message": str(error), "exit": error.exit_code}
    await dep.runs.set(
        run, {"status": status, "stage": "over", "finished": await dep.runs.now(), "error": json.dumps(document)}
    )
    for target in await dep.runs.targets(run):
        await dep.runs.set_target(run, target, {"stage": "over", "status": status})
    await dep.frames.drop_for_run(run)
    log.error("run_ended", run=run, status=status, code=error.code)
