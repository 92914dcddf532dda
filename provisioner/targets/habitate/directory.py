"""Roles and boards of one community by name, and who we are: read once, kept for a while, read again on a miss."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.errors import ListingError, MalformedAnswerError, TargetError, UnauthorisedError
from provisioner.targets.http import Http
from provisioner.targets.responses import Answer

#: Seconds for which what was read is believed.
LASTING = 600.0
PAGE_SIZE = 50
#: habitate answers 403 to a wrong key as well, so no status alone says that the credentials are refused.
NO_STATUS: tuple[int, ...] = ()
#: Seconds after which a name that is not found is worth another reading.
_SOON = 30.0
#: Pages that show only what was shown, yet promise more, before the listing is not believed.
_IDLE_PAGES = 3
#: Empty pages in a row that promise more; the page gives no least number of items, so one is no sign of an end.
_EMPTY_PAGES = 1_000


class UnknownNameError(Exception):
    """A role or board of that name cannot be used; the message says why and which there are."""


@dataclass(frozen=True, slots=True)
class Board:
    """One board of the community."""

    id: str
    name: str
    private: bool


async def read(http: Http, path: str, params: Mapping[str, str | int] | None = None, *, absent: bool = False) -> Answer:
    """GET, telling a refused key from a forbidden read by asking who we are.

    Args:
        http: the transport.
        path: what to read.
        params: the query.
        absent: whether a 404 is an answer that the caller understands.

    Raises:
        UnauthorisedError: the key is refused.
        TargetError: reading this is forbidden, or any other failure.
    """
    answer = await http.read(path, params, accept=(403, 404) if absent else (403,), unauthorised=NO_STATUS)
    if answer.status == 403:
        await myself(http)
        raise TargetError(
            http.target,
            "the key is good, but reading this is forbidden (403).",
            remedy="Give the key's owner the permission to list members in habitate.",
        )
    return answer


async def myself(http: Http) -> Mapping[str, Any]:
    """The member that the key belongs to.

    Raises:
        UnauthorisedError: the key is refused.
        TargetError: any other failure.
    """
    answer = await http.read("/api/v1/users/me", accept=(403,), unauthorised=NO_STATUS)
    if answer.status == 403:
        raise UnauthorisedError(
            http.target, "habitate refuses the API key (403).", remedy="Check api_key: it is in your profile page."
        )
    if not isinstance(answer.json, dict):
        raise MalformedAnswerError(http.target, "the details about self are no JSON object.")
    return answer.json


async def read_pages(
    http: Http, path: str, params: Mapping[str, str | int], *, key: str, strict: bool = True
) -> list[Mapping[str, Any]]:
    """All items of a paged list, see `each_page`; an item seen twice is kept once, as last seen.

    Raises:
        ListingError, MalformedAnswerError, TargetError: see `each_page`.
    """
    found: dict[str, Mapping[str, Any]] = {}
    async for items in each_page(http, path, params, key=key, strict=strict):
        found |= {str(item[key]): item for item in items}
    return list(found.values())


async def each_page(
    http: Http, path: str, params: Mapping[str, str | int], *, key: str, strict: bool = True
) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """The pages of a list, one by one; a page may be short, only the header `has_more` says whether it was the last.

    Args:
        http: the transport.
        path: the list.
        params: the query but for the page.
        key: the field that names an item.
        strict: whether every page must carry `has_more`; the pages on roles and boards do not print it.

    An empty page is a page like any other. Only pages that repeat what was shown lead in a circle.

    Raises:
        ListingError: page after page brings nothing new, so the end would never come.
        MalformedAnswerError: it is no list of objects, or does not say whether there is more.
        TargetError: any other failure.
    """
    seen: set[str] = set()
    page, idle, empty = 0, 0, 0
    while True:
        page += 1
        answer = await read(http, path, {**params, "page": page})
        items = answer.json
        if not isinstance(items, list) or not all(isinstance(item, dict) and key in item for item in items):
            raise MalformedAnswerError(http.target, f"a list is no JSON array of objects with their {key}.")
        before = len(seen)
        seen |= {str(item[key]) for item in items}
        more = answer.headers.get("has_more")
        if more not in ("0", "1") and (more is not None or strict):
            raise MalformedAnswerError(
                http.target, "a page does not say in its header has_more whether it is the last."
            )
        yield items
        if more != "1":
            return
        empty = 0 if items else empty + 1
        if items:
            idle = idle + 1 if len(seen) == before else 0
        if idle == _IDLE_PAGES or empty == _EMPTY_PAGES:
            how = f"{idle} pages in a row repeated what was shown" if items else f"{empty} pages in a row were empty"
            raise ListingError(http.target, f"{how}, yet there should be more.", remedy="The next run tries again.")


class Directory:
    """What changes rarely."""

    def __init__(self) -> None:
        self._roles: tuple[float, Mapping[str, str]] | None = None
        self._boards: tuple[float, Sequence[Board]] | None = None
        self._me: str | None = None
        # Many senders ask at once; one reads, the others find what it read
        self._reading = asyncio.Lock()

    async def me(self, http: Http) -> str:
        """Our own msid."""
        if self._me is None:
            record = await myself(http)
            self._me = str(record.get("msid") or f"{record.get('user_id')}.{record.get('sid')}")
        return self._me

    async def roles(self, http: Http, *, age: float = LASTING) -> Mapping[str, str]:
        """Role names by id, read at most `age` seconds ago."""
        async with self._reading:
            if self._roles is None or time.monotonic() - self._roles[0] > age:
                records = await read_pages(http, "/api/v1/roles", {"page_size": PAGE_SIZE}, key="role_id", strict=False)
                roles = {str(record["role_id"]): str(record.get("role_name") or "").strip() for record in records}
                self._roles = time.monotonic(), roles
            return self._roles[1]

    async def boards(self, http: Http, *, age: float = LASTING) -> Sequence[Board]:
        """All boards, read at most `age` seconds ago."""
        async with self._reading:
            if self._boards is None or time.monotonic() - self._boards[0] > age:
                records = await read_pages(
                    http, "/api/v1/boards", {"page_size": PAGE_SIZE}, key="board_id", strict=False
                )
                boards = [
                    Board(
                        str(record["board_id"]),
                        str(record.get("board_name") or "").strip(),
                        private=record.get("is_private") is True,
                    )
                    for record in records
                ]
                self._boards = time.monotonic(), boards
            return self._boards[1]

    async def role_id(self, http: Http, name: str) -> int:
        """The id of the role of that name, whose case does not matter.

        Raises:
            UnknownNameError: there is no such role, or more than one.
        """
        roles: Mapping[str, str] = {}
        found: list[str] = []
        for age in (LASTING, _SOON):
            roles = await self.roles(http, age=age)
            found = [number for number, role in roles.items() if role.lower() == name.lower()]
            if len(found) == 1 and found[0].isdecimal():
                return int(found[0])
        named = f", whose name is {roles[name]!r}" if name in roles else ""
        raise UnknownNameError(
            f"habitate has {'several roles' if found else 'no role'} named {name!r}{named}; "
            f"its roles: {', '.join(sorted(roles.values()))}"
        )

    async def board(self, http: Http, name: str) -> Board:
        """The private board of that name, whose case does not matter.

        Raises:
            UnknownNameError: there is no such board, more than one, or it is not private.
        """
        boards: Sequence[Board] = ()
        found: list[Board] = []
        for age in (LASTING, _SOON):
            boards = await self.boards(http, age=age)
            found = [board for board in boards if board.name.lower() == name.lower()]
            if len(found) == 1 and found[0].private:
                return found[0]
        private = ", ".join(sorted(board.name for board in boards if board.private)) or "none"
        if len(found) == 1:
            raise UnknownNameError(f"the board {name!r} is open to every member; private boards: {private}")
        raise UnknownNameError(
            f"habitate has {'several boards' if found else 'no board'} named {name!r}; private boards: {private}"
        )


def role_name(roles: Mapping[str, str], role_id: str | None) -> str | None:
    """The name of a role; its id in words where the list of roles lacks it."""
    return (roles.get(role_id) or f"role {role_id}") if role_id else None
