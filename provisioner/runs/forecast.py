"""What a plan said of its run before anything was sent, to be held against what became of it."""

from __future__ import annotations

from collections import Counter

from provisioner.model.operation import Enrolment, Status
from provisioner.model.run_document import Prediction
from provisioner.planning.target_plan import TargetPlan
from provisioner.runs.estimate import requests_of
from provisioner.runtime.context import Deployment


def predicted(dep: Deployment, target: str, plan: TargetPlan, reads: int) -> Prediction:
    """The prediction of one target's part: ``operations`` by kind, and the ``requests`` of the run.

    `operations` are those that go out by themselves: neither held nor rejected. `requests` are the reads that were
    sent already, and the fewest that so many operations need; lookups, retries and calls that a create takes besides
    come on top.

    Args:
        reads: requests that observing took.
    """
    made = dep.targets[target]
    # What is bundled takes no request of its own
    groups = Counter(
        made.group(operation).partition("#")[0]
        for operation in plan.operations
        if operation.planned_status is Status.PENDING and not (isinstance(operation, Enrolment) and operation.bundled)
    )
    return {
        "operations": {kind.value: count for kind, count in plan.tally[Status.PENDING].items()},
        "requests": reads + requests_of(made, groups),
    }
