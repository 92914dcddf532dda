"""Operations besides the account itself: events that tell a fact, enrolments by rule, and external knowledge."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from provisioner.model.operation import (
    AccountChange,
    Enrolment,
    Kind,
    KnowledgeRecord,
    Operation,
    TargetEvent,
    operation_id,
)
from provisioner.planning.desired import PERSON
from provisioner.planning.external_knowledge import Record
from provisioner.planning.spec import ACCOUNT, Planning, TargetSpec

_CODE, _DATE = "_code", "_date"


def owing(spec: TargetSpec, ledger: pl.DataFrame) -> pl.DataFrame:
    """The ledger's entries that owe the target an event: `_person`, `_account`, `_owed`."""
    entries = ledger.select(PERSON, ACCOUNT, "_owed")
    return entries.filter(pl.col("_owed").is_not_null() & (pl.col("_owed") != "{}")) if spec.facts else entries.clear()


def events(
    spec: TargetSpec,
    operations: Sequence[Operation],
    owed: pl.DataFrame,
    circumstances: Planning,
    same_role: Collection[str] = (),
) -> list[TargetEvent]:
    """One event per fact: those that this plan brings about, and those that the ledger still owes.

    Args:
        owed: of `owing`.
        same_role: people whose role is only written again.
    """
    if not spec.facts:
        return []
    moment = int(circumstances.now.timestamp())
    found: list[TargetEvent] = []
    for operation in operations:
        fact = _fact(spec, operation)
        if fact in spec.facts and not (fact == "role_changed" and operation.person in same_role):
            found.append(_event(spec, operation.person, operation.account, fact, moment, operation))
    for person, account, text in owed.select(PERSON, ACCOUNT, "_owed").iter_rows():
        for fact, when in sorted(json.loads(text).items()):
            if fact in spec.facts:
                found.append(_event(spec, person, account, fact, int(when), None))
    return found


def _fact(spec: TargetSpec, operation: Operation) -> str:
    if operation.kind is Kind.CREATE:
        return "created"
    if isinstance(operation, AccountChange) and operation.kind is Kind.LEAVE:
        return "" if operation.further else "left"
    changing = operation.kind in (Kind.UPDATE, Kind.REJOIN)
    return "role_changed" if changing and spec.role_attribute in operation.after else ""


def _event(
    spec: TargetSpec, person: str, account: str | None, fact: str, moment: int, leader: Operation | None
) -> TargetEvent:
    after: dict[str, str | None] = {"name": spec.facts[fact], "created_at": str(moment)}
    # As long as its fact has not come about, an event is named by the operation that will bring it about
    named = {"name": spec.facts[fact], "follows": leader.id} if leader else after
    return TargetEvent(
        id=operation_id(spec.name, person, Kind.EVENT, {}, named),
        target=spec.name,
        person=person,
        account=account,
        after=after,
        # A fact that is still owed and the same fact again exist next to each other
        slot=f"event:{fact}" if leader else f"event:{fact}:{moment}",
        follows=leader.id if leader else None,
        reason=fact,
        snapshot=leader.snapshot if leader else "",
        row=leader.row if leader else "",
    )


def due_enrolments(
    spec: TargetSpec, desired: pl.DataFrame, pairs: pl.DataFrame, ledger: pl.DataFrame, circumstances: Planning
) -> pl.DataFrame:
    """The members of whom a rule says yes and who were never enrolled by it.

    Columns: `_person`, `_account` (null where there is none), `_code` and `_date` (until when, null for no day).
    """
    found = [pl.DataFrame(schema=dict.fromkeys((PERSON, ACCOUNT, _CODE, _DATE), pl.String))]
    for rule in spec.enrolments:
        date = None
        if rule.due_in_days is not None:
            date = (circumstances.today + timedelta(days=rule.due_in_days)).isoformat()
        already = ledger.filter(pl.col("_enrolled").list.contains(rule.code)).select(PERSON)
        found.append(
            desired.filter(pl.col(f"e:{rule.code}"))
            .select(PERSON)
            .join(already, on=PERSON, how="anti", maintain_order="left")
            .join(pairs.select(PERSON, ACCOUNT), on=PERSON, how="left", maintain_order="left")
            .with_columns(pl.lit(rule.code).alias(_CODE), pl.lit(date, dtype=pl.String).alias(_DATE))
        )
    return pl.concat(found)


def enrolments(
    spec: TargetSpec, due: pl.DataFrame, operations: Sequence[Operation], circumstances: Planning
) -> list[Enrolment]:
    """One `enrol` per member and code that is due, where there is an account or will be one.

    Args:
        due: of `due_enrolments`.
    """
    if not due.height:
        return []
    creating = _creating(operations)
    return [
        Enrolment(
            id=operation_id(spec.name, person, Kind.ENROL, {}, {"enrolment_code": code}),
            target=spec.name,
            person=person,
            account=account,
            code=code,
            due=date,
            follows=creating.get(person),
            reason="enrolment rule",
            snapshot=circumstances.snapshot,
        )
        for person, account, code, date in due.select(PERSON, ACCOUNT, _CODE, _DATE).iter_rows()
        if account is not None or person in creating
    ]


def _creating(operations: Sequence[Operation]) -> dict[str, str]:
    """By person, the id of the create that their enrolments have to follow."""
    return {operation.person: operation.id for operation in operations if operation.kind is Kind.CREATE}


@dataclass(frozen=True, slots=True)
class DueRecord:
    """A record of external knowledge that was never sent, and the account of its person, None if there is none."""

    record: Record
    account: str | None

    @property
    def person(self) -> str:
        """Whose it is."""
        return self.record.person


def due_records(records: Sequence[Record], pairs: pl.DataFrame, ledger: pl.DataFrame) -> list[DueRecord]:
    """The records that were never sent, each once."""
    if not records:
        return []
    about = pl.Series([record.person for record in records], dtype=pl.String).unique().implode()
    accounts = dict(pairs.filter(pl.col(PERSON).is_in(about)).select(PERSON, ACCOUNT).iter_rows())
    entries = ledger.filter(pl.col(PERSON).is_in(about)).select(PERSON, "_enrolled")
    already = {person: set(codes or ()) for person, codes in entries.iter_rows()}
    found = {
        (record.person, record.slot): DueRecord(record, accounts.get(record.person))
        for record in records
        if record.slot not in already.get(record.person, ())
    }
    return list(found.values())


def knowledge(
    spec: TargetSpec, due: Sequence[DueRecord], operations: Sequence[Operation], circumstances: Planning
) -> list[KnowledgeRecord]:
    """One `enrol` per record that is due, where there is an account or will be one."""
    if not due:
        return []
    creating = _creating(operations)
    return [
        KnowledgeRecord(
            id=operation_id(spec.name, one.person, Kind.ENROL, {}, one.record.values),
            target=spec.name,
            person=one.person,
            account=one.account,
            slot=one.record.slot,
            after=one.record.values,
            follows=creating.get(one.person),
            reason="external knowledge",
            snapshot=circumstances.snapshot,
        )
        for one in due
        if one.account is not None or one.person in creating
    ]
