"""Any service that speaks SCIM 2.0 (kind ``scim``): RFC 7643, 7644 and 9865.

`paths` reads attribute paths and spells filters, `attributes` says what a user consists of, `resources` builds a PATCH
or PUT, all three pure. `discovery` reads what the service says of itself, `requests` reads lists, `listing` observes,
`writing` changes users, `groups` memberships. Where a service deviates, `settings.dialect` says how.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import ClassVar, Final

from provisioner.errors import ConfigurationError, TargetError
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, Type, canonical, members
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent
from provisioner.settings.nearest import nearest
from provisioner.settings.targets import TargetSettings
from provisioner.targets.base import Ask, Listing, Target
from provisioner.targets.capabilities import (
    ChecksNames,
    Confirms,
    CountsListing,
    Deactivates,
    LooksUp,
    RenewsToken,
)
from provisioner.targets.http import Http, Tokens
from provisioner.targets.literals import literals
from provisioner.targets.oauth import ClientCredentials
from provisioner.targets.responses import Failure, as_outcome
from provisioner.targets.scim.advice import ADVICE
from provisioner.targets.scim.attributes import ACTIVE, CATALOGUE, GROUPS, family, is_custom
from provisioner.targets.scim.bulk import Bulk
from provisioner.targets.scim.discovery import Discovery, Features, definitions
from provisioner.targets.scim.groups import Groups, UnknownGroupError
from provisioner.targets.scim.listing import Reader
from provisioner.targets.scim.membership import Change, change_of
from provisioner.targets.scim.paths import InvalidPathError
from provisioner.targets.scim.requests import first_page, list_of
from provisioner.targets.scim.settings import ScimSettings
from provisioner.targets.scim.writing import Writer, gone
from provisioner.targets.sharing import shared_batch_size, stops, unfinished, until_stopped

_LEAVE: Final = "leave"
_CREATE: Final = "create"
_SAVE: Final = "save"
_GROUPS: Final = "groups"
_LEAVE_GROUPS: Final = "leave-groups"
#: Users of one call of `write`, at least: enough to share the change of a group.
_FEWEST: Final = 5
_REQUESTS_EACH: Final = 2.2
#: Users that are made by one bulk request, at most: so that it is answered in time.
_MOST_MADE: Final = 50
_REST: Final = "the groups are still to be entered"


class Scim(Target[ScimSettings], LooksUp, ChecksNames, CountsListing, Deactivates, Confirms, RenewsToken):
    """One service."""

    kind: ClassVar[str] = "scim"
    settings_model: ClassVar[type[TargetSettings]] = ScimSettings
    catalogue: ClassVar[Mapping[str, Attribute]] = CATALOGUE
    advice: ClassVar[Mapping[str, str]] = ADVICE
    activity: ClassVar[str] = ACTIVE
    #: A service that does not hold user names unique would make a second user.
    hurts_twice: ClassVar[frozenset[Kind]] = frozenset({Kind.CREATE})

    def __init__(self, name: str, settings: ScimSettings) -> None:
        super().__init__(name, settings)
        self._attributes: dict[str, Attribute] = {}
        self._discovery = Discovery()
        self._groups = Groups(name, settings, self._discovery)

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self.name, self.settings, self._discovery, self._groups, self.attribute)

    @cached_property
    def _writer(self) -> Writer:
        return Writer(self.name, self.settings, self._discovery, self._reader, self.attribute)

    @cached_property
    def _bulk(self) -> Bulk:
        return Bulk(self.settings, self._discovery, self._writer)

    @cached_property
    def tokens(self) -> Tokens | None:
        """What asks for access tokens, where `oauth` is set."""
        return ClientCredentials(self.settings.oauth) if self.settings.oauth else None

    def headers(self) -> Mapping[str, str]:
        """Content types, and credentials that do not end."""
        own = self.settings
        headers = {"Accept": "application/scim+json, application/json", "Content-Type": own.dialect.media_type}
        if own.token is not None:
            headers["Authorization"] = f"Bearer {own.token.get_secret_value()}"
        elif own.username is not None:
            pair = f"{own.username}:{own.password.get_secret_value() if own.password else ''}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return headers

    def attribute(self, name: str) -> Attribute:
        """The attribute at a path; of which type one of another extension is, the settings may say.

        Raises:
            ConfigurationError: it is no path, or no SCIM user has such an attribute.
        """
        if name not in self._attributes:
            try:
                found = family(name)[1]
            except InvalidPathError as exc:
                raise ConfigurationError(
                    f"targets.{self.name}.attributes.{name}: {exc}{nearest(name, self.catalogue)}."
                ) from None
            if is_custom(name):
                found = replace(found, type=self.declared_type(name) or Type.TEXT)
            self._attributes[name] = replace(found, name=name, chosen_by_user=name not in self.settings.administered)
        return self._attributes[name]

    def takes_type(self, name: str) -> bool:
        """Of which type attributes of other extensions are, only the settings can say."""
        return is_custom(name)

    def check(self) -> None:
        """Check the settings against what SCIM has.

        Raises:
            ConfigurationError: see `Target.check`; besides, `groups` is what people are matched by, or `administered`
                names what nobody has.
        """
        super().check()
        if GROUPS in self.settings.match:
            raise ConfigurationError(f"targets.{self.name}.match: nobody is recognised by groups.")
        for name in self.settings.administered:
            self.attribute(name)

    def listing_requests(self, accounts: int, unread: int) -> int:  # noqa: ARG002 (a page shows all)
        """The pages of users, what the service says of itself, and the groups if these are managed."""
        pages = 1 if self.settings.dialect.paging == "none" else math.ceil(accounts / self.settings.page_size)
        return max(pages, 1) + 1 + self._reader.manages_groups

    async def observe(self, http: Http, known: Mapping[str, Account]) -> Listing:  # noqa: ARG002 (a list shows all)
        """Every user, and who is in which group where groups are managed.

        Raises:
            ListingError: a list shows fewer than it counts, or changed on the way.
            TargetError: any other failure.
        """
        return await self._reader.observe(http)

    async def find(
        self,
        http: Http,
        asks: Sequence[Ask],
        known: Mapping[str, Account],  # noqa: ARG002 (a look-up shows all)
    ) -> Listing | None:
        """The asked people's users by id or filter; None where the service cannot filter.

        Raises:
            TargetError: a look-up failed.
        """
        return await self._reader.find(http, asks)

    def group(self, operation: Operation) -> str:
        """Leavers, all the rest, and of both those who change nothing but groups, which go many at once.

        New users of the same groups keep together, so that one request lets all of them in.
        """
        if operation.kind is Kind.CREATE:
            return f"{_CREATE}#{(operation.after.get(GROUPS) or '').lower()}"
        only_groups = set(operation.after) == {GROUPS}
        if operation.kind is Kind.LEAVE:
            return _LEAVE_GROUPS if only_groups else _LEAVE
        return _GROUPS if only_groups else _SAVE

    def batch_size(self, group: str) -> int:
        """As configured where only groups change, or users are made in bulk; else as many as are over soon, and one
        where no group is managed."""
        if group in (_GROUPS, _LEAVE_GROUPS):
            return self.settings.batch_size
        if group.split("#")[0] == _CREATE and self._discovery.last.bulks(self.settings.dialect):
            return shared_batch_size(self.settings, fewest=_MOST_MADE, requests_each=1.0)
        if not self._reader.manages_groups:
            return 1
        return shared_batch_size(self.settings, fewest=_FEWEST, requests_each=_REQUESTS_EACH)

    async def write(self, http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Change each user for themselves, then the groups of all of them together."""
        made = await self._in_bulk(http, operations)
        rest = [operation for operation in operations if operation.id not in made]
        stop: Failure | None = next((one for one in made.values() if stops(one)), None)
        if stop is None:
            sent, stop = await until_stopped(rest, partial(self._change, http))
        else:
            sent = [stop] * len(rest)
        found = {**made, **{operation.id: one for operation, one in zip(rest, sent, strict=True)}}
        outcomes = [found[operation.id] for operation in operations]
        wanted = _group_changes(operations, outcomes)
        if stop:
            return [
                unfinished(operations[place], stop, _REST) if place in wanted else outcome
                for place, outcome in enumerate(outcomes)
            ]
        return await self._with_groups(http, operations, outcomes, wanted)

    async def _in_bulk(self, http: Http, operations: Sequence[Operation]) -> Mapping[str, Outcome]:
        """The outcomes of users who were made many at once, by the operation's id."""
        creates = [operation for operation in operations if operation.kind is Kind.CREATE]
        found = await self._bulk.create(http, creates) if len(creates) > 1 else {}
        return {creates[place].id: outcome for place, outcome in found.items()}

    async def _change(self, http: Http, operation: Operation) -> Outcome:
        """Everything of one operation but the groups."""
        if operation.kind is Kind.CREATE:
            return await self._writer.create(http, operation)
        if operation.kind in (Kind.ENROL, Kind.EVENT):
            return Permanent("unsupported", f"SCIM takes no operation of kind {operation.kind}")
        if set(operation.after) <= {GROUPS} and operation.account:
            return Done(account=operation.account)
        return await self._writer.update(http, operation)

    async def _with_groups(
        self,
        http: Http,
        operations: Sequence[Operation],
        outcomes: Sequence[Outcome],
        wanted: Mapping[int, Change],
    ) -> Sequence[Outcome]:
        if not wanted:
            return outcomes
        if self.settings.dialect.member_value != "id":
            try:
                wanted = {
                    place: await self._as_member(http, operations[place], outcomes[place], one)
                    for place, one in wanted.items()
                }
            except TargetError as exc:
                failure = as_outcome(exc)
                return [
                    unfinished(operations[place], failure, _REST) if place in wanted else outcome
                    for place, outcome in enumerate(outcomes)
                ]
        failed = await self._groups.write(http, list(wanted.values()))
        return [
            await self._after_groups(http, operations[place], outcome, failed[wanted[place].account])
            if place in wanted
            else outcome
            for place, outcome in enumerate(outcomes)
        ]

    async def _as_member(self, http: Http, operation: Operation, outcome: Outcome, change: Change) -> Change:
        """The same change, of whom groups call by another attribute than the id.

        Only of somebody who was made just now is it known. Others may have been renamed there, or keep their former
        name because the new one was refused.

        Raises:
            TargetError: the user cannot be read.
        """
        name = self.settings.dialect.member_value
        if operation.kind is Kind.CREATE and isinstance(outcome, Done) and name not in outcome.learnt:
            return replace(change, member=operation.wanted.get(name) or change.account)
        user = await self._reader.user(http, change.account)
        member = self._reader.values(user, [name])[name] if user is not None else None
        return replace(change, member=member or change.account)

    async def _after_groups(
        self, http: Http, operation: Operation, outcome: Outcome, failed: Mapping[str, Failure]
    ) -> Outcome:
        """The outcome of one operation after the groups were changed."""
        if not failed:
            return outcome
        failure = min(failed.values(), key=lambda one: isinstance(one, Permanent))
        if operation.kind is not Kind.CREATE:
            if isinstance(failure, Permanent) and operation.account:
                try:
                    if await self._reader.user(http, operation.account) is None:
                        return gone(operation)
                except TargetError as exc:
                    return as_outcome(exc)
            return outcome if isinstance(outcome, Permanent) else failure
        if not isinstance(failure, Permanent) or not isinstance(outcome, Done):
            return unfinished(operation, failure, _REST)
        # The user exists: what they are in is recorded, and the next plan brings the rest
        entered = [name for name in members(operation.wanted.get(GROUPS)) if name.lower() not in failed]
        learnt = {**outcome.learnt, GROUPS: canonical(entered, Type.SET)}
        note = outcome.note or f"created, but groups are still to be entered: {failure.message}"
        return replace(outcome, learnt=learnt, note=note)

    async def confirm(self, http: Http, operation: Operation) -> Outcome | None:
        """Look whether an unclear create took effect, and if so bring it to its end; all else may be sent again.

        Raises:
            TargetError: the look-up failed.
        """
        if operation.kind is not Kind.CREATE:
            return None
        outcome = await self._writer.confirm(http, operation)
        if outcome is None:
            return None
        return (await self._with_groups(http, [operation], [outcome], _group_changes([operation], [outcome])))[0]

    async def probe(self, http: Http) -> tuple[str, ...]:
        """Read what the service says of itself, one user, and the groups if these are managed.

        Raises:
            TargetError: what is wrong.
        """
        features = await self._discovery.features(http, age=0)
        users = self.settings.paths.users
        paged = features.paging(self.settings.dialect)

        total, _ = list_of(self.name, await http.read(users, first_page(paged, 1)), users)
        lines = [_said(features), f"{'An unknown number of' if total is None else total} users can be listed."]
        ways = "PATCH" if features.updates_by_patch(self.settings.dialect) else "PUT"
        looked_up = "by filter" if features.filters(self.settings.dialect) else "in a full listing"
        most = min(_MOST_MADE, features.bulk_operations, self.settings.batch_size)
        made = f"up to {most} at once" if features.bulks(self.settings.dialect) else "one by one"
        lines.append(f"Accounts are made {made}, changed by {ways}, listed by {paged} paging, looked up {looked_up}.")
        if self._reader.manages_groups:
            lines.append(f"{len(await self._groups.all(http, age=0))} groups.")
        return tuple(lines)

    async def unknown_names(self, http: Http) -> Sequence[str]:
        """The attributes and groups that the settings name and the service does not have.

        Raises:
            TargetError: they could not be read.
        """
        found: list[str] = []
        known = await definitions(http)
        for part, rules in (("attributes", self.settings.attributes), ("leaver", self.settings.leaver)):
            for name, rule in rules.items():
                where = f"targets.{self.name}.{part}.{name}"
                if name != GROUPS:
                    fault = None if rule.authority == "target" else known.fault(family(name)[0])
                    found += [f"{where}: {fault}."] if fault else []
                    continue
                if known.groups is False:
                    found.append(f"{where}: the service has no groups.")
                    continue
                for text in literals(rule.from_):
                    for group in members(canonical(text, Type.SET)):
                        try:
                            await self._groups.named(http, group)
                        except UnknownGroupError as exc:
                            found.append(f"{where}: {exc}.")
        return found


