"""Reading the lists of one Space: users, Tribes and their users, organisations and their Spaces.

Paths and page parameters are assumed, so they come from the settings.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from provisioner.errors import ConfigurationError, ListingError, MalformedAnswerError
from provisioner.model.account import Account
from provisioner.model.attributes import Type, canonical
from provisioner.model.event import Fact
from provisioner.targets.following import link_to_next, query_of_address, value_at
from provisioner.targets.http import Http
from provisioner.targets.mtribes.attributes import CATALOGUE
from provisioner.targets.mtribes.settings import MtribesSettings
from provisioner.targets.paths import at
from provisioner.targets.responses import Answer

_MAX_PAGES = 100_000
#: Keys besides a list that count its objects, and those that lead on to more of them.
_COUNTS = re.compile(r"(?:^|[._])(?:total|count)|(?:total|count)$", re.IGNORECASE)
_LEADS_ON = re.compile(r"next|cursor|has_?more", re.IGNORECASE)
#: How a vendor says that there is no page of that number.
_NO_SUCH_PAGE = (400, 404, 405, 416, 422)
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
T = TypeVar("T")


class Lists:
    """The lists that one target reads: where they are, and how their pages lead on."""

    def __init__(self, name: str, settings: MtribesSettings) -> None:
        self.name = name
        self.settings = settings

    def path(self, name: str, **more: str) -> str:
        """One of the configured paths, filled in.

        Raises:
            ConfigurationError: it names something that has no value.
        """
        return self._filled(f"targets.{self.name}.paths.{name}", getattr(self.settings.paths, name), more)

    def tags_path(self, user: str) -> str:
        """The path of the tags of one user.

        Raises:
            ConfigurationError: as `path`.
        """
        return self._filled(
            f"targets.{self.name}.dialect.tags.path", self.settings.dialect.tags.path, {"user_id": user}
        )

    def _filled(self, setting: str, path: str, more: Mapping[str, str]) -> str:
        values = {
            "api_version": self.settings.api_version,
            "space_id": self.settings.space_id,
            "environment": self.settings.environment,
            **more,
        }
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

    def first(self) -> dict[str, str | int]:
        """The query of the first page of any list."""
        return self._page(1, 0)

    def _page(self, number: int, shown: int) -> dict[str, str | int]:
        """The query of a page.

        Args:
            number: from 1 on, whatever the first page is called.
            shown: how many objects the pages before it showed.
        """
        pages, query = self.settings.dialect.list, dict[str, str | int]()
        if pages.offset:
            query[pages.offset] = shown
        elif self.settings.page_param and not pages.cursor:
            query[self.settings.page_param] = number - 1 + pages.first
        if self.settings.page_size_param:
            query[self.settings.page_size_param] = self.settings.page_size
        return query

    async def pages(
        self,
        http: Http,
        path: str,
        of: Callable[[Mapping[str, Any]], T],
        first: Answer | None = None,
        doubts: list[str] | None = None,
    ) -> Mapping[str, T]:
        """What `of` makes of all objects of a paged list, by id; `first` is its first page, if that was read already.

        Args:
            doubts: gets a sentence where the last page hints at more than was shown.

        An answer that leads on by its header Link, or by `dialect.list.next`, is followed. Else the list ends with a
        page that shows nothing new: a short page need not be the last, and who ignores the page number shows the same
        again.

        Raises:
            ListingError: the way to the next page leads elsewhere or in a circle, or the rest is out of reach.
            TargetError: any other failure.
        """
        found: dict[str, T] = {}
        asked: set[tuple[tuple[str, str | int], ...]] = set()
        query: Mapping[str, str | int] | None = self.first()
        shown, led, last = 0, False, None
        while query is not None:
            here = tuple(sorted(query.items()))
            if led and here in asked:
                raise ListingError(self.name, f"GET {path}: the way to the next page leads back to one already read.")
            if len(asked) == _MAX_PAGES:
                raise ListingError(self.name, f"GET {path}: no end after {_MAX_PAGES} pages.")
            asked.add(here)
            answer = first if first and len(asked) == 1 else await http.read(path, query)
            rows = self.rows(answer, path)
            shown += len(rows)
            fresh = {row["id"]: row for row in rows if row["id"] not in found}
            if rows and not fresh and len(rows) == len(found) == self.settings.page_size:
                raise ListingError(
                    self.name,
                    f"GET {path}: page {len(asked)} is the first page again, and a full one; the rest is out of reach.",
                    remedy="Check page_param, page_size_param and dialect.list; if the list is whole, choose another "
                    "page_size.",
                )
            # A page may hold everybody, which takes seconds
            found |= await asyncio.to_thread(_made, of, fresh)
            following = self._following(answer, query, path)
            led = led or following is not None
            if following is None and not led and fresh and self._numbered:
                following = self._page(len(asked) + 1, shown)
            query, last = following, answer.json
        if doubts is not None:
            hint = self._hint(last, len(found))
            if hint is not None:
                doubts.append(f"GET {path} shows {len(found)} objects, and {hint}")
            if not led and self._numbered and await self._earlier(http, path, found):
                doubts.append(
                    f"GET {path} shows objects on page 0 that page 1 and later do not. Set dialect.list.first: 0"
                )
        return found

    async def _earlier(self, http: Http, path: str, found: Collection[str]) -> bool:
        """Whether pages begin with 0 after all: asked at first contact, unless the settings say with which they do."""
        pages = self.settings.dialect.list
        if pages.offset or "first" in pages.model_fields_set or not http.first_contact:
            return False
        answer = await http.read(path, self._page(0, 0), accept=_NO_SUCH_PAGE)
        if answer.status in _NO_SUCH_PAGE:
            return False
        return any(row["id"] not in found for row in self.rows(answer, path))

    @property
    def _numbered(self) -> bool:
        """Whether pages are asked for by number or offset, as long as they show something new."""
        pages = self.settings.dialect.list
        return not pages.next and bool(pages.offset or self.settings.page_param)

    def _following(self, answer: Answer, query: Mapping[str, str | int], path: str) -> Mapping[str, str | int] | None:
        """The query of the next page that an answer leads on to, None where it leads nowhere.

        Raises:
            ListingError: it leads to another place, or is no way.
        """
        pages = self.settings.dialect.list
        address = link_to_next(answer)
        if address is not None:
            return query_of_address(self.name, self.settings.base_url, path, address, "its header Link")
        following = value_at(answer.json, pages.next) if pages.next else None
        if following in (None, "", False):
            return None
        if isinstance(following, bool) or not isinstance(following, (str, int)):
            raise ListingError(self.name, f"GET {path}: {pages.next} is neither a cursor nor an address nor a page.")
        if pages.cursor:
            return {**query, pages.cursor: following}
        if isinstance(following, str) and set(following) & set("/?:"):
            return query_of_address(self.name, self.settings.base_url, path, following, pages.next)
        parameter = pages.offset or self.settings.page_param
        if not parameter:
            raise ListingError(
                self.name,
                f"GET {path}: {pages.next} says {following!r}, and nobody said which parameter takes it.",
                remedy=f"Set targets.{self.name}.dialect.list.cursor.",
            )
        return {**query, parameter: following}

    def _hint(self, body: Any, shown: int) -> str | None:
        """What besides the list of a last page says that there is more; None where nothing does."""
        if not isinstance(body, dict):
            return None
        for key, value in _beside(body, ""):
            asking = "page_param, page_size_param, page_size or dialect.list"
            hint = f"{key} says {value!r}. Set {asking} so that all are shown"
            if key in self.settings.ignore or key == self.settings.dialect.list.next:
                continue
            if _COUNTS.search(key) and isinstance(value, int) and not isinstance(value, bool) and value > shown:
                return f"{hint}, or name it under targets.{self.name}.ignore"
            if _LEADS_ON.search(key) and value not in (None, False, "", 0, "0", "false"):
                return f"{hint}, or name it under targets.{self.name}.ignore"
        return None

    def rows(self, answer: Answer, path: str) -> list[Mapping[str, Any]]:
        """The objects of one page: a bare array, or the one array in an object; their ids as text."""
        where, listed = self.settings.dialect.list.at, answer.json
        if where is not None:
            listed = value_at(listed, where)
        elif isinstance(listed, dict):
            arrays = [value for value in listed.values() if isinstance(value, list)]
            listed = arrays[0] if len(arrays) == 1 else None
        if not isinstance(listed, list):
            raise MalformedAnswerError(
                self.name,
                f"GET {path} answered no list at {where}."
                if where
                else f"GET {path} answered neither an array nor an object with one.",
                remedy=f"Say under targets.{self.name}.dialect.list.at where it is, such as data.items.",
            )
        return [{**row, "id": identifier} for row, identifier in ((row, self._id(row, path)) for row in listed)]

    def _id(self, row: Any, path: str) -> str:
        identifier = value_at(row, self.settings.dialect.ids.at)
        if isinstance(identifier, bool) or not isinstance(identifier, (str, int)) or identifier == "":
            raise MalformedAnswerError(
                self.name,
                f"GET {path} showed an object without an id.",
                remedy=f"Say under targets.{self.name}.dialect.ids.at where ids are, such as user.uuid.",
            )
        return str(identifier)

    async def memberships(self, http: Http) -> Mapping[str, tuple[str, ...]]:
        """The names of the Tribes that each user belongs to, in order, by user id; a user of none is absent.

        Raises:
            TargetError: the Tribes or their users cannot be read.
        """
        found: dict[str, set[str]] = {}
        for tribe, about in (await self.pages(http, self.path("tribes"), dict)).items():
            for user in await self.pages(http, self.path("tribe_users", tribe_id=tribe), dict):
                found.setdefault(user, set()).add(name_of(about))
        return {user: tuple(sorted(names)) for user, names in found.items()}


class Users:
    """Makes accounts of listed users.

    `strange` counts, by attribute, values that are not of the type that accounts have: they are never turned into text,
    since that would be sent back.
    """

    def __init__(self, settings: MtribesSettings) -> None:
        self._fields = settings.fields
        self._needed = {*CATALOGUE, *settings.attributes, *settings.leaver, *settings.match}
        self.strange: Counter[str] = Counter()

    def account(self, row: Mapping[str, Any]) -> Account:
        """The account that a row shows."""
        shown = {**row, **{name: _at(row, path.split(".")) for name, path in self._fields.items()}}
        for name in self._needed & shown.keys():
            if not _is_plain(name, shown[name]):
                self.strange[name] += 1
                shown[name] = None
        return account(shown)


def _at(value: Any, path: Sequence[str]) -> Any:
    """The value at a path; of each member where the path crosses a list."""
    if not path:
        return value
    if isinstance(value, list):
        return [_at(one, path) for one in value]
    return _at(value.get(path[0]), path[1:]) if isinstance(value, dict) else None


def _is_plain(name: str, value: Any) -> bool:
    if name == "tags":
        return (
            value is None
            or isinstance(value, str)
            or (isinstance(value, list) and all(isinstance(tag, str) for tag in value))
        )
    return name == "tribes" or not isinstance(value, (dict, list))


def _beside(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Plain values of an answer outside its lists, by path."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _beside(member, f"{name}.{key}" if name else key)
    elif not isinstance(value, list):
        yield name, value


def account(row: Mapping[str, Any]) -> Account:
    """The account that a row of the users shows."""
    values: dict[str, str | None] = {}
    untouchable = None
    for name, value in row.items():
        if name == "tags":
            values[name] = canonical(value, Type.SET)
            if isinstance(value, list) and any(";" in str(tag) for tag in value):
                untouchable = "marked with a tag that holds a semicolon, which would come back as two"
        elif name in CATALOGUE:
            # Tribes are read from their own lists
            if CATALOGUE[name].observed:
                values[name] = canonical(value, CATALOGUE[name].type)
        elif isinstance(value, (dict, list)):
            values[name] = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        else:
            values[name] = canonical(value, Type.TEXT)
    return Account(row["id"], values, untouchable)


def _made(of: Callable[[Mapping[str, Any]], T], rows: Mapping[str, Mapping[str, Any]]) -> dict[str, T]:
    return {identifier: of(row) for identifier, row in rows.items()}


def tribes(names: Sequence[str], moment: float) -> Fact:
    """What is kept of the Tribes that somebody belongs to."""
    return Fact("tribes", moment, {"tribes": canonical(names, Type.SET)})


def name_of(row: Mapping[str, Any]) -> str:
    """The name of a Tribe, Space or organisation; its id where it has none."""
    name = row.get("name")
    return name if isinstance(name, str) and name else str(row["id"])
