"""What a run's part and the lists of a target say of a plan."""

from __future__ import annotations

import json
from typing import cast

from provisioner.model.operation import Kind, Status
from provisioner.model.worklists import PlanLists, TodoRow
from provisioner.planning.target_plan import TargetPlan, Todo


def part_of(plan: TargetPlan) -> dict[str, str | float | int]:
    """What a run's part tells of its plan."""
    fields: dict[str, str | float | int] = dict(figures_of(plan))
    fields |= {f"planned:{kind.value}": count for kind, count in plan.planned.items()}
    fields["leavers_left"] = plan.leavers_left
    guards = [{"finding": trip.finding, "kinds": [kind.value for kind in trip.kinds]} for trip in plan.guards]
    fields["guards"] = json.dumps(guards)
    fields["notes"] = json.dumps(list(plan.notes))
    if plan.unbelieved:
        fields["error"] = json.dumps({"code": plan.disbelief, "message": plan.unbelieved, "exit": 5})
    return fields


def base_after(plan: TargetPlan) -> int:
    """What guards measure by when the accounts that a plan makes are there."""
    return plan.base + plan.tally[Status.PENDING].get(Kind.CREATE, 0)


def figures_of(plan: TargetPlan) -> dict[str, int]:
    """The plan's figures, as a run's JSON names them."""
    return {
        "observed": plan.observed,
        "linked": plan.linked,
        "adopted": plan.adopted,
        "orphans": len(plan.orphans),
        "conflicts": len(plan.conflicts),
        "todo": plan.linked - plan.unchanged - len(plan.conflicts) - plan.touched,
        "blocked": sum(1 for todo in plan.todos if not todo.linked),
        "unchanged": plan.unchanged,
    }


def _todo(todo: Todo) -> TodoRow:
    row: TodoRow = {"person": todo.person, "message": todo.sentence}
    return cast("TodoRow", row | {"code": todo.code, **todo.about}) if todo.code else row


def lists_of(plan: TargetPlan) -> PlanLists:
    """What a person has to look after, by list."""
    todos = [_todo(one) for one in plan.todos]
    todos += [{"person": one.person, "message": f"{one.where}: {one.reason}"} for one in plan.faults]
    return {
        "conflicts": [
            {"person": one.person, "accounts": list(one.accounts), "message": one.sentence} for one in plan.conflicts
        ],
        "todos": todos,
        "drift": [{"person": one.person, "message": one.sentence} for one in plan.drift],
        "orphans": list(plan.orphans),
        "missing": list(plan.missing),
    }
