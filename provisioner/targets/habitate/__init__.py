"""habitate, community (kind ``habitate``).

`attributes` says what a member consists of, `directory` knows roles and boards, `listing` observes, `members` and
`boards` change. A 403 is both a refused key and a forbidden read or write; the details about self tell which.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Final

from provisioner.errors import ConfigurationError, TargetError
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, Type, canonical, fold
from provisioner.model.attributes import members as names_in
from provisioner.model.event import InboundEvent
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent
from provisioner.settings import TargetSettings
from provisioner.targets.base import Ask, Listing, Target
from provisioner.targets.capabilities import (
    ChecksNames,
    Confirms,
    CountsListing,
    LooksUp,
    ReportsEvents,
    ReportsSeveral,
    WantsPrevious,
)
from provisioner.targets.concurrently import each
from provisioner.targets.habitate import boards, events, listing, members
from provisioner.targets.habitate.advice import ADVICE
from provisioner.targets.habitate.attributes import CATALOGUE, UPDATE_FIELDS
from provisioner.targets.habitate.directory import Directory, UnknownNameError, read
from provisioner.targets.habitate.searching import Search
from provisioner.targets.habitate.settings import HabitateSettings
from provisioner.targets.http import Http
from provisioner.targets.literals import literals
from provisioner.targets.responses import Failure, as_outcome
from provisioner.targets.sharing import AT_ONCE, shared_batch_size, unfinished, until_stopped

_LEAVE = "leave"
_SAVE = "save"
_BOARDS = "boards"
_LEAVE_BOARDS = "leave-boards"
#: Members of one call of `write`, at least: enough to share the change of a board.
_FEWEST: Final = 10
_REQUESTS_EACH: Final = 1.2
_REST: Final = "the boards are still to be entered"
UPDATABLE = frozenset(UPDATE_FIELDS)


class Habitate(
    Target[HabitateSettings],
    LooksUp,
    ChecksNames,
    WantsPrevious,
    Confirms,
    CountsListing,
    ReportsEvents,
    ReportsSeveral,
):
    """One community."""

    kind: ClassVar[str] = "habitate"
    settings_model: ClassVar[type[TargetSettings]] = HabitateSettings
    catalogue: ClassVar[Mapping[str, Attribute]] = CATALOGUE
    advice: ClassVar[Mapping[str, str]] = ADVICE
    hurts_twice: ClassVar[frozenset[Kind]] = frozenset({Kind.CREATE})
    wants_previous: ClassVar[bool] = True

    def __init__(self, name: str, settings: HabitateSettings) -> None:
        super().__init__(name, settings)
        self._directory = Directory()

    def headers(self) -> Mapping[str, str]:
        """HTTP Basic: the calling system's name, for habitate's audit, and the key."""
        key = self.settings.api_key
        pair = f"{self.settings.username}:{key.get_secret_value() if key else ''}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    def event(self, body: Mapping[str, Any]) -> InboundEvent:
        """A webhook of the community: members who joined."""
        return events.event(self.name, body)

    def single_events(self, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """One body for each member who joined."""
        return events.single_events(body)

    def check(self) -> None:
        """Check the settings against what the vendor offers.

        Raises:
            ConfigurationError: see `Target.check`; besides, a leaver's attribute is one that no update takes.
        """
        super().check()
        for name in self.settings.leaver:
            if not self.attribute(name).on_update:
                raise ConfigurationError(
                    f"targets.{self.name}.leaver.{name}: no update takes this attribute.", remedy="Remove it."
                )

    def listing_requests(self, accounts: int, unread: int) -> int:
        """The pages of each status, those about us and the roles, and the details of each new member."""
        return math.ceil(accounts / self.settings.page_size) + len(listing.STATUSES) + 2 + unread

    async def observe(self, http: Http, known: Mapping[str, Account]) -> Listing:
        """List the members of every status but the deleted; details only of those not known or changed.

        Raises:
            ListingError, TargetError: see `Target.observe`.
        """
        return await listing.observe(http, self._directory, self.settings.page_size, known)

    async def find(self, http: Http, asks: Sequence[Ask], known: Mapping[str, Account]) -> Listing | None:
        """Look up the asked people by their msid, or by a known member with the wanted value.

        That no known member has it proves nothing, so then only a listing can answer.

        Raises:
            TargetError: a look-up failed.
        """
        found = await each(asks, lambda ask: self._find_one(http, ask, known), limit=AT_ONCE)
        accounts = {account.id: account for account in found if account is not None}
        if any(account is None for account in found):
            return None
        return Listing(list(accounts.values()), complete=False)

    async def _find_one(self, http: Http, ask: Ask, known: Mapping[str, Account]) -> Account | None:
        for msid in (ask.account, *self._candidates(ask, known)):
            account = await listing.find_one(http, self._directory, msid) if msid else None
            if account is not None and (msid == ask.account or self._matches(account, ask)):
                return account
        return None

    def _candidates(self, ask: Ask, known: Mapping[str, Account]) -> Sequence[str]:
        return [account.id for account in known.values() if self._matches(account, ask)]

    def _matches(self, account: Account, ask: Ask) -> bool:
        """Whether an account has the first of the wanted values; a later one counts only where no account has it."""
        for name, value in ask.match.items():
            if value:
                type_ = self.attribute(name).type
                return fold(account.values.get(name), type_) == fold(value, type_)
        return False

    def group(self, operation: Operation) -> str:
        """Leavers, all the rest, and of both those who change nothing but boards, which go many at once.

        New members of the same boards keep together, so that one call lets all of them in.
        """
        if operation.kind is Kind.CREATE:
            return f"{_SAVE}#{(operation.after.get('boards') or '').lower()}"
        only_boards = set(operation.after) == {"boards"}
        if operation.kind is Kind.LEAVE:
            return _LEAVE_BOARDS if only_boards else _LEAVE
        return _BOARDS if only_boards else _SAVE

    def batch_size(self, group: str) -> int:
        """As configured where only boards change; else as many as are over soon, and one where no board is managed."""
        if group not in (_LEAVE, _SAVE):
            return self.settings.batch_size
        if "boards" not in self.settings.attributes and "boards" not in self.settings.leaver:
            return 1
        return shared_batch_size(self.settings, fewest=_FEWEST, requests_each=_REQUESTS_EACH)

    async def write(self, http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Change each member for themselves, then the boards of all of them together."""
        # Read ahead, so that changes that run side by side do not each read them
        creating = any(operation.kind is Kind.CREATE for operation in operations)
        try:
            if creating or any("role" in operation.after for operation in operations):
                await self._directory.roles(http)
            if creating and any(operation.wanted.get("boards") for operation in operations):
                await self._directory.boards(http)
        except TargetError as exc:
            return [as_outcome(exc)] * len(operations)
        outcomes, stop = await until_stopped(operations, partial(self._change, http))
        if not stop:
            return await self._with_boards(http, operations, outcomes)
        left = _board_changes(operations, outcomes)
        return [
            unfinished(operations[place], stop, _REST) if place in left else outcome
            for place, outcome in enumerate(outcomes)
        ]

    async def _with_boards(
        self, http: Http, operations: Sequence[Operation], outcomes: Sequence[Outcome]
    ) -> Sequence[Outcome]:
        """The outcomes after the boards of all operations were changed together."""
        wanted = _board_changes(operations, outcomes)
        failed = await boards.write(http, self._directory, list(wanted.values()), at_once=self.settings.batch_size)
        return [
            await self._after_boards(http, operations[place], outcome, failed[wanted[place].msid])
            if place in wanted
            else outcome
            for place, outcome in enumerate(outcomes)
        ]

    async def _change(self, http: Http, operation: Operation) -> Outcome:
        """Everything of one operation but the boards."""
        if operation.kind is Kind.CREATE:
            return await members.create(http, self._directory, operation)
        if operation.kind in (Kind.ENROL, Kind.EVENT):
            return Permanent("unsupported", f"habitate takes no operation of kind {operation.kind}")
        if not operation.account:
            return Permanent("no_account", "the operation names no account")
        steps: list[Callable[[], Awaitable[Done | Failure]]] = []
        if not UPDATABLE.isdisjoint(operation.after):
            steps.append(lambda: members.update(http, operation))
        if "role" in operation.after:
            role, account = operation.after["role"], operation.account
            steps.append(lambda: members.give_role(http, self._directory, account, role))
        if operation.kind is Kind.LEAVE:
            # What a leaver may do matters before what they are called
            steps.reverse()
        refused: Permanent | None = None
        unkept: dict[str, str | None] = {}
        there = False
        for step in steps:
            outcome = await step()
            there = there or isinstance(outcome, Done)
            # Whoever could be changed a moment ago is there, whatever one answer says
            if isinstance(outcome, Permanent) and outcome.code == "not_found" and not there:
                return _gone(operation)
            if isinstance(outcome, Permanent):
                refused = refused or outcome
            elif not isinstance(outcome, Done):
                return outcome
            else:
                unkept |= outcome.unkept
        return refused or Done(account=operation.account, unkept=unkept)

    async def _after_boards(
        self, http: Http, operation: Operation, outcome: Outcome, failed: Mapping[str, Failure]
    ) -> Outcome:
        """The outcome of one operation after its boards were changed."""
        if not failed or not isinstance(outcome, Done):
            return outcome
        failure = min(failed.values(), key=lambda one: isinstance(one, Permanent))
        if operation.kind is not Kind.CREATE:
            if operation.kind is Kind.LEAVE and isinstance(failure, Permanent) and operation.account:
                try:
                    if await listing.find_one(http, self._directory, operation.account) is None:
                        return _gone(operation)
                except TargetError as exc:
                    return as_outcome(exc)
            return failure
        if not isinstance(failure, Permanent):
            return unfinished(operation, failure, _REST)
        # The member exists: what they hold is recorded, and the next plan brings the rest
        entered = [name for name in names_in(operation.wanted.get("boards")) if name.lower() not in failed]
        learnt = {**outcome.learnt, "boards": canonical(entered, Type.SET)}
        note = outcome.note or f"created, but boards are still to be entered: {failure.message}"
        return replace(outcome, learnt=learnt, note=note)

    async def confirm(self, http: Http, operation: Operation) -> Outcome | None:
        """Look whether an unclear create took effect, and if so bring it to its end; all else may be sent again.

        Raises:
            TargetError: the look-up failed.
        """
        if operation.kind is not Kind.CREATE:
            return None
        # This transport was made for the claimed work, after that was claimed: what it read is new enough for all of it
        search = http.kept(Search, lambda: Search(http, self._directory))
        outcome = await members.confirm(http, self._directory, search, operation)
        return None if outcome is None else (await self._with_boards(http, [operation], [outcome]))[0]

    async def probe(self, http: Http) -> tuple[str, ...]:
        """Read who we are, the roles, and one member.

        Raises:
            TargetError: what is wrong.
        """
        me = await self._directory.me(http)
        roles = await self._directory.roles(http, age=0)
        await read(http, listing.USERS, {"page_size": 1})
        return (f"The key is that of the member {me}; members can be listed; {len(roles)} roles.",)

    async def unknown_names(self, http: Http) -> Sequence[str]:
        """The roles and boards that the settings spell out and the community does not have.

        Raises:
            TargetError: they could not be read.
        """
        found: list[str] = []
        for part, rules in (("attributes", self.settings.attributes), ("leaver", self.settings.leaver)):
            for name in ("role", "boards"):
                for text in literals(rules[name].from_) if name in rules else ():
                    try:
                        if name == "role":
                            await self._directory.role_id(http, text)
                        else:
                            for board in names_in(canonical(text, Type.SET)):
                                await self._directory.board(http, board)
                    except UnknownNameError as exc:
                        found.append(f"targets.{self.name}.{part}.{name}: {exc}.")
        return found


