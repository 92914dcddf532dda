"""How an answer leads on to the next page of a list: by a header, an address, a page number or a cursor. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urljoin, urlsplit

from provisioner.errors import ListingError
from provisioner.targets.responses import Answer

_NEXT_LINK: Final = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?', re.IGNORECASE)


def link_to_next(answer: Answer) -> str | None:
    """The address that the header `Link` gives the next page (RFC 8288), None where it gives none."""
    found = _NEXT_LINK.search(answer.headers.get("link", ""))
    return found.group(1) if found else None


def query_of_address(target: str, origin: str, path: str, address: str, where: str) -> Mapping[str, str]:
    """The query of a next page that is given by its address, relative or whole.

    Args:
        path: of the present page.
        where: what gave the address, for the error.

    Raises:
        ListingError: it leads to another place, where our credentials do not go.
    """
    base = urlsplit(origin)
    there = urlsplit(urljoin(origin + path, address))
    ours = (there.scheme, there.netloc) == (base.scheme, base.netloc)
    if not ours or there.path not in (path, base.path + path):
        raise ListingError(target, f"GET {path}: {where} leads to another place, which is not followed.")
    return dict(parse_qsl(there.query, keep_blank_values=True))


def value_at(body: Any, path: str) -> Any:
    """The value at a path with dots between the levels; None where nothing does."""
    value: Any = body
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
