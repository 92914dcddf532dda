"""What a run holds until somebody decides, one entry a person over all targets."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from provisioner.model.operation_document import KindName, OperationDocument


class HeldTarget(TypedDict):
    """How many operations of one target are held, how many of them were read, and which guards say why."""

    target: str
    count: int
    read: int
    why: list[str]


class HeldPerson(TypedDict):
    """One person's held operations in all targets, by target in the order of the run."""

    person: str
    label: NotRequired[Annotated[str, Meta(description="How `roster.label` shows them.")]]
    operations: dict[str, list[OperationDocument]]


class HeldDocument(TypedDict):
    """What is held of a run: all of it by target, and those people and `operations` whom a filter lets pass."""

    run: str
    targets: list[HeldTarget]
    kinds: list[KindName]
    people: list[HeldPerson]
    operations: int
