"""What a request about pushed people comes to: read, check, keep. No HTTP here."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from provisioner.errors import ConfigurationError
from provisioner.logs import get_logger
from provisioner.model.pushed_person import PushedPerson
from provisioner.planning.spec import TargetSpec
from provisioner.runs.pushed_row import RefusedRowError, key_of_row
from provisioner.settings import Settings
from provisioner.store.people.pushed_people import PushedPeopleStore, TakenError
from provisioner.store.stores import Stores
from provisioner.web.scim.errors import Document, ScimError, invalid
from provisioner.web.scim.filters import Filter, equalities, matches
from provisioner.web.scim.patch import patched
from provisioner.web.scim.resource import Resource, read_resource, represented
from provisioner.web.scim.schema import UserSchema

log = get_logger(__name__)

#: How often a change is tried again that somebody else came before.
_TRIES: Final = 5
#: People who are looked at together where a filter has to be tried on each.
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Found:
    """Some of those who were asked for: `total` of all, and these from the place `start`, counted from 1."""

    total: int
    start: int
    people: list[PushedPerson]


class People:
    """The people who are pushed to this deployment."""

    def __init__(self, settings: Settings, specs: Mapping[str, TargetSpec], stores: Callable[[], Stores]) -> None:
        self.schema = UserSchema(settings.roster.scim.extensions)
        self._settings, self._specs, self._stores = settings, specs, stores

    @property
    def _store(self) -> PushedPeopleStore:
        return self._stores().pushed_people

    async def get(self, id_: str) -> PushedPerson:
        """
        Raises:
            ScimError: 404.
        """
        found = await self._store.get(id_)
        if found is None:
            raise ScimError(404, f"There is no User {id_[:80]!r}.")
        return found

    async def create(self, body: Mapping[str, Any]) -> PushedPerson:
        """Keep somebody new. One who was deleted and has the same key is taken for the same person, who comes back.

        Raises:
            ScimError: it is no User, their row would not be believed, or somebody there has the key or user name.
        """
        resource = read_resource(body, self.schema)
        now = await self._stores().server.now()
        fresh = PushedPerson(secrets.token_hex(16), "", "", resource, 1, now, now)
        return await self._kept(fresh, None)

    async def replace(self, id_: str, body: Mapping[str, Any], versions: Iterable[int] | None) -> PushedPerson:
        """Put another resource in place of the one there.

        Args:
            versions: those of which it may be; None: any.

        Raises:
            ScimError: as `create`, 404, or 412 where it is of another version.
        """
        return await self._changed(id_, lambda _: read_resource(body, self.schema), versions)

    async def patch(self, id_: str, body: Mapping[str, Any], versions: Iterable[int] | None) -> PushedPerson:
        """Change parts of a resource; see `replace`."""
        return await self._changed(id_, lambda before: patched(before, body, self.schema), versions)

    async def delete(self, id_: str, versions: Iterable[int] | None) -> None:
        """Take somebody for a leaver, and show them no more.

        Raises:
            ScimError: 404, or 412 where it is of another version.
        """
        for _ in range(_TRIES):
            person = await self._of_version(id_, versions)
            gone = replace(person, deleted=True, version=person.version + 1, modified=await self._stores().server.now())
            if await self._store.put(gone, before=person.version, due=(gone.key,)):
                log.info("person_deleted", person=gone.key)
                return
        raise _busy()

    async def find(self, wanted: Filter | None, start: int, count: int) -> Found:
        """Who passes a filter, in the order in which they were first pushed.

        Args:
            start: the place of the first one that is wanted, from 1.
            count: how many are wanted at most.
        """
        if wanted is None:
            return Found(await self._store.count(), start, await self._store.page(start - 1, count))
        few = await self._by_index(wanted)
        people = _those(few) if few is not None else self._all()
        total = 0
        some: list[PushedPerson] = []
        async for one in people:
            if matches(wanted, self.shown(one, "")):
                total += 1
                if total >= start and len(some) < count:
                    some.append(one)
        return Found(total, start, some)

    def shown(self, person: PushedPerson, base: str) -> Document:
        """A person as they are answered; `base` is the address of the service."""
        return represented(
            dict(person.resource),
            id_=person.id,
            version=person.version,
            created=person.created,
            modified=person.modified,
            base=base,
            schema=self.schema,
        )

    async def _by_index(self, wanted: Filter) -> list[PushedPerson] | None:
        """The few among whom everybody is who passes; None where nothing tells."""
        for one in equalities(wanted):
            name = one.target.attribute.name if one.target.attribute and one.target.urn is None else ""
            value = str(one.value)
            if name == "userName":
                return await self._store.by_user_name(value)
            if name == "externalId":
                return await self._store.by_external_id(value)
            if name == "id":
                found = await self._store.get(value)
                return [found] if found else []
        return None

    async def _all(self) -> AsyncIterator[PushedPerson]:
        start = 0
        while some := await self._store.page(start, _PAGE):
            for one in some:
                yield one
            start += _PAGE

    async def _changed(
        self, id_: str, change: Callable[[Resource], Resource], versions: Iterable[int] | None
    ) -> PushedPerson:
        for _ in range(_TRIES):
            person = await self._of_version(id_, versions)
            resource = change(dict(person.resource))
            if resource == person.resource:
                return person
            now = await self._stores().server.now()
            try:
                return await self._kept(
                    replace(person, resource=resource, version=person.version + 1, modified=now), person
                )
            except _OvertakenError:
                continue
        raise _busy()

    async def _of_version(self, id_: str, versions: Iterable[int] | None) -> PushedPerson:
        person = await self.get(id_)
        if versions is not None and person.version not in versions:
            raise ScimError(412, f"The User {id_} was changed since, to version {person.version}.")
        return person

    async def _kept(self, person: PushedPerson, before: PushedPerson | None) -> PushedPerson:
        try:
            found = await asyncio.to_thread(
                key_of_row, self._settings, self._specs, person, now=await self._stores().server.now()
            )
        except RefusedRowError as exc:
            raise invalid(str(exc)) from None
        except ConfigurationError as exc:
            log.error("push_not_accepted", error=str(exc))
            raise ScimError(500, "The settings of provisioner do not fit; its log says what.") from None
        moved = before is not None and before.fold != found.fold
        previous = before.key if before is not None and moved else person.previous
        whole = replace(person, key=found.key, fold=found.fold, previous=previous)
        due = (whole.key, previous) if moved else (whole.key,)
        try:
            kept = await self._store.put(whole, before=before.version if before else None, due=due)
        except TakenError as exc:
            name = f"roster.key ({self._settings.roster.key})" if exc.name == "key" else exc.name
            raise ScimError(409, f"Somebody else who is here has the same {name}.", "uniqueness") from None
        if not kept:
            raise _OvertakenError
        if moved:
            log.info("key_changed", person=whole.key)
        return whole


class _OvertakenError(Exception):
    """Somebody else changed the person meanwhile."""


def _busy() -> ScimError:
    return ScimError(
        503, "Others change this User at the same time; nothing was changed by this.", headers={"Retry-After": "1"}
    )


async def _those(people: Iterable[PushedPerson]) -> AsyncIterator[PushedPerson]:
    for one in people:
        yield one
