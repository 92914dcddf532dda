"""What lies in Redis of one operation on its way into the queue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from provisioner.model.operation import REMOVALS, URGENCY, Enrolment, Kind, Operation
from provisioner.model.operation_record import to_json

#: Single-person work sorts before everything else; the limiter keeps slots for it.
_URGENT: Final = -1e12


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation on its way into the queue.

    `group` is the batch group that its target gave it, `guard` the guard it counts for, `shown` its `before` and
    `after` as JSON shows them, `stake` what is not known any more if its end is not (see `model.unsure`). `removes` is
    how many values it takes away that we never wrote, for which the guard `removals` counts it. `names` are, by
    attribute and folded value, values that nobody else may have while it is open.
    """

    operation: Operation
    group: str
    guard: str = ""
    shown: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stake: Mapping[str, Sequence[str]] = field(default_factory=dict)
    removes: int = 0
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def coming(self) -> dict[str, list[str]]:
        """By guard that it counts for, as many names as it counts; they stand in `coming` until it is installed."""
        person = self.operation.person
        found = {self.guard: [person]} if self.guard else {}
        if self.removes and not self.operation.hold:
            found[REMOVALS] = [person, *(f"{person}\x1f{number}" for number in range(2, self.removes + 1))]
        return found


def order_of(operation: Operation, place: int) -> float:
    """By which operations are delivered and shown, whatever batch they came in."""
    return URGENCY[operation.kind] * 1e9 + place


def fields_of(entry: Entry, place: int, followers: Sequence[str], *, urgent: bool) -> dict[str, str | bytes | float]:
    operation = entry.operation
    fields: dict[str, str | bytes | float] = {
        "doc": to_json(operation),
        "person": operation.person,
        "kind": operation.kind.value,
        "slot": f"{operation.person}\x1f{operation.slot}",
        "group": entry.group,
        "score": (_URGENT if urgent else 0.0) + order_of(operation, place),
        "wanted_status": operation.planned_status.value,
        "follows": operation.follows or "",
    }
    # Each field takes a hundred bytes in Redis, and most operations have none of these
    if entry.shown and entry.shown != {"before": operation.before, "after": operation.after}:
        fields["shown"] = json.dumps(dict(entry.shown), ensure_ascii=False)
    if entry.guard:
        fields["guard"] = entry.guard
    if entry.removes:
        fields["removes"] = entry.removes
    if entry.names:
        fields["names"] = json.dumps(dict(entry.names), ensure_ascii=False)
    if followers:
        fields["followers"] = json.dumps(list(followers))
    if operation.planned_error:
        fields["error"] = json.dumps(dict(operation.planned_error))
    if isinstance(operation, Enrolment) and operation.bundled:
        fields["rides"] = operation.token
    if entry.stake:
        fields["stake"] = json.dumps(dict(entry.stake))
    return fields


def guard_of(kind: Kind, covers: Mapping[str, Sequence[Kind]]) -> str:
    """The guard that counts a kind, or the empty text."""
    return next((guard for guard, kinds in covers.items() if kind in kinds), "")
