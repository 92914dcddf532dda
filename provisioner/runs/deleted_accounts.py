"""Creates that a target refused because a deleted account is in the way: after the first they are to-dos."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

from provisioner.model.operation import Kind, Operation
from provisioner.model.operation_batches import Batch, rewritten
from provisioner.model.outcome import DELETED_IN_THE_WAY
from provisioner.planning.spec import Observation
from provisioner.planning.target_plan import TargetPlan, Todo
from provisioner.store.people.last_outcomes import LastOutcomeStore
from provisioner.store.runs.documents import RunStore

#: Finished operations of a person that are looked at, newest first, over all targets.
_LOOKED_AT = 20


async def without_deleted(
    last_outcomes: LastOutcomeStore, runs: RunStore, target: str, plan: TargetPlan, observation: Observation
) -> TargetPlan:
    """The plan without creates whose last try was refused for a deleted account that is still there.

    It is asked for only where the target shows deleted accounts. As soon as the one in the way is gone, or restored,
    the create is planned again.
    """
    if not observation.deleted or not plan.planned[Kind.CREATE]:
        return plan
    people = [one.person for one in plan.operations if one.kind is Kind.CREATE]
    last = await last_outcomes.of([target], people)
    refused: dict[str, str] = {}
    for person in people:
        if last.get((person, target)) != "create failed":
            continue
        for document in await runs.history(person, _LOOKED_AT):
            if document["target"] == target and document["kind"] == Kind.CREATE.value:
                error = document["error"]
                if error and error["code"] == DELETED_IN_THE_WAY and _names_one(error["message"], observation.deleted):
                    refused[person] = error["message"]
                break
    return await asyncio.to_thread(_without, plan, refused) if refused else plan


def _names_one(message: str, accounts: Collection[str]) -> bool:
    return any(account in message for account in accounts)


def _without(plan: TargetPlan, refused: dict[str, str]) -> TargetPlan:
    def kept(batch: Batch) -> list[Operation]:
        left = [one for one in batch if not (one.kind is Kind.CREATE and one.person in refused)]
        gone = {one.id for one in batch} - {one.id for one in left}
        return [one for one in left if one.follows not in gone]

    todos = tuple(Todo(person, f"not created again: {message}", linked=False) for person, message in refused.items())
    return replace(plan, operations=rewritten(plan.operations, kept), todos=(*plan.todos, *todos))
