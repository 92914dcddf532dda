"""Traitly, customer analytics: customers, events, recommended next actions.

The vendor's "API Reference" publishes POST for customers only, and says that the API creates, retrieves *and
updates*: a POST with a known `customer_id` is taken as the update. Nothing says that such a POST keeps
what it leaves out, so every update sends back all that was observed, `created_at` first of all, which would otherwise
become the moment of the update. For the same reason a create asks first whether the customer is there: a listing
that was cut must overwrite nobody. No error, limit or paging is published; see docs/targets/traitly.md.

`attributes` says what a customer consists of, `reading` reads lists, `writing` sends, `events` reads webhooks.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from provisioner.errors import ConfigurationError, TargetError
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, InvalidValueError, Type, canonical
from provisioner.model.event import Fact, InboundEvent
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome
from provisioner.targets.base import Ask, Listing, Target
from provisioner.targets.capabilities import (
    CarriesObserved,
    Confirms,
    CountsListing,
    LooksUp,
    ReadBack,
    ReadsBack,
    ReportsEvents,
    TakesEvents,
)
from provisioner.targets.http import Http
from provisioner.targets.responses import as_outcome
from provisioner.targets.traitly import events, reading, writing
from provisioner.targets.traitly.attributes import CATALOGUE, CUSTOM, FAMILY, OPTIONAL, REQUIRED, UNQUOTED
from provisioner.targets.traitly.paging import Place, hints
from provisioner.targets.traitly.reading import CUSTOMERS
from provisioner.targets.traitly.settings import TraitlySettings
from provisioner.targets.traitly.writing import EVENTS

NEXT_ACTIONS = ("/api/v1/recommended-next-actions", "/api/v1/recommended-next-action")

#: A customer that nobody has; asking for it proves the token and reads nothing.
_NOBODY = "provisioner-probe-no-such-customer"
#: Customers whose next actions one reading asks for; the next goes on where it ended.
_ASKED_AT_ONCE = 200


class Traitly(
    Target[TraitlySettings],
    LooksUp,
    CarriesObserved,
    Confirms,
    CountsListing,
    TakesEvents,
    ReportsEvents,
    ReadsBack,
):
    """One Traitly account."""

    kind = "traitly"
    settings_model = TraitlySettings
    catalogue: ClassVar[Mapping[str, Attribute]] = CATALOGUE
    carried: ClassVar[tuple[str, ...]] = (*REQUIRED, *OPTIONAL, CUSTOM, UNQUOTED)
    hurts_twice: ClassVar[frozenset[Kind]] = frozenset({Kind.CREATE, Kind.EVENT})
    role_attribute: ClassVar[str] = f"{FAMILY}role"

    def attribute(self, name: str) -> Attribute:
        """As every target's; besides, any `custom_attributes.<name>` is one."""
        if name.startswith(FAMILY) and len(name) > len(FAMILY):
            return Attribute(name, self.declared_type(name) or Type.TEXT)
        return super().attribute(name)

    def takes_type(self, name: str) -> bool:
        """Of custom attributes, which may be anything."""
        return name.startswith(FAMILY)

    def check(self) -> None:
        """As every target's; besides, what a customer cannot be without must not be cleared."""
        super().check()
        for section in ("attributes", "leaver"):
            for name, rule in getattr(self.settings, section).items():
                if rule.empty == "clear" and name in (*REQUIRED, "created_at"):
                    raise ConfigurationError(
                        f"targets.{self.name}.{section}.{name}: Traitly cannot hold a customer without it.",
                        remedy="Remove `empty: clear`.",
                    )

    @property
    def facts(self) -> Mapping[str, str]:
        """The configured event names."""
        return {fact: name for fact, name in self.settings.events if name}

    def headers(self) -> Mapping[str, str]:
        """The token, with the word that the page prints before it."""
        token = self.settings.token.get_secret_value() if self.settings.token else ""
        return {"Authorization": f"Token {token}"}

    def listing_requests(self, accounts: int, unread: int) -> int:  # noqa: ARG002 (a row shows all)
        """One, or the pages of a size that the settings ask for."""
        return max(1, math.ceil(accounts / self.settings.page_size)) if self.settings.paging.size else 1

    async def observe(self, http: Http, known: Mapping[str, Account]) -> Listing:  # noqa: ARG002 - the protocol's name
        """Every customer: one read, or as many as the settings `paging` lead on to.

        Raises:
            ListingError: the way to the next page leads elsewhere, in a circle or has no end.
            TargetError: any other failure.
        """
        found = await self._reader(http).rows(CUSTOMERS, {})
        return await asyncio.to_thread(reading.listing, self.name, found.rows, found.doubt)

    def _reader(self, http: Http) -> reading.Reader:
        return reading.Reader(http, self.origin, self.settings.paging, self.settings.page_size)

    async def find(
        self,
        http: Http,
        asks: Sequence[Ask],
        known: Mapping[str, Account],  # noqa: ARG002 - the protocol's name
    ) -> Listing | None:
        """Look customers up by `customer_id`; None where somebody could also be known by something else."""
        accounts: dict[str, Account] = {}
        doubled: dict[str, None] = {}
        for ask in asks:
            sought = ask.account or ask.match.get("customer_id")
            others = any(value for name, value in ask.match.items() if name != "customer_id")
            if sought is None and others:
                return None
            if sought is None or sought in accounts:
                continue
            found = [
                account
                for row in await self._reader(http).certain(CUSTOMERS, {"customer_id": sought})
                if (account := reading.account(self.name, row)).id == sought
            ]
            if not found and ask.account is None and others:
                return None
            if len(found) > 1:
                doubled[sought] = None
            accounts.update((account.id, account) for account in found[:1])
        return Listing(tuple(accounts.values()), complete=False, notes=reading.notes(doubled))

    def group(self, operation: Operation) -> str:
        """Leavers, other customers, and events; each request takes one anyway."""
        if operation.kind is Kind.EVENT:
            return "event"
        return "leave" if operation.kind is Kind.LEAVE else "save"

    def batch_size(self, group: str) -> int:  # noqa: ARG002 - the protocol's name
        """Always 1: both endpoints take one object."""
        return 1

    async def write(self, http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Send customers or events, each in a request of its own."""
        return [await self._write_one(http, operation) for operation in operations]

    async def _write_one(self, http: Http, operation: Operation) -> Outcome:
        if operation.kind is Kind.EVENT:
            return await writing.send_event(http, operation)
        if operation.kind is Kind.CREATE:
            missing = writing.missing_of(operation)
            if missing is not None:
                return missing
            try:
                there = await self._there(http, operation)
            except TargetError as exc:
                return as_outcome(exc)
            if there is not None:
                return writing.adopted(there, operation, matched="customer_id" in self.settings.match)
        return await writing.save(http, operation, self.attribute)

    async def _there(self, http: Http, operation: Operation) -> Account | None:
        """The customer whom a create would overwrite."""
        sought = writing.address(operation) or ""
        for row in await self._reader(http).certain(CUSTOMERS, {"customer_id": sought}):
            account = reading.account(self.name, row)
            if account.id == sought:
                return account
        return None

    async def confirm(self, http: Http, operation: Operation) -> Outcome | None:
        """Look for an event of that customer, name and `created_at`, which was fixed when the event was planned; or
        for the customer that an unclear create may have made.

        That somebody was created comes about once: such an event is found at whatever moment, for a Redis that was put
        back may have planned the same creation once more, at another.
        """
        if operation.kind is Kind.CREATE:
            there = await self._there(http, operation)
            return None if there is None else writing.made_or_adopted(there, operation, self.settings.match)
        if operation.kind is not Kind.EVENT:
            return None
        wanted = {"customer_id": writing.address(operation), **operation.after}
        query = {name: wanted.get(name) or "" for name in ("customer_id", "name")}
        for row in await self._reader(http).certain(EVENTS, query):
            try:
                moment = canonical(row.get("created_at"), Type.EPOCH)
            except InvalidValueError:
                continue
            at_it = operation.reason == "created" or moment == wanted.get("created_at")
            if at_it and all(str(row.get(name)) == text for name, text in query.items()):
                return Done(account=query["customer_id"], note="found at Traitly, not sent again")
        return None

    async def probe(self, http: Http) -> tuple[str, ...]:
        """Ask for a customer that nobody has."""
        answer = await http.read(CUSTOMERS, {"customer_id": _NOBODY}, accept=(404,))
        if answer.status == 404:
            # Either this is how it says that there is no such customer, or nothing of Traitly is there at all
            answer = await http.read(CUSTOMERS)
        shown = reading.data(self.name, answer, CUSTOMERS)
        said = hints(self.name, self.origin, self.settings.paging, answer, Place(CUSTOMERS, {}, 1, len(shown)))
        warnings = (f"{said.unexplained}.",) if said.unexplained else ()
        return ("Traitly accepts the token and answers.", *warnings)

    async def next_actions(self, http: Http, customer_id: str, goal: str | None = None) -> events.NextActions | None:
        """The recommended next actions of one customer; None where Traitly has none for it (404).

        The page's text names the plural, its example the singular: the plural is asked first.

        Raises:
            TargetError: it cannot be read.
        """
        query = {"customer_id": customer_id, **({"goal_name": goal} if goal else {})}
        for path in NEXT_ACTIONS:
            answer = await http.read(path, query, accept=(404,))
            if answer.status != 404:
                return events.next_actions_of(answer.json, reading.data(self.name, answer, path))
        return None

    def event(self, body: Mapping[str, Any]) -> InboundEvent:
        """A webhook: recommended next actions, or a changed propensity."""
        return events.event(self.name, body)

    async def read_back(self, http: Http, accounts: Sequence[str], mark: str | None, moment: float) -> ReadBack:
        """Ask for the next actions of some customers, each time of others: one request is needed for each.

        Where one cannot be asked for, the next reading goes on behind them, so that they hold up nobody else.
        """
        later = [account for account in accounts if mark is None or account > mark][:_ASKED_AT_ONCE]
        found: dict[str, list[Fact]] = {}
        for account in later:
            try:
                known = await self.next_actions(http, account)
            except TargetError as exc:
                return ReadBack(found, account if account != accounts[-1] else None, exc)
            if known is not None:
                found[account] = [events.actions_fact(known.names, known.goal, moment)]
                if known.likelihood is not None:
                    text = canonical(known.likelihood, Type.NUMBER)
                    found[account].append(events.likelihood_fact(text, known.goal, moment))
        return ReadBack(found, later[-1] if later and later[-1] != accounts[-1] else None)
