"""Enrolments that travel in the request of their person's own account operation, and those that exist already."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import structs

from provisioner.model.operation import AccountChange, Enrolment, Kind, Operation
from provisioner.planning.spec import TargetSpec

_LEADING = frozenset({Kind.CREATE, Kind.UPDATE, Kind.ROLE, Kind.REJOIN})


def riding(spec: TargetSpec, operations: Sequence[Operation]) -> list[Operation]:
    """Let enrolments travel with their person's account operation, as many as the vendor takes there.

    What rides waits, fails and is done with its leader. The others are sent by themselves, and so are those of a person
    whose account operation was refused.
    """
    leaders: dict[str, Operation] = {}
    if spec.bundled_enrolments:
        leaders = {one.person: one for one in operations if one.kind in _LEADING and not one.refused}
    aboard: dict[str, list[Enrolment]] = {}
    seated: list[Operation] = []
    for operation in operations:
        leader = leaders.get(operation.person)
        if leader is not None and isinstance(operation, Enrolment) and not operation.refused:
            others = aboard.setdefault(leader.id, [])
            if len(others) < spec.bundled_enrolments:
                operation = structs.replace(operation.held(leader.hold), follows=leader.id, bundled=True)
                others.append(operation)
        seated.append(operation)
    return [
        structs.replace(one, carries=tuple(rider.after for rider in aboard[one.id])) if aboard.get(one.id) else one
        for one in seated
    ]


def unsure(operations: Sequence[Operation]) -> list[Enrolment]:
    """The enrolments of people whose account was there before: they may exist already, made by someone else."""
    enrolments = (one for one in operations if isinstance(one, Enrolment))
    return [one for one in enrolments if one.account and not one.refused and one.hold is None]


def without(operations: Sequence[Operation], gone: Collection[str]) -> list[Operation]:
    """The operations without those of these ids, also where they would have travelled with another.

    Args:
        operations: with all that is about their people.
    """
    codes = {(one.person, one.code) for one in operations if one.id in gone and isinstance(one, Enrolment)}
    kept: list[Operation] = []
    for one in operations:
        if one.id in gone:
            continue
        if isinstance(one, AccountChange) and one.carries:
            carries = tuple(other for other in one.carries if (one.person, other["enrolment_code"]) not in codes)
            one = one if len(carries) == len(one.carries) else structs.replace(one, carries=carries)
        kept.append(one)
    return kept


def tokens(operations: Sequence[Operation], ids: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """By person, what the ledger remembers the operations of these ids by."""
    found: dict[str, list[str]] = {}
    for one in operations:
        if one.id in ids and isinstance(one, Enrolment):
            found.setdefault(one.person, []).append(one.token)
    return {person: tuple(codes) for person, codes in found.items()}
