"""A run's counters, and where it did otherwise than its plan said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from provisioner.model.operation import Kind, Status
from provisioner.model.run_document import Counts, Difference

#: What else than done an operation may be, and codes by which it is superseded for another reason than a newer plan.
_ELSE: Final = (Status.PENDING, Status.SENDING, Status.WAITING, Status.HELD, Status.FAILED, Status.REJECTED)
_WHY: Final = ("overtaken", "no_longer_leaving")


def counts(fields: Mapping[str, str], status: str) -> Counts:
    """How many operations of each kind have a status, without zeros."""
    found = {kind.value: int(fields.get(f"n:{status}:{kind.value}", 0)) for kind in Kind}
    return {kind: count for kind, count in found.items() if count > 0}


def unfinished(fields: Mapping[str, str]) -> tuple[int, int]:
    """(pending or being sent, waiting) of a run's part for one target."""
    moving = sum(counts(fields, Status.PENDING).values()) + sum(counts(fields, Status.SENDING).values())
    return moving, sum(counts(fields, Status.WAITING).values())


def differences(fields: Mapping[str, str], predicted: Mapping[str, int]) -> list[Difference]:
    """Where a run's part did otherwise than its plan said, by kind: ``predicted``, ``actual``, and ``because``, which
    says how many became what: a status, or why they were superseded."""
    found: list[Difference] = []
    done = counts(fields, Status.SUCCEEDED)
    for kind in (kind.value for kind in Kind):
        if done.get(kind, 0) == predicted.get(kind, 0):
            continue
        because = {status.value: int(fields.get(f"n:{status}:{kind}", 0)) for status in _ELSE}
        superseded = int(fields.get(f"n:{Status.SUPERSEDED}:{kind}", 0))
        for code in _WHY:
            because[code] = int(fields.get(f"why:{code}:{kind}", 0))
            superseded -= because[code]
        because["newer_plan"] = superseded
        # More than was predicted: somebody released what was held
        because["approved"] = done.get(kind, 0) - predicted.get(kind, 0)
        found.append(
            {
                "kind": kind,
                "predicted": predicted.get(kind, 0),
                "actual": done.get(kind, 0),
                "because": {why: count for why, count in because.items() if count > 0},
            }
        )
    return found


def guard_sentences(fields: Mapping[str, str]) -> list[str]:
    """What guards found in a run's part, and whether it still waits for an approval."""
    held = counts(fields, Status.HELD)
    return [
        # An earlier version kept the whole sentence
        one
        if isinstance(one, str)
        else f"{one['finding']}: held {'until approved' if not held.keys().isdisjoint(one['kinds']) else 'at first'}."
        for one in json.loads(fields.get("guards") or "[]")
    ]
