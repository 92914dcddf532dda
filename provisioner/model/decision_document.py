"""What a decision of a person brought about, as its JSON."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from provisioner.model.operation_document import KindName


class DecidedOperation(TypedDict):
    """An operation that a decision was about."""

    id: str
    run: str
    target: str
    person: str
    kind: KindName


class RefusedOperation(TypedDict):
    """An operation that a decision did not reach, and why."""

    id: str
    target: str
    person: str
    reason: str


class DecisionDocument(TypedDict):
    """The operations that a decision was about, and those that it did not reach."""

    done: list[DecidedOperation]
    refused: list[RefusedOperation]


class RunDecision(DecisionDocument):
    """A decision with the run that it was made about."""

    run: str


class KeptDecision(TypedDict):
    """An approval or a rejection as it lies in Redis: who, when (epoch seconds), why, and the digest of the row.

    An older version did not keep whom it is about, the kind and the run.
    """

    by: str
    at: float
    reason: str
    verdict: str
    row: str
    person: NotRequired[str]
    kind: NotRequired[KindName]
    run: NotRequired[str]
