"""Reading Traitly's lists: the `data` of all pages, and the customers in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from provisioner.errors import ListingError, MalformedAnswerError
from provisioner.model.account import Account
from provisioner.model.attributes import InvalidValueError, canonical
from provisioner.targets.base import Listing
from provisioner.targets.http import Http
from provisioner.targets.responses import Answer
from provisioner.targets.traitly.attributes import CATALOGUE, CUSTOM, FAMILY, flat

CUSTOMERS = "/api/v1/customer"

_MAX_PAGES = 10_000
_NAMED = 3


async def rows(http: Http, origin: str, path: str, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """The `data` of all pages; a 404 to a question about one customer means that there is none.

    Raises:
        ListingError: the way to the next page leads elsewhere, in a circle or has no end.
        TargetError: any other failure.
    """
    found: list[Mapping[str, Any]] = []
    seen: set[tuple[tuple[str, str], ...]] = set()
    params: dict[str, str] | None = dict(query)
    while params is not None:
        here = tuple(sorted(params.items()))
        if here in seen:
            raise ListingError(http.target, f"GET {path}: metadata.next leads back to a page that was read.")
        if len(seen) == _MAX_PAGES:
            raise ListingError(http.target, f"GET {path}: metadata.next leads beyond {_MAX_PAGES} pages.")
        seen.add(here)
        answer = await http.read(path, params, accept=(404,) if query else ())
        if answer.status == 404:
            if len(seen) > 1:
                raise ListingError(http.target, f"GET {path}: metadata.next leads to nothing (404).")
            return []
        found += data(http.target, answer, path)
        params = _next(http.target, origin, answer, path, params)
    return found


def data(target: str, answer: Answer, path: str) -> list[Mapping[str, Any]]:
    """The list `data` of an answer.

    Raises:
        MalformedAnswerError: there is none.
    """
    found = rows_of(answer)
    if found is None:
        raise MalformedAnswerError(target, f"GET {path} answered no object with a list `data` of objects.")
    return found


def _next(target: str, origin: str, answer: Answer, path: str, params: Mapping[str, str]) -> dict[str, str] | None:
    """The query of the next page: from a page number, a cursor, a path or an address below our own origin."""
    metadata = answer.json.get("metadata")
    following = metadata.get("next") if isinstance(metadata, dict) else None
    if following in (None, "", False):
        return None
    if isinstance(following, int) and not isinstance(following, bool):
        return {**params, "page": str(following)}
    if not isinstance(following, str):
        raise ListingError(target, f"GET {path}: metadata.next is neither an address nor a page.")
    if not set(following) & set("/?:"):
        return {**params, "page" if following.isdigit() else "cursor": following}
    base = urlsplit(origin)
    there = urlsplit(urljoin(origin + path, following))
    ours = (there.scheme, there.netloc) == (base.scheme, base.netloc)
    if not ours or there.path not in (path, base.path + path):
        # Our credentials go nowhere but to where the operator sent them
        raise ListingError(target, f"GET {path}: metadata.next leads to another place, which is not followed.")
    return dict(parse_qsl(there.query, keep_blank_values=True))


def rows_of(answer: Answer) -> list[Mapping[str, Any]] | None:
    """The list `data` that every answer holds, or None if it does not."""
    found = answer.json.get("data") if isinstance(answer.json, dict) else None
    return found if isinstance(found, list) and all(isinstance(row, dict) for row in found) else None


def listing(target: str, rows: list[Mapping[str, Any]]) -> Listing:
    """The listing of these rows, which are let go of one by one: they take a kilobyte each, and so do accounts."""
    accounts: dict[str, Account] = {}
    doubled: dict[str, None] = {}
    rows.reverse()
    while rows:
        one = account(target, rows.pop())
        if one.id in accounts:
            doubled[one.id] = None
        else:
            accounts[one.id] = one
    return Listing(tuple(accounts.values()), notes=notes(doubled))


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
    custom = row.get(CUSTOM)
    if isinstance(custom, dict):
        values[CUSTOM] = json.dumps(custom, separators=(",", ":")) if custom else None
        values.update((f"{FAMILY}{name}", flat(value)) for name, value in custom.items() if name)
    elif custom:
        unreadable.append(f"{CUSTOM} is no object")
    # An update sends everything back, so what cannot be read would be lost
    why = f"unreadable in part ({'; '.join(unreadable)})" if unreadable else None
    return Account(str(identifier), values, untouchable=why)


def notes(identifiers: Mapping[str, None]) -> tuple[str, ...]:
    """What is said of identifiers that more than one customer has."""
    if not identifiers:
        return ()
    named = ", ".join(list(identifiers)[:_NAMED])
    more = f" and {len(identifiers) - _NAMED} more" if len(identifiers) > _NAMED else ""
    return (f"Traitly shows more than one customer for customer_id {named}{more}; the first of each is taken.",)
