"""A leaver's receipt: one record over all targets of what became of their accounts, and since when it is asked for.

It begins when a roster that says so is accepted, and is finished when no ledger entry of the person, in any enabled
target, is in another state than left, whatever became of an operation. Of a target that was never read nobody knows
whether they have an account there, so it is unfinished too. It outlives operations: it goes with the runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

from provisioner.model.operation import Status
from provisioner.model.person_report import ReceiptDocument, ReceiptPart, ReceiptStatus
from provisioner.planning.leaver_steps import next_step
from provisioner.runtime.clock import day_in
from provisioner.runtime.context import Deployment
from provisioner.settings.leaver import steps_of
from provisioner.store.people.ledger import LedgerStore
from provisioner.store.people.receipts import Leave, Receipt
from provisioner.store.runs.documents import RunStore
from provisioner.store.runs.shapes import moment, operation_document
from provisioner.store.runs.target_health import HealthStore

#: What a leave's status says of an account that is not left, and of one that is.
_UNFINISHED: Final[Mapping[Status | None, ReceiptStatus]] = {
    Status.PENDING: "pending",
    Status.SENDING: "pending",
    Status.FAILED: "failed",
    Status.HELD: "held",
    Status.REJECTED: "rejected",
}
_NEVER_PLANNED: Final = "no run has planned it yet"
_NEVER_READ: Final = "no run about everybody has read {target} so far"
_PUT_OFF: Final = "what was planned was put off; the next run plans it again"
_HEALTH: Final[Mapping[str, str]] = {
    "paused": "{target} is paused",
    "quarantined": "{target} is quarantined",
    "unreachable": "{target} cannot be reached",
    "failed": "delivering to {target} fails",
}
#: What is said of a leave that was acknowledged and does not show.
_UNKEPT: Final = "it was acknowledged, and the account shows otherwise"


async def receipt(dep: Deployment, person: str) -> ReceiptDocument | None:
    """One leaver's receipt as JSON; None if the person never left.

    ``since`` is when the first unfinished leave was asked for, or if all is finished, the first of all; ``finished_at``
    is null until all is. ``targets`` has per target its status, ``since``, ``at``, ``run``, and what was said. The
    unfinished are ``pending``, ``waiting``, ``held``, ``failed`` and ``rejected``; else it is ``done``, ``no account``,
    ``no longer wanted``, or ``as it was`` where the person does not leave.
    """
    found = await dep.receipts.of(person, dep.targets)
    return await _document(dep, person, found) if found.leaves or found.unfinished else None


async def unfinished(dep: Deployment, targets: tuple[str, ...] | None = None) -> list[ReceiptDocument]:
    """The receipts of everybody who still has an account that they should not have, the oldest first.

    Args:
        targets: only those with something unfinished in one of these.
    """
    found = await dep.receipts.unfinished(dep.targets)
    return [
        await _document(dep, person, one)
        for person, one in found.items()
        if targets is None or not one.unfinished.keys().isdisjoint(targets)
    ]


async def _document(dep: Deployment, person: str, found: Receipt) -> ReceiptDocument:
    parts = {
        target: await _finished(dep.ledger, dep.runs, target, person, found.leaves.get(target))
        for target in dep.targets
    }
    parts |= {name: await _part(dep.runs, name, leave) for name, leave in found.leaves.items() if name not in parts}
    for target, since in found.unfinished.items():
        parts[target] = await _open(dep, target, person, found.leaves.get(target), since)
    for target, part in parts.items():
        await _add_next_step(dep, target, person, part, found.unfinished.get(target))
    times = found.unfinished or {target: leave.since for target, leave in found.leaves.items()}
    return {
        "person": person,
        "since": moment(min(times.values())),
        "finished_at": None if found.unfinished else moment(max(leave.at for leave in found.leaves.values())),
        "targets": dict(sorted(parts.items())),
    }


async def _add_next_step(dep: Deployment, target: str, person: str, part: ReceiptPart, since: float | None) -> None:
    """Say when the next step of somebody who left is due, where leavers go in steps.

    Args:
        since: since when the leave is asked for, if it is unfinished (epoch seconds).
    """
    after = tuple(step.after for step in steps_of(dep.specs[target].settings.leaver)) if target in dep.specs else ()
    if len(after) < 2:
        return
    entry = await dep.ledger.entry(target, person)
    today, _ = await dep.clock.today()
    left = date.fromisoformat(entry.left) if entry is not None and entry.left else None
    if left is None and since is not None:
        left = day_in(dep.settings.zone, since)[0]
    coming = next_step(after, left, today) if left is not None and entry is not None else None
    part["next"] = coming.isoformat() if coming is not None else None


async def _part(runs: RunStore, target: str, leave: Leave, status: ReceiptStatus | None = None) -> ReceiptPart:
    row = await runs.operation(leave.run, target, leave.operation) if leave.operation else None
    document = operation_document(row) if row else None
    error = document["error"] if document else None
    return {
        "status": status or _UNFINISHED.get(leave.status, "no longer wanted"),
        "since": moment(leave.since),
        "at": moment(leave.at),
        "run": leave.run or None,
        "message": error["message"] if error else None,
    }


async def _open(dep: Deployment, target: str, person: str, leave: Leave | None, since: float) -> ReceiptPart:
    """The part of a target whose account is not in leaver state."""
    part: ReceiptPart = {"status": "waiting", "since": moment(since), "at": None, "run": None, "message": None}
    if leave is not None:
        part = await _part(dep.runs, target, leave, _UNFINISHED.get(leave.status, "waiting"))
        part["since"] = moment(since)
    if part["status"] == "waiting" and (not part["message"] or (leave and leave.status is Status.SUPERSEDED)):
        never = leave is None or leave.status is None
        part["message"] = await _why(dep, target, person) or (_NEVER_PLANNED if never else _PUT_OFF)
    if part["status"] == "rejected" and leave is not None:
        part["message"] = await _refusal(dep.health, target, leave.operation)
    return part


async def _why(dep: Deployment, target: str, person: str) -> str | None:
    """Why nothing is on its way."""
    todos = [one["message"] for one in await dep.health.list(target, "todos") if one["person"] == person]
    if todos:
        return " ".join(todos)
    entry = await dep.ledger.entry(target, person)
    if entry is not None and entry.state == "left" and entry.loops:
        return _UNKEPT
    health = await dep.health.of(target)
    why = _HEALTH[health.status] if health.status else None if health.read else _NEVER_READ
    return why.format(target=target) if why else None


async def _refusal(health: HealthStore, target: str, operation: str) -> str:
    made = (await health.decisions(target)).get(operation)
    if made is None:
        return "somebody said no"
    because = f": {made['reason']}" if made.get("reason") else ""
    return f"rejected by {made['by']} on {moment(made['at'])}{because}"


async def _finished(ledger: LedgerStore, runs: RunStore, target: str, person: str, leave: Leave | None) -> ReceiptPart:
    """The part of a target in which nothing is to be done."""
    entry = await ledger.entry(target, person)
    status: ReceiptStatus = "no account" if entry is None else "done" if entry.state == "left" else "as it was"
    if leave is not None and leave.operation:
        return await _part(runs, target, leave, status if status == "done" else "no longer wanted")
    at = moment(entry.recorded) if entry is not None and entry.state == "left" else None
    return {"status": status, "since": None, "at": at, "run": None, "message": None}
