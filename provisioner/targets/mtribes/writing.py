"""What an ingest of users says, and what its answer means."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from provisioner.model.attributes import members
from provisioner.model.operation import Operation
from provisioner.model.outcome import Done, Outcome, Permanent, Unclear
from provisioner.targets.following import value_at
from provisioner.targets.mtribes.attributes import CATALOGUE, tag
from provisioner.targets.mtribes.settings import IngestDialect, MtribesSettings
from provisioner.targets.responses import Answer, Failure, sentence

#: Keys under which an answer lists what it refused, and those that name a user in it.
_ERRORS = re.compile(r"err|fail|reject|refus|invalid|skipped", re.IGNORECASE)
#: The least status of an entry that means a refusal.
_REFUSED_FROM: Final = 400
_ID = re.compile(r"(user)?_?id", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ingest:
    """One request of an ingest: its body, the user whom it is about if it is about one, and its operations."""

    body: Any
    user: str | None
    indexes: tuple[int, ...]


def requests(rows: Mapping[int, Mapping[str, Any]], settings: MtribesSettings) -> list[Ingest]:
    """The requests to send.

    Several tags for one user are one row: each holds the tags of those before it, so the last one holds all.
    """
    last = {row["id"]: row for row in rows.values()}
    addressed, envelope = "{user_id}" in settings.paths.ingest, settings.envelope
    if not addressed and envelope is not None:
        listed: Any = [_spelt(row, settings) for row in last.values()]
        return [Ingest(_under(envelope, listed), None, tuple(rows))] if rows else []
    found = []
    for identifier, row in last.items():
        one = _spelt(row, settings)
        if addressed:
            one.pop(settings.dialect.ingest.id, None)
        body = _under(envelope, one) if addressed and envelope else one
        indexes = tuple(index for index, other in rows.items() if other["id"] == identifier)
        found.append(Ingest(body, identifier, indexes))
    return found


def _spelt(row: Mapping[str, Any], settings: MtribesSettings) -> dict[str, object]:
    """A row in the vendor's form: each value where it belongs."""
    dialect = settings.dialect
    found: dict[str, object] = {}
    for name, value in row.items():
        if name == "id":
            _put(found, dialect.ingest.id, int(value) if dialect.ids.numbers and value.isdecimal() else value)
        else:
            _put(found, dialect.ingest.fields.get(name, name), value)
    return found


def _put(found: dict[str, object], path: str, value: Any) -> None:
    """Lay a value at a path; behind `[]` each member of a list becomes an object."""
    outer, each, inner = path.partition("[].")
    if each and isinstance(value, list):
        made = []
        for member in value:
            one: dict[str, object] = {}
            _put(one, inner, member)
            made.append(one)
        value = made
    *levels, last = outer.split(".")
    for level in levels:
        inside: Any = found.setdefault(level, {})
        found = inside
    found[last] = value


def _under(envelope: str, value: Any) -> Any:
    """A value under a key, with dots between levels; itself where there is none."""
    for name in reversed(envelope.split(".") if envelope else []):
        value = {name: value}
    return value


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


def outcomes(
    answer: Answer | Failure, rows: Mapping[int, Mapping[str, Any]], dialect: IngestDialect
) -> dict[int, Outcome]:
    """What the answer to an ingest means for each of its users.

    An entry among its errors that names an id which was sent is that user's refusal, whatever the status says.
    """
    if not isinstance(answer, Answer):
        return dict.fromkeys(rows, answer)
    sent = list(dict.fromkeys(str(row["id"]) for row in rows.values()))
    if dialect.results:
        entries = value_at(answer.json, dialect.results)
        if not isinstance(entries, list):
            return dict.fromkeys(rows, Unclear("malformed_answer", f"mtribes answered no list at {dialect.results}"))
        refused = dict(_failed(entries, sent, dialect.status))
    else:
        refused = dict(_refusals(answer.json, set(sent)))
    said = sentence(answer.json) if isinstance(answer.json, dict) and answer.json.get("errors") else None
    note = said and f"mtribes accepted it and said: {said}"
    found: dict[int, Outcome] = {}
    for index, row in rows.items():
        why = refused.get(str(row["id"]))
        accepted = Done(account=row["id"], note=None if refused else note)
        found[index] = accepted if why is None else Permanent("row_refused", f"mtribes refused it: {why}")
    return found


def _failed(entries: Sequence[Any], sent: Sequence[str], status: str) -> Iterator[tuple[str, str]]:
    """The ids that a list of results calls refused, and why: by the id of an entry, else by its place.

    A user without an entry, and one whose entry says nothing that is understood, is not known to be refused.
    """
    for place, entry in enumerate(entries):
        named = _named(entry)
        identifier = str(named) if named is not None else sent[place] if len(entries) == len(sent) else None
        known = identifier is not None and identifier in sent
        if known and isinstance(entry, Mapping) and _went_wrong(value_at(entry, status)):
            yield str(identifier), sentence(entry) or "no reason given"


def _went_wrong(said: Any) -> bool:
    if isinstance(said, bool):
        return not said
    if isinstance(said, int) or (isinstance(said, str) and said.isdecimal()):
        return int(said) >= _REFUSED_FROM
    return isinstance(said, str) and _ERRORS.search(said) is not None


def tags_of(body: Any, envelope: str) -> list[str] | None:
    """The tags that an answer of their own endpoint shows, None where they cannot be read."""
    listed = value_at(body, envelope) if envelope and isinstance(body, Mapping) else body
    if not isinstance(listed, list) or not all(isinstance(tag, str) for tag in listed):
        return None
    return listed


def tags_body(tags: Sequence[str], envelope: str) -> Any:
    """What replaces the tags of one user."""
    return _under(envelope, list(tags))


def laid_over(there: Sequence[str], operation: Operation, wanted: Sequence[str]) -> list[str]:
    """All tags to send where the listing shows none: those there, less what we set before, plus what we want."""
    ours = {name.lower() for name in members(operation.before.get("tags"))}
    own = {name.lower() for name in wanted}
    return [*(tag for tag in there if tag.lower() not in ours | own), *wanted]


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
