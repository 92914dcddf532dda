"""A run as its JSON: its shape, what its status is, and with which code a command that waited for it exits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, NotRequired, TypeAlias, TypedDict

from msgspec import Meta

from provisioner.model.operation import Kind
from provisioner.model.operation_document import ErrorDocument, KindName, PreviewedOperation
from provisioner.model.worklists import PlanLists

RunStatus: TypeAlias = Literal["running", "succeeded", "held", "failed", "rejected"]
PartStatus: TypeAlias = Literal[
    "running", "succeeded", "held", "failed", "quarantined", "unreachable", "paused", "skipped", "rejected"
]
Outcome: TypeAlias = Literal["succeeded", "failed", "held", "waiting", "superseded", "rejected"]
#: Operations by kind, without zeros.
Counts: TypeAlias = dict[str, int]


class SourceDocument(TypedDict):
    """Where a roster came from: `roster.url`, a push or the run's request; and since when it is what runs read."""

    kind: Literal["url", "push", "request"]
    name: str
    since: str | None


class RosterInUse(TypedDict):
    """Which roster runs read, and since when; `believed` and `since` are of a pushed one, `dropped` when it was."""

    kind: Literal["url", "push"]
    url: str
    since: str | None
    believed: bool | None
    dropped: str | None


class RosterDocument(TypedDict):
    """The roster that a run read; `degraded` are the gate's reasons, `notes` what was skipped or guessed; sentences."""

    rows: int
    people: int
    rejected: int
    digest: Annotated[str, Meta(description="sha256:… of the bytes.")]
    source: NotRequired[SourceDocument]
    accepted: Annotated[bool, Meta(description="Whether removals may go on.")]
    degraded: list[str]
    not_accepted: NotRequired[str]
    advice: NotRequired[list[str]]
    notes: NotRequired[list[str]]


class RejectedRow(TypedDict):
    """One row of a roster that is not believed. `value` is shown only for the columns of key and dates."""

    line: int
    key: str | None
    column: str | None
    value: str | None
    reason: str


class Prediction(TypedDict):
    """What a plan said of its run, and what became of it: operations by kind, and HTTP requests."""

    operations: Counts
    requests: int


class Difference(TypedDict):
    """Operations of one kind that were not done as predicted; `because` counts them by status or reason."""

    kind: str
    predicted: int
    actual: int
    because: Counts


class RunPart(TypedDict):
    """A run's part for one target: accounts as they were seen, operations as planned, and what became of them."""

    status: PartStatus
    observed: int
    linked: Annotated[int, Meta(description="Links after correlation, before anything is created.")]
    adopted: int
    orphans: int
    conflicts: int
    todo: int
    unchanged: int
    planned: Counts
    succeeded: Counts
    failed: Counts
    held: Counts
    waiting: Counts
    superseded: Counts
    rejected: Counts
    requests: Annotated[int, Meta(description="HTTP requests that were sent.")]
    error: NotRequired[ErrorDocument]
    guards: NotRequired[list[str]]
    notes: NotRequired[list[str]]
    blocked: NotRequired[int]
    leavers_left: NotRequired[
        Annotated[int, Meta(description="Leavers with an account for whom there is no operation.")]
    ]
    predicted: NotRequired[Prediction]
    actual: NotRequired[Prediction]
    differences: NotRequired[list[Difference]]
    left_out: NotRequired[
        Annotated[int, Meta(description="Operations that the run was asked to send and does not; see its `left_out`.")]
    ]
    lists: NotRequired[PlanLists]


class UndoneRun(TypedDict):
    """The run that an undo takes back; `force_drift`: also what somebody changed since."""

    run: str
    force_drift: bool


class LeftOutRow(TypedDict):
    """An operation that a run was asked to send and does not, and why."""

    id: str
    target: str
    person: str
    kind: KindName
    reason: str


class PassDocument(TypedDict):
    """What a run and a plan have in common."""

    trigger: str
    status: RunStatus
    started_at: str | None
    finished_at: str | None
    roster: RosterDocument | None
    targets: dict[str, RunPart]
    error: NotRequired[ErrorDocument]


class RunDocument(PassDocument):
    """One pass over roster and targets."""

    run: str
    reviewed: NotRequired[Annotated[str, Meta(description="The digest of the reviewed plan that it applies.")]]
    undo: NotRequired[UndoneRun]
    left_out: NotRequired[list[LeftOutRow]]
    stays: NotRequired[list[LeftOutRow]]


