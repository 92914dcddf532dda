"""What every target is: a catalogue of attributes and two verbs, observe and apply.

Everything common (plan, order, safety, pace, retries) lives elsewhere; a target's module holds the vendor's
spelling and nothing more. It never decides whether something should be done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from provisioner.errors import ConfigurationError
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute
from provisioner.model.event import Fact, InboundEvent, any_event
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Outcome
from provisioner.settings import TargetSettings
from provisioner.settings.nearest import nearest
from provisioner.targets.http import Http

S = TypeVar("S", bound=TargetSettings)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a target showed of itself.

    `accounts` holds every account when `complete`; only the asked ones otherwise. `unlistable` is set where the
    vendor cannot list (the ledger then stands in) and says so in a sentence. `as_of` is the vendor's own time when
    reading began (epoch seconds), where an answer told it.
    """

    accounts: Sequence[Account]
    complete: bool = True
    unlistable: str | None = None
    notes: tuple[str, ...] = ()
    as_of: float | None = None


@dataclass(frozen=True, slots=True)
class Recent:
    """What a target showed of what changed since a moment.

    `accounts` are those that were made or changed, `total` how many accounts there are in all (so that one that is
    gone is noticed), `as_of` as in `Listing`.
    """

    accounts: Sequence[Account]
    total: int
    as_of: float | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """Facts by account, and where the next reading begins (None: at the beginning)."""

    facts: Mapping[str, Sequence[Fact]]
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One person whose account is sought: by the linked `account`, else by the desired `match` values in order."""

    person: str
    account: str | None
    match: Mapping[str, str | None] = field(default_factory=dict)


class Target(ABC, Generic[S]):
    """One configured instance of a vendor product.

    Class attributes declare what the kind can do:

    `kind`: its name in settings. `settings_model`: its settings. `catalogue`: attributes by name. `carried`: observed
    attributes that `apply` needs to have in `Operation.observed`. `activity`: the boolean attribute that is false for
    a deactivated account, None where the vendor has no such thing. `hurts_twice`: kinds of operation whose repetition
    does harm, so that an unclear one is looked up by `settle` before it is sent again. `finds_by`: attributes by
    which `find` can look up one account without a full listing. `remembers`: `observe` and `find` want the accounts
    as last observed. `deltas`: between full listings `observe_recent` reads only what changed. `rides`: how many
    enrolments travel in the request of their person's own account operation (`Operation.carries`). `knowledge`:
    the fields of an external knowledge record, where the vendor takes such. `shared_by_address`: the vendor counts
    requests by source address, so all targets of the kind share one budget. `published_rate`: the vendor states its
    limit, so it is kept as configured instead of being felt out. `ends_attribute`: where the day after a person's last
    day is written ahead of time. `lists_only`: no account can be looked up by itself. `routed`: what a route of
    `events` may bring about there: ``event``, ``tag`` or ``enrolment``, None for nothing. `tagged`: the set that a
    ``tag`` adds to.
    """

    kind: ClassVar[str]
    settings_model: ClassVar[type[TargetSettings]]
    catalogue: ClassVar[Mapping[str, Attribute]]
    carried: ClassVar[tuple[str, ...]] = ()
    activity: ClassVar[str | None] = None
    hurts_twice: ClassVar[frozenset[Kind]] = frozenset()
    finds_by: ClassVar[frozenset[str]] = frozenset()
    shared_by_address: ClassVar[bool] = False
    lists_only: ClassVar[bool] = False
    remembers: ClassVar[bool] = False
    deltas: ClassVar[bool] = False
    rides: ClassVar[int] = 0
    knowledge: ClassVar[Mapping[str, Attribute]] = {}
    published_rate: ClassVar[bool] = False
    ends_attribute: ClassVar[str | None] = None
    routed: ClassVar[str | None] = None
    tagged: ClassVar[str | None] = None

    def __init__(self, name: str, settings: S) -> None:
        self.name = name
        self.settings = settings

    def attribute(self, name: str) -> Attribute:
        """The attribute of that name; kinds with open families (``X-…``) override this.

        Raises:
            ConfigurationError: the kind has no such attribute.
        """
        try:
            return self.catalogue[name]
        except KeyError:
            raise ConfigurationError(
                f"targets.{self.name}.attributes.{name}: {self.kind} has no such attribute"
                f"{nearest(name, self.catalogue)}."
            ) from None

    @property
    def facts(self) -> Mapping[str, str]:
        """Event name by fact (`created`, `left`, `role_changed`); empty where the vendor takes no events."""
        return {}

    @property
    def origin(self) -> str:
        """The base of every request's address."""
        return self.settings.base_url

    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """Headers of every request, credentials included."""

    @abstractmethod
    async def observe(self, http: Http, known: Mapping[str, Account]) -> Listing:
        """List every account, or raise.

        Args:
            http: paced, read-only or not, as the caller needs it.
            known: accounts by id as last observed, for vendors whose listing lacks what a slow detail call shows.

        Raises:
            ListingError: the listing changed under our eyes or contradicts itself.
            TargetError: any other failure.
        """

    async def observe_recent(self, http: Http, since: float) -> Recent:
        """Read what changed after a moment; only kinds with `deltas` are asked.

        Args:
            since: epoch seconds by the vendor's clock as far as it is known, an overlap taken off already.

        Raises:
            TargetError: as `observe`.
        """
        raise NotImplementedError

    async def already(self, http: Http, operations: Sequence[Operation]) -> frozenset[str]:  # noqa: ARG002 - likewise
        """The ids of those enrolments that the vendor shows already, so that they are not asked for again.

        Raises:
            TargetError: they could not be read.
        """
        return frozenset()

    @abstractmethod
    async def find(self, http: Http, asks: Sequence[Ask], known: Mapping[str, Account]) -> Listing | None:
        """Look up only the asked people's accounts; None where only a full listing can answer."""

    @abstractmethod
    def group(self, operation: Operation) -> str:
        """Operations of the same group may share a request; leavers always have one of their own.

        What follows a `#` keeps operations of one size apart; `batch_size` is asked for what stands before it.
        """

    @abstractmethod
    def batch_size(self, group: str) -> int:
        """How many operations of a group one request takes."""

    @abstractmethod
    async def apply(self, http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Send operations of one group, and say of each in its place what became of it. Never raises TargetError."""

    async def settle(self, http: Http, operation: Operation) -> Outcome | None:  # noqa: ARG002 - for those that can
        """Look whether an unclear operation took effect: its outcome, or None if it did not and may be sent.

        Raises:
            TargetError: the look-up itself failed.
        """
        return None

    def event(self, body: Mapping[str, Any]) -> InboundEvent:
        """Read a webhook of this target; kinds whose vendor publishes any override this.

        Raises:
            InvalidEventError: it is none.
        """
        return any_event(self.name, body)

    def tag(self, name: str) -> str:
        """A tag that an event brings, as this vendor spells it.

        Raises:
            InvalidValueError: the vendor would not take it.
        """
        return name

    async def read_back(
        self,
        http: Http,  # noqa: ARG002 - for those that can
        accounts: Sequence[str],  # noqa: ARG002
        mark: str | None,  # noqa: ARG002
        moment: float,  # noqa: ARG002
    ) -> Told | None:
        """Read what is known of accounts beside their attributes; None where the vendor shows no such thing.

        Args:
            accounts: the linked ones, sorted.
            mark: where the last reading ended; None at first.
            moment: now, in epoch seconds.

        Raises:
            TargetError: it cannot be read.
        """
        return None

    async def probe(self, http: Http) -> tuple[str, ...]:
        """One harmless read that proves address and credentials; sentences for the operator.

        Raises:
            TargetError: what is wrong.
        """
        raise NotImplementedError

    def check(self) -> None:
        """Check the settings against what the vendor offers.

        Raises:
            ConfigurationError: an attribute is unknown, read-only with another authority than `target`, or one
                that every create needs is not mapped.
        """
        for name, rule in self.settings.attributes.items():
            attribute = self.attribute(name)
            if attribute.read_only and rule.authority != "target":
                raise ConfigurationError(
                    f"targets.{self.name}.attributes.{name}: {self.kind} lets nobody write this attribute.",
                    remedy="Give it `authority: target`, or remove it.",
                )
        for name in self.settings.leaver:
            self.attribute(name)
        for name, attribute in self.catalogue.items():
            if attribute.required and name not in self.settings.attributes:
                raise ConfigurationError(
                    f"targets.{self.name}.attributes: {name!r} is missing; {self.kind} cannot create an account "
                    "without it."
                )
