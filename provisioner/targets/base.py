"""What every target is: a catalogue of attributes and two verbs, observe and write.

Everything common (plan, order, safety, pace, retries) lives elsewhere; a target's module holds the vendor's
spelling and nothing more. It never decides whether something should be done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

from provisioner.errors import ConfigurationError
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, Type
from provisioner.model.operation import Operation
from provisioner.model.outcome import Outcome
from provisioner.settings import TargetSettings
from provisioner.settings.nearest import nearest
from provisioner.targets.http import Http

S = TypeVar("S", bound=TargetSettings)


@dataclass(frozen=True, slots=True)
class Listing:
    """The accounts that a target showed.

    `accounts` holds every account when `complete`; only the asked ones otherwise. `unlistable` is set where the
    vendor cannot list (the ledger then replaces the listing) and says so in a sentence. `as_of` is the vendor's own
    time when reading began (epoch seconds), where an answer gave it. `doubt` is a sentence: why there may be more
    accounts than were shown: then nothing is sent but leaves of accounts that were seen. `unread` are ids of accounts
    that are there, whose identity could not be read: while nobody knows whose they are, nobody is created.
    `deleted` are ids of accounts that were deleted and may still be in the way.
    """

    accounts: Sequence[Account]
    complete: bool = True
    unlistable: str | None = None
    notes: tuple[str, ...] = ()
    as_of: float | None = None
    doubt: str | None = None
    unread: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ask:
    """One person whose account is sought: by the linked `account`, else by the desired `match` values in order."""

    person: str
    account: str | None
    match: Mapping[str, str | None] = field(default_factory=dict)


class Target(ABC, Generic[S]):
    """One configured instance of a vendor product.

    `kind`: its name in settings. `settings_model`: its settings. `catalogue`: attributes by name. `advice`: what to do
    about the codes of its own outcomes, where `responses.ADVICE` does not say it. The protocols of
    `provisioner.targets.capabilities` among the bases of its class declare what a kind offers besides.
    """

    kind: ClassVar[str]
    settings_model: ClassVar[type[TargetSettings]]
    catalogue: ClassVar[Mapping[str, Attribute]]
    advice: ClassVar[Mapping[str, str]] = {}

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

    def takes_type(self, name: str) -> bool:  # noqa: ARG002 - kinds with open families override it
        """Whether the settings may say of which type an attribute is."""
        return False

    def declared_type(self, name: str) -> Type | None:
        """The type that the settings give an attribute, None if they give none."""
        rules = (section.get(name) for section in (self.settings.attributes, self.settings.leaver))
        return next((Type(rule.type) for rule in rules if rule is not None and rule.type), None)

    def _check_types(self) -> None:
        for part in ("attributes", "leaver"):
            for name, rule in getattr(self.settings, part).items():
                where = f"targets.{self.name}.{part}.{name}.type"
                if rule.type and not self.takes_type(name):
                    raise ConfigurationError(
                        f"{where}: {self.kind} says itself of which type this attribute is.", remedy="Remove it."
                    )
                if rule.set == "merge" and self.attribute(name).type is not Type.SET:
                    raise ConfigurationError(
                        f"targets.{self.name}.{part}.{name}.set: this attribute is no set.", remedy="Remove it."
                    )
                if rule.type and Type(rule.type) is not self.declared_type(name):
                    raise ConfigurationError(f"{where}: `attributes` gives it another type.", remedy="Remove one.")

    def _check_choices(self) -> None:
        """Check that what is chosen by `first_free` can be chosen: the target takes it at create, and shows whose it
        is.

        Raises:
            ConfigurationError: it cannot.
        """
        for name, rule in (*self.settings.attributes.items(), *self.settings.leaver.items()):
            if not rule.first_free:
                continue
            part = "attributes" if self.settings.attributes.get(name) is rule else "leaver"
            where = f"targets.{self.name}.{part}.{name}.first_free"
            attribute = self.attribute(name)
            if part == "leaver":
                raise ConfigurationError(f"{where}: a value is chosen at create only.", remedy="Remove it.")
            if not attribute.on_create or attribute.type not in (Type.TEXT, Type.FOLDED, Type.EMAIL):
                why = "is not set at create" if not attribute.on_create else "holds no text"
                raise ConfigurationError(f"{where}: this attribute {why}.", remedy="Give it `from`.")
            if not attribute.observed or attribute.detail:
                raise ConfigurationError(
                    f"{where}: no listing of {self.kind} shows this attribute, so nobody knows which values are free.",
                    remedy="Give it `from` with an expression that is unique, such as one over the key.",
                )
            if name in self.settings.match:
                raise ConfigurationError(
                    f"targets.{self.name}.match names {name!r}, which is chosen by first_free: it does not "
                    "say whose an account is.",
                    remedy="Match by another attribute, such as email.",
                )

    @property
    def origin(self) -> str:
        """The base of every request's address."""
        return self.settings.base_url

    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """Headers of every request, credentials included; a `Content-Type` among them takes the place of JSON's."""

    @abstractmethod
    async def observe(self, http: Http, known: Mapping[str, Account]) -> Listing:
        """List every account, or raise.

        Args:
            http: paced, read-only or not, as the caller needs it.
            known: accounts by id as last observed, if the kind declares `WantsPrevious`; else empty.

        Raises:
            ListingError: the listing changed under our eyes or contradicts itself.
            TargetError: any other failure.
        """

    @abstractmethod
    def group(self, operation: Operation) -> str:
        """Operations of the same group may share a request; leavers always have one of their own.

        What follows a `#` keeps operations of one size apart; `batch_size` is asked for what comes before it.
        """

    @abstractmethod
    def batch_size(self, group: str) -> int:
        """How many operations of a group one request takes."""

    @abstractmethod
    async def write(self, http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Send operations of one group, and say of each in its place what became of it. Never raises TargetError."""

    @abstractmethod
    async def probe(self, http: Http) -> tuple[str, ...]:
        """One harmless read that proves address and credentials; sentences for the operator.

        Raises:
            TargetError: what is wrong.
        """

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
        self._check_types()
        self._check_choices()
        for name, attribute in self.catalogue.items():
            if attribute.required and name not in self.settings.attributes:
                raise ConfigurationError(
                    f"targets.{self.name}.attributes: {name!r} is missing; {self.kind} cannot create an account "
                    "without it."
                )
