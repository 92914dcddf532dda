"""A run's part for a target of which no plan could be made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import structlog

from provisioner.errors import ProvisionerError, TargetError, UnauthorisedError, UnreachableError
from provisioner.model.operation import Kind
from provisioner.progress.quarantine import quarantine
from provisioner.runtime.context import Deployment
from provisioner.store.runs.documents import RunStore

log = structlog.get_logger(__name__)

#: What takes the place of the figures of a plan that was made before and could not be installed; see `part_of`.
_NOTHING: Final[Mapping[str, str | int]] = {
    **{f"planned:{kind.value}": 0 for kind in Kind},
    "guards": "[]",
    "predicted": "",
}


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
    await not_planned(dep.runs, run, target, exc, outcome)


async def not_planned(runs: RunStore, run: str, target: str, exc: ProvisionerError, outcome: str) -> None:
    """End the part with this outcome and the error, and without the figures of a plan that was not installed."""
    error = {"code": exc.code, "message": str(exc), "exit": exc.exit_code}
    fields = {"stage": "refused", "outcome": outcome, "error": json.dumps(error)}
    await runs.set_target(run, target, {**_NOTHING, **fields})
    log.error("target_not_planned", run=run, target=target, code=exc.code, outcome=outcome)