def _said(features: Features) -> str:
    if not features.said:
        return "The service accepts the credentials; it has no ServiceProviderConfig."
    offered = {
        "PATCH": features.patch,
        "filters": features.filter,
        "ETags": features.etag,
        "bulk": features.bulk,
        "cursors": features.cursor,
    }
    yes = [name for name, offers in offered.items() if offers]
    no = [name for name, offers in offered.items() if offers is False]
    lacks = f", and not {', '.join(no)}" if no else ""
    limit = f"; at most {features.max_page} users a page" if features.max_page else ""
    return (
        f"The service accepts the credentials. It says that it offers {', '.join(yes) or 'nothing optional'}"
        f"{lacks}{limit}."
    )


def _group_changes(operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> Mapping[int, Change]:
    """By place in the batch, the groups that are still to be changed after everything else was."""
    found = {
        place: _group_change(operation, outcome)
        for place, (operation, outcome) in enumerate(zip(operations, outcomes, strict=True))
        if _goes_on(operation, outcome)
    }
    return {place: change for place, change in found.items() if change.enter or change.leave}


def _goes_on(operation: Operation, outcome: Outcome) -> bool:
    """Whether groups are still to be changed: not where the user is gone, adopted, or the whole is tried again."""
    if isinstance(outcome, Done):
        return not outcome.adopted and not (operation.kind is Kind.LEAVE and outcome.note)
    # A refused name must not keep anybody in groups that they are to leave
    refused = isinstance(outcome, Permanent) and outcome.code != "gone"
    return refused and operation.kind is Kind.LEAVE and bool(operation.account)


def _group_change(operation: Operation, outcome: Outcome) -> Change:
    if operation.kind is Kind.CREATE and isinstance(outcome, Done):
        return change_of(outcome.account or "", None, operation.wanted.get(GROUPS))
    return change_of(operation.account or "", operation.before.get(GROUPS), operation.after.get(GROUPS))
