"""The spans of a run that is over, and of its targets."""

from __future__ import annotations

from typing import Final

from provisioner.runtime import tracing
from provisioner.runtime.context import Deployment
from provisioner.store.runs.documents import RunStore

#: Of a run or a part that did what it could.
_FINE: Final = frozenset(("succeeded", "held", "paused", "skipped"))


async def trace_of(runs: RunStore, run: str) -> str | None:
    """The trace that a run was begun with; None without traces.

    Raises:
        StoreError: Redis does not answer.
    """
    return await runs.get(run, "trace") if tracing.active() else None


async def send_trace(dep: Deployment, run: str, status: str) -> None:
    """Send them, if the run has a trace and this process makes traces.

    Raises:
        StoreError: Redis does not answer.
    """
    kept = await trace_of(dep.runs, run)
    if kept is None:
        return
    began = float(await dep.runs.get(run, "created") or 0)
    ended = float(await dep.runs.get(run, "finished") or 0) or await dep.clock.now()
    for target in await dep.runs.targets(run):
        part = await dep.runs.target(run, target)
        own, kind = part.get("status", ""), dep.settings.targets[target].kind if target in dep.settings.targets else ""
        tracing.target_over(
            kept,
            target,
            began,
            ended,
            failed=own not in _FINE,
            run=run,
            kind=kind,
            status=own,
            requests=int(part.get("requests") or 0),
        )
    trigger = await dep.runs.get(run, "trigger") or ""
    tracing.run_over(kept, began, ended, failed=status not in _FINE, run=run, trigger=trigger, status=status)