class PlanDocument(PassDocument):
    """What a run would do: the same with no `run`, and its operations."""

    run: None
    operations: list[PreviewedOperation]
    rejects: NotRequired[list[RejectedRow]]
    undo: NotRequired[UndoneRun]
    left_out: NotRequired[list[LeftOutRow]]
    stays: NotRequired[list[LeftOutRow]]
    next_sync: NotRequired[str | None]


class RequestDocument(TypedDict):
    """What a run was asked for, as it lies in Redis; `targets` and `people` null for all."""

    trigger: str
    targets: Sequence[str] | None
    people: Sequence[str] | None
    accept: str | None
    roster: str | None
    full: bool
    plan: NotRequired[str | None]
    undo: NotRequired[str | None]
    force: NotRequired[bool]


class RunHead(TypedDict):
    """A run in short."""

    trigger: str
    status: RunStatus
    started_at: str | None
    finished_at: str | None


DONE: Final = 0
UNEXPECTED: Final = 1
USAGE: Final = 2
ROSTER_REJECTED: Final = 3
WAITS: Final = 4
FAILED: Final = 5
UNFINISHED: Final = 6

#: The kinds of operations, in the order in which they are listed.
KINDS: Final = tuple(kind.value for kind in Kind)
#: What becomes of operations, in the order in which it is listed.
OUTCOMES: Final[tuple[Outcome, ...]] = ("succeeded", "failed", "held", "waiting", "superseded", "rejected")
#: Those that want explaining.
UNDONE: Final[tuple[Outcome, ...]] = ("failed", "held", "waiting")

#: When several codes apply, the first of these.
PRECEDENCE: Final = (UNEXPECTED, USAGE, ROSTER_REJECTED, UNFINISHED, FAILED, WAITS)

#: Target statuses under which what we wanted was not brought about.
BROKEN: Final = frozenset({"failed", "quarantined", "unreachable"})


def first_of(codes: Iterable[int]) -> int:
    """The code that wins among several; 0 if there are none, 1 if there is one that we do not know."""
    given = set(codes) - {DONE}
    if given - set(PRECEDENCE):
        return UNEXPECTED
    return next((code for code in PRECEDENCE if code in given), DONE)


def exit_code(document: Mapping[str, Any]) -> int:
    """The exit code of a command that waited for a run, or that planned one.

    Args:
        document: the run's JSON; besides, it may hold ``error``: ``{"code", "message", "exit"}``.

    Conflicts, to-dos and rejected rows under the limit are reported, but change nothing here. A degraded roster that
    nobody accepted does, even where no operation is held: whoever vanished from it waits to be removed.
    """
    codes = {_target_code(target) for target in document.get("targets", {}).values()}
    if removals_wait(document.get("roster")):
        codes.add(WAITS)
    error = document.get("error")
    if error:
        codes.add(int(error.get("exit", UNEXPECTED)))
    status = document.get("status")
    if status == "rejected":
        codes.add(ROSTER_REJECTED)
    if status == "running":
        codes.add(UNFINISHED)
    if status == "failed" and not codes - {DONE}:
        codes.add(FAILED)
    if status == "held":
        codes.add(WAITS)
    return first_of(codes)


def removals_wait(roster: Mapping[str, Any] | None) -> bool:
    """Whether a run's roster (its JSON) is degraded and was not accepted, so that the run removes nobody."""
    return bool(roster and roster.get("degraded") and not roster.get("accepted"))


def run_status(statuses: Iterable[str], *, removals_wait: bool = False) -> RunStatus:
    """The status of a run whose roster was not rejected, from those of its targets.

    `running` while one of them runs; then `failed` where `exit_code` says 5 of them, `held` where it says 4. A target
    is `paused` only while it has work that waits.

    Args:
        removals_wait: see `removals_wait`.
    """
    found = set(statuses)
    if "running" in found:
        return "running"
    if found & BROKEN:
        return "failed"
    return "held" if removals_wait or found & {"held", "paused"} else "succeeded"


def _target_code(target: Mapping[str, Any]) -> int:
    status = target.get("status")
    if status in BROKEN or _any(target, "failed"):
        return FAILED
    if status == "held" or _any(target, "held"):
        return WAITS
    if (status == "paused" and _any(target, "waiting")) or target.get("left_out"):
        return WAITS
    return DONE


def _any(target: Mapping[str, Any], figure: str) -> bool:
    return any(count > 0 for count in target.get(figure, {}).values())
