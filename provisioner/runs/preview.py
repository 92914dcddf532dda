"""`plan`: what a sync would do, found by the same path, with nothing written anywhere but the pace."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from provisioner.errors import TargetError, UnauthorisedError, UnreachableError
from provisioner.model.attributes import natural_values
from provisioner.model.operation import URGENCY, Kind, Operation, Status
from provisioner.model.run_document import removals_wait, run_status
from provisioner.planning.plan import TargetPlan
from provisioner.runs.enqueue import figures_of, lists_of, make_plan
from provisioner.runs.forecast import predicted
from provisioner.runs.roster_snapshot import RejectedRosterError, rejects_json, take
from provisioner.runtime.context import Deployment
from provisioner.runtime.origins import remarks
from provisioner.store.runs.documents import Request


async def preview(dep: Deployment, request: Request, *, content: bytes | None = None) -> dict[str, Any]:
    """The JSON of a plan: that of a run, with `run` null and a list of `operations`.

    Raises:
        RosterError: the roster cannot be read (a rejected one comes back as a document of status `rejected`).
        UsageError: a target or person does not exist.
    """
    targets = dep.chosen(request.targets)
    document: dict[str, Any] = {
        "run": None,
        "trigger": request.trigger,
        "status": "succeeded",
        "started_at": None,
        "finished_at": None,
        "roster": None,
        "targets": {},
        "operations": [],
    }
    try:
        taken = await take(dep, request, content)
    except RejectedRosterError as exc:
        error = {"code": exc.code, "message": str(exc), "exit": exc.exit_code}
        rejects = rejects_json(exc.rejects)
        return document | {"status": "rejected", "roster": exc.document, "error": error, "rejects": rejects}
    document["roster"] = taken.document
    document["rejects"] = rejects_json(taken.rejects)

    async def one(target: str) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
        if not dep.enabled(target):
            return target, _empty("skipped"), []
        try:
            planned = await make_plan(dep, target, taken.snapshot)
        except TargetError as exc:
            return target, _failed(exc), []
        planned = replace(planned, plan=replace(planned.plan, notes=(*planned.plan.notes, *await remarks(dep, target))))
        health = await dep.health.of(target)
        part = _part(planned.plan, planned.requests, paused=health.paused)
        part["predicted"] = await asyncio.to_thread(predicted, dep, target, planned.plan, planned.requests)
        operations = sorted(planned.plan.operations, key=lambda operation: URGENCY[operation.kind])
        return target, part, [_operation(dep, operation) for operation in operations]

    for target, part, operations in await asyncio.gather(*(one(target) for target in targets)):
        document["targets"][target] = part
        document["operations"] += operations
    statuses = {target: part["status"] for target, part in document["targets"].items()}
    return document | {"status": run_status(statuses.values(), removals_wait=removals_wait(document["roster"]))}


def _empty(status: str) -> dict[str, Any]:
    part: dict[str, Any] = {"status": status}
    part |= dict.fromkeys(("observed", "linked", "adopted", "orphans", "conflicts", "todo", "unchanged"), 0)
    part["planned"] = {kind.value: 0 for kind in Kind}
    part |= {name: {} for name in ("succeeded", "failed", "held", "waiting", "superseded", "rejected")}
    return part | {"requests": 0}


def _failed(exc: TargetError) -> dict[str, Any]:
    status = "failed"
    if isinstance(exc, UnauthorisedError):
        status = "quarantined"
    elif isinstance(exc, UnreachableError):
        status = "unreachable"
    return _empty(status) | {"error": {"code": exc.code, "message": str(exc), "exit": exc.exit_code}}


def _part(plan: TargetPlan, requests: int, *, paused: bool) -> dict[str, Any]:
    pending, held, rejected, failed = (
        {kind.value: count for kind, count in plan.tally[status].items()}
        for status in (Status.PENDING, Status.HELD, Status.REJECTED, Status.FAILED)
    )
    counts = {"held": held, "rejected": rejected, "failed": failed, "waiting": pending if paused else {}}
    broken = plan.unbelieved or failed
    kept = held or rejected.get(Kind.LEAVE.value) or plan.leavers_left
    status = "failed" if broken else "paused" if counts["waiting"] else "held" if kept else "succeeded"
    part = _empty(status) | figures_of(plan) | counts
    part["planned"] = {kind.value: count for kind, count in plan.planned.items()}
    part["requests"] = requests
    part["guards"] = [trip.sentence for trip in plan.guards]
    part["notes"] = list(plan.notes)
    if plan.leavers_left:
        part["leavers_left"] = plan.leavers_left
    part["lists"] = lists_of(plan)
    if plan.unbelieved:
        part["error"] = {"code": plan.disbelief, "message": plan.unbelieved, "exit": 5}
    return part


def _operation(dep: Deployment, operation: Operation) -> dict[str, Any]:
    attributes = dep.specs[operation.target].attributes
    return {
        "id": operation.id,
        "target": operation.target,
        "person": operation.person,
        "kind": operation.kind.value,
        "account": operation.account,
        "before": natural_values(operation.before, attributes),
        "after": natural_values(operation.after, attributes),
        "drift": operation.drift,
        "status": operation.planned_status.value,
        "attempts": 0,
        "error": operation.planned_error or ({"code": "held", "message": operation.hold} if operation.hold else None),
        "reason": operation.reason,
    }
