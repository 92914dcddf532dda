"""A leaver's receipt: one record over all targets of what became of their accounts, and since when it is asked for.

It begins with the first leave that is planned, and is written in the same step of Redis as the operation's state and
the figure of the oldest unfinished leaver. It outlives operations: it goes with the runs, see `retention`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from provisioner.model.operation import Status
from provisioner.runtime.context import Deployment
from provisioner.store.people.receipts import Leave
from provisioner.store.runs.documents import moment, operation_document

#: What a leave's status says of the account.
_TOLD: Final[Mapping[Status, str]] = {
    Status.PENDING: "pending",
    Status.SENDING: "pending",
    Status.WAITING: "waiting",
    Status.SUCCEEDED: "done",
    Status.FAILED: "failed",
    Status.HELD: "held",
    Status.SUPERSEDED: "no longer wanted",
    Status.REJECTED: "rejected",
}


async def receipt(dep: Deployment, person: str) -> dict[str, Any] | None:
    """One leaver's receipt as JSON; None if no leave was ever planned.

    ``since`` is when the first unfinished leave was planned, or if all is finished, the first of all; ``finished_at``
    is null until all is. ``targets`` has per target its status (``done``, ``pending``, ``waiting``, ``held``,
    ``failed``, ``rejected``, ``no longer wanted``; without a leave ``no account``, ``done`` for an account that was in
    leaver state already, and ``as it was`` for one that no leave was planned for), ``since``, ``at``, ``run``, and what
    was said.
    """
    leaves = await dep.receipts.of(person)
    return await _document(dep, person, leaves) if leaves else None


async def unfinished(dep: Deployment, targets: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
    """The receipts of everybody who still has an account that they should not have, the oldest first.

    Args:
        targets: only those with something unfinished in one of these.
    """
    found = await dep.receipts.unfinished()
    return [
        await _document(dep, person, leaves)
        for person, leaves in found.items()
        if targets is None or any(leave.unfinished and target in targets for target, leave in leaves.items())
    ]


async def _document(dep: Deployment, person: str, leaves: Mapping[str, Leave]) -> dict[str, Any]:
    standing = [leave for leave in leaves.values() if leave.unfinished]
    parts = {target: await _part(dep, target, leave) for target, leave in leaves.items()}
    for target in dep.targets:
        if target not in parts:
            parts[target] = await _without_leave(dep, target, person)
    return {
        "person": person,
        "since": moment(min(leave.since for leave in standing or leaves.values())),
        "finished_at": None if standing else moment(max(leave.at for leave in leaves.values())),
        "targets": dict(sorted(parts.items())),
    }


async def _part(dep: Deployment, target: str, leave: Leave) -> dict[str, Any]:
    row = await dep.runs.operation(leave.run, target, leave.operation)
    document = operation_document(row) if row else None
    error = document["error"] if document else None
    return {
        "status": _TOLD[leave.status],
        "since": moment(leave.since),
        "at": moment(leave.at),
        "run": leave.run,
        "message": error["message"] if error else None,
    }


async def _without_leave(dep: Deployment, target: str, person: str) -> dict[str, Any]:
    entry = await dep.ledger.entry(target, person)
    status = "no account" if entry is None else "done" if entry.state == "left" else "as it was"
    at = moment(entry.recorded) if entry is not None and entry.state == "left" else None
    return {"status": status, "since": None, "at": at, "run": None, "message": None}
