"""The shapes of the HTTP API, for its OpenAPI document, and for reading what is sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=10_000)]
Reason = Annotated[str, Field(max_length=2000)]


class Sent(BaseModel):
    """What a program sends: an unknown member is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RunRequest(Sent):
    """A run that is asked for; absent `targets` and `people` mean all."""

    targets: Names | None = Field(None, description="Names of targets, as in the settings.")
    people: Names | None = Field(None, description="Keys of persons; the run is then about them only, and goes first.")
    roster: Name | None = Field(None, description="A roster under one of web.rosters, read instead of roster.url.")


class RetryRequest(Sent):
    """Which failed operations are sent again; nothing given: all of the run."""

    target: Name | None = Field(None, description="Only this target's.")
    people: Names | None = Field(None, description="Only these persons'.")


class Decision(RetryRequest):
    """Which held operations are meant: those of some people, or all; of one target, or of each."""

    all: bool = Field(False, description="All that `target` leaves; instead of `people`.")
    reason: Reason = Field("", description="Why; kept with the decision.")

    @model_validator(mode="after")
    def _named(self) -> Decision:
        if self.people is not None and self.all:
            raise ValueError("`people` and `all` exclude each other")
        if self.people is None and not self.all and self.target is None:
            raise ValueError("say which operations: `people`, `target` or `all`")
        return self


class Rejection(Decision):
    """Which held operations are dropped, or which rejections are taken back."""

    undo: bool = Field(False, description="Take rejections back: what they were about is held again.")


class Answered(BaseModel):
    """What a program gets; more members may be added."""

    model_config = ConfigDict(extra="allow")


class Problem(Answered):
    """An error, after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str | None = Field(None, description="A stable word for programs.")
    remedy: str | None = Field(None, description="What to do about it.")


class Accepted(Answered):
    """A run that was asked for."""

    run: str


class AcceptedRoster(Accepted):
    """A roster that was taken, and the run that reads it."""

    digest: str = Field(description="sha256:… of the bytes.")


class Operation(Answered):
    """One change of one account; `before` and `after` hold the changed attributes only."""

    id: str
    target: str
    person: str
    kind: Literal["create", "update", "role", "leave", "rejoin", "enrol", "event"]
    account: str | None
    before: dict[str, Any]
    after: dict[str, Any]
    drift: bool
    status: Literal["pending", "sending", "waiting", "succeeded", "failed", "held", "superseded", "rejected"]
    attempts: int
    error: dict[str, Any] | None


class OperationPage(Answered):
    """Some operations in the order of the plan. `next` is the address of the next page, null at the end; where a filter
    passes few, a page may be short or empty and yet have a next one."""

    operations: list[Operation]
    next: str | None


class Run(Answered):
    """One pass."""

    run: str
    trigger: str
    status: Literal["running", "succeeded", "held", "failed", "rejected"]
    started_at: str | None
    finished_at: str | None
    roster: dict[str, Any] | None
    targets: dict[str, Any]


class ToDo(Answered):
    """What waits for a person."""

    todos: list[dict[str, Any]]
    conflicts: list[dict[str, Any]]
    leavers: list[dict[str, Any]] = Field(description="Receipts of those who still have an account.")
    rejections: list[dict[str, Any]] = Field(description="Those that hold good.")


class RunPage(Answered):
    """Some runs, the newest first. `next` is the address of the next page, null at the end."""

    runs: list[Run]
    next: str | None


class Reached(Answered):
    """An operation that a decision was about."""

    id: str
    run: str
    target: str
    person: str
    kind: str


class NotReached(Answered):
    """An operation that a decision did not reach, and why."""

    id: str
    target: str
    person: str
    reason: str


class Decided(Answered):
    """What a decision brought about."""

    run: str
    done: list[Reached]
    refused: list[NotReached]


class Story(Answered):
    """Everything that is known about one person."""

    person: str
    roster: dict[str, Any] | None
    targets: dict[str, Any]
    operations: list[dict[str, Any]]
