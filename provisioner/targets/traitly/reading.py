"""Reading Traitly's lists: the `data` of all pages, and the customers in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from provisioner.errors import ListingError, MalformedAnswerError
from provisioner.model.account import Account
from provisioner.model.attributes import InvalidValueError, Type, canonical
from provisioner.targets.base import Listing
from provisioner.targets.http import Http
from provisioner.targets.responses import Answer
from provisioner.targets.traitly.attributes import CATALOGUE, CUSTOM, FAMILY, UNQUOTED, flat
from provisioner.targets.traitly.paging import Place, hints
from provisioner.targets.traitly.settings import TraitlyPaging

CUSTOMERS = "/api/v1/customer"

_MAX_PAGES = 10_000
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Rows:
    """The `data` of all pages that were read, and why there may be more of it, if so."""

    rows: list[Mapping[str, Any]]
    doubt: str | None = None


class Reader:
    """Reads lists of one target, page by page.

    Args:
        origin: see `Target.origin`.
        size: customers asked for in one page, where the settings name a parameter for it.
    """

    def __init__(self, http: Http, origin: str, settings: TraitlyPaging, size: int) -> None:
        self._http, self._origin, self._settings, self._size = http, origin, settings, size

    async def rows(self, path: str, query: Mapping[str, str]) -> Rows:
        """The `data` of all pages; a 404 to a question about one customer means that there is none.

        Raises:
            ListingError: the way to the next page leads elsewhere, in a circle or has no end.
            TargetError: any other failure.
        """
        http, found, before = self._http, list[Mapping[str, Any]](), list[Mapping[str, Any]]()
        seen: set[tuple[tuple[str, str], ...]] = set()
        sized = {self._settings.size: str(self._size)} if self._settings.size else {}
        params: Mapping[str, str] | None = {**query, **sized}
        doubt = None
        while params is not None:
            here = tuple(sorted(params.items()))
            if here in seen:
                raise ListingError(http.target, f"GET {path}: the way to the next page leads back to one already read.")
            if len(seen) == _MAX_PAGES:
                raise ListingError(http.target, f"GET {path}: there are more than {_MAX_PAGES} pages.")
            seen.add(here)
            answer = await http.read(path, params, accept=(404,) if query else ())
            if answer.status == 404:
                if len(seen) > 1:
                    raise ListingError(http.target, f"GET {path}: the way to the next page leads to nothing (404).")
                return Rows([])
            page = data(http.target, answer, path)
            if page and page == before:
                raise ListingError(
                    http.target,
                    f"GET {path}: page {len(seen)} shows the same as the one before, so pages are asked for otherwise.",
                    remedy=f"Correct targets.{http.target}.paging.",
                )
            found += page
            before = page
            place = Place(path, params, len(seen), len(found))
            said = hints(http.target, self._origin, self._settings, answer, place)
            doubt = said.unexplained or doubt
            params = said.following
        return Rows(found, doubt)

    async def certain(self, path: str, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """The rows of an answer to a question about one customer.

        Raises:
            ListingError: besides, there are none, and there may be more than were shown.
            TargetError: see `rows`.
        """
        found = await self.rows(path, query)
        if not found.rows and found.doubt:
            raise ListingError(self._http.target, f"{found.doubt}.")
        return found.rows


def data(target: str, answer: Answer, path: str) -> list[Mapping[str, Any]]:
    """The list `data` of an answer.

    Raises:
        MalformedAnswerError: there is none.
    """
    found = rows_of(answer)
    if found is None:
        raise MalformedAnswerError(target, f"GET {path} answered no object with a list `data` of objects.")
    return found


def rows_of(answer: Answer) -> list[Mapping[str, Any]] | None:
    """The list `data` that every answer holds, or None if it does not."""
    found = answer.json.get("data") if isinstance(answer.json, dict) else None
    return found if isinstance(found, list) and all(isinstance(row, dict) for row in found) else None


def listing(target: str, rows: list[Mapping[str, Any]], doubt: str | None = None) -> Listing:
    """The listing of these rows, which are released one by one: they take a kilobyte each, and so do accounts."""
    accounts: dict[str, Account] = {}
    doubled: dict[str, None] = {}
    rows.reverse()
    while rows:
        one = account(target, rows.pop())
        if one.id in accounts:
            doubled[one.id] = None
        else:
            accounts[one.id] = one
    return Listing(tuple(accounts.values()), notes=notes(doubled), doubt=doubt)


def account(target: str, row: Mapping[str, Any]) -> Account:
    """The account that a row shows.

    Raises:
        MalformedAnswerError: it has no `customer_id`.
    """
    identifier = row.get("customer_id")
    if identifier is None or identifier == "" or isinstance(identifier, (dict, list, bool)):
        raise MalformedAnswerError(target, f"GET {CUSTOMERS} showed a customer without a customer_id.")
    values: dict[str, str | None] = {}
    unreadable: list[str] = []
    for name, attribute in CATALOGUE.items():
        if name == CUSTOM:
            continue
        try:
            values[name] = canonical(row.get(name), attribute.type)
        except InvalidValueError as exc:
            values[name] = None
            unreadable.append(f"{name} {exc}")
    unquoted = [name for name, one in CATALOGUE.items() if one.type is Type.TEXT and _is_number(row.get(name))]
    if unquoted:
        values[UNQUOTED] = ";".join(unquoted)
    custom = row.get(CUSTOM)
    if isinstance(custom, dict):
        values[CUSTOM] = json.dumps(custom, separators=(",", ":")) if custom else None
        values.update((f"{FAMILY}{name}", flat(value)) for name, value in custom.items() if name)
    elif custom:
        unreadable.append(f"{CUSTOM} is no object")
    # An update sends everything back, so what cannot be read would be lost
    why = f"unreadable in part ({'; '.join(unreadable)})" if unreadable else None
    return Account(str(identifier), values, untouchable=why)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def notes(identifiers: Mapping[str, None]) -> tuple[str, ...]:
    """What is said of identifiers that more than one customer has."""
    if not identifiers:
        return ()
    named = ", ".join(list(identifiers)[:_NAMED])
    more = f" and {len(identifiers) - _NAMED} more" if len(identifiers) > _NAMED else ""
    return (f"Traitly shows more than one customer for customer_id {named}{more}; the first of each is taken.",)
