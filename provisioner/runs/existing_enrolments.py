"""Leaving out of a plan the enrolments that a target shows already."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import structlog

from provisioner.errors import TargetError
from provisioner.model.operation_batches import rewritten
from provisioner.planning.bundling import tokens, unsure, without
from provisioner.planning.target_plan import TargetPlan
from provisioner.runtime.context import Deployment
from provisioner.targets.capabilities import Enrols
from provisioner.targets.http import Http

log = structlog.get_logger(__name__)


async def without_existing(dep: Deployment, target: str, http: Http, plan: TargetPlan) -> TargetPlan:
    """The plan without the enrolments that already exist; `enrolled` names the people whose ledger entry records
    them.

    Looked up once per plan, and only where an enrolment is due of somebody whose account was there before: nobody else
    can have one. If they cannot be read, those enrolments wait for the next run, and everything else goes on.
    """
    made = dep.targets[target]
    asked = await asyncio.to_thread(unsure, plan.operations) if isinstance(made, Enrols) else ()
    if not asked or not isinstance(made, Enrols):
        return plan
    try:
        there = await made.existing_enrolments(http, asked)
    except TargetError as exc:
        log.warning("enrolments_not_read", target=target, code=exc.code)
        note = f"{len(asked)} enrolments wait for the next run, because existing ones could not be read: {exc.message}"
        ids = {operation.id for operation in asked}
        return await asyncio.to_thread(_without, plan, ids, notes=(*plan.notes, note))
    return await asyncio.to_thread(_without, plan, there, enrolled=tokens(asked, there))


def _without(plan: TargetPlan, ids: Collection[str], **changes: Any) -> TargetPlan:
    return replace(plan, operations=rewritten(plan.operations, lambda batch: without(batch, ids)), **changes)
