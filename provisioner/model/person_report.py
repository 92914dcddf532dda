"""Everything that is known about one person, and a leaver's receipt, as their JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict

from msgspec import Meta

from provisioner.model.operation_document import RunOperation
from provisioner.model.run_document import RunHead
from provisioner.model.worklists import AbsentRow, PausedRow, RejectionRow, WorklistRow

ReceiptStatus: TypeAlias = Literal[
    "done", "pending", "waiting", "held", "failed", "rejected", "no longer wanted", "no account", "as it was"
]


class PersonRow(TypedDict):
    """A person's row in the last clean roster, with its line, verdict and absence."""

    file: str | None
    digest: str | None
    taken_at: str | None
    line: int
    verdict: str
    starts: str | None
    ends: str | None
    absent_snapshots: int
    absent_since: str | None
    row: dict[str, Any]


class LinkDocument(TypedDict):
    """The link of a person to an account, and how it came about."""

    account: str
    state: Literal["active", "left"]
    matched: str
    created_by_us: bool
    recorded_at: str | None
    enrolled: list[str]
    unkept: dict[str, str | None]


class AttributeReport(TypedDict):
    """One attribute: its expression, what is desired, observed, and what the target acknowledged last."""

    attribute: str
    expression: str
    authority: str
    desired: Any
    observed: Any
    acknowledged: Any
    same: bool


def difference_mark(link: LinkDocument | None, seen_at: str | None, one: AttributeReport) -> str:
    """How an attribute that is not as desired is marked; empty where it is, or where there is no account.

    What we wrote after the target was last read is not seen yet, and says nothing about somebody's change.
    """
    if link is None or one["same"]:
        return ""
    written = link["recorded_at"]
    unread = seen_at is not None and written is not None and written > seen_at
    return "unseen" if unread and one["acknowledged"] == one["desired"] else "differs"


class PersonInTarget(TypedDict):
    """A person in one target; `standing` is what the roster asks for there, `reason` why; `seen_at` is when the
    target's accounts were last read."""

    standing: str | None
    reason: str | None
    scope: str
    health: str
    link: LinkDocument | None
    untouchable: str | None
    seen_at: str | None
    attributes: list[AttributeReport]
    todos: list[str]
    conflicts: list[str]


def account_seen_at(target: PersonInTarget) -> str | None:
    """When the account was seen; None where the last reading of the target does not show it."""
    return target["seen_at"] if any(one["observed"] is not None for one in target["attributes"]) else None


class ReceiptPart(TypedDict):
    """What became of a leaver's account in one target; `next` is the day of the next step of `leaver`, null if none
    is to come, and there only where leavers go in steps."""

    status: ReceiptStatus
    since: str | None
    at: str | None
    run: str | None
    message: str | None
    next: NotRequired[str | None]


class ReceiptDocument(TypedDict):
    """What became of all accounts of a leaver; `finished_at` is null until all is done."""

    person: str
    since: str | None
    finished_at: str | None
    targets: dict[str, ReceiptPart]


class HeardEvent(TypedDict):
    """A webhook about a person. `own`: it was about something that we did."""

    at: str | None
    target: str
    event: str
    own: NotRequired[bool]


class PersonReport(TypedDict):
    """Everything that is known about one person; `operations` newest first."""

    person: str
    label: NotRequired[str | None]
    roster: PersonRow | None
    targets: dict[str, PersonInTarget]
    facts: Annotated[dict[str, dict[str, str | None]], Meta(description="What webhooks reported, by target.")]
    operations: list[RunOperation]
    runs: dict[str, RunHead]
    heard: list[HeardEvent]
    receipt: ReceiptDocument | None
    rejections: list[RejectionRow]


class TodoDocument(TypedDict):
    """What waits for a person: to-dos, conflicts, leavers who still have an account, and rejections that hold good."""

    todos: list[WorklistRow]
    conflicts: list[WorklistRow]
    leavers: list[ReceiptDocument]
    rejections: list[RejectionRow]
    absent: list[AbsentRow]
    paused: list[PausedRow]
    labels: NotRequired[dict[str, str]]
