"""What a target may offer beyond the core of `provisioner.targets.base.Target`.

Each capability is a protocol. A target class names the protocols among its bases and gives their members; whoever uses
one asks with `isinstance`. Nothing else is looked for: what a class does not declare, it does not offer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from provisioner.errors import TargetError
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute
from provisioner.model.event import Fact, InboundEvent, any_event
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Outcome
from provisioner.settings.targets import EnrolmentRule
from provisioner.targets.base import Ask, Listing, Target
from provisioner.targets.http import Http, Tokens


@dataclass(frozen=True, slots=True)
class Recent:
    """What a target showed of what changed since a moment.

    `accounts` are those that were made or changed. `total` is how many accounts there are in all, so that a missing one
    is noticed. `as_of` is as in `Listing`.
    """

    accounts: Sequence[Account]
    total: int
    as_of: float | None = None


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Facts by account, and where the next reading begins (None: at the beginning).

    `failed` is why a part could not be read: the facts are kept, and the next reading goes on from `mark`.
    """

    facts: Mapping[str, Sequence[Fact]]
    mark: str | None = None
    failed: TargetError | None = None


@runtime_checkable
class LooksUp(Protocol):
    """Shows some accounts without a full listing. A run about one person of another target uses its last listing."""

    async def find(self, http: Http, asks: Sequence[Ask], known: Mapping[str, Account]) -> Listing | None:
        """Look up only the asked people's accounts; None where only a full listing can answer.

        Args:
            known: as in `Target.observe`.

        Raises:
            TargetError: a look-up failed.
        """
        ...


@runtime_checkable
class ChecksNames(Protocol):
    """Can be asked about names in the settings, such as roles, boards and codes."""

    async def unknown_names(self, http: Http) -> Sequence[str]:
        """A sentence for each name in the settings that the vendor does not have; `check --connect` fails on it.

        Raises:
            TargetError: they could not be read.
        """
        ...


@runtime_checkable
class WantsPrevious(Protocol):
    """Spares reads by the accounts as last observed: `observe` and `find` get them as `known`."""

    wants_previous: ClassVar[bool]


@runtime_checkable
class Incremental(Protocol):
    """Shows what changed since a moment, and how many accounts there are."""

    async def observe_recent(self, http: Http, since: float) -> Recent:
        """Read what changed after a moment.

        Args:
            since: epoch seconds by the vendor's clock as far as it is known, with an overlap.

        Raises:
            TargetError: as `Target.observe`.
        """
        ...


@runtime_checkable
class CarriesObserved(Protocol):
    """Needs observed attributes in `Operation.observed`, for example because an update replaces the whole object.

    `carried`: their names.
    """

    carried: ClassVar[tuple[str, ...]]


@runtime_checkable
class Deactivates(Protocol):
    """Keeps deactivated accounts. `activity`: the boolean attribute that is false for such."""

    activity: ClassVar[str]


@runtime_checkable
class SchedulesEnd(Protocol):
    """Ends an account by itself. `ends_attribute`: the date that takes the day after a person's last day."""

    ends_attribute: ClassVar[str]


@runtime_checkable
class Confirms(Protocol):
    """Tells whether an unclear operation took effect. `hurts_twice`: the kinds whose repetition does harm."""

    hurts_twice: ClassVar[frozenset[Kind]]

    async def confirm(self, http: Http, operation: Operation) -> Outcome | None:
        """The outcome of an unclear operation that took effect, None if it did not and may be sent.

        Raises:
            TargetError: the look-up failed.
        """
        ...


@runtime_checkable
class Enrols(Protocol):
    """Takes enrolments: by rule, and by a route `to: <target>.enrolment`."""

    @property
    def enrolment_rules(self) -> Sequence[EnrolmentRule]:
        """Who is enrolled in what."""
        ...

    async def existing_enrolments(self, http: Http, operations: Sequence[Operation]) -> frozenset[str]:
        """The ids of those `enrol` operations that the vendor shows already, so that they are not sent.

        Raises:
            TargetError: they could not be read.
        """
        ...


@runtime_checkable
class BundlesEnrolments(Protocol):
    """Takes enrolments in the request of their person's own account operation (`AccountChange.carries`).

    `bundled_enrolments`: at most this many.
    """

    bundled_enrolments: ClassVar[int]


@runtime_checkable
class TakesKnowledge(Protocol):
    """Takes records of external knowledge, such as certificates.

    `knowledge`: the fields of a record by name. `knowledge_key`: the fields that make a record another one; the ledger
    remembers records by them, so their order must not change.
    """

    knowledge: ClassVar[Mapping[str, Attribute]]
    knowledge_key: ClassVar[tuple[str, ...]]

    @property
    def knowledge_rules(self) -> Sequence[Mapping[str, str]]:
        """Who has which record: field → SQL expression, with an optional `when`."""
        ...


