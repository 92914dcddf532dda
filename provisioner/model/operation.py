"""An operation: one change that one request brings about, as a union of what may be changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Self, TypeAlias

from msgspec import Struct, field, json, structs

Values: TypeAlias = Mapping[str, str | None]

#: The guard that counts values which would be taken away, and not operations.
REMOVALS: Final = "removals"
#: The slot of an account's own operation: a person has at most one open at a target.
ACCOUNT_SLOT: Final = "account"
_NOTHING: Final[Values] = {}


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

ACCOUNT_KINDS: Final = (Kind.CREATE, Kind.UPDATE, Kind.ROLE, Kind.LEAVE, Kind.REJOIN)


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


class PlannedState(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a plan decides about sending a change, apart from the change itself.

    `hold` is the reason why it waits for approval, None if it may go out. `refused`: somebody said no to it. `fails`
    is why it fails without being sent, as ``code: sentence``, empty if it is sent.
    """

    hold: str | None = None
    refused: bool = False
    fails: str = ""

    @property
    def status(self) -> Status:
        """The status with which its plan is installed."""
        if self.fails:
            return Status.FAILED
        if self.refused:
            return Status.REJECTED
        return Status.HELD if self.hold else Status.PENDING

    @property
    def error(self) -> Mapping[str, str] | None:
        """The `code` and `message` with which it fails without being sent, None if it is sent."""
        code, _, message = self.fails.partition(": ")
        return {"code": code, "message": message} if self.fails else None


#: It goes out by itself.
FREE: Final = PlannedState()
#: When an operation was planned that is not of a plan. One object, since a default is left out by identity.
UNPLANNED: Final = 0.0


class _Common(Struct, frozen=True, omit_defaults=True, gc=False, kw_only=True, tag_field="change"):
    """What every operation has.

    `id` is the digest of `operation_id`. `account` is the identifier that the vendor is addressed by, None for a
    create. `follows` is the id of the operation that must succeed first. `reason` is why, as a short phrase. `counted`
    is false for what no guard counts. `snapshot` and `row` name the roster and the row that it was planned from,
    `planned` is when (seconds since the epoch). `undoes` is the run that it takes back.
    """

    id: str
    target: str
    person: str
    account: str | None
    state: PlannedState = FREE
    follows: str | None = None
    reason: str = ""
    counted: bool = True
    snapshot: str = ""
    row: str = ""
    planned: float = UNPLANNED
    undoes: str = ""

    def held(self, reason: str | None) -> Self:
        """The same change, waiting for approval for that reason."""
        return structs.replace(self, state=structs.replace(self.state, hold=reason))

    @property
    def hold(self) -> str | None:
        """Why it waits for approval, None if it may go out."""
        return self.state.hold

    @property
    def refused(self) -> bool:
        """Whether somebody said no to it."""
        return self.state.refused

    @property
    def fails(self) -> str:
        """Why it fails without being sent, as ``code: sentence``; empty if it is sent."""
        return self.state.fails

    @property
    def planned_status(self) -> Status:
        """The status with which its plan is installed."""
        return self.state.status

    @property
    def planned_error(self) -> Mapping[str, str] | None:
        """The `code` and `message` with which it fails without being sent, None if it is sent."""
        return self.state.error


class AccountChange(_Common, frozen=True, kw_only=True, tag="account"):
    """One change of one account; all values are canonical text (see `provisioner.model.attributes`).

    `before` and `after` hold the changed attributes only. `wanted` is the whole image that the account should have
    afterwards, as far as it is managed. `observed` is what the target's module asked to have carried along. `owned`
    are the members of shared sets that are ours. `drift`: it corrects what somebody changed in the target. `makes` is
    how often in a row the account was made before without being shown. `carries` are the enrolments (their `after`)
    that travel in the same request. `owes` are the events that its success brings about, with their moments.
    Of a leave, `left_on` is the day of leaving (ISO) and `step` how many steps of it are brought about then; `further`:
    the account is in leaver state, and a later step follows.
    """

    kind: Kind
    before: Values
    after: Values
    wanted: Values = field(default_factory=dict)
    observed: Values = field(default_factory=dict)
    owned: Values = field(default_factory=dict)
    drift: bool = False
    makes: int = 0
    carries: tuple[Values, ...] = ()
    owes: Mapping[str, int] = field(default_factory=dict)
    left_on: str = ""
    step: int = 0
    further: bool = False

    @property
    def slot(self) -> str:
        """What may be open once per person and target."""
        return ACCOUNT_SLOT


