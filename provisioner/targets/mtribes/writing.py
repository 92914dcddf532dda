"""What an ingest of users says, and what its answer means."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from provisioner.model.attributes import members
from provisioner.model.operation import Operation
from provisioner.model.outcome import Done, Outcome, Permanent
from provisioner.targets.mtribes.attributes import CATALOGUE, tag
from provisioner.targets.responses import Answer, Failure, sentence

#: Keys under which an answer lists what it refused, and those that name a user in it.
_ERRORS = re.compile(r"err|fail|reject|refus|invalid|skipped", re.IGNORECASE)
_ID = re.compile(r"(user)?_?id", re.IGNORECASE)


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
    """What an ingest says of a user besides the id: all that we manage, null for what is to be emptied.

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
    """The tags to send. Those that are there already go back unchanged, whoever set them."""
    there = {name.lower(): name for name in members(observed)}
    return list(dict.fromkeys(there.get(name.lower()) or tag(name) for name in members(wanted)))


def outcomes(answer: Answer | Failure, rows: Mapping[int, Mapping[str, Any]]) -> dict[int, Outcome]:
    """What the answer to an ingest means for each of its users.

    An entry among its errors that names an id which was sent is that user's refusal, whatever the status says.
    """
    if not isinstance(answer, Answer):
        return dict.fromkeys(rows, answer)
    sent = {str(row["id"]) for row in rows.values()}
    refused = dict(_refusals(answer.json, sent))
    said = sentence(answer.json) if isinstance(answer.json, dict) and answer.json.get("errors") else None
    note = said and f"mtribes accepted it and said: {said}"
    found: dict[int, Outcome] = {}
    for index, row in rows.items():
        why = refused.get(str(row["id"]))
        accepted = Done(account=row["id"], note=None if refused else note)
        found[index] = accepted if why is None else Permanent("row_refused", f"mtribes refused it: {why}")
    return found


def _refusals(body: Any, sent: Collection[str]) -> Iterator[tuple[str, str]]:
    """The ids that an answer refuses, and why: by entries of a list, or by a mapping of ids, under a key of errors."""
    parts = body.items() if isinstance(body, Mapping) else ()
    for key, part in parts:
        if not _ERRORS.search(str(key)):
            yield from _refusals(part, sent)
        elif isinstance(part, Mapping):
            yield from ((name, sentence(why) or "no reason given") for name, why in part.items() if name in sent)
            yield from _refusals(part, sent)
        elif isinstance(part, Sequence) and not isinstance(part, str):
            for entry in part:
                named = entry if isinstance(entry, (str, int)) else _named(entry)
                if str(named) in sent:
                    yield str(named), sentence(entry) if isinstance(entry, Mapping) else "no reason given"


def _named(entry: Any) -> Any:
    """The id of the user whom an entry is about: its own, or that of the user in it."""
    if not isinstance(entry, Mapping):
        return None
    own = next(
        (value for key, value in entry.items() if _ID.fullmatch(str(key)) and isinstance(value, (str, int))), None
    )
    if own is not None:
        return own
    return next((_named(value) for value in entry.values() if isinstance(value, Mapping)), None)
