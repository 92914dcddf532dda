"""What an operator watches of each target and of the workers. Reads Redis only."""

from __future__ import annotations

from provisioner.model.target_state import Budget, QueuedKind, TargetState, WorkerState
from provisioner.progress.vitals import SILENT_AFTER, Vitals
from provisioner.runs.estimate import queue_forecast
from provisioner.runtime.context import Deployment
from provisioner.store.runs.target_health import Health


async def target_state(dep: Deployment, name: str) -> TargetState:
    """One target now.

    Raises:
        StoreError: Redis does not answer.
    """
    enabled = dep.enabled(name)
    health = await dep.health.of(name)
    plan = await dep.health.list(name, "plan")
    left = await dep.figures.left(name)
    backlog = await dep.queue.backlog(name)
    queue: list[QueuedKind] = []
    if enabled:
        queue = [
            {"kinds": [kind.value for kind in one.kinds], "count": one.count, "empty_in": one.empty_in}
            for one in await queue_forecast(dep, name)
        ]
    return {
        "target": name,
        "kind": dep.settings.targets[name].kind,
        "status": (health.status or "healthy") if enabled else "disabled",
        "reason": _reason(health),
        "since": health.paused_at or None if health.paused else None,
        "probe_at": health.probe_at if health.quarantined else None,
        "budget": await _budget(dep, name) if enabled else None,
        "queue": queue,
        "sending": backlog.leased,
        "parked": left.parked,
        "next_due": backlog.next_due if left.parked else None,
        "linked": await dep.ledger.size(name),
        "run": plan[0] if plan else None,
    }


def _reason(health: Health) -> str:
    if health.quarantined:
        return health.reason
    if health.paused:
        said = f": {health.paused_why}" if health.paused_why else ""
        return f"{health.paused_by or 'somebody'} paused it{said}"
    return ""


async def _budget(dep: Deployment, name: str) -> Budget:
    own = dep.pace_of(name)
    status = await own.status()
    others = [one for one in dep.targets if one != name and dep.pace_of(one).resource == own.resource]
    return {
        "blocked": status.blocked,
        "shared_with": others,
        "windows": [
            {
                "seconds": window.seconds,
                "configured": window.configured,
                "limit": window.limit,
                "used": window.used,
                "free": max(0, window.limit - window.used),
                "reserve": window.reserve,
            }
            for window in status.windows
        ],
    }


def workers(found: Vitals) -> list[WorkerState]:
    """Every worker that gave a sign of life within the last hour, the latest first."""
    return [
        {
            "host": one.host,
            "pid": one.pid,
            "processes": one.concurrency,
            "seen": seen,
            "started": started,
            "alive": seen <= SILENT_AFTER,
        }
        for one, seen, started in found.signs.workers
    ]
