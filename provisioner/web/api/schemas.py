"""The shapes of the HTTP API: what is sent is read by them, and what is answered has the documents' own types."""

from __future__ import annotations

from typing import Annotated, Final, NotRequired, TypedDict

from msgspec import Meta
from msgspec.json import schema_components
from pydantic import BaseModel, ConfigDict, Field, model_validator

from provisioner.model.decision_document import RunDecision
from provisioner.model.operation_document import OperationDocument
from provisioner.model.person_report import PersonReport, TodoDocument
from provisioner.model.run_document import RunDocument

#: Where an OpenAPI document keeps its shapes.
SCHEMAS: Final = "#/components/schemas/"

Name = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=10_000)]
Reason = Annotated[str, Field(max_length=2000)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Sent(BaseModel):
    """What a program sends: an unknown member is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RunRequest(Sent):
    """A run that is asked for; absent `targets` and `people` mean all."""

    targets: Names | None = Field(None, description="Names of targets, as in the settings.")
    people: Names | None = Field(None, description="Keys of persons; the run is then about them only, and goes first.")
    roster: Name | None = Field(None, description="A roster under one of web.rosters, read instead of roster.url.")
    plan: Digest | None = Field(
        None,
        description="The digest of a reviewed plan that is kept (`provisioner plan --out`): only its operations are "
        "sent. It says itself which targets and people it is about.",
    )

    undo: Name | None = Field(None, description="A run that is taken back, for these targets and people or all.")
    force_drift: bool = Field(False, description="With `undo`: also what somebody changed after that run.")

    @model_validator(mode="after")
    def _of_the_plan(self) -> RunRequest:
        if self.undo is not None and (self.plan is not None or self.roster is not None):
            raise ValueError("`undo` goes with `targets`, `people` and `force_drift` only")
        if self.force_drift and self.undo is None:
            raise ValueError("`force_drift` goes with `undo` only")
        if self.plan is not None and (self.targets is not None or self.people is not None):
            raise ValueError("`plan` says which targets and people it is about; leave `targets` and `people` out")
        return self


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


class Problem(TypedDict):
    """An error, after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: NotRequired[Annotated[str | None, Meta(description="A stable word for programs.")]]
    remedy: NotRequired[Annotated[str | None, Meta(description="What to do about it.")]]


class Accepted(TypedDict):
    """A run that was asked for."""

    run: str


class AcceptedRoster(Accepted):
    """A roster that was taken, and the run that reads it."""

    digest: Annotated[str, Meta(description="sha256:… of the bytes.")]


class Operation(OperationDocument):
    """One change of one account; `before` and `after` hold the changed attributes only."""


class OperationPage(TypedDict):
    """Some operations in the order of the plan. `next` is the address of the next page, null at the end; where a filter
    passes few, a page may be short or empty and yet have a next one."""

    operations: list[Operation]
    next: str | None


class Run(RunDocument):
    """One pass."""


class ToDo(TodoDocument):
    """What waits for a person."""


class RunPage(TypedDict):
    """Some runs, the newest first. `next` is the address of the next page, null at the end."""

    runs: list[Run]
    next: str | None


class Decided(RunDecision):
    """What a decision brought about."""


class Story(PersonReport):
    """Everything that is known about one person."""


ANSWERS: Final = (Problem, Accepted, AcceptedRoster, OperationPage, Run, RunPage, Decided, Story, ToDo)


def components() -> dict[str, object]:
    """The shapes of all answers, and of what they are made of, for `components.schemas`. More members may be added to
    any of them."""
    _, found = schema_components(ANSWERS, ref_template=f"{SCHEMAS}{{name}}")
    return dict(found)
