"""What the ledger learns by what became of an operation. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from provisioner.model.ledger_document import LedgerPatch
from provisioner.model.operation import Enrolment, EventTag, Kind, KnowledgeRecord, Operation, TargetEvent
from provisioner.model.outcome import Done, Outcome, Permanent, Unclear
from provisioner.planning.refused_once import forgotten, remembered


def failure_patch(operation: Operation, outcome: Outcome, once: Collection[str] = ()) -> LedgerPatch:
    """What the ledger learns by a failure: what was kept of it, which values were refused, or that a record was perhaps
    made which could not be found again.

    Args:
        once: the attributes that are set once.
    """
    if isinstance(outcome, Permanent) and not outcome.refused and is_refused_whole(operation, outcome):
        outcome = replace(outcome, refused=tuple(operation.after))
    refused = remembered(operation, outcome, once) if isinstance(outcome, Permanent) else {}
    if isinstance(outcome, Permanent) and outcome.kept is not None:
        patch = ledger_patch(operation, outcome.kept, once)
        patch["values"] = patch.get("values", {}) | refused
        if operation.kind is Kind.LEAVE:
            # Somebody has left when all of it is so
            for name in ("state", "left", "step"):
                patch.pop(name, None)  # type: ignore[misc] # each name is one of the patch, which mypy does not see in a loop
            patch.pop("owe", None)
        return patch
    if refused and operation.kind is not Kind.CREATE:
        return {"values": refused}
    perhaps = isinstance(outcome, Unclear) or (isinstance(outcome, Permanent) and outcome.perhaps)
    return {"enrolled": [operation.token]} if perhaps and isinstance(operation, KnowledgeRecord) else {}


def is_refused_whole(operation: Operation, outcome: Outcome) -> bool:
    """Whether a failure says for sure that nothing of an operation was done.

    An operation of several changes may be several requests, of which some were taken.
    """
    if not isinstance(outcome, Permanent) or outcome.perhaps or outcome.kept is not None:
        return False
    values = (*operation.before.values(), *operation.after.values())
    return len(operation.after) == 1 and not any(";" in (value or "") for value in values)


def ledger_patch(operation: Operation, done: Done, once: Collection[str] = ()) -> LedgerPatch:
    """What the ledger learns by a success; known-empty values are the empty text.

    Args:
        once: the attributes that are set once.
    """
    if isinstance(operation, TargetEvent | EventTag):
        return {"paid": [operation.reason]}
    if isinstance(operation, Enrolment | KnowledgeRecord):
        return {"enrolled": [operation.token]}
    values = {**operation.wanted, **operation.owned, **done.learnt}
    patch: LedgerPatch = {"values": {name: value or "" for name, value in values.items()} | forgotten(operation, once)}
    account = done.account or operation.account
    if account:
        patch["account"] = account
    if operation.kind is Kind.CREATE:
        patch["state"], patch["created"] = "active", not done.adopted
        patch["matched"] = "adopted" if done.adopted else "created"
        patch["makes"] = operation.makes + 1
    elif operation.kind is Kind.LEAVE:
        patch["state"] = "left"
        if operation.left_on:
            patch["left"], patch["step"] = operation.left_on, operation.step
    elif operation.kind is Kind.REJOIN:
        patch["state"] = "active"
    if operation.carries and done.carried:
        patch["enrolled"] = [code for one in operation.carries if (code := one["enrolment_code"])]
    if operation.owes and not done.adopted:
        patch["owe"] = dict(operation.owes)
    return patch
