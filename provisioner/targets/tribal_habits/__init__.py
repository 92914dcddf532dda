"""Tribal Habits, learning platform, Public API V1 (kind ``tribal_habits``).

`attributes` says what a user consists of, `pages` reads lists, `batch` spells `batch_save`, `saving` sends it and
`confirming` looks whether it took effect; `catalogue`, `enrolments` and `knowledge` are about what people learn,
`events` and `assignments` about what comes back of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from provisioner.errors import (
    ConfigurationError,
    MalformedAnswerError,
)
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, InvalidValueError, Type
from provisioner.model.event import Fact, InboundEvent
from provisioner.model.operation import AccountChange, Enrolment, Kind, KnowledgeRecord, Operation
from provisioner.model.outcome import Outcome, Permanent
from provisioner.settings import EnrolmentRule, TargetSettings
from provisioner.settings.nearest import nearest
from provisioner.targets.base import Ask, Listing, Target
from provisioner.targets.capabilities import (
    BundlesEnrolments,
    ChecksNames,
    Confirms,
    CountsListing,
    Deactivates,
    Enrols,
    Incremental,
    LooksUp,
    PublishesRate,
    ReadBack,
    ReadsBack,
    ReadsBackOf,
    Recent,
    ReportsEvents,
    SchedulesEnd,
    SharesBudget,
    TakesKnowledge,
)
from provisioner.targets.concurrently import each
from provisioner.targets.http import Http
from provisioner.targets.paths import at
from provisioner.targets.tribal_habits import assignments, enrolments, events, knowledge, pages, saving
from provisioner.targets.tribal_habits.advice import ADVICE
from provisioner.targets.tribal_habits.attributes import CATALOGUE, NEVER_EMPTY, is_custom, read
from provisioner.targets.tribal_habits.catalogue import Catalogue
from provisioner.targets.tribal_habits.confirming import Portal
from provisioner.targets.tribal_habits.knowledge import KEY as KNOWLEDGE_KEY
from provisioner.targets.tribal_habits.settings import TribalHabitsSettings

_USERS = "/papi/users"
_LEAVE = "leave"
_SAVE = "save"


class TribalHabits(
    Target[TribalHabitsSettings],
    LooksUp,
    ChecksNames,
    Incremental,
    Deactivates,
    SchedulesEnd,
    Confirms,
    Enrols,
    BundlesEnrolments,
    TakesKnowledge,
    ReportsEvents,
    ReadsBack,
    ReadsBackOf,
    SharesBudget,
    CountsListing,
    PublishesRate,
):
    """One portal."""

    kind: ClassVar[str] = "tribal_habits"
    settings_model: ClassVar[type[TargetSettings]] = TribalHabitsSettings
    catalogue: ClassVar[Mapping[str, Attribute]] = CATALOGUE
    advice: ClassVar[Mapping[str, str]] = ADVICE
    activity: ClassVar[str] = "active"
    #: All but `enrol` only with ``invitations: all``, where a repeated row mails the person again; see `confirm`.
    hurts_twice: ClassVar[frozenset[Kind]] = frozenset({Kind.CREATE, Kind.UPDATE, Kind.ROLE, Kind.REJOIN, Kind.ENROL})
    bundled_enrolments: ClassVar[int] = enrolments.AT_ONCE
    knowledge: ClassVar[Mapping[str, Attribute]] = knowledge.FIELDS
    knowledge_key: ClassVar[tuple[str, ...]] = KNOWLEDGE_KEY
    shared_by_address: ClassVar[bool] = True
    #: "blocked for one minute"
    least_block: ClassVar[float] = 60.0
    ends_attribute: ClassVar[str] = "deactivate_scheduled_date"

    def __init__(self, name: str, settings: TribalHabitsSettings) -> None:
        super().__init__(name, settings)
        self._catalogue = Catalogue()
        mapped = {name: self.declared_type(name) for name in (*settings.attributes, *settings.leaver)}
        self._types = {name: type_ for name, type_ in mapped.items() if type_ is not None}

    def attribute(self, name: str) -> Attribute:
        """The attribute of that name; ``X-…`` are the organisation's own fields, of the declared type if there is one.

        Raises:
            ConfigurationError: there is no such attribute.
        """
        if not is_custom(name):
            return super().attribute(name)
        return Attribute(name, self.declared_type(name) or Type.VALUE)

    def takes_type(self, name: str) -> bool:
        """The organisation's own fields."""
        return is_custom(name)

    def headers(self) -> Mapping[str, str]:
        """The key is alone in its header, with no scheme word."""
        key = self.settings.api_key
        return {"Authorization": key.get_secret_value() if key else ""}

    def check(self) -> None:
        """Check the settings against what the vendor offers.

        Raises:
            ConfigurationError: see `Target.check`; besides, a rule empties what cannot be emptied, or a leaver's
                attribute is one that no update takes.
        """
        super().check()
        for part, rules in (("attributes", self.settings.attributes), ("leaver", self.settings.leaver)):
            for name, rule in rules.items():
                if rule.empty == "clear" and name in NEVER_EMPTY:
                    raise ConfigurationError(
                        f"targets.{self.name}.{part}.{name}: Tribal Habits offers no way to empty it.",
                        remedy="Remove `empty: clear`, or map a value for every person.",
                    )
        for name in self.settings.leaver:
            if not self.attribute(name).on_update:
                raise ConfigurationError(
                    f"targets.{self.name}.leaver.{name}: no update takes this attribute.", remedy="Remove it."
                )
        for index, entry in enumerate(self.settings.external_knowledge):
            self._check_knowledge(f"targets.{self.name}.external_knowledge[{index}]", entry)

    def _check_knowledge(self, where: str, entry: Mapping[str, str]) -> None:
        for name in entry:
            if name not in self.knowledge and name != "when":
                raise ConfigurationError(
                    f"{where}.{name}: Tribal Habits takes no such field{nearest(name, self.knowledge)}."
                )
        for name, field in self.knowledge.items():
            if field.required and name not in entry:
                raise ConfigurationError(f"{where}: {name} is missing; Tribal Habits takes no record without it.")

    def listing_requests(self, accounts: int, unread: int) -> int:  # noqa: ARG002 (a page shows all)
        """The pages of the listing."""
        return max(1, math.ceil(accounts / self.settings.page_size))

    async def observe(self, http: Http, known: Mapping[str, Account]) -> Listing:  # noqa: ARG002 (a page shows all)
        """List every user, deactivated ones included.

        Raises:
            ListingError, TargetError: see `Target.observe`.
        """
        whole = await pages.read_whole(http, _USERS, self._account, size=self.settings.page_size, key="user_name")
        return Listing(whole.records, as_of=whole.as_of)

    async def observe_recent(self, http: Http, since: float) -> Recent:
        """Read the users changed after a moment, and how many there are in all.

        Raises:
            ListingError, TargetError: see `Target.observe`.
        """
        filters = {"updated_at": pages.moment(since)}
        size = self.settings.page_size
        whole = await pages.read_whole(http, _USERS, self._account, filters, size=size, key="user_name")
        # After the changes, so that whoever is made between the two readings is missed by the sum and not for good
        first = pages.page(self.name, await http.read(_USERS, {"max_per_page": 1}))
        return Recent(whole.records, first.total_records, whole.as_of)

    def event(self, body: Mapping[str, Any]) -> InboundEvent:
        """A webhook of the portal: enrolments."""
        return events.event(self.name, body)

    async def read_back(self, http: Http, accounts: Sequence[str], mark: str | None, moment: float) -> ReadBack:
        """Read the enrolments that changed since the last reading, of topics and of pathways."""
        return await assignments.changed(http, accounts, mark, moment, size=self.settings.page_size)

    async def read_back_of(self, http: Http, accounts: Sequence[str]) -> Mapping[str, Sequence[Fact]]:
        """Read all enrolments of some accounts.

        Raises:
            TargetError: they could not be read.
        """
        return await assignments.of_accounts(http, accounts)

    @property
    def _needed(self) -> frozenset[str]:
        """The attributes that anything follows from; what is in another one stops nobody."""
        return frozenset({*self.settings.attributes, *self.settings.leaver, *self.settings.match, "user_name"})

    def _account(self, record: object) -> Account:
        if not isinstance(record, Mapping):
            raise MalformedAnswerError(self.name, "a user is no JSON object.")
        user_name = record.get("user_name")
        if not isinstance(user_name, (str, int)) or isinstance(user_name, bool) or not str(user_name).strip():
            raise MalformedAnswerError(self.name, "a user has no user_name.")
        try:
            return Account(str(user_name), read(record, self._types, self._needed))
        except InvalidValueError as exc:
            raise MalformedAnswerError(self.name, f"a user's {exc}.") from None

    async def find(self, http: Http, asks: Sequence[Ask], known: Mapping[str, Account]) -> Listing | None:  # noqa: ARG002 - the protocol's name
        """Look up the asked people by their account or `user_name`; no other attribute can be looked up.

        Raises:
            TargetError: a look-up failed.
        """
        found = await each(asks, lambda ask: self._find_one(http, ask), limit=pages.AT_ONCE)
        accounts: dict[str, Account] = {}
        for answer in found:
            if answer is None:
                return None
            accounts |= {account.id: account for account in answer}
        return Listing(list(accounts.values()), complete=False)

    async def _find_one(self, http: Http, ask: Ask) -> Sequence[Account] | None:
        """The person's account if any; None where only a listing could tell."""
        tried: set[str] = set()
        for name, value in (("user_name", ask.account), *ask.match.items()):
            if not value or value in tried:
                continue
            if name != "user_name":
                return None
            tried.add(value)
            account = await self._read(http, value)
            if account is not None:
                return [account]
        return []

    async def _read(self, http: Http, user_name: str) -> Account | None:
        answer = await http.read(at(f"{_USERS}/{{}}", user_name), accept=(404, 406))
        if answer.status != 200:
            # What follows a dot may be taken for a format, so that nobody is found by such a path
            return await self._listed(http, user_name) if "." in user_name else None
        account = self._account(answer.json)
        if account.id.lower() != user_name.lower():
            raise MalformedAnswerError(self.name, "another user was answered than the one asked for.")
        return account

    async def _listed(self, http: Http, user_name: str) -> Account | None:
        whole = await pages.read_whole(http, _USERS, self._account, size=self.settings.page_size, key="user_name")
        return next((account for account in whole.records if account.id.lower() == user_name.lower()), None)

    def group(self, operation: Operation) -> str:
        """Leavers, one person's enrolments, each record of external knowledge, and all the rest."""
        if operation.kind is Kind.LEAVE:
            return _LEAVE
        if isinstance(operation, KnowledgeRecord):
            return f"{operation.slot}:{operation.person}"
        return f"enrol:{operation.person}" if isinstance(operation, Enrolment) else _SAVE

    def batch_size(self, group: str) -> int:
        """As configured; five codes at once for enrolments."""
        return self.settings.batch_size if group in (_LEAVE, _SAVE) else enrolments.AT_ONCE

    async def write(self, http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Send one `batch_save`, one person's enrolments, or one record of external knowledge."""

        async def exists(user_name: str) -> bool:
            return await self._read(http, user_name) is not None

        if isinstance(operations[0], KnowledgeRecord):
            return [await knowledge.write(http, operation) for operation in operations]
        if isinstance(operations[0], Enrolment):
            return await enrolments.write(http, operations)
        changes = [operation for operation in operations if isinstance(operation, AccountChange)]
        if len(changes) < len(operations):
            return [Permanent("unsupported", "Tribal Habits takes no events")] * len(operations)

        return await saving.save(
            http,
            changes,
            invitations=self.settings.invitations,
            exists=exists,
            shown=self._portal(http).as_wanted,
            types=self._types,
        )

    async def confirm(self, http: Http, operation: Operation) -> Outcome | None:
        """Look whether an unclear operation took effect, and if in part, bring it to its end.

        Only an enrolment, one that travels in a row, external knowledge, and a row that mails an invitation each time
        (``invitations: all``) hurt twice; of any other None is answered without asking, since `batch_save` may be
        sent again.

        Raises:
            TargetError: the look-up failed.
        """
        if isinstance(operation, KnowledgeRecord):
            return await knowledge.confirm(http, operation)
        if isinstance(operation, Enrolment):
            return await enrolments.confirm(http, self._catalogue, operation)
        if not isinstance(operation, AccountChange):
            return None
        if operation.kind is Kind.LEAVE or (self.settings.invitations != "all" and not operation.carries):
            return None
        found = await self._portal(http).took_effect(operation)
        if not isinstance(found, AccountChange):
            return found
        (outcome,) = await self.write(http, [found])
        return outcome

    def _portal(self, http: Http) -> Portal:
        return Portal(http, partial(self._read, http), self.attribute, self._types, self._catalogue)

    async def probe(self, http: Http) -> tuple[str, ...]:
        """Read one user.

        Raises:
            TargetError: what is wrong.
        """
        first = pages.page(self.name, await http.read(_USERS, {"max_per_page": 1}))
        return (f"{first.total_records} users can be read.",)

    async def unknown_names(self, http: Http) -> Sequence[str]:
        """The custom fields and enrolment codes of the settings that the portal does not have.

        Raises:
            TargetError: they could not be read.
        """
        first = pages.page(self.name, await http.read(_USERS, {"max_per_page": 1}))
        found: list[str] = []
        if first.records:
            mapped = {*self.settings.attributes, *self.settings.leaver}
            found += [
                f"The portal shows no custom field {name}; make it there, or remove it from the mapping."
                for name in sorted(mapped)
                if is_custom(name) and name not in first.records[0]
            ]
        codes = [rule.code for rule in self.settings.enrolments]
        return (*found, *await self._catalogue.unknown(http, codes))

    @property
    def enrolment_rules(self) -> Sequence[EnrolmentRule]:
        """Those of the settings."""
        return self.settings.enrolments

    @property
    def knowledge_rules(self) -> Sequence[Mapping[str, str]]:
        """Those of the settings."""
        return self.settings.external_knowledge

    async def existing_enrolments(self, http: Http, operations: Sequence[Operation]) -> frozenset[str]:
        """The enrolments that the portal shows already.

        Raises:
            TargetError: they could not be read.
        """
        return await enrolments.existing(http, self._catalogue, operations)
