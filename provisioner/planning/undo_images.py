"""What a run did to each account, from its succeeded operations, and what of it no call takes back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from provisioner.model.operation import (
    AccountChange,
    Enrolment,
    EventTag,
    Kind,
    KnowledgeRecord,
    Operation,
    TargetEvent,
)
from provisioner.model.run_document import LeftOutRow

#: Kinds that change in which state an account is.
CHANGES_STATE = (Kind.CREATE, Kind.LEAVE, Kind.REJOIN)


@dataclass(frozen=True, slots=True)
class Image:
    """One person's account before and after a run; both hold what the run changed only.

    `kind` is the operation that changed its state, or else that which changed its values; `id` is the operation's.
    """

    id: str
    person: str
    account: str | None
    kind: Kind
    before: Mapping[str, str | None]
    after: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Undo:
    """A run whose changes of one target's accounts are taken back: by person, what it did.

    `force`: also where somebody changed it since.
    """

    run: str
    images: Mapping[str, Image]
    force: bool = False


def images_of(operations: Iterable[Operation]) -> dict[str, Image]:
    """By person what a run did to their account.

    Args:
        operations: those that were sent, in that order; what failed may have come about in part. People who were
            planned again have several.
    """
    found: dict[str, Image] = {}
    for one in operations:
        if not isinstance(one, AccountChange):
            continue
        first = found.get(one.person)
        if first is None:
            found[one.person] = Image(one.id, one.person, one.account, one.kind, one.before, one.after)
            continue
        kind = one.kind if first.kind not in CHANGES_STATE else first.kind
        found[one.person] = replace(
            first, kind=kind, before={**one.before, **first.before}, after={**first.after, **one.after}
        )
    return found


def stays(operations: Iterable[Operation]) -> list[LeftOutRow]:
    """What a run did that no call takes back, each with its reason."""
    found: list[LeftOutRow] = []
    for one in operations:
        found += [_row(one, reason) for reason in _reasons(one)]
    return found


def _reasons(one: Operation) -> Sequence[str]:
    if isinstance(one, EventTag):
        return ("a tag that an event set stays; its route sets it",)
    if isinstance(one, TargetEvent):
        return (f"the event {one.after.get('name') or one.reason!r} was sent, and no call takes an event back",)
    if isinstance(one, Enrolment | KnowledgeRecord):
        what = "the enrolment" if isinstance(one, Enrolment) else "external knowledge that was recorded"
        return (f"{what} stays: no call takes it back",)
    said = [f"the enrolment {code} stays: no call takes it back" for code in _codes(one)]
    if one.kind is Kind.CREATE:
        said.append("the account stays, and is left; an invitation that was mailed with it stays mailed")
    return said


def _codes(one: AccountChange) -> list[str]:
    return [code for carried in one.carries if (code := carried["enrolment_code"])]


def _row(one: Operation, reason: str) -> LeftOutRow:
    return {"id": one.id, "target": one.target, "person": one.person, "kind": one.kind.value, "reason": reason}
