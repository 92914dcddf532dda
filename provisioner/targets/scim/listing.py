"""Observing: every user of the service, or those who are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from provisioner.errors import MalformedAnswerError
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, InvalidValueError, fold
from provisioner.targets.base import Ask, Listing
from provisioner.targets.concurrently import each
from provisioner.targets.http import Http
from provisioner.targets.paths import at
from provisioner.targets.scim.attributes import CATALOGUE, GROUPS, family, shown
from provisioner.targets.scim.discovery import Discovery
from provisioner.targets.scim.groups import Groups
from provisioner.targets.scim.membership import Memberships
from provisioner.targets.scim.paths import Path, equals
from provisioner.targets.scim.requests import each_resource, id_of, list_of, resource_of
from provisioner.targets.scim.settings import ScimSettings

_AT_ONCE = 4
#: Rows of a listing that are read between two chances for other work of this process.
_ROWS_AT_ONCE = 1_000


class Reader:
    """Reads users as accounts: all attributes that the catalogue lists or the settings name."""

    def __init__(
        self,
        target: str,
        settings: ScimSettings,
        discovery: Discovery,
        groups: Groups,
        attribute: Callable[[str], Attribute],
    ) -> None:
        self._target = target
        self._settings = settings
        self._discovery = discovery
        self._groups = groups
        named = {*settings.attributes, *settings.leaver}
        self.manages_groups = GROUPS in named
        names = [name for name in (*CATALOGUE, *sorted(named - CATALOGUE.keys())) if name != GROUPS]
        self._read = {name: (family(name)[0], attribute(name)) for name in names}

    async def observe(self, http: Http) -> Listing:
        """Every user, with their groups if these are managed.

        Raises:
            ListingError, TargetError: see `Target.observe`.
        """
        features = await self._discovery.features(http)
        size = features.page_size(self._settings.page_size)
        users = await each_resource(http, self._settings.paths.users, features.paging(self._settings.dialect), size)
        memberships = await self._memberships(http, users=bool(users))
        accounts: list[Account] = []
        for start in range(0, len(users), _ROWS_AT_ONCE):
            accounts += [self.account(user, memberships) for user in users[start : start + _ROWS_AT_ONCE]]
            await asyncio.sleep(0)
        notes = memberships.notes if memberships is not None else ()
        return Listing(accounts, notes=notes)

    async def find(self, http: Http, asks: Sequence[Ask]) -> Listing | None:
        """The asked people's users: by id, else by filter; None where the service cannot filter.

        Raises:
            TargetError: a look-up failed.
        """
        features = await self._discovery.features(http)
        filters = features.filters(self._settings.dialect)
        if not filters and any(ask.account is None for ask in asks):
            return None
        found = await each(asks, lambda ask: self._find_one(http, ask, filters=filters), limit=_AT_ONCE)
        if any(one is None for one in found):
            return None
        users = {str(id_of(user)): user for one in found for user in one or ()}
        memberships = await self._memberships(http, users=True) if users else None
        return Listing([self.account(user, memberships) for user in users.values()], complete=False)

    async def _find_one(self, http: Http, ask: Ask, *, filters: bool) -> Sequence[Mapping[str, Any]] | None:
        if ask.account:
            user = await self.user(http, ask.account)
            if user is not None:
                return (user,)
        if not filters:
            # Whoever is gone from their id may be there under another one
            return None
        for name, value in ask.match.items():
            found = await self.matching(http, name, value) if value and name != GROUPS else ()
            if found is None or found:
                return found
        return ()

    async def user(self, http: Http, account: str) -> dict[str, Any] | None:
        """The user of an id, None if there is none.

        Raises:
            TargetError: it cannot be read.
        """
        template = self._settings.paths.users + "/{}"
        answer = await http.read(at(template, account), accept=(404, 410))
        if answer.status in (404, 410):
            return None
        user = resource_of(self._target, answer, at(template, "…"))
        if id_of(user) != account:
            raise MalformedAnswerError(self._target, f"GET {self._settings.paths.users}/… answered another user.")
        return user

    async def matching(self, http: Http, name: str, value: str) -> Sequence[Mapping[str, Any]] | None:
        """The users in whom an attribute has a value, found by filter; None if the service does not filter by it.

        Raises:
            TargetError: the look-up failed.
        """
        path, attribute = self._read[name]
        users = self._settings.paths.users
        answer = await http.read(users, {"filter": equals(path, value)}, accept=(400, 403, 404, 501))
        if answer.status != 200:
            return None
        total, rows = list_of(self._target, answer, users)
        wanted = fold(value, attribute.type)
        found = [
            row for row in rows if id_of(row) and fold(self._value(row, path, attribute), attribute.type) == wanted
        ]
        # A service that passes a filter over answers everybody; then nothing is said of those that it did not show
        if len(found) != len(rows) or (total is not None and total > len(rows)):
            return found or None
        return found

    async def everybody(self, http: Http) -> Sequence[Mapping[str, Any]]:
        """All users, read once for as long as this transport is used.

        Raises:
            TargetError: they cannot be read.
        """
        kept = http.kept(_Everybody, _Everybody)
        async with kept.reading:
            if kept.users is None:
                features = await self._discovery.features(http)
                paging = features.paging(self._settings.dialect)
                size = features.page_size(self._settings.page_size)
                kept.users = await each_resource(http, self._settings.paths.users, paging, size)
        return kept.users

    async def holders(self, http: Http, name: str, value: str) -> Sequence[Mapping[str, Any]]:
        """The users in whom an attribute has a value, by filter or among everybody.

        Raises:
            TargetError: they cannot be read.
        """
        features = await self._discovery.features(http)
        found = await self.matching(http, name, value) if features.filters(self._settings.dialect) else None
        if found is not None:
            return found
        path, attribute = self._read[name]
        wanted = fold(value, attribute.type)
        everybody = await self.everybody(http)
        return [user for user in everybody if fold(self._value(user, path, attribute), attribute.type) == wanted]

    async def _memberships(self, http: Http, *, users: bool) -> Memberships | None:
        if not self.manages_groups:
            return None
        return await self._groups.memberships(http, users=users)

    def account(self, user: Mapping[str, Any], memberships: Memberships | None) -> Account:
        """A user as an account.

        Raises:
            MalformedAnswerError: a value is not of its attribute's type.
        """
        values = self.values(user)
        account = str(id_of(user))
        if memberships is not None:
            values[GROUPS] = memberships.of(account, user)
        return Account(account, values)

    def values(self, user: Mapping[str, Any], names: Collection[str] | None = None) -> dict[str, str | None]:
        """The attributes of a user but for the groups, all or some.

        Raises:
            MalformedAnswerError: a value is not of its attribute's type.
        """
        wanted: Iterable[str] = self._read if names is None else names
        return {name: self._value(user, *self._read[name]) for name in wanted}

    def _value(self, user: Mapping[str, Any], path: Path, attribute: Attribute) -> str | None:
        try:
            return shown(user, path, attribute.type)
        except InvalidValueError as exc:
            raise MalformedAnswerError(self._target, f"a user's {exc}.") from None


class _Everybody:
    """Everybody, once they were read."""

    def __init__(self) -> None:
        self.users: Sequence[Mapping[str, Any]] | None = None
        self.reading = asyncio.Lock()
