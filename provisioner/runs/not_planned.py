"""A run's part for a target of which no plan could be made."""

from __future__ import annotations

import json

import structlog

from provisioner.errors import ProvisionerError, TargetError, UnauthorisedError, UnreachableError
from provisioner.progress.quarantine import quarantine
from provisioner.runtime.context import Deployment

log = structlog.get_logger(__name__)


async def refused(dep: Deployment, run: str, target: str, exc: TargetError) -> None:
    """The target could not be read, so nothing is planned for it; what older plans left goes on waiting."""
    now = await dep.clock.now()
    if isinstance(exc, UnauthorisedError):
        await quarantine(dep, target, exc.message, now, unreachable=False)
        outcome = "quarantined"
    elif isinstance(exc, UnreachableError):
        await quarantine(dep, target, exc.message, now, unreachable=True)
        outcome = "unreachable"
    else:
        outcome = "failed"
    await not_planned(dep, run, target, exc, outcome)


async def not_planned(dep: Deployment, run: str, target: str, exc: ProvisionerError, outcome: str) -> None:
    """End the part with this outcome and the error."""
    error = {"code": exc.code, "message": str(exc), "exit": exc.exit_code}
    await dep.runs.set_target(run, target, {"stage": "refused", "outcome": outcome, "error": json.dumps(error)})
    log.error("target_not_planned", run=run, target=target, code=exc.code, outcome=outcome)