class _SideChange(_Common, frozen=True, kw_only=True):
    """A change that is no change of the account: nothing was held before, and no image comes with it."""

    @property
    def before(self) -> Values:
        """Nothing."""
        return _NOTHING

    @property
    def wanted(self) -> Values:
        """Nothing."""
        return _NOTHING

    @property
    def observed(self) -> Values:
        """Nothing."""
        return _NOTHING

    @property
    def owned(self) -> Values:
        """Nothing."""
        return _NOTHING

    @property
    def carries(self) -> tuple[Values, ...]:
        """Nothing."""
        return ()

    @property
    def drift(self) -> bool:
        """Never."""
        return False


class Enrolment(_SideChange, frozen=True, kw_only=True, tag="enrolment"):
    """An enrolment by its `code`, to be finished by `due` (a date, None for no day).

    `bundled`: it travels in the request of its person's account operation.
    """

    code: str
    due: str | None = None
    bundled: bool = False

    @property
    def kind(self) -> Kind:
        """An enrolment."""
        return Kind.ENROL

    @property
    def slot(self) -> str:
        """What may be open once per person and target."""
        return f"enrol:{self.code}"

    @property
    def after(self) -> Values:
        """Its code and its day."""
        return {"enrolment_code": self.code, "due_date": self.due}

    @property
    def token(self) -> str:
        """The word by which the ledger remembers it, so that it is asked for once ever."""
        return self.code


class KnowledgeRecord(_SideChange, frozen=True, kw_only=True, tag="knowledge"):
    """A record of external knowledge; `after` are its fields. `slot` tells it apart from others of the person."""

    slot: str
    after: Values

    @property
    def kind(self) -> Kind:
        """It counts as an enrolment."""
        return Kind.ENROL

    @property
    def token(self) -> str:
        """The word by which the ledger remembers it, so that it is made once ever."""
        return self.slot


class TargetEvent(_SideChange, frozen=True, kw_only=True, tag="event"):
    """An event that a target takes; `after` is its `name` and the moment `created_at` (seconds since the epoch).

    `slot` tells it apart from others of the person.
    """

    slot: str
    after: Values

    @property
    def kind(self) -> Kind:
        """An event."""
        return Kind.EVENT


class EventTag(_SideChange, frozen=True, kw_only=True, tag="tag"):
    """A tag that an event sets.

    Before it is sent, `wanted` becomes all tags of the person, `observed` those that the account had, and `owned`
    those that events brought. `slot` tells it apart from others of the person.
    """

    slot: str
    tag: str
    wanted: Values = field(default_factory=dict)
    observed: Values = field(default_factory=dict)
    owned: Values = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """It is sent and counted as an event."""
        return Kind.EVENT

    @property
    def after(self) -> Values:
        """The tag; as soon as they are known, all tags."""
        return self.wanted or {"tag": self.tag}


Operation: TypeAlias = AccountChange | Enrolment | KnowledgeRecord | TargetEvent | EventTag


def operation_id(target: str, person: str, kind: Kind, before: Values, after: Values) -> str:
    """The digest that names a change wherever and whenever it is planned (24 hexadecimal digits)."""
    return digest((target, person, kind, before, after), size=12)


_spell = json.Encoder(order="deterministic").encode


def digest(value: object, *, size: int) -> str:
    """A digest of that many bytes, in hexadecimal digits: the same for the same value, everywhere and always.

    What is digested is JSON without spaces, its names sorted.
    """
    return hashlib.blake2b(_spell(value), digest_size=size).hexdigest()