@runtime_checkable
class TakesEvents(Protocol):
    """Takes events that tell a fact, and those of a route `to: <target>.event`.

    `role_attribute`: the attribute whose change is the fact `role_changed`.
    """

    role_attribute: ClassVar[str]

    @property
    def facts(self) -> Mapping[str, str]:
        """Event name by fact (`created`, `left`, `role_changed`); a fact without a name is not sent."""
        ...


@runtime_checkable
class TagsFromEvents(Protocol):
    """Takes tags of a route `to: <target>.tag`. `tag_attribute`: the set that they are added to."""

    tag_attribute: ClassVar[str]

    def tag(self, name: str) -> str:
        """A tag as the vendor spells it.

        Raises:
            InvalidValueError: the vendor would not take it.
        """
        ...


@runtime_checkable
class ReportsEvents(Protocol):
    """Publishes webhooks."""

    def event(self, body: Mapping[str, Any]) -> InboundEvent:
        """Read a webhook. Its digest is the same for each delivery of one event.

        Raises:
            InvalidEventError: it is none.
        """
        ...


@runtime_checkable
class ReportsSeveral(Protocol):
    """Publishes webhooks of which one delivery may hold several events."""

    def single_events(self, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """A body for each event of a delivery, as if it had come alone; `ReportsEvents.event` reads each."""
        ...


@runtime_checkable
class ReadsBack(Protocol):
    """Shows more of accounts than their attributes, such as enrolments or memberships."""

    async def read_back(self, http: Http, accounts: Sequence[str], mark: str | None, moment: float) -> ReadBack:
        """Read what is known of accounts.

        Args:
            accounts: the linked ones, sorted.
            mark: where the last reading ended; None at first.
            moment: now, in epoch seconds.

        Raises:
            TargetError: it cannot be read.
        """
        ...


@runtime_checkable
class ReadsBackOf(Protocol):
    """Shows all of that of single accounts, for those that were adopted after the last reading."""

    async def read_back_of(self, http: Http, accounts: Sequence[str]) -> Mapping[str, Sequence[Fact]]:
        """Read all that is known of some accounts, however old.

        Raises:
            TargetError: it cannot be read.
        """
        ...


@runtime_checkable
class SharesBudget(Protocol):
    """Counts requests by source address, so that all targets of the kind share one budget."""

    shared_by_address: ClassVar[bool]


@runtime_checkable
class CountsListing(Protocol):
    """Knows how many requests a listing takes, so that `check` can say how long a run takes."""

    def listing_requests(self, accounts: int, unread: int) -> int:
        """The requests of one full listing, at least.

        Args:
            accounts: how many there are.
            unread: how many of them no listing has shown before.
        """
        ...


@runtime_checkable
class PublishesRate(Protocol):
    """States its limit, which is kept as configured and not felt out.

    `least_block`: seconds for which a 429 without Retry-After stops everyone.
    """

    least_block: ClassVar[float]


@runtime_checkable
class RenewsToken(Protocol):
    """May have credentials that end, such as the access tokens of OAuth."""

    @property
    def tokens(self) -> Tokens | None:
        """What gives each request its credentials; None where `Target.headers` do."""
        ...


#: All of them; a test compares this with what the rest of the program asks for.
CAPABILITIES: tuple[type, ...] = (
    LooksUp,
    ChecksNames,
    WantsPrevious,
    Incremental,
    CarriesObserved,
    Deactivates,
    SchedulesEnd,
    Confirms,
    Enrols,
    BundlesEnrolments,
    TakesKnowledge,
    TakesEvents,
    TagsFromEvents,
    ReportsEvents,
    ReportsSeveral,
    ReadsBack,
    ReadsBackOf,
    SharesBudget,
    CountsListing,
    PublishesRate,
    RenewsToken,
)


def tokens_of(target: Target[Any]) -> Tokens | None:
    """What gives the requests of a target their credentials, None where its headers hold them."""
    return target.tokens if isinstance(target, RenewsToken) else None


def inbound_actions(target: Target[Any]) -> tuple[str, ...]:
    """What a route of `events` may bring about in a target: ``event``, ``tag``, ``enrolment``."""
    offered = {
        "event": isinstance(target, TakesEvents),
        "tag": isinstance(target, TagsFromEvents),
        "enrolment": isinstance(target, Enrols),
    }
    return tuple(verb for verb, offers in offered.items() if offers)


def tag_attribute(target: Target[Any]) -> str | None:
    """The set that tags of events are added to, None where a target takes none."""
    return target.tag_attribute if isinstance(target, TagsFromEvents) else None


def single_events(target: Target[Any], body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The events of one delivery, each a body of its own."""
    return target.single_events(body) if isinstance(target, ReportsSeveral) else (body,)


def read_event(target: Target[Any], body: Mapping[str, Any]) -> InboundEvent:
    """Read a webhook of a target; where its kind publishes none, only the event's name is known.

    Raises:
        InvalidEventError: it is none.
    """
    return target.event(body) if isinstance(target, ReportsEvents) else any_event(target.name, body)
