"""Looking for one member among the newest: habitate finds nobody by email, and its lists show names only.

Source: section "Users" of habitate's API page.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from provisioner.model.account import Account
from provisioner.targets.habitate.directory import PAGE_SIZE, Directory, each_page
from provisioner.targets.habitate.listing import STATUSES, USERS, find_one, values_of
from provisioner.targets.http import Http

#: Pages of newest members that a search goes through at most, of each status.
MOST_PAGES: Final = 60
#: Seconds by which a vendor's clock may be off ours; `created_at` is by theirs.
_CLOCKS_APART: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to.

    `hidden`: somebody was seen who might be the one, but whose email may not be seen. `cut`: there were more members
    to look through than a search may take.
    """

    account: Account | None = None
    hidden: bool = False
    cut: bool = False


class Search:
    """The newest members, read no further back than someone asks, and once for all who ask with one client.

    What was read stays as it was, so this must live no longer than the present work: a member who is made meanwhile
    is not seen.
    """

    def __init__(self, http: Http, directory: Directory) -> None:
        self._http = http
        self._directory = directory
        self._newest = {status: _Newest(http, status) for status in STATUSES}
        self._details: dict[str, Account | None] = {}

    async def find(
        self, wanted: Mapping[str, str | None], *, since: float, ours: bool, most: int = MOST_PAGES
    ) -> Found:
        """Look for the member with the wanted email among those made `since` (epoch seconds).

        Only details tell the email, so they are read of those who may be the one. A member of our own making (`ours`)
        has the username that we gave; another one may have that, or the first name.

        Raises:
            TargetError: the search failed.
        """
        email, username, first_name = (_folded(wanted.get(name)) for name in ("email", "username", "first_name"))
        hidden = cut = False
        seen: set[str] = set()
        for newest in self._newest.values():
            members, whole = await newest.since(since - _CLOCKS_APART, most)
            cut = cut or not whole
            for values in members:
                msid = str(values["msid"])
                shown = _folded(values.get("username"))
                likely = username is not None and shown == username
                if not (ours and username and shown):
                    likely = likely or _folded(values.get("first_name")) == first_name
                if msid in seen or not likely:
                    continue
                seen.add(msid)
                found = await self._member(msid)
                if found is not None and _folded(found.values.get("email")) == email:
                    return Found(found)
                # Who is listed is there, though the details may answer 404
                hidden = hidden or found is None or not found.values.get("email")
        return Found(hidden=hidden, cut=cut)

    async def _member(self, msid: str) -> Account | None:
        if msid not in self._details:
            self._details[msid] = await find_one(self._http, self._directory, msid)
        return self._details[msid]


@dataclass(slots=True)
class _Newest:
    """Members of one status, newest first, as far as they have been read."""

    http: Http
    status: int
    members: list[Mapping[str, str | None]] = field(default_factory=list)
    pages: int = 0
    oldest: float = float("inf")
    ended: bool = False
    _reading: AsyncIterator[Sequence[Mapping[str, Any]]] | None = None
    _one_reads: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def since(self, moment: float, most: int) -> tuple[Sequence[Mapping[str, str | None]], bool]:
        """Those made since a moment, older ones perhaps among them; and whether that is all of them.

        Raises:
            TargetError: a page could not be read.
        """
        async with self._one_reads:
            while not self._reaches(moment) and self.pages < most:
                await self._read_on()
        return self.members, self._reaches(moment)

    def _reaches(self, moment: float) -> bool:
        return self.ended or self.oldest < moment

    async def _read_on(self) -> None:
        query: dict[str, str | int] = {
            "status": self.status, "sort_by": "user_id", "order": "desc", "page_size": PAGE_SIZE,
        }  # fmt: skip
        if self._reading is None:
            self._reading = each_page(self.http, USERS, query, key="user_id")
        try:
            items = await anext(self._reading)
        except StopAsyncIteration:
            self.ended = True
            return
        except BaseException:
            # Whoever asks next starts over: a reading that failed can not be gone on with
            self._reading, self.pages, self.oldest = None, 0, float("inf")
            self.members.clear()
            raise
        self.pages += 1
        for item in items:
            values = values_of(self.http.target, item)
            self.members.append(values)
            self.oldest = min(self.oldest, _moment(values.get("created_at")))


def _moment(text: str | None) -> float:
    """Epoch seconds; a member who does not tell is taken for new."""
    try:
        made = datetime.fromisoformat(text or "")
    except ValueError:
        return float("inf")
    return made.timestamp() if made.tzinfo else float("inf")


def _folded(value: str | None) -> str | None:
    return value.lower() if value else None
