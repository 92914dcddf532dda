"""Observing: who is there, by listings of every status and the details that these lack."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

from provisioner.errors import MalformedAnswerError, TargetError, UnauthorisedError
from provisioner.model.account import Account
from provisioner.model.attributes import DETAILS_READ_AT, InvalidValueError
from provisioner.targets.base import Listing
from provisioner.targets.concurrently import each
from provisioner.targets.habitate import attributes
from provisioner.targets.habitate.attributes import BANNED, DELETED, LISTED
from provisioner.targets.habitate.directory import NO_STATUS, PAGE_SIZE, Directory, myself, read, read_pages, role_name
from provisioner.targets.http import Http
from provisioner.targets.paths import at

USERS = "/api/v1/users"
USER = "/api/v1/users/{}"
#: `status` takes one value.
STATUSES = (10, 6, 5, 4, 0, -3)
#: Deleted members are not accounts any more.
DELETED_STATUS = -100
LISTINGS_AT_ONCE = 3
DETAILS_AT_ONCE = 8
#: Linked accounts that no listing shows are asked for one by one, up to this many.
MISSING_ASKED = 50
#: Details that no listing shows may change unseen, so they are read again after one to two of these.
REFRESH = 30 * 86_400


async def observe(http: Http, directory: Directory, page_size: int, known: Mapping[str, Account]) -> Listing:
    """Every member of every status but the deleted.

    Raises:
        ListingError, TargetError: see `Target.observe`.
    """
    me = await directory.me(http)
    roles = await directory.roles(http, age=0)

    async def listing(status: int) -> Sequence[Mapping[str, Any]]:
        return await members_of(http, status, page_size=page_size)

    items = await asyncio.to_thread(_by_msid, http.target, await each(STATUSES, listing, limit=LISTINGS_AT_ONCE))
    reader = _Reader(http)
    missing = [msid for msid in known if msid not in items]
    found = await each(missing[:MISSING_ASKED], reader.details, limit=DETAILS_AT_ONCE)
    unlisted = {str(values["msid"]): values for values in found if values is not None}
    stale = [msid for msid, values in items.items() if _wants_details(values, known.get(msid))]
    details = dict(zip(stale, await each(stale, reader.details, limit=DETAILS_AT_ONCE), strict=True))
    accounts: list[Account] = []
    unread: set[str] = set()
    for msid, values in {**items, **unlisted}.items():
        read_now = details.get(msid)
        before = known[msid].values if msid in known else {}
        if read_now is not None:
            whole = {**values, **read_now}
            if whole.get("is_bot") is None and before.get("is_bot"):
                whole["is_bot"] = before["is_bot"]
        else:
            # A member who is listed is there, whatever one answer to a question about them says
            whole = {**before, **values}
        if whole.get("user_status") == DELETED:
            continue
        one = account(whole, roles, me)
        if _is_unread(one, me):
            unread.add(msid)
        accounts.append(one)
    absent = sum(one is None for one in details.values())
    deleted, untold = await _deleted(http, page_size)
    return Listing(
        accounts,
        notes=(*_notes(accounts, missing, reader.hidden, absent), *untold),
        unread=frozenset(unread),
        deleted=frozenset(deleted),
    )


async def _deleted(http: Http, page_size: int) -> tuple[set[str], tuple[str, ...]]:
    """The msids of deleted members, and why they are not known, if so: they only explain what is refused."""
    try:
        found = await members_of(http, DELETED_STATUS, page_size=page_size)
    except UnauthorisedError:
        raise
    except TargetError as exc:
        return set(), (f"Deleted members are not known: {exc.message}",)
    return {str(values_of(http.target, record)["msid"]) for record in found}, ()


async def members_of(http: Http, status: int, *, page_size: int = PAGE_SIZE) -> Sequence[Mapping[str, Any]]:
    """The members of one status, as the listing shows them.

    Raises:
        ListingError: see `each_page`.
        TargetError: they cannot be read; the message names the status.
    """
    params: dict[str, str | int] = {"status": status, "sort_by": "user_id", "order": "asc", "page_size": page_size}
    try:
        return await read_pages(http, USERS, params, key="user_id")
    except UnauthorisedError:
        raise
    except TargetError as exc:
        name = attributes.STATUSES.get(str(status), "unknown")
        said = exc.message.removeprefix(f"{http.target}: ")
        raise type(exc)(http.target, f"listing members of status {status} ({name}): {said}", remedy=exc.remedy) from exc


def _is_unread(one: Account, me: str) -> bool:
    """Whether nobody can say whose account it is: habitate demands an email of everybody, and does not show theirs."""
    return not one.values.get("email") and one.id != me and one.values.get("is_bot") != "true"


def _by_msid(target: str, listings: Iterable[Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, str | None]]:
    items: dict[str, dict[str, str | None]] = {}
    for records in listings:
        for record in records:
            values = values_of(target, record)
            items[str(values["msid"])] = values
    return items


def _notes(accounts: Sequence[Account], missing: Sequence[str], hidden: int, absent: int) -> list[str]:
    notes: list[str] = []
    people = [one for one in accounts if one.untouchable is None]
    if people and not any(one.values.get("email") for one in people):
        notes.append(
            "habitate shows the email of nobody: give the key's owner the right to see it, "
            "else nobody can be recognised by email."
        )
    if hidden:
        notes.append(f"The details of {hidden} members may not be read; only what the listing shows of them is known.")
    if absent:
        notes.append(
            f"The details of {absent} listed members answer 404; they are taken for there, and asked for again."
        )
    if len(missing) > MISSING_ASKED:
        notes.append(f"{len(missing)} known members are in no listing; only {MISSING_ASKED} of them were asked for.")
    return notes


def _wants_details(values: Mapping[str, str | None], known: Account | None) -> bool:
    if known is None:
        return True
    if any(values.get(name) != known.values.get(name) for name in LISTED):
        return True
    read_at = float(known.values.get(DETAILS_READ_AT) or 0)
    # Each member has a time of their own, so that the readings are spread evenly
    return time.time() > read_at + REFRESH + crc32(known.id.encode()) % REFRESH


def _now() -> str:
    """Now, as `DETAILS_READ_AT` has it. Whole seconds would lie before what was recorded in the same second."""
    return f"{time.time():.3f}"


class _Reader:
    """Reads details; counts those that are forbidden although the key is good."""

    def __init__(self, http: Http) -> None:
        self.hidden = 0
        self._http = http

    async def details(self, msid: str) -> dict[str, str | None] | None:
        """A member's details; nothing but the msid if they may not be read, None if the member is gone."""
        answer = await self._http.read(at(USER, msid), accept=(403, 404), unauthorised=NO_STATUS)
        if answer.status == 404:
            return None
        if answer.status == 403:
            if not self.hidden:
                await myself(self._http)
            self.hidden += 1
            return {"msid": msid, DETAILS_READ_AT: _now()}
        return _details(self._http.target, msid, answer.json)


