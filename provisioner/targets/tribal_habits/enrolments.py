"""Enrolments: up to five codes of one person in one request, and the look-up of those that exist or may exist.

Source: page "Enrolments" of the Public API V1; `catalogue` says what a code is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from provisioner.model.operation import Operation
from provisioner.model.outcome import Done, Outcome, Permanent
from provisioner.targets.concurrently import each
from provisioner.targets.http import Http
from provisioner.targets.paths import at
from provisioner.targets.responses import Answer
from provisioner.targets.tribal_habits.catalogue import Catalogue, What, what_is, word
from provisioner.targets.tribal_habits.pages import AT_ONCE as READS
from provisioner.targets.tribal_habits.pages import read_all

PATH = "/papi/topic_assignments"
AT_ONCE = 5
#: Up to so many people are asked for one by one; for more, everybody's enrolments in the items are listed.
FEW = 10
#: The word of a code that enrols. What others do to an enrolment that exists is not published, so they are sent.
_ENROLS = "NEW"


def fields(enrolments: Sequence[Mapping[str, str | None]]) -> dict[str, str]:
    """The fields of up to `AT_ONCE` enrolments; due dates are ``dd/mm/yyyy``."""
    named: dict[str, str] = {}
    for number, enrolment in enumerate(enrolments, start=1):
        named[f"enrolment_code_{number}"] = enrolment["enrolment_code"] or ""
        due = enrolment.get("due_date")
        if due:
            named[f"enrolment_code_{number}_due_date"] = f"{date.fromisoformat(due):%d/%m/%Y}"
    return named


async def write(http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
    """Enrol one person in up to `AT_ONCE` items; a refusal does not say which code it means, so it counts for all."""
    user_name = operations[0].account
    if not user_name:
        return [Permanent("no_account", "the person has no account to enrol")] * len(operations)
    if not all(operation.after.get("enrolment_code") for operation in operations):
        return [Permanent("no_code", "the operation names no enrolment code")] * len(operations)
    body = {"user_name": user_name, **fields([operation.after for operation in operations])}
    result = await http.send("POST", PATH, body)
    if isinstance(result, Answer):
        return [Done(account=user_name)] * len(operations)
    return [result] * len(operations)


async def confirm(http: Http, catalogue: Catalogue, operation: Operation) -> Outcome | None:
    """Look whether the person is enrolled in the code's item.

    Raises:
        TargetError: the look-up failed.
    """
    user_name, code = operation.account, operation.after.get("enrolment_code")
    if not user_name or not code:
        return None
    record = await enrolment(http, catalogue, user_name, code)
    if record is None:
        return None
    since = record.get("created_at")
    return Done(account=user_name, note=f"an enrolment was found, made at {since}" if since else None)


async def enrolment(http: Http, catalogue: Catalogue, user_name: str, code: str) -> Mapping[str, Any] | None:
    """A person's enrolment in a code's item, if there is one.

    Raises:
        TargetError: it could not be read.
    """
    item = await catalogue.item(http, code)
    if item is None:
        # An unknown item cannot have been enrolled in; sending brings the vendor's own refusal
        return None
    what = what_is(code)
    for record in await _of_user(http, what, user_name):
        if _id_of(record, what) == item:
            return record
    return None


async def _of_user(http: Http, what: What, user_name: str) -> Sequence[Mapping[str, Any]]:
    return await read_all(http, at(f"/papi/{what}_assignments/user/{{}}", user_name), accept=(404,))


def _id_of(record: Mapping[str, Any], what: What) -> Any:
    item = record.get(what)
    return item.get("id") if isinstance(item, Mapping) else None


async def existing(http: Http, catalogue: Catalogue, operations: Sequence[Operation]) -> frozenset[str]:
    """The ids of the operations whose person is enrolled in the code's item, of codes that enrol.

    A few people are asked for one by one; for many, one filtered listing is shorter.

    Raises:
        TargetError: they could not be read.
    """
    found: set[str] = set()
    for what in ("topic", "pathway"):
        asked: dict[tuple[str, Any], list[str]] = {}
        for operation in operations:
            code = operation.after.get("enrolment_code") or ""
            if operation.account and what_is(code) == what and word(code) == _ENROLS:
                item = await catalogue.item(http, code)
                if item is not None:
                    asked.setdefault((operation.account, item), []).append(operation.id)
        for pair in await _pairs(http, what, list(asked)):
            found.update(asked.get(pair, ()))
    return frozenset(found)


async def _pairs(http: Http, what: What, asked: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Who of those asked for, and perhaps others, is enrolled in what: user name and item."""
    people = list(dict.fromkeys(user_name for user_name, _ in asked))
    if len(people) <= FEW:
        lists = await each(people, lambda user_name: _of_user(http, what, user_name), limit=READS)
        return [
            (user_name, _id_of(record, what))
            for user_name, records in zip(people, lists, strict=True)
            for record in records
        ]
    ids = ",".join(dict.fromkeys(str(item) for _, item in asked))
    records = await read_all(http, f"/papi/{what}_assignments", {f"{what}_ids": ids})
    return [(_owner(record), _id_of(record, what)) for record in records]


def _owner(record: Mapping[str, Any]) -> str:
    person = record.get("person")
    return str(person.get("user_name") or "") if isinstance(person, Mapping) else ""
