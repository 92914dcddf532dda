"""Enrolments of one person: up to five codes in one request, and the look-up of those whose fate is unclear.

Source: page "Enrolments" of the Public API V1. A code is the item's own code (``TH-4-77``, pathways ``THP-4-22``)
with a word added that says what to do, as in ``TH-4-77-NEW``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from provisioner.model.operation import Operation
from provisioner.model.outcome import Done, Outcome, Permanent
from provisioner.targets.http import Answer, Http, at
from provisioner.targets.tribal_habits.pages import read_all

PATH = "/papi/topic_assignments"
AT_ONCE = 5


def body(user_name: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """The request's body; due dates are ``dd/mm/yyyy``."""
    fields: dict[str, Any] = {"user_name": user_name}
    for number, operation in enumerate(operations, start=1):
        fields[f"enrolment_code_{number}"] = operation.after["enrolment_code"]
        due = operation.after.get("due_date")
        if due:
            fields[f"enrolment_code_{number}_due_date"] = f"{date.fromisoformat(due):%d/%m/%Y}"
    return fields


async def apply(http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
    """Enrol one person in up to `AT_ONCE` items; a refusal does not say which code it means, so it stands for all."""
    user_name = operations[0].account or operations[0].wanted.get("user_name")
    if not user_name:
        return [Permanent("no_account", "the person has no account to enrol")] * len(operations)
    if not all(operation.after.get("enrolment_code") for operation in operations):
        return [Permanent("no_code", "the operation names no enrolment code")] * len(operations)
    result = await http.send("POST", PATH, body(user_name, operations))
    if isinstance(result, Answer):
        return [Done(account=user_name)] * len(operations)
    return [result] * len(operations)


async def settle(http: Http, operation: Operation) -> Outcome | None:
    """Look whether the person is enrolled in the code's item.

    Raises:
        TargetError: the look-up failed.
    """
    user_name = operation.account or operation.wanted.get("user_name")
    code = operation.after.get("enrolment_code")
    if not user_name or not code:
        return None
    what = "pathway" if code.upper().startswith("THP-") else "topic"
    item = await _item(http, f"/papi/{what}s", code)
    if item is None:
        # An unknown item cannot have been enrolled in; sending again brings the vendor's own refusal
        return None
    records = await read_all(http, at(f"/papi/{what}_assignments/user/{{}}", user_name), accept=(404,))
    for record in records:
        enrolled = record.get(what)
        if isinstance(enrolled, Mapping) and enrolled.get("id") == item:
            since = record.get("created_at")
            return Done(account=user_name, note=f"an enrolment was found, made at {since}" if since else None)
    return None


async def _item(http: Http, path: str, code: str) -> Any:
    """The id of the item whose own code begins the enrolment code."""
    for record in await read_all(http, path):
        own = record.get("code")
        if isinstance(own, str) and own and code.lower().startswith(f"{own.lower()}-"):
            return record.get("id")
    return None
