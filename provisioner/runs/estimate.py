"""How long a queue will take: how many requests its operations need, and when the pace lets the last of them go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from provisioner.model.operation import URGENCY, Kind
from provisioner.model.operation_record import OperationRecord
from provisioner.runtime.context import Deployment
from provisioner.settings import Rate
from provisioner.targets.base import Target
from provisioner.targets.capabilities import CountsListing

_BY_URGENCY: Final = {urgency: kind for kind, urgency in URGENCY.items()}


@dataclass(frozen=True, slots=True)
class UsualDurations:
    """Seconds that runs of one target take at its rate, at least. The vendor's time to answer is not in them.

    `unchanged`: a run that finds nothing to do. `first_load`: one that creates everybody. `after_load`: the one after
    that, which reads what it has never seen.
    """

    unchanged: float
    first_load: float
    after_load: float


def usual_durations(target: Target[Any], rates: Sequence[Rate], people: int) -> UsualDurations | None:
    """How long runs about so many people take; None where the target cannot say how it lists."""
    if not isinstance(target, CountsListing):
        return None
    creates = requests_of(target, {_group(target, Kind.CREATE): people})
    return UsualDurations(
        unchanged=_seconds(rates, target.listing_requests(people, 0)),
        first_load=_seconds(rates, target.listing_requests(0, 0) + creates),
        after_load=_seconds(rates, target.listing_requests(people, people)),
    )


def _seconds(rates: Sequence[Rate], requests: int) -> float:
    """Seconds from the first request to the last, if nobody else sends any."""
    return max((max(0, math.ceil(requests / rate.limit) - 1) * rate.window for rate in rates), default=0.0)


def _group(target: Target[Any], kind: Kind) -> str:
    """The group in which a target sends operations of a kind that change nothing in particular."""
    sample = OperationRecord("", target.name, "", kind, None, {}, {}).operation()
    return target.group(sample).partition("#")[0]


def requests_of(target: Target[Any], groups: Mapping[str, int]) -> int:
    """The least number of requests that so many operations need, by the target's own group."""
    return sum(math.ceil(count / max(1, target.batch_size(group))) for group, count in groups.items() if count)


async def estimate(dep: Deployment, target: str, planned: Mapping[str, int]) -> float:
    """Seconds that a plan would take at the target's pace, were it sent now and alone.

    Args:
        planned: how many operations of each kind.
    """
    groups: dict[str, int] = {}
    for kind, count in planned.items():
        group = _group(dep.targets[target], Kind(kind))
        groups[group] = groups.get(group, 0) + count
    status = await dep.pace_of(target).status()
    return status.finish_estimate(requests_of(dep.targets[target], groups))


async def finish_estimate(dep: Deployment, target: str) -> float | None:
    """Seconds until a target's queue could be empty; 0 if it is, None while nothing may be written to the target.

    The vendor's own time to answer, and retries that are still to come, are not in it.

    Raises:
        StoreError: Redis does not answer.
    """
    if (await dep.health.of(target)).blocked:
        return None
    queued = await queue_forecast(dep, target)
    return queued[-1].empty_in if queued else 0.0


@dataclass(frozen=True, slots=True)
class Queued:
    """`count` operations of one urgency, and seconds until they and all more urgent ones could be sent; None while
    nothing may be written to the target."""

    kinds: tuple[Kind, ...]
    count: int
    empty_in: float | None


async def queue_forecast(dep: Deployment, target: str) -> list[Queued]:
    """What waits in a target's queue, the most urgent first.

    The vendor's own time to answer, and retries that are still to come, are not in it.

    Raises:
        StoreError: Redis does not answer.
    """
    bands = {urgency: count for urgency, count in (await dep.queue.bands(target)).items() if count}
    if not bands:
        return []
    blocked = (await dep.health.of(target)).blocked
    status = await dep.pace_of(target).status()
    groups: dict[str, int] = {}
    found = []
    for urgency, count in sorted(bands.items()):
        group = _group(dep.targets[target], _BY_URGENCY[urgency])
        groups[group] = groups.get(group, 0) + count
        kinds = tuple(kind for kind in Kind if URGENCY[kind] == urgency)
        needed = requests_of(dep.targets[target], groups)
        found.append(Queued(kinds, count, None if blocked else status.finish_estimate(needed)))
    return found
