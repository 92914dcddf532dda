"""`plan`: what a sync would do, found by the same path, with nothing written anywhere but the pace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from provisioner.errors import TargetError, UnauthorisedError, UnreachableError
from provisioner.model.attributes import natural_values
from provisioner.model.operation import URGENCY, Kind, Operation, Status
from provisioner.model.operation_document import ErrorDocument, PreviewedOperation
from provisioner.model.plan_file import PlannedLink
from provisioner.model.run_document import (
    Counts,
    LeftOutRow,
    PartStatus,
    PlanDocument,
    RunPart,
    removals_wait,
    run_status,
)
from provisioner.planning.target_plan import TargetPlan
from provisioner.runs.forecast import predicted
from provisioner.runs.orders import orders_of
from provisioner.runs.plan_figures import figures_of, lists_of
from provisioner.runs.planned import make_plan
from provisioner.runs.roster_snapshot import RejectedRosterError, rejects_json, take
from provisioner.runs.undo import staying_of
from provisioner.runtime import tracing
from provisioner.runtime.context import Deployment
from provisioner.runtime.origins import remarks
from provisioner.store.runs.documents import Request


@dataclass(frozen=True, slots=True)
class Previewed:
    """A plan as JSON, and the accounts that it adopts."""

    document: PlanDocument
    links: tuple[PlannedLink, ...] = ()


async def preview(dep: Deployment, request: Request, *, content: bytes | None = None) -> PlanDocument:
    """The JSON of a plan, see `previewed`."""
    return (await previewed(dep, request, content=content)).document


async def previewed(dep: Deployment, request: Request, *, content: bytes | None = None) -> Previewed:
    """The JSON of a plan: that of a run, with `run` null and a list of `operations`; and what it adopts.

    Raises:
        RosterError: the roster cannot be read (a rejected one comes back as a document of status `rejected`).
        UsageError: a target or person does not exist.
    """
    with tracing.span("plan", trigger=request.trigger):
        return await _previewed(dep, request, content=content)


async def _previewed(dep: Deployment, request: Request, *, content: bytes | None) -> Previewed:
    targets = dep.chosen(request.targets)
    document: PlanDocument = {
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
        document["status"], document["roster"] = "rejected", exc.document
        document["error"] = {"code": exc.code, "message": str(exc), "exit": exc.exit_code}
        document["rejects"] = rejects_json(exc.rejects)
        return Previewed(document)
    document["roster"] = taken.document
    document["rejects"] = rejects_json(taken.rejects)
    links: list[PlannedLink] = []
    left: dict[str, Sequence[LeftOutRow]] = {}

    async def one(target: str) -> tuple[str, RunPart, list[PreviewedOperation]]:
        if not dep.enabled(target):
            return target, _empty("skipped"), []
        try:
            orders = await orders_of(dep, request, target)
            with tracing.span(f"target {target}", target=target, kind=dep.settings.targets[target].kind):
                planned = await make_plan(dep, target, orders.narrowed(taken.snapshot), orders=orders)
        except TargetError as exc:
            return target, _failed(exc), []
        planned = planned.noted(await remarks(dep.origins, dep.settings, target))
        health = await dep.health.of(target)
        part = _part(planned.plan, planned.requests, paused=health.paused)
        part["predicted"] = await asyncio.to_thread(predicted, dep, target, planned.plan, planned.requests)
        left[target] = planned.left_out
        if planned.left_out:
            part["left_out"] = len(planned.left_out)
        links.extend(_adopted(planned.plan))
        operations = sorted(planned.plan.operations, key=lambda operation: URGENCY[operation.kind])
        return target, part, [_operation(dep, operation) for operation in operations]

    for target, part, operations in await asyncio.gather(*(one(target) for target in targets)):
        document["targets"][target] = part
        document["operations"] += operations
    statuses = [part["status"] for part in document["targets"].values()]
    document["status"] = run_status(statuses, removals_wait=removals_wait(document["roster"]))
    if request.undo is not None:
        document["undo"] = {"run": request.undo, "force_drift": request.force}
        document["left_out"] = [row for target in targets for row in left.get(target, ())]
        document["stays"] = await staying_of(dep, request)
    return Previewed(document, tuple(links))


def _adopted(plan: TargetPlan) -> Iterator[PlannedLink]:
    for link in plan.links:
        if link.matched != "link":
            yield {"target": plan.target, "person": link.person, "account": link.account, "matched": link.matched}


def _empty(status: PartStatus) -> RunPart:
    return {
        "status": status,
        "observed": 0,
        "linked": 0,
        "adopted": 0,
        "orphans": 0,
        "conflicts": 0,
        "todo": 0,
        "unchanged": 0,
        "planned": {kind.value: 0 for kind in Kind},
        "succeeded": {},
        "failed": {},
        "held": {},
        "waiting": {},
        "superseded": {},
        "rejected": {},
        "requests": 0,
    }


def _failed(exc: TargetError) -> RunPart:
    status: PartStatus = "failed"
    if isinstance(exc, UnauthorisedError):
        status = "quarantined"
    elif isinstance(exc, UnreachableError):
        status = "unreachable"
    return {**_empty(status), "error": {"code": exc.code, "message": str(exc), "exit": exc.exit_code}}


def _part(plan: TargetPlan, requests: int, *, paused: bool) -> RunPart:
    shown = (Status.PENDING, Status.HELD, Status.REJECTED, Status.FAILED)
    pending, held, rejected, failed = (_by_name(plan.tally[one]) for one in shown)
    waiting = pending if paused else {}
    kept = held or rejected.get(Kind.LEAVE.value) or plan.leavers_left
    broken = plan.unbelieved or failed
    status: PartStatus = "failed" if broken else "paused" if waiting else "held" if kept else "succeeded"
    figures = figures_of(plan)
    part: RunPart = {
        "status": status,
        "observed": figures["observed"],
        "linked": figures["linked"],
        "adopted": figures["adopted"],
        "orphans": figures["orphans"],
        "conflicts": figures["conflicts"],
        "todo": figures["todo"],
        "unchanged": figures["unchanged"],
        "planned": _by_name(plan.planned),
        "succeeded": {},
        "failed": failed,
        "held": held,
        "waiting": waiting,
        "superseded": {},
        "rejected": rejected,
        "requests": requests,
        "blocked": figures["blocked"],
        "guards": [trip.sentence for trip in plan.guards],
        "notes": list(plan.notes),
    }
    if plan.leavers_left:
        part["leavers_left"] = plan.leavers_left
    part["lists"] = lists_of(plan)
    if plan.unbelieved:
        part["error"] = {"code": plan.disbelief, "message": plan.unbelieved, "exit": 5}
    return part


def _by_name(counts: Mapping[Kind, int]) -> Counts:
    return {kind.value: count for kind, count in counts.items()}


def _operation(dep: Deployment, operation: Operation) -> PreviewedOperation:
    attributes = dep.specs[operation.target].attributes
    error: ErrorDocument | None = {"code": "held", "message": operation.hold} if operation.hold else None
    if operation.planned_error:
        error = {"code": operation.planned_error["code"], "message": operation.planned_error["message"]}
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
        "error": error,
        "reason": operation.reason,
    }
