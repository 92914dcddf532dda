"""What an ingest of users says, and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.model.attributes import members
from provisioner.model.operation import Operation
from provisioner.model.outcome import Done, Outcome
from provisioner.targets.mtribes.attributes import CATALOGUE, tag
from provisioner.targets.responses import Answer, Failure, sentence


def bodies(rows: Mapping[int, dict[str, Any]], envelope: str | None) -> list[tuple[Any, tuple[int, ...]]]:
    """The bodies to send, each with the operations that it carries.

    Several tags for one user are one row: each holds the tags of those before it, so the last one holds all.
    """
    last = {row["id"]: row for row in rows.values()}
    if envelope is not None:
        return [({envelope: list(last.values())}, tuple(rows))] if rows else []
    return [
        (row, tuple(index for index, other in rows.items() if other["id"] == identifier))
        for identifier, row in last.items()
    ]


def fields(operation: Operation) -> dict[str, Any]:
    """What an ingest says of a user beside the id: all that we manage, null for what is to be emptied.

    Raises:
        InvalidValueError: a tag that mtribes would not take.
    """
    found: dict[str, Any] = {}
    changed = operation.after.keys()
    for name, text in operation.wanted.items():
        attribute = CATALOGUE.get(name)
        if attribute and not attribute.on_update:
            continue
        if name == "tags":
            # Whether an ingest replaces or merges them is unknown: unchanged ones are better left out
            if name in changed or (operation.account is None and text):
                found[name] = tags(text, operation.observed.get(name))
        elif text is not None or (name in changed and operation.account is not None):
            found[name] = text
    return found


def tags(wanted: str | None, observed: str | None) -> list[str]:
    """The tags to send. Those that are there already go back as they stand, whoever set them."""
    there = {name.lower(): name for name in members(observed)}
    return list(dict.fromkeys(there.get(name.lower()) or tag(name) for name in members(wanted)))


def outcome(answer: Answer | Failure, row: Mapping[str, Any]) -> Outcome:
    """What the answer to an ingest means for one of its users."""
    if not isinstance(answer, Answer):
        return answer
    said = sentence(answer.json) if isinstance(answer.json, dict) and answer.json.get("errors") else None
    return Done(account=row["id"], note=said and f"mtribes accepted it and said: {said}")