async def find_one(http: Http, directory: Directory, msid: str) -> Account | None:
    """One member by msid, None if there is none.

    Raises:
        TargetError: the details cannot be read.
    """
    values = await details_of(http, msid)
    return None if values is None else account(values, await directory.roles(http), await directory.me(http))


async def details_of(http: Http, msid: str) -> Mapping[str, str | None] | None:
    """What one member's details show now, None if there is no such member.

    Raises:
        TargetError: they cannot be read.
    """
    answer = await read(http, at(USER, msid), absent=True)
    if answer.status == 404:
        return None
    values = _details(http.target, msid, answer.json)
    return None if values.get("user_status") == DELETED else values


def _details(target: str, msid: str, record: Any) -> dict[str, str | None]:
    values = values_of(target, record)
    if values["msid"] != msid:
        raise MalformedAnswerError(target, "another member was answered than the one asked for.")
    return {**values, DETAILS_READ_AT: _now()}


def values_of(target: str, record: Any) -> dict[str, str | None]:
    """The values of a member's record, as a list or the details show it.

    Raises:
        MalformedAnswerError: it is none.
    """
    if not isinstance(record, dict):
        raise MalformedAnswerError(target, "a member is no JSON object.")
    try:
        return attributes.read(record)
    except InvalidValueError as exc:
        raise MalformedAnswerError(target, f"a member's {exc}.") from None


def account(values: Mapping[str, str | None], roles: Mapping[str, str], me: str) -> Account:
    """The account of a member's values."""
    msid = str(values["msid"])
    untouchable = None
    if msid == me:
        untouchable = "the one that the key belongs to"
    elif values.get("is_bot") == "true":
        untouchable = "a bot"
    elif values.get("user_status") == BANNED:
        untouchable = "banned"
    return Account(msid, {**values, "role": role_name(roles, values.get("role_id"))}, untouchable)
