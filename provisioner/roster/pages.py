"""A roster that a service hands out in pages, read whole and put together as one JSON document."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final
from urllib.parse import urljoin

import httpx
import msgspec

from provisioner.errors import RosterError
from provisioner.settings.roster import PageSettings

#: Pages of one roster.
MOST_PAGES: Final = 10_000
#: What `next` says where the address of the next page is in the header Link.
LINK: Final = "link"
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])

#: Asks for an address, and gives the answer and its body of at most so many bytes.
Ask = Callable[[httpx.URL, int], tuple[httpx.Response, bytes]]


def read_pages(first: httpx.URL, name: str, pages: PageSettings, records: str | None, limit: int, ask: Ask) -> bytes:
    """All pages as one document, with each record in a line of its own and the list where `records` says.

    Raises:
        RosterError: a page is no JSON or lacks the list, pages come round again, there are too many, or more than
            `limit` bytes.
    """
    parts: list[bytes] = []
    size = number = 0
    asked: set[str] = set()
    seen: dict[bytes, int] = {}
    address: httpx.URL | None = _numbered(first, pages, pages.first)
    while address is not None:
        number += 1
        if str(address) in asked:
            raise RosterError(
                f"{name}: page {number} is one that was read already, so the pages never end.",
                remedy="Look at roster.pages, and at what the service answers as the next page.",
            )
        if number > MOST_PAGES:
            raise RosterError(f"{name} has more than {MOST_PAGES} pages.", remedy="Ask for larger ones: roster.pages.")
        asked.add(str(address))
        answer, body = ask(address, limit - size)
        found = _records(body, records, f"{name}, page {number}")
        content = b",\n".join(bytes(one) for one in found)
        size += len(content)
        mark = hashlib.sha256(content).digest()
        if found and mark in seen:
            raise RosterError(
                f"{name}: page {number} has the same records as page {seen[mark]}, so not all of them can be right.",
                remedy="Look at roster.pages: the service may not know the parameter of the page.",
            )
        seen[mark] = number
        if found:
            parts.append(content)
        address = _next(answer, body, address, first, number, pages, some=bool(found))
    return _nested(b",\n".join(parts), records)


def _records(body: bytes, records: str | None, where: str) -> list[msgspec.Raw]:
    raw: bytes | msgspec.Raw = body
    try:
        for field in records.split(".") if records else ():
            raw = _OBJECT.decode(raw)[field]
        return _LIST.decode(raw)
    except KeyError as exc:
        raise RosterError(f"{where}: it has no {exc.args[0]!r}.", remedy="Fix roster.records.") from None
    except (msgspec.DecodeError, RecursionError):
        what = f"{records} is no list" if records else "it is no JSON array"
        raise RosterError(f"{where}: {what}.", remedy="Fix roster.records, or roster.pages.") from None


def _nested(content: bytes, records: str | None) -> bytes:
    whole = b"[" + content + b"]"
    for field in reversed(records.split(".") if records else ()):
        whole = b"{" + msgspec.json.encode(field) + b":" + whole + b"}"
    return whole


def _numbered(address: httpx.URL, pages: PageSettings, number: int) -> httpx.URL:
    if pages.page is None:
        return address
    address = address.copy_set_param(pages.page, str(number))
    return address.copy_set_param(pages.size, str(pages.per)) if pages.size else address


def _next(
    answer: httpx.Response,
    body: bytes,
    address: httpx.URL,
    first: httpx.URL,
    number: int,
    pages: PageSettings,
    *,
    some: bool,
) -> httpx.URL | None:
    """The address of the next page; None after the last.

    By numbers the last page is the one without records: a shorter one may be short because the service gives fewer.
    """
    if pages.next is None:
        return _numbered(first, pages, pages.first + number) if some else None
    if pages.next.lower() == LINK:
        link = answer.links.get("next", {}).get("url")
        return _joined(address, link) if link else None
    value = _value(body, pages.next)
    if not value:
        return None
    if value.startswith(("http://", "https://", "/", "?")):
        return _joined(address, value)
    return first.copy_set_param(pages.cursor, value)


def _joined(address: httpx.URL, link: str) -> httpx.URL:
    try:
        return httpx.URL(urljoin(str(address), link))
    except (httpx.InvalidURL, ValueError):
        raise RosterError("The address of the next page cannot be read.", remedy="Look at roster.pages.") from None


def _value(body: bytes, path: str) -> str | None:
    """The text or number at a path of a page; None where there is none."""
    raw: bytes | msgspec.Raw = body
    try:
        for field in path.split("."):
            raw = _OBJECT.decode(raw)[field]
        value = msgspec.json.decode(raw)
    except (KeyError, msgspec.DecodeError, RecursionError):
        return None
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
