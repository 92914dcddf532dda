"""The operations on existing accounts, and the creations: from flagged rows to `Operation` values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from provisioner.model.account import State
from provisioner.model.attributes import fold
from provisioner.model.operation import Kind, Operation, operation_id
from provisioner.planning.desired import FUTURE, LEAVER, MEMBER, PERSON, REASON, STANDING
from provisioner.planning.diff import any_of, enforced
from provisioner.planning.spec import ACCOUNT, UNTOUCHABLE, Planning, TargetSpec

Row = Mapping[str, Any]
LinkRow = tuple[str, str, State, str]


@dataclass(frozen=True, slots=True)
class Changes:
    """What follows from the differences: operations, links and states to record, to-dos, and reported drift."""

    operations: tuple[Operation, ...]
    links: tuple[LinkRow, ...]
    todos: tuple[tuple[str, str], ...]
    drift: tuple[tuple[str, str], ...]

    @staticmethod
    def creations(
        spec: TargetSpec, rows: pl.DataFrame, gone: Collection[str], circumstances: Planning
    ) -> list[Operation]:
        """One `create` per row, with all that the account takes to be right."""
        names = [column[2:] for column in rows.columns if column.startswith("w:")]
        creatable = [name for name in names if spec.attributes[name].on_create]
        operations = []
        moment = circumstances.now.timestamp()
        for row in rows.iter_rows(named=True):
            after = {name: row[f"w:{name}"] for name in creatable if row[f"w:{name}"]}
            person = row[PERSON]
            lost = person in gone
            operations.append(
                Operation(
                    id=operation_id(spec.name, person, Kind.CREATE, {}, after),
                    target=spec.name,
                    person=person,
                    kind=Kind.CREATE,
                    account=None,
                    before={},
                    after=after,
                    drift=lost,
                    wanted=after,
                    owned={name: after.get(name) for name in creatable if spec.attributes[name].merge},
                    reason="its account is gone" if lost else "joiner",
                    snapshot=circumstances.snapshot,
                    planned=moment,
                    row=row_digest(row, names),
                )
            )
        return operations


_spell = json.JSONEncoder(ensure_ascii=False).encode


def row_digest(row: Row, names: Sequence[str]) -> str:
    """A digest of what the roster says of a person here; a rejection holds good as long as it is the same."""
    text = _spell([row[STANDING], [row[f"w:{name}"] for name in sorted(names)]])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def changes(spec: TargetSpec, frame: pl.DataFrame, names: Sequence[str], circumstances: Planning) -> Changes:
    """Decide what each difference means.

    Args:
        frame: as `differing` left it, with `_protected`.
    """
    members = enforced(spec, names, MEMBER)
    leavers = enforced(spec, names, LEAVER)
    fixed = [
        name
        for name in names
        if name in spec.settings.attributes
        and spec.settings.attributes[name].authority == "roster"
        and (spec.attributes[name].identifier or not spec.attributes[name].on_update)
        and (spec.attributes[name].observed or spec.attributes[name].identifier)
    ]
    state = pl.col("_state").fill_null("new")
    touchy = frame.filter(
        ((pl.col(STANDING) == MEMBER) & (any_of(frame, members) | any_of(frame, fixed) | (state != "active")))
        | ((pl.col(STANDING) == LEAVER) & (any_of(frame, leavers) | (state != "left")))
        | ((pl.col(STANDING) == FUTURE) & (pl.col("_matched") != "link"))
        | (pl.col("_matched") != "link")
    )
    work = _Work(spec, names, members, leavers, fixed, circumstances)
    for row in touchy.iter_rows(named=True):
        work.consider(row)
    return Changes(tuple(work.operations), tuple(work.links), tuple(work.todos), tuple(work.drift))


class _Work:
    """The decision table, applied to one row after another; see docs/decision-table.md."""

    def __init__(
        self,
        spec: TargetSpec,
        names: Sequence[str],
        members: Sequence[str],
        leavers: Sequence[str],
        fixed: Sequence[str],
        circumstances: Planning,
    ) -> None:
        self._spec, self._names, self._circumstances = spec, names, circumstances
        self._moment = circumstances.now.timestamp()
        self._members, self._leavers, self._fixed = members, leavers, fixed
        # What stands in an attribute that only we ourselves map must not pass for something that we set
        self._mapped = {*spec.settings.attributes, *spec.settings.leaver}
        self.operations: list[Operation] = []
        self.links: list[LinkRow] = []
        self.todos: list[tuple[str, str]] = []
        self.drift: list[tuple[str, str]] = []

    def consider(self, row: Row) -> None:
        standing = row[STANDING]
        if standing == LEAVER:
            state = self._leaver(row)
        elif standing == MEMBER:
            state = self._member(row)
        else:
            # Whoever starts later, or is known too little of, is adopted as found: to be active again is a rejoin
            state = "left" if self._inactive(row) and row["_matched"] != "link" else row["_state"]
        previous = row["_state"]
        if row["_matched"] != "link" or (state and state != previous):
            self.links.append((row[PERSON], row[ACCOUNT], state or previous or "active", row["_matched"]))

    def _leaver(self, row: Row) -> State | None:
        """Returns the state to record at once, None where an operation's success will."""
        changed = [name for name in self._leavers if row[f"d:{name}"]]
        if not changed:
            return "left"
        if row[UNTOUCHABLE]:
            self.todos.append((row[PERSON], f"left, but the account is {row[UNTOUCHABLE]} and is never touched."))
            return None
        if row["_protected"]:
            self.todos.append((row[PERSON], "left, but the account is protected. Deactivate or demote it by hand."))
            return None
        if row["_state"] == "left":
            self._change(row, Kind.UPDATE, changed, drifted=self._drifted(row, changed))
        else:
            self._change(row, Kind.LEAVE, changed)
        return None

    def _member(self, row: Row) -> State | None:
        if row[UNTOUCHABLE]:
            if any(row[f"d:{name}"] for name in self._members):
                self.todos.append((row[PERSON], f"the account is {row[UNTOUCHABLE]} and is never touched."))
            return None
        for name in self._fixed:
            if row[f"d:{name}"]:
                self._advise(row, name)
        changed = [name for name in self._members if row[f"d:{name}"]]
        if row["_protected"]:
            changed = self._spared(row, changed)
        inactive = self._inactive(row)
        if row["_state"] == "left" or (row["_state"] is None and inactive):
            if not changed:
                return "active"
            self._change(row, Kind.REJOIN, changed)
            return None
        if inactive and self._spec.activity in changed:
            return self._deactivated(row, changed)
        self._update(row, changed)
        return "active"

    def _inactive(self, row: Row) -> bool:
        activity = self._spec.activity
        return activity is not None and row.get(f"h:{activity}") == "false"

    def _spared(self, row: Row, changed: Sequence[str]) -> list[str]:
        """What may be changed of a protected account: neither a role nor that it is active."""
        activity = self._spec.activity
        kept = [
            name
            for name in changed
            if self._spec.attributes[name].role or (name == activity and row[f"w:{name}"] == "false")
        ]
        if kept:
            self.todos.append(
                (row[PERSON], f"{', '.join(kept)} should change, but the account is protected. Change it by hand.")
            )
        return [name for name in changed if name not in kept]

    def _deactivated(self, row: Row, changed: Sequence[str]) -> State:
        """Somebody else deactivated it while our ledger says active."""
        sentence = "somebody deactivated the account; it is not reactivated without approval."
        self.drift.append((row[PERSON], sentence))
        if self._spec.settings.drift == "correct":
            self._change(row, Kind.REJOIN, changed, drifted=True, hold=f"{self._spec.name}: {sentence}")
        return "active"

    def _update(self, row: Row, changed: Sequence[str]) -> None:
        drifted = [name for name in changed if self._drifted(row, [name])]
        if drifted:
            self.drift.append((row[PERSON], f"changed in the target behind our back: {', '.join(drifted)}."))
            if self._spec.settings.drift == "report":
                changed = [name for name in changed if name not in drifted]
        if changed:
            kind = Kind.ROLE if all(self._spec.attributes[name].role for name in changed) else Kind.UPDATE
            self._change(row, kind, changed, drifted=bool(drifted) and self._spec.settings.drift == "correct")

    def _drifted(self, row: Row, changed: Sequence[str]) -> bool:
        """Whether we once brought about what is wanted now, and the target shows something else."""
        for name in changed:
            acknowledged, type_ = row[f"l:{name}"], self._spec.attributes[name].type
            wanted = row.get(f"own:{name}", row[f"w:{name}"])
            if row["_seen"] and acknowledged is not None and fold(acknowledged, type_) == fold(wanted, type_):
                return True
        return False

    def _advise(self, row: Row, name: str) -> None:
        attribute = self._spec.attributes[name]
        if not row[f"k:{name}"]:
            return
        what = attribute.advice or f"change {name} in {self._spec.name} by hand"
        self.todos.append((row[PERSON], f"{name} differs and cannot be changed by us: {what}."))

    def _change(
        self, row: Row, kind: Kind, changed: Sequence[str], *, drifted: bool = False, hold: str | None = None
    ) -> None:
        spec, names = self._spec, self._names
        before = {name: row[f"h:{name}"] for name in changed}
        after = {name: row[f"w:{name}"] or None for name in changed}
        wanted: dict[str, str | None] = {}
        for name in names:
            if row[f"w:{name}"] is not None and (name in changed or not row[f"d:{name}"]):
                wanted[name] = row[f"w:{name}"] or None
            elif row[f"k:{name}"] and name in self._mapped:
                wanted[name] = row[f"h:{name}"]
        self.operations.append(
            Operation(
                id=operation_id(spec.name, row[PERSON], kind, before, after),
                target=spec.name,
                person=row[PERSON],
                kind=kind,
                account=row[ACCOUNT],
                before=before,
                after=after,
                drift=drifted,
                wanted=wanted,
                observed={name: row[f"o:{name}"] for name in spec.carried if f"o:{name}" in row},
                owned={
                    name: row[f"own:{name}"] or None
                    for name in names
                    if f"own:{name}" in row and row[f"own:{name}"] is not None
                },
                reason=row[REASON],
                counted=any(row[f"k:{name}"] for name in changed),
                hold=hold,
                snapshot=self._circumstances.snapshot,
                planned=self._moment,
                row=row_digest(row, names),
            )
        )
