"""An operation as it lies in Redis: one flat record for every kind, which older and later versions read.

The record is what crosses versions, so a field is never renamed here. What a later version adds is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypedDict

from msgspec import Struct, field, json

from provisioner.model.operation import (
    ACCOUNT_SLOT,
    FREE,
    UNPLANNED,
    AccountChange,
    Enrolment,
    EventTag,
    Kind,
    KnowledgeRecord,
    Operation,
    PlannedState,
    TargetEvent,
    Values,
)

_KNOWLEDGE: Final = "knowledge:"
_TAG: Final = "tag:"


class _Common(TypedDict):
    id: str
    target: str
    person: str
    account: str | None
    state: PlannedState
    follows: str | None
    reason: str
    counted: bool
    snapshot: str
    row: str
    planned: float
    undoes: str


class OperationRecord(Struct, frozen=True, omit_defaults=True, gc=False):
    """An operation of any kind as one flat record; what is as usual is left out of its JSON.

    `slot` says what an `enrol` or an `event` is: ``enrol:<code>``, ``knowledge:<digest>``, ``event:<fact>``,
    ``tag:<event>``. `rides` marks an enrolment that is bundled. `hold`, `refused` and `fails` are its planned state.
    """

    id: str
    target: str
    person: str
    kind: Kind
    account: str | None
    before: Values
    after: Values
    drift: bool = False
    wanted: Values = field(default_factory=dict)
    observed: Values = field(default_factory=dict)
    slot: str = ACCOUNT_SLOT
    follows: str | None = None
    reason: str = ""
    counted: bool = True
    hold: str | None = None
    owned: Values = field(default_factory=dict)
    snapshot: str = ""
    row: str = ""
    refused: bool = False
    owes: Mapping[str, int] = field(default_factory=dict)
    planned: float = UNPLANNED
    carries: tuple[Values, ...] = ()
    rides: bool = False
    fails: str = ""
    makes: int = 0
    undoes: str = ""
    left_on: str = ""
    step: int = 0
    further: bool = False

    @classmethod
    def of(cls, operation: Operation) -> OperationRecord:
        """The record of an operation."""
        state = operation.state
        ours = operation if isinstance(operation, AccountChange) else None
        return cls(
            operation.id,
            operation.target,
            operation.person,
            operation.kind,
            operation.account,
            operation.before,
            operation.after,
            operation.drift,
            operation.wanted,
            operation.observed,
            operation.slot,
            operation.follows,
            operation.reason,
            operation.counted,
            state.hold,
            operation.owned,
            operation.snapshot,
            operation.row,
            state.refused,
            ours.owes if ours else {},
            operation.planned,
            operation.carries,
            isinstance(operation, Enrolment) and operation.bundled,
            state.fails,
            ours.makes if ours else 0,
            operation.undoes,
            ours.left_on if ours else "",
            ours.step if ours else 0,
            ours.further if ours else False,
        )

    def operation(self) -> Operation:
        """The operation of the record."""
        state = PlannedState(self.hold, self.refused, self.fails) if self.hold or self.refused or self.fails else FREE
        if self.kind is Kind.ENROL:
            return self._enrol(state)
        if self.kind is Kind.EVENT:
            return self._event(state)
        return AccountChange(
            id=self.id,
            target=self.target,
            person=self.person,
            account=self.account,
            state=state,
            follows=self.follows,
            reason=self.reason,
            counted=self.counted,
            snapshot=self.snapshot,
            row=self.row,
            planned=self.planned,
            undoes=self.undoes,
            kind=self.kind,
            before=self.before,
            after=self.after,
            wanted=self.wanted,
            observed=self.observed,
            owned=self.owned,
            drift=self.drift,
            makes=self.makes,
            left_on=self.left_on,
            step=self.step,
            further=self.further,
            carries=self.carries,
            owes=self.owes,
        )

    def _enrol(self, state: PlannedState) -> Enrolment | KnowledgeRecord:
        common = self._common(state)
        if self.slot.startswith(_KNOWLEDGE):
            return KnowledgeRecord(**common, slot=self.slot, after=self.after)
        code, due = self.after.get("enrolment_code") or "", self.after.get("due_date")
        return Enrolment(**common, code=code, due=due, bundled=self.rides)

    def _event(self, state: PlannedState) -> TargetEvent | EventTag:
        common = self._common(state)
        if self.slot.startswith(_TAG):
            return EventTag(**common, slot=self.slot, tag=self.after.get("tag") or "")
        return TargetEvent(**common, slot=self.slot, after=self.after)

    def _common(self, state: PlannedState) -> _Common:
        return {
            "id": self.id,
            "target": self.target,
            "person": self.person,
            "account": self.account,
            "state": state,
            "follows": self.follows,
            "reason": self.reason,
            "counted": self.counted,
            "snapshot": self.snapshot,
            "row": self.row,
            "planned": self.planned,
            "undoes": self.undoes,
        }


_decode: Final = json.Decoder(OperationRecord).decode


def to_json(operation: Operation) -> bytes:
    """The form in which an operation lies in Redis, where there may be very many."""
    return json.encode(OperationRecord.of(operation))


def from_json(text: bytes | str) -> Operation:
    """The inverse of `to_json`.

    Raises:
        ValueError: it is no operation.
    """
    return _decode(text).operation()
