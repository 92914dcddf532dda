"""An operation: one change of one account, and the digest that names it across runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct, field, json

#: The guard that counts values which would be taken away, and not operations.
REMOVALS: Final = "removals"


class Kind(StrEnum):
    """What an operation does; at most one of the first five per person and target in a plan."""

    CREATE = "create"
    UPDATE = "update"
    ROLE = "role"
    LEAVE = "leave"
    REJOIN = "rejoin"
    ENROL = "enrol"
    EVENT = "event"


#: The order of delivery: leavers, joiners, roles, updates, enrolments and events.
URGENCY: Mapping[Kind, int] = {
    Kind.LEAVE: 0,
    Kind.CREATE: 1,
    Kind.REJOIN: 1,
    Kind.ROLE: 2,
    Kind.UPDATE: 3,
    Kind.ENROL: 4,
    Kind.EVENT: 5,
}

ACCOUNT_KINDS = (Kind.CREATE, Kind.UPDATE, Kind.ROLE, Kind.LEAVE, Kind.REJOIN)


class Status(StrEnum):
    """The state of an operation."""

    PENDING = "pending"  #: queued, not yet taken by a worker
    SENDING = "sending"  #: a worker has it
    WAITING = "waiting"  #: a temporary failure, or a target that is paused, quarantined or unreachable
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    HELD = "held"  #: a guard, a degraded roster or a drift rule wants someone's approval
    SUPERSEDED = "superseded"  #: a newer plan, or something newer about the person, replaced it
    REJECTED = "rejected"  #: someone said no


FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.SUPERSEDED, Status.REJECTED, Status.HELD})


class Operation(Struct, frozen=True, omit_defaults=True, gc=False):
    """One change of one account; all values are canonical text (see `provisioner.model.attributes`).

    `account` is the observed identifier that the vendor is addressed by, None for a create. `before` and `after`
    hold the changed attributes only; `wanted` the whole image that the account should have afterwards, as far as
    we manage it; `observed` what the target's module asked to have carried along. `slot` tells apart what may
    exist independently for one person: ``account``, ``enrol:<code>``, ``event:<fact>``. `follows` is the id of
    the operation that must succeed first. `fails` is why it fails at once and is not sent, as ``code: sentence``.
    `makes` is how often in a row its account was made before without being shown. `carries` are the enrolments (their
    `after`) that travel in the same request
    as an account operation, and `rides` marks those that do. `reason` is why, as a short phrase. `counted` is false
    for what a guard does not count. `hold` says what it waits for, None if it may go out. `undoes` is the run that
    it takes back.
    """

    id: str
    target: str
    person: str
    kind: Kind
    account: str | None
    before: Mapping[str, str | None]
    after: Mapping[str, str | None]
    drift: bool = False
    wanted: Mapping[str, str | None] = field(default_factory=dict)
    observed: Mapping[str, str | None] = field(default_factory=dict)
    slot: str = "account"
    follows: str | None = None
    reason: str = ""
    counted: bool = True
    hold: str | None = None
    owned: Mapping[str, str | None] = field(default_factory=dict)
    snapshot: str = ""
    row: str = ""
    refused: bool = False
    owes: Mapping[str, int] = field(default_factory=dict)
    planned: float = 0.0
    carries: tuple[Mapping[str, str | None], ...] = ()
    rides: bool = False
    fails: str = ""
    makes: int = 0
    undoes: str = ""

    @property
    def planned_status(self) -> Status:
        """Its state when its plan is installed: it goes out by itself, waits for approval, was refused, or fails
        without being sent."""
        if self.fails:
            return Status.FAILED
        if self.refused:
            return Status.REJECTED
        return Status.HELD if self.hold else Status.PENDING

    @property
    def planned_error(self) -> Mapping[str, str] | None:
        """Why it fails without being sent, None if it does not."""
        code, _, message = self.fails.partition(": ")
        return {"code": code, "message": message} if self.fails else None

    @property
    def token(self) -> str:
        """By which the ledger remembers an enrolment, so that it is asked for once ever."""
        return self.slot.removeprefix("enrol:")


def operation_id(
    target: str, person: str, kind: Kind, before: Mapping[str, str | None], after: Mapping[str, str | None]
) -> str:
    """The digest that names a change wherever and whenever it is planned (24 hexadecimal digits)."""
    return digest((target, person, kind, before, after), size=12)


_spell = json.Encoder(order="deterministic").encode


def digest(value: object, *, size: int) -> str:
    """A digest of that many bytes, in hexadecimal digits: the same for the same value, everywhere and always.

    What is digested is JSON without spaces, its names sorted.
    """
    return hashlib.blake2b(_spell(value), digest_size=size).hexdigest()


_decoder = json.Decoder(Operation)


def to_json(operation: Operation) -> bytes:
    """The form in which an operation lies in Redis, where there may be very many; what is as usual is left out."""
    return json.encode(operation)


def from_json(text: bytes | str) -> Operation:
    """The inverse of `to_json`; what a later version may have added is passed over.

    Raises:
        ValueError: it is no operation.
    """
    return _decoder.decode(text)
