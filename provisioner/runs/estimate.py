"""How long a queue will take: how many requests its operations need, and when the pace lets the last of them go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from provisioner.model.operation import URGENCY, Kind, Operation
from provisioner.runtime.context import Deployment

_BY_URGENCY: Final = {urgency: kind for kind, urgency in URGENCY.items()}


def _group(dep: Deployment, target: str, kind: Kind) -> str:
    """The group in which a target sends operations of a kind that change nothing in particular."""
    sample = Operation("", target, "", kind, None, {}, {}, slot="account")
    return dep.targets[target].group(sample).partition("#")[0]


def requests_for(dep: Deployment, target: str, groups: Mapping[str, int]) -> int:
    """The least number of requests that so many operations need, by the target's own group."""
    made = dep.targets[target]
    return sum(math.ceil(count / max(1, made.batch_size(group))) for group, count in groups.items() if count)


async def estimate(dep: Deployment, target: str, planned: Mapping[str, int]) -> float:
    """Seconds that a plan would take at the target's pace, were it sent now and alone.

    Args:
        planned: how many operations of each kind.
    """
    groups: dict[str, int] = {}
    for kind, count in planned.items():
        group = _group(dep, target, Kind(kind))
        groups[group] = groups.get(group, 0) + count
    status = await dep.pace_of(target).status()
    return status.finish_estimate(requests_for(dep, target, groups))


async def finish_estimate(dep: Deployment, target: str) -> float | None:
    """Seconds until a target's queue could be empty; 0 if it is, None while nothing may be written to the target.

    The vendor's own time to answer, and retries that are still to come, are not in it.

    Raises:
        StoreError: Redis does not answer.
    """
    if (await dep.health.of(target)).blocked:
        return None
    groups: dict[str, int] = {}
    for urgency, count in (await dep.queue.bands(target)).items():
        group = _group(dep, target, _BY_URGENCY[urgency])
        groups[group] = groups.get(group, 0) + count
    needed = requests_for(dep, target, groups)
    if not needed:
        return 0.0
    return (await dep.pace_of(target).status()).finish_estimate(needed)
