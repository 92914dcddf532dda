"""How a list of Traitly's goes on, and what hints that it goes on somewhere unknown. Pure.

The page prints `"metadata": {}` and no paging. So a key that is there after all may say that only a part was shown.
`targets.<name>.paging` says what such keys mean; what it does not explain, a listing is not believed for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from provisioner.errors import ListingError
from provisioner.targets.following import link_to_next, query_of_address, value_at
from provisioner.targets.responses import Answer
from provisioner.targets.traitly.settings import TraitlyPaging

#: What every answer holds according to the page.
_ENVELOPE: Final = frozenset({"data", "metadata", "retrieved", "created", "object"})
#: Keys besides `metadata` that speak of pages; another one may say anything.
_SPEAKS_OF_PAGES: Final = re.compile(r"next|link|pag|cursor|total|count|more|offset|limit", re.IGNORECASE)
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reading is: the query of the present page, its number, and how many rows came until now, its own too."""

    path: str
    query: Mapping[str, str]
    number: int
    shown: int


@dataclass(frozen=True, slots=True)
class Hints:
    """What an answer says of further pages: the query of the next one, and what nobody can explain."""

    following: Mapping[str, str] | None = None
    unexplained: str | None = None


def hints(target: str, origin: str, settings: TraitlyPaging, answer: Answer, place: Place) -> Hints:
    """Read them.

    Raises:
        ListingError: the way to the next page leads to another place, or is no way.
    """
    body: Mapping[str, Any] = answer.json if isinstance(answer.json, dict) else {}
    address = link_to_next(answer)
    if address is not None:
        following: Mapping[str, str] | None = query_of_address(target, origin, place.path, address, "its header Link")
    else:
        following = _by_next(target, origin, settings, body, place) or _by_number(target, settings, body, place)
    strange = [
        key
        for key, value in (*_leaves(body.get("metadata"), "metadata"), *_beside(body))
        if not _empty(value) and not _explained(key, settings)
    ]
    total = _number(target, settings.total, body)
    if strange:
        named = ", ".join(strange[:_NAMED])
        return Hints(
            following,
            f"GET {place.path} answers with {named}, which Traitly's page does not print and nobody explained, so "
            f"there may be more than the {place.shown} rows that it shows. Say under targets.{target}.paging what it "
            "means (next, more, pages, total), or that it says nothing of pages (ignore)",
        )
    if following is None and total is not None and place.shown < total:
        return Hints(
            None,
            f"GET {place.path} shows {place.shown} rows, and {settings.total} says that there are {total}",
        )
    return Hints(following)


def _by_next(
    target: str, origin: str, settings: TraitlyPaging, body: Mapping[str, Any], place: Place
) -> Mapping[str, str] | None:
    """The query of the next page: from a page number, a cursor, a path or an address below our own origin."""
    following = value_at(body, settings.next)
    if following in (None, "", False):
        return None
    if isinstance(following, int) and not isinstance(following, bool):
        return {**place.query, settings.page: str(following)}
    if not isinstance(following, str):
        raise ListingError(target, f"GET {place.path}: {settings.next} is neither an address nor a page.")
    if not set(following) & set("/?:"):
        return {**place.query, settings.page if following.isdigit() else settings.cursor: following}
    return query_of_address(target, origin, place.path, following, settings.next)


def _by_number(target: str, settings: TraitlyPaging, body: Mapping[str, Any], place: Place) -> Mapping[str, str] | None:
    pages, total = (_number(target, path, body) for path in (settings.pages, settings.total))
    goes_on = bool(settings.more and value_at(body, settings.more) in (True, 1, "1", "true"))
    goes_on = goes_on or (pages is not None and place.number < pages)
    goes_on = goes_on or (pages is None and not settings.more and total is not None and place.shown < total)
    # An empty page ends what only a total promises; what is missing then is said
    if not goes_on or (pages is None and not settings.more and not body.get("data")):
        return None
    return {**place.query, settings.page: str(place.number + 1)}


def _number(target: str, path: str | None, body: Mapping[str, Any]) -> int | None:
    value = value_at(body, path) if path else None
    if value is None:
        return None
    text = str(value)
    if isinstance(value, bool) or not text.isdecimal():
        raise ListingError(target, f"{path} is no number; correct targets.{target}.paging.")
    return int(text)


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _leaves(member, f"{name}.{key}")
    elif value is not None:
        yield name, value


def _beside(body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in body.items():
        if key not in _ENVELOPE and _SPEAKS_OF_PAGES.search(key):
            yield from _leaves(value, key)


def _empty(value: Any) -> bool:
    return value is None or value is False or value == "" or value == []


def _explained(key: str, settings: TraitlyPaging) -> bool:
    known = (settings.next, settings.more, settings.pages, settings.total, *settings.ignore)
    return any(key == name or key.startswith(f"{name}.") for name in known if name)
