"""The rows of the lists that a person looks after: conflicts, to-dos, drift and orphans."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Then: TypeAlias = Literal["correct", "held", "report", "leave"]


class TodoRow(TypedDict):
    """A thing that only a person can settle; `code` names its kind, and what follows is what it is about."""

    person: str
    message: str
    code: NotRequired[str]
    attribute: NotRequired[str]
    written: NotRequired[Any]
    observed: NotRequired[Any]
    since: NotRequired[str]


class ConflictRow(TypedDict):
    """A person whose account cannot be determined: the accounts that it may be."""

    person: str
    accounts: list[str]
    message: str


class DriftSentence(TypedDict):
    """An account that was changed behind our back, in a plan."""

    person: str
    message: str


class DriftedAttribute(TypedDict):
    """One attribute that was changed: what we last wrote, what is there, what the roster wants, what is done."""

    attribute: str
    written: Any
    observed: Any
    wanted: Any
    then: Then
    because: str | None
    first_seen: str
    first_run: str


class DriftRow(TypedDict):
    """An account that was changed behind our back, and since when that is seen. Gone: no `attributes`."""

    person: str
    account: str | None
    message: str
    then: Then
    because: str | None
    attributes: list[DriftedAttribute]
    first_seen: str
    first_run: str
    last_seen: str
    last_run: str


class PlanLists(TypedDict):
    """The lists of one plan; `orphans` and `missing` are accounts."""

    conflicts: list[ConflictRow]
    todos: list[TodoRow]
    drift: list[DriftSentence]
    orphans: list[str]
    missing: list[str]


class RejectionRow(TypedDict):
    """A rejection that holds good: who said no to what, when and why, and until when at most."""

    target: str
    person: str | None
    kind: str | None
    id: str
    run: str | None
    by: str
    at: str | None
    reason: str
    until: str | None


class WorklistRow(TypedDict):
    """A row of any of these lists with its target; what else it has depends on the list."""

    target: str
    person: NotRequired[str]
    account: NotRequired[str | None]
    accounts: NotRequired[list[str]]
    message: NotRequired[str]
    then: NotRequired[Then]
    because: NotRequired[str | None]
    attributes: NotRequired[list[DriftedAttribute]]
    first_seen: NotRequired[str]
    first_run: NotRequired[str]
    last_seen: NotRequired[str]
    last_run: NotRequired[str]


class TableRow(TypedDict):
    """A row of what waits for a person, as a table shows it; `what` says which list it is of."""

    target: str
    person: str | None
    what: str
    message: str


class AbsentRow(TypedDict):
    """Somebody whose row vanished and who is no leaver yet: since when, and what is still missing."""

    person: str
    since: str | None
    snapshots: int
    needed: int
    leaves_from: str | None
    message: str


class PausedRow(TypedDict):
    """A target that somebody paused: who, when (null if not known) and why."""

    target: str
    by: str
    at: str | None
    reason: str
