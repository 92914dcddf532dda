"""Leaving out of a plan the enrolments that a target shows already."""

from __future__ import annotations

from dataclasses import replace

import structlog

from provisioner.delivery.deployment import Deployment
from provisioner.errors import TargetError
from provisioner.planning.plan import TargetPlan
from provisioner.planning.riding import tokens, unsure, without
from provisioner.targets.http import Http

log = structlog.get_logger(__name__)


async def without_existing(dep: Deployment, target: str, http: Http, plan: TargetPlan) -> TargetPlan:
    """The plan without enrolments that exist; its `enrolled` says of whom the ledger is to remember them.

    Looked up once per plan, and only where an enrolment is due of somebody whose account was there before: nobody else
    can have one. If they cannot be read, those enrolments wait for the next run, and everything else goes on.
    """
    asked = unsure(plan.operations)
    if not asked:
        return plan
    try:
        there = await dep.targets[target].already(http, asked)
    except TargetError as exc:
        log.warning("enrolments_not_read", target=target, code=exc.code)
        note = f"{len(asked)} enrolments wait for the next run, because existing ones could not be read: {exc.message}"
        ids = {operation.id for operation in asked}
        return replace(plan, operations=tuple(without(plan.operations, ids)), notes=(*plan.notes, note))
    return replace(
        plan,
        operations=tuple(without(plan.operations, there)),
        enrolled=tokens(plan.operations, there),
    )
