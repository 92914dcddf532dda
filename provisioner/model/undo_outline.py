"""What an undo of a run would give back by what is kept of it, before any target is read."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from provisioner.model.operation_document import KindName
from provisioner.model.run_document import LeftOutRow


class UndoneChange(TypedDict):
    """One account's way back: `before` is what the run gave it, `after` what it held before the run."""

    id: Annotated[str, Meta(description="That of the run's operation.")]
    kind: KindName
    account: str | None
    before: dict[str, Any]
    after: dict[str, Any]
    reason: str


class UndonePerson(TypedDict):
    """One person's accounts that an undo would change, by target in the order of the run."""

    person: str
    label: NotRequired[Annotated[str, Meta(description="How `roster.label` shows them.")]]
    operations: dict[str, list[UndoneChange]]


class UndoOutline(TypedDict):
    """What an undo would give back, what of the run stays, and when the next ordinary sync begins by schedule.

    `left` counts operations of the run that were not sent yet or are held, which no undo takes back.
    """

    run: str
    targets: list[str]
    people: list[UndonePerson]
    changes: int
    stays: list[LeftOutRow]
    left: int
    next_sync: str | None
