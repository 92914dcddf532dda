"""Tribal Habits, learning platform, Public API V1 (kind ``tribal_habits``).

`attributes` says what a user consists of, `pages` reads lists, `batch` spells `batch_save` and `saving` sends it;
`catalogue`, `enrolments` and `knowledge` are about what people learn, `events` about what comes back of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from msgspec import structs

from provisioner.errors import (
    ConfigurationError,
    MalformedAnswerError,
    TargetError,
    UnauthorisedError,
    UnreachableError,
)
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, InvalidValueError, Type, fold
from provisioner.model.event import Fact, InboundEvent
from provisioner.model.operation import AccountChange, Enrolment, Kind, KnowledgeRecord, Operation
from provisioner.model.outcome import Done, Outcome, Permanent
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
from provisioner.targets.tribal_habits import batch, enrolments, events, knowledge, pages, saving
from provisioner.targets.tribal_habits.advice import ADVICE
from provisioner.targets.tribal_habits.attributes import CATALOGUE, NEVER_EMPTY, is_custom, read
from provisioner.targets.tribal_habits.catalogue import Catalogue, What
from provisioner.targets.tribal_habits.knowledge import KEY as KNOWLEDGE_KEY
from provisioner.targets.tribal_habits.settings import TribalHabitsSettings

_USERS = "/papi/users"
_LEAVE = "leave"
_SAVE = "save"
#: Seconds by which two readings of enrolments overlap, since a change may be shown late.
_OVERLAP = 300.0
_ASSIGNED: Final[tuple[What, ...]] = ("topic", "pathway")


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
        """Read the enrolments that changed since the last reading, of topics and of pathways.

        Where a page cannot be read, what the others showed is kept, and all is read again from the same moment on: each
        enrolment is true by itself, however many more there are.
        """
        by_folded = {account.lower(): account for account in accounts}
        filters = {"updated_at": mark} if mark else None
        # A list that is read again shows each of them again
        seen: dict[tuple[What, Any], tuple[str, Fact]] = {}
        began, failed = moment, None
        for what in _ASSIGNED:

            def take(record: Mapping[str, Any], what: What = what) -> None:
                assigned = events.assignment(record, what)
                if assigned and (account := by_folded.get(assigned[0].lower())):
                    seen[what, record.get("id")] = account, assigned[1].fact()

            path = f"/papi/{what}_assignments"
            try:
                whole = await pages.read_whole(http, path, take, filters, size=self.settings.page_size, key="id")
                began = min(began, whole.as_of or moment)
            except TargetError as exc:
                failed = exc
                if isinstance(exc, UnauthorisedError | UnreachableError):
                    break
        found: dict[str, list[Fact]] = {}
        for account, fact in seen.values():
            found.setdefault(account, []).append(fact)
        return ReadBack(found, mark if failed else pages.moment(began - _OVERLAP), failed)

    async def read_back_of(self, http: Http, accounts: Sequence[str]) -> Mapping[str, Sequence[Fact]]:
        """Read all enrolments of some accounts.

        Raises:
            TargetError: they could not be read.
        """
        found: dict[str, list[Fact]] = {}
        for what in ("topic", "pathway"):
            path = f"/papi/{what}_assignments/user/{{}}"
            for account in accounts:
                for record in await pages.read_all(http, at(path, account), accept=(404,)):
                    assigned = events.assignment(record, what)
                    if assigned:
                        found.setdefault(account, []).append(assigned[1].fact())
        return found

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

        async def shown(operation: AccountChange) -> Outcome | None:
            return await self._as_wanted(http, operation)

        return await saving.save(
            http,
            changes,
            invitations=self.settings.invitations,
            exists=exists,
            shown=shown,
            types=self._types,
        )

    async def _as_wanted(self, http: Http, operation: AccountChange) -> Outcome | None:
        """Done, if the account shows what the operation's row brought; None if it does not, or cannot tell.

        Enrolments of which none is there are then sent by themselves.
        """
        row = batch.row(structs.replace(operation, carries=()), self._types)
        if isinstance(row, Permanent):
            return None
        account = await self._read(http, str(row["user_name"]))
        if account is None:
            leaving = operation.kind is Kind.LEAVE
            return Done(account=operation.account, note="the account no longer existed") if leaving else None
        if not self._holds(account, operation, row):
            return None
        missing = await self._missing(http, account, operation)
        if missing and len(missing) < len(operation.carries):
            return None
        return replace(self._found_done(account, operation), carried=not missing)

    async def _missing(self, http: Http, account: Account, operation: Operation) -> list[Mapping[str, str | None]]:
        """The enrolments that travel with an operation and that the portal does not show."""
        codes = [one["enrolment_code"] or "" for one in operation.carries]
        records = [await enrolments.enrolment(http, self._catalogue, account.id, code) for code in codes]
        return [one for one, record in zip(operation.carries, records, strict=True) if record is None]

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
        row = batch.row(structs.replace(operation, carries=()), self._types)
        harmless = self.settings.invitations != "all" and not operation.carries
        if harmless or operation.kind is Kind.LEAVE or isinstance(row, Permanent):
            return None
        account = await self._read(http, str(row["user_name"]))
        if account is None:
            return None
        same = self._holds(account, operation, row)
        if not operation.carries:
            return self._found_done(account, operation) if same else None
        missing = await self._missing(http, account, operation)
        if len(missing) == len(operation.carries):
            return None
        if same and not missing:
            return self._found_done(account, operation)
        # The row may be sent twice, an enrolment that is there may not
        (outcome,) = await self.write(http, [structs.replace(operation, carries=tuple(missing))])
        return outcome

    def _holds(self, account: Account, operation: AccountChange, row: Mapping[str, Any]) -> bool:
        """Whether the account shows all that a row brings; what is never shown is taken for missing."""
        wanted = operation.wanted if operation.kind is Kind.CREATE else operation.after
        return all(
            fold(account.values.get(name), type_) == fold(wanted.get(name), type_)
            for name, type_ in ((name, self.attribute(name).type) for name in row if name != "user_name")
        )

    @staticmethod
    def _found_done(account: Account, operation: AccountChange) -> Done:
        return Done(account=account.id, learnt=batch.not_sent(operation), note="found done after an unclear answer")

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
