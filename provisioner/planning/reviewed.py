"""Which operations of a reviewed plan the newest plan still wants, and why not the others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from provisioner.model.operation import Kind, Operation
from provisioner.model.plan_file import ReviewedOperation, ReviewedPlan
from provisioner.model.run_document import LeftOutRow

_NOTHING: Final = (
    "nothing is to be changed there any more: it is done already, or roster, mapping or account changed since"
)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A reviewed plan's part for one target: its operations by id, and the accounts that it adopts by person."""

    operations: Mapping[str, ReviewedOperation]
    links: Mapping[str, str]

    @classmethod
    def of(cls, plan: ReviewedPlan, target: str) -> Reviewed:
        """The part for a target."""
        return cls(
            {one["id"]: one for one in plan["operations"] if one["target"] == target},
            {one["person"]: one["account"] for one in plan["links"] if one["target"] == target},
        )

    def wants(self, operation: Operation) -> bool:
        """Whether it was reviewed, for the same account: an id does not name the account."""
        reviewed = self.operations.get(operation.id)
        return reviewed is not None and reviewed["account"] == operation.account


@dataclass(slots=True)
class Unreviewed:
    """What the newest plan wants and nobody reviewed: how much, and of the reviewed people what."""

    count: int = 0
    instead: dict[tuple[str, str], Operation] = field(default_factory=dict)
    accounts: dict[str, str | None] = field(default_factory=dict)


def only_reviewed(reviewed: Reviewed, operations: Sequence[Operation], rest: Unreviewed) -> list[Operation]:
    """The operations that were reviewed; whatever follows one that was not is left out with it.

    Args:
        operations: with all that follow one another, leaders first.
        rest: takes in the others.
    """
    people = {one["person"] for one in reviewed.operations.values()}
    kept: list[Operation] = []
    gone: set[str] = set()
    for one in operations:
        if reviewed.wants(one) and one.follows not in gone:
            kept.append(one)
            continue
        gone.add(one.id)
        rest.count += 1
        if one.id in reviewed.operations:
            rest.accounts[one.id] = one.account
        if one.person in people:
            rest.instead.setdefault((one.person, _place(one.kind)), one)
    return kept


def _place(kind: str) -> str:
    """What at most one operation of a person is about; an enrolment and an event have none in common."""
    return kind if kind in (Kind.ENROL, Kind.EVENT) else "account"


def left_out(
    reviewed: Iterable[ReviewedOperation],
    kept: Iterable[str],
    rest: Unreviewed,
    said: Mapping[str, str],
    unbelieved: str | None,
) -> list[LeftOutRow]:
    """The reviewed operations that are not sent, each with its reason.

    Args:
        kept: ids of those that are.
        said: by person what the newest plan says of them: a conflict, a to-do.
        unbelieved: why the target's listing is not believed.
    """
    there = set(kept)
    return [row(one, _why(one, rest, said, unbelieved)) for one in reviewed if one["id"] not in there]


def row(one: ReviewedOperation, reason: str) -> LeftOutRow:
    """An operation that is left out."""
    return {
        "id": one["id"],
        "target": one["target"],
        "person": one["person"],
        "kind": one["kind"],
        "reason": reason,
    }


def _why(one: ReviewedOperation, rest: Unreviewed, said: Mapping[str, str], unbelieved: str | None) -> str:
    if unbelieved is not None:
        return unbelieved
    if one["id"] in rest.accounts:
        account = rest.accounts[one["id"]]
        if account != one["account"]:
            return f"it is about another account now: {account or 'one that is to be created'}"
        return "what it follows is left out"
    other = rest.instead.get((one["person"], _place(one["kind"])))
    if other is not None and _place(one["kind"]) == "account":
        changes = ", ".join(other.after) or "nothing"
        return f"the newest plan wants something else: {other.kind} of {changes} (id {other.id}), which nobody reviewed"
    return said.get(one["person"], _NOTHING)