def _goes_on(operation: Operation, outcome: Outcome) -> bool:
    """Whether boards are still to be changed: not where the member is gone, adopted, or the whole is tried again."""
    if operation.kind is Kind.CREATE:
        return isinstance(outcome, Done) and "boards" not in outcome.learnt
    if isinstance(outcome, Done):
        return outcome.note is None
    # A refused role must not keep a leaver in their boards
    return isinstance(outcome, Permanent) and outcome.code != "gone" and bool(operation.account)


def _board_changes(operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> Mapping[int, boards.Change]:
    """By place in the batch, the boards that are still to be changed after everything else was."""
    changes = {
        place: _board_change(operation, outcome)
        for place, (operation, outcome) in enumerate(zip(operations, outcomes, strict=True))
        if _goes_on(operation, outcome)
    }
    return {place: change for place, change in changes.items() if change.enter or change.leave}


def _board_change(operation: Operation, outcome: Outcome) -> boards.Change:
    if operation.kind is Kind.CREATE and isinstance(outcome, Done):
        return boards.change(outcome.account or "", None, operation.wanted.get("boards"))
    return boards.change(operation.account or "", operation.before.get("boards"), operation.after.get("boards"))


def _gone(operation: Operation) -> Outcome:
    if operation.kind is Kind.LEAVE:
        return Done(account=operation.account, note="the account no longer existed")
    return Permanent("gone", "the account no longer exists; the next full run creates it again")
