"""mtribes, personalisation: users with tags go in, users and the Tribes that they belong to come out.

Known from the vendor's release note of the Platform API v1.0: personal access tokens; organisations, Spaces, users and
Tribes can be read; users are ingested into a Space, which adds the unknown and updates the known. Everything else is
assumed, and therefore a setting: paths, page parameters, envelope, word before the token; see docs/targets/mtribes.md.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from provisioner.errors import ConfigurationError, ListingError, MalformedAnswerError, TargetError
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, InvalidValueError, Type, canonical, members
from provisioner.model.event import Fact
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent
from provisioner.targets.base import Ask, Listing, Target, Told
from provisioner.targets.http import Http, at
from provisioner.targets.mtribes.settings import MtribesPaths, MtribesSettings
from provisioner.targets.responses import Answer, Failure, sentence

#: "at most three levels separated by `/`"
TAG_LEVELS = 3

_MAX_PAGES = 100_000
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
#: How a vendor says that it has no such list.
_ABSENT = (404, 405)
_ACCEPTED = "mtribes accepts the access token."
T = TypeVar("T")


class Mtribes(Target[MtribesSettings]):
    """One Space."""

    kind = "mtribes"
    settings_model = MtribesSettings
    catalogue: ClassVar[Mapping[str, Attribute]] = {
        attribute.name: attribute
        for attribute in (
            Attribute("id", identifier=True, required=True, on_update=False),
            Attribute("name"),
            Attribute("email", Type.EMAIL),
            Attribute("tags", Type.SET, merge=True),
            Attribute("tribes", Type.SET, observed=False, on_create=False, on_update=False),
        )
    }
    carried = ("tags",)
    lists_only = True
    routed = "tag"
    tagged = "tags"

    def attribute(self, name: str) -> Attribute:
        """As every target's; besides, any other name is a field of the user, since their list is not known.

        Raises:
            ConfigurationError: the name cannot be one of a field.
        """
        if name in self.catalogue or not _FIELD.fullmatch(name):
            return super().attribute(name)
        return Attribute(name)

    def check(self) -> None:
        """As every target's; besides, the paths can be filled in, and the environment leads somewhere."""
        super().check()
        paths = dict(self.settings.paths)
        for name in MtribesPaths.model_fields:
            self._path(name, org_id="o", tribe_id="t")
        if self.settings.environment and not any("{environment}" in path for path in paths.values()):
            raise ConfigurationError(
                f"targets.{self.name}.environment is set, but none of the paths holds {{environment}}.",
                remedy="Set paths.users and paths.ingest, such as "
                "/{api_version}/spaces/{space_id}/environments/{environment}/users.",
            )

    def headers(self) -> Mapping[str, str]:
        """The personal access token, after the configured word."""
        token = self.settings.access_token.get_secret_value() if self.settings.access_token else ""
        return {"Authorization": f"{self.settings.auth_scheme} {token}".strip()}

    async def observe(self, http: Http, known: Mapping[str, Account]) -> Listing:  # noqa: ARG002
        """Every user of the Space; where mtribes cannot list them (404, 405), none, and a sentence that says so.

        Raises:
            ListingError: the pages do not lead on.
            TargetError: any other failure.
        """
        path = self._path("users")
        first = await http.read(path, self._page(1), accept=_ABSENT)
        if first.status in _ABSENT:
            return Listing(
                (),
                complete=False,
                unlistable=f"mtribes cannot list users ({first.status}); going on from the ledger. "
                "If it should, check space_id, api_version and paths.users.",
            )
        return Listing(tuple((await self._pages(http, path, self._account, first)).values()))

    async def find(
        self,
        http: Http,  # noqa: ARG002
        asks: Sequence[Ask],  # noqa: ARG002
        known: Mapping[str, Account],  # noqa: ARG002
    ) -> Listing | None:
        """None: no look-up of one user is known."""
        return None

    def group(self, operation: Operation) -> str:
        """Leavers apart, tags that events bring apart, everyone else together."""
        if operation.kind is Kind.EVENT:
            return "event"
        return "leave" if operation.kind is Kind.LEAVE else "save"

    def batch_size(self, group: str) -> int:  # noqa: ARG002
        """As configured; a bare object always goes alone."""
        return 1 if self.settings.envelope is None else self.settings.batch_size

    async def apply(self, http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Ingest the users. What a whole batch was refused for is said of each of them: nothing tells them apart."""
        outcomes: dict[int, Outcome] = {}
        rows: dict[int, dict[str, Any]] = {}
        for index, operation in enumerate(operations):
            identifier = operation.account or operation.wanted.get("id")
            if operation.kind is Kind.EVENT and not operation.wanted.get("tags"):
                outcomes[index] = Permanent("unsupported", "mtribes takes no events but tags")
                continue
            try:
                if identifier:
                    rows[index] = {"id": identifier, **_fields(operation)}
                else:
                    outcomes[index] = Permanent("missing_required", "mtribes takes no user without id")
            except InvalidValueError as exc:
                outcomes[index] = Permanent("invalid_tag", str(exc))
        for body, indexes in self._bodies(rows):
            answer = await http.send("POST", self._path("ingest"), body)
            for index in indexes:
                outcomes[index] = _done(answer, rows[index])
        return [outcomes[index] for index in range(len(operations))]

    async def probe(self, http: Http) -> tuple[str, ...]:
        """List the Spaces that the token's owner sees, for `space_id`; where that cannot be read, a page of users."""
        path = self._path("orgs")
        first = await http.read(path, self._page(1), accept=_ABSENT)
        if first.status in _ABSENT:
            return await self._probe_users(http, first.status)
        lines = [_ACCEPTED]
        mine = None
        for org, about in (await self._pages(http, path, dict, first)).items():
            organisation = f"organisation {_name(about)!r}"
            path = self._path("spaces", org_id=org)
            first = await http.read(path, self._page(1), accept=(403, *_ABSENT))
            if first.status in (403, *_ABSENT):
                lines.append(f"The Spaces of {organisation} {org} cannot be listed ({first.status}).")
                continue
            for space, details in (await self._pages(http, path, dict, first)).items():
                lines.append(f"Space {_name(details)!r} {space} ({organisation})")
                if space.lower() == (self.settings.space_id or "").lower():
                    mine = _name(details)
        verdict = "is none of these Spaces: copy the right one" if mine is None else f"is Space {mine!r}"
        return (*lines, f"targets.{self.name}.space_id {self.settings.space_id} {verdict}.")

    async def _probe_users(self, http: Http, status: int) -> tuple[str, ...]:
        path = self._path("users")
        answer = await http.read(path, self._page(1), accept=_ABSENT)
        if answer.status in _ABSENT:
            raise TargetError(
                self.name,
                f"neither organisations ({status}) nor users ({answer.status}) can be read.",
                remedy="Check base_url, api_version, space_id and paths.",
            )
        self._rows(answer, path)
        space = self.settings.space_id
        return _ACCEPTED, f"Organisations cannot be listed ({status}), but the users of space_id {space} can."

    async def memberships(self, http: Http) -> Mapping[str, tuple[str, ...]]:
        """The names of the Tribes that each user belongs to, in order, by user id; a user of none is absent.

        Raises:
            TargetError: the Tribes or their users cannot be read.
        """
        found: dict[str, set[str]] = {}
        for tribe, about in (await self._pages(http, self._path("tribes"), dict)).items():
            for user in await self._pages(http, self._path("tribe_users", tribe_id=tribe), dict):
                found.setdefault(user, set()).add(_name(about))
        return {user: tuple(sorted(names)) for user, names in found.items()}

    def tag(self, name: str) -> str:
        """In lower case, with at most three levels."""
        return _tag(name)

    async def read_back(self, http: Http, accounts: Sequence[str], mark: str | None, moment: float) -> Told | None:  # noqa: ARG002
        """Read which Tribes everyone belongs to; whoever belongs to none is known to.

        Raises:
            TargetError: the Tribes or their users cannot be read.
        """
        tribes = await self.memberships(http)
        return Told({account: [_tribes(tribes.get(account, ()), moment)] for account in accounts})

    def _bodies(self, rows: Mapping[int, dict[str, Any]]) -> list[tuple[Any, tuple[int, ...]]]:
        """The bodies to send, each with the operations that it carries.

        Several tags for one user are one row: each holds the tags of those before it, so the last one holds all.
        """
        last = {row["id"]: row for row in rows.values()}
        if self.settings.envelope is not None:
            return [({self.settings.envelope: list(last.values())}, tuple(rows))] if rows else []
        return [
            (row, tuple(index for index, other in rows.items() if other["id"] == identifier))
            for identifier, row in last.items()
        ]

    def _path(self, name: str, **more: str) -> str:
        """One of the configured paths, filled in.

        Raises:
            ConfigurationError: it names something that has no value.
        """
        setting = f"targets.{self.name}.paths.{name}"
        values = {
            "api_version": self.settings.api_version,
            "space_id": self.settings.space_id,
            "environment": self.settings.environment,
            **more,
        }

        path: str = getattr(self.settings.paths, name)
        template = _PLACEHOLDER.sub("{}", path)
        if not path.startswith("/") or set(template.replace("{}", "")) & set("{}?#"):
            raise ConfigurationError(f"{setting}: {path!r} is no path: it begins with a slash, and has no query.")
        parts: list[str] = []
        for placeholder in _PLACEHOLDER.findall(path):
            if placeholder not in values:
                known = ", ".join(f"{{{value}}}" for value in values)
                raise ConfigurationError(f"{setting}: {{{placeholder}}} is unknown.", remedy=f"Known here: {known}.")
            value = values[placeholder]
            if not value:
                raise ConfigurationError(
                    f"{setting}: {{{placeholder}}} has no value.",
                    remedy=f"Set targets.{self.name}.{placeholder}, or take it out of the path.",
                )
            parts.append(value)
        return at(template, *parts)

    def _page(self, number: int) -> dict[str, str | int]:
        page = {self.settings.page_param: number, self.settings.page_size_param: self.settings.page_size}
        return {name: value for name, value in page.items() if name}

    async def _pages(
        self, http: Http, path: str, of: Callable[[Mapping[str, Any]], T], first: Answer | None = None
    ) -> Mapping[str, T]:
        """What `of` makes of all objects of a paged list, by id; `first` is its first page, if that was read already.

        The list ends with a page that shows nothing new: a short page need not be the last, and who ignores the page
        number shows the same again.
        """
        found: dict[str, T] = {}
        for number in range(1, _MAX_PAGES + 1):
            answer = first if first and number == 1 else await http.read(path, self._page(number))
            rows = self._rows(answer, path)
            fresh = {row["id"]: row for row in rows if row["id"] not in found}
            if rows and not fresh and len(rows) == len(found) == self.settings.page_size:
                raise ListingError(
                    self.name,
                    f"GET {path}: page {number} is the first page again, and a full one; the rest is out of reach.",
                    remedy="Check page_param and page_size_param; if the list is whole, choose another page_size.",
                )
            # A page may hold everybody, which takes seconds
            found |= await asyncio.to_thread(_made, of, fresh)
            if not fresh or not self.settings.page_param:
                return found
        raise ListingError(self.name, f"GET {path}: no end after {_MAX_PAGES} pages.")

    def _rows(self, answer: Answer, path: str) -> list[Mapping[str, Any]]:
        """The objects of one page: a bare array, or the one array in an object; their ids as text."""
        listed = answer.json
        if isinstance(listed, dict):
            arrays = [value for value in listed.values() if isinstance(value, list)]
            listed = arrays[0] if len(arrays) == 1 else None
        if not isinstance(listed, list):
            raise MalformedAnswerError(self.name, f"GET {path} answered neither an array nor an object with one.")
        for row in listed:
            identifier = row.get("id") if isinstance(row, dict) else None
            if isinstance(identifier, bool) or not isinstance(identifier, (str, int)) or identifier == "":
                raise MalformedAnswerError(self.name, f"GET {path} showed an object without an id.")
        return [{**row, "id": str(row["id"])} for row in listed]

    def _account(self, row: Mapping[str, Any]) -> Account:
        values: dict[str, str | None] = {}
        untouchable = None
        for name, value in row.items():
            if name == "tags":
                values[name] = canonical(value, Type.SET)
                if isinstance(value, list) and any(";" in str(tag) for tag in value):
                    untouchable = "marked with a tag that holds a semicolon, which would come back as two"
            elif name in self.catalogue:
                # Tribes are read from their own lists
                if self.catalogue[name].observed:
                    values[name] = canonical(value, self.catalogue[name].type)
            elif isinstance(value, (dict, list)):
                values[name] = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
            else:
                values[name] = canonical(value, Type.TEXT)
        return Account(row["id"], values, untouchable)


def _made(of: Callable[[Mapping[str, Any]], T], rows: Mapping[str, Mapping[str, Any]]) -> dict[str, T]:
    return {identifier: of(row) for identifier, row in rows.items()}


def _tribes(names: Sequence[str], moment: float) -> Fact:
    return Fact("tribes", moment, {"tribes": canonical(names, Type.SET)})


def _fields(operation: Operation) -> dict[str, Any]:
    """What an ingest says of a user beside the id: all that we manage, null for what is to be emptied.

    Raises:
        InvalidValueError: a tag that mtribes would not take.
    """
    fields: dict[str, Any] = {}
    changed = operation.after.keys()
    for name, text in operation.wanted.items():
        attribute = Mtribes.catalogue.get(name)
        if attribute and not attribute.on_update:
            continue
        if name == "tags":
            # Whether an ingest replaces or merges them is unknown: unchanged ones are better left out
            if name in changed or (operation.account is None and text):
                fields[name] = _tags(text, operation.observed.get(name))
        elif text is not None or (name in changed and operation.account is not None):
            fields[name] = text
    return fields


def _tags(wanted: str | None, observed: str | None) -> list[str]:
    """The tags to send. Those that are there already go back as they stand, whoever set them."""
    there = {tag.lower(): tag for tag in members(observed)}
    return list(dict.fromkeys(there.get(tag.lower()) or _tag(tag) for tag in members(wanted)))


def _tag(text: str) -> str:
    levels = text.split("/")
    if len(levels) > TAG_LEVELS:
        raise InvalidValueError(f"tag {text!r} has {len(levels)} levels; mtribes takes at most {TAG_LEVELS}")
    if any(not level or level != level.strip() for level in levels):
        # Mended here it would differ from the mapping for ever, and be sent in every run
        raise InvalidValueError(f"tag {text!r} has an empty level or blanks beside a slash; mend it in the mapping")
    return text.lower()


def _done(answer: Answer | Failure, row: Mapping[str, Any]) -> Outcome:
    if not isinstance(answer, Answer):
        return answer
    said = sentence(answer.json) if isinstance(answer.json, dict) and answer.json.get("errors") else None
    return Done(account=row["id"], note=said and f"mtribes accepted it and said: {said}")


def _name(row: Mapping[str, Any]) -> str:
    name = row.get("name")
    return name if isinstance(name, str) and name else str(row["id"])
