"""Operations beside the account itself: events that tell a fact, enrolments by rule, and external knowledge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from provisioner.model.operation import Kind, Operation, operation_id
from provisioner.planning.desired import PERSON
from provisioner.planning.knowledge import Record
from provisioner.planning.spec import ACCOUNT, Planning, TargetSpec

_ROLE = "custom_attributes.role"


def events(
    spec: TargetSpec, operations: Sequence[Operation], ledger: pl.DataFrame, circumstances: Planning
) -> list[Operation]:
    """One event per fact: those that this plan brings about, and those that the ledger still owes."""
    if not spec.facts:
        return []
    moment = int(circumstances.now.timestamp())
    found: list[Operation] = []
    for operation in operations:
        fact = _fact(operation)
        if fact in spec.facts:
            found.append(_event(spec, operation.person, operation.account, fact, moment, operation))
    owed = ledger.filter(pl.col("_owed").is_not_null() & (pl.col("_owed") != "{}"))
    for person, account, text in owed.select(PERSON, ACCOUNT, "_owed").iter_rows():
        for fact, when in sorted(json.loads(text).items()):
            if fact in spec.facts:
                found.append(_event(spec, person, account, fact, int(when), None))
    return found


def _fact(operation: Operation) -> str:
    if operation.kind is Kind.CREATE:
        return "created"
    if operation.kind is Kind.LEAVE:
        return "left"
    return "role_changed" if operation.kind in (Kind.UPDATE, Kind.REJOIN) and _ROLE in operation.after else ""


def _event(
    spec: TargetSpec, person: str, account: str | None, fact: str, moment: int, leader: Operation | None
) -> Operation:
    after: dict[str, str | None] = {"name": spec.facts[fact], "created_at": str(moment)}
    # As long as its fact has not come about, an event is named by the operation that will bring it about
    named = {"name": spec.facts[fact], "follows": leader.id} if leader else after
    return Operation(
        id=operation_id(spec.name, person, Kind.EVENT, {}, named),
        target=spec.name,
        person=person,
        kind=Kind.EVENT,
        account=account,
        before={},
        after=after,
        # A fact that is still owed and the same fact anew stand beside each other
        slot=f"event:{fact}" if leader else f"event:{fact}:{moment}",
        follows=leader.id if leader else None,
        reason=fact,
        snapshot=leader.snapshot if leader else "",
        row=leader.row if leader else "",
    )


def enrolments(
    spec: TargetSpec,
    desired: pl.DataFrame,
    pairs: pl.DataFrame,
    operations: Sequence[Operation],
    ledger: pl.DataFrame,
    circumstances: Planning,
) -> list[Operation]:
    """One `enrol` per member and code whose rule says yes, once ever."""
    rules = getattr(spec.settings, "enrolments", ())
    if not rules:
        return []
    creating = {operation.person: operation for operation in operations if operation.kind is Kind.CREATE}
    found = []
    for rule in rules:
        date = None
        if rule.due_in_days is not None:
            date = (circumstances.today + timedelta(days=rule.due_in_days)).isoformat()
        already = ledger.filter(pl.col("_enrolled").list.contains(rule.code)).select(PERSON)
        due = (
            desired.filter(pl.col(f"e:{rule.code}"))
            .select(PERSON)
            .join(already, on=PERSON, how="anti", maintain_order="left")
            .join(pairs.select(PERSON, ACCOUNT), on=PERSON, how="left", maintain_order="left")
        )
        for person, account in due.iter_rows():
            leader = creating.get(person)
            if leader is None and account is None:
                continue
            after: dict[str, str | None] = {"enrolment_code": rule.code, "due_date": date}
            found.append(
                Operation(
                    id=operation_id(spec.name, person, Kind.ENROL, {}, {"enrolment_code": rule.code}),
                    target=spec.name,
                    person=person,
                    kind=Kind.ENROL,
                    account=account,
                    before={},
                    after=after,
                    slot=f"enrol:{rule.code}",
                    follows=leader.id if leader else None,
                    reason="enrolment rule",
                    snapshot=circumstances.snapshot,
                )
            )
    return found


def knowledge(
    spec: TargetSpec,
    records: Sequence[Record],
    pairs: pl.DataFrame,
    operations: Sequence[Operation],
    ledger: pl.DataFrame,
    circumstances: Planning,
) -> list[Operation]:
    """One `enrol` per record of external knowledge, once ever."""
    if not records:
        return []
    creating = {operation.person: operation for operation in operations if operation.kind is Kind.CREATE}
    about = pl.Series([record.person for record in records], dtype=pl.String).unique().implode()
    accounts = dict(pairs.filter(pl.col(PERSON).is_in(about)).select(PERSON, ACCOUNT).iter_rows())
    entries = ledger.filter(pl.col(PERSON).is_in(about)).select(PERSON, "_enrolled")
    already = {person: set(codes or ()) for person, codes in entries.iter_rows()}
    found: dict[tuple[str, str], Operation] = {}
    for record in records:
        person, leader = record.person, creating.get(record.person)
        if record.slot in already.get(person, ()) or (leader is None and person not in accounts):
            continue
        found[person, record.slot] = Operation(
            id=operation_id(spec.name, person, Kind.ENROL, {}, record.values),
            target=spec.name,
            person=person,
            kind=Kind.ENROL,
            account=accounts.get(person),
            before={},
            after=record.values,
            slot=record.slot,
            follows=leader.id if leader else None,
            reason="external knowledge",
            snapshot=circumstances.snapshot,
        )
    return list(found.values())
