"""An operation as its JSON, in a plan and in a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict

from msgspec import Meta

KindName: TypeAlias = Literal["create", "update", "role", "leave", "rejoin", "enrol", "event"]
StatusName: TypeAlias = Literal[
    "pending", "sending", "waiting", "succeeded", "failed", "held", "superseded", "rejected"
]


class ErrorDocument(TypedDict):
    """An error: a stable word for programs, a sentence for people, and the exit code that it leads to."""

    code: str
    message: str
    exit: NotRequired[int]
    remedy: NotRequired[str]


class FailedTry(TypedDict):
    """One try that failed."""

    at: str | None
    attempt: NotRequired[int]
    code: NotRequired[str]
    message: NotRequired[str]


class PreviewedOperation(TypedDict):
    """One change of one account as a plan has it; `before` and `after` hold the changed attributes only."""

    id: Annotated[str, Meta(description="A digest of target, person, kind, before and after.")]
    target: str
    person: str
    kind: KindName
    account: str | None
    before: dict[str, Any]
    after: dict[str, Any]
    drift: bool
    status: StatusName
    attempts: int
    error: ErrorDocument | None
    reason: str


class OperationDocument(PreviewedOperation):
    """One change of one account, and what became of it."""

    tries: list[FailedTry]
    changed_at: str | None
    note: NotRequired[Annotated[str, Meta(description="A remark about a change that was done.")]]


class RunOperation(OperationDocument):
    """An operation with the run that it is of."""

    run: str
