"""The members of one community: their forms, their indexes, and the paging of the listing."""

import hashlib
import string
from bisect import insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from provisioner.sandbox.options import Options
from provisioner.sandbox.wire import RefusedError

STATUSES = {10: "ACTIVE", 6: "UNVERIFIED", 5: "INVITED", 4: "WAITLIST", 0: "INACTIVE", -3: "BANNED", -100: "DELETED"}
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


@dataclass(frozen=True, slots=True)
class HabitateOptions(Options):
    """Options of a habitate stand-in.

    `page_cap`: largest `page_size`, more is refused. Every `short_every`-th page gives `short_by` items fewer
    than asked for (not where that many were not asked for; `short_every` 0: never); `has_more_might`: a full
    last page says that there might be more. `can_list`: the key has the LIST permission. `hide_email`: details
    leave the email out, as if the right were missing. `status_names`: create and self answer `ACTIVE`, not
    `10`. `created_status`, `created_role`: what a new member gets. `allow_duplicates`: a taken email or
    username is no conflict. `forbidden`: msids that may not be changed (403). Every `empty_every`-th page is empty,
    with more to come. `details_gone`, `details_forbidden`: msids whose details answer 404 or 403, though they are
    listed (`*`: those of everybody). `statuses_refused`: statuses whose listing answers 403.
    """

    page_cap: int = 50
    short_every: int = 3
    short_by: int = 7
    has_more_might: bool = False
    can_list: bool = True
    hide_email: bool = False
    status_names: bool = False
    created_status: int = 10
    created_role: int = 4
    allow_duplicates: bool = False
    forbidden: tuple[str, ...] = ()
    empty_every: int = 0
    details_gone: tuple[str, ...] = ()
    details_forbidden: tuple[str, ...] = ()
    statuses_refused: tuple[int, ...] = ()


@dataclass(slots=True)
class Member:
    """One member. `texts` holds what may be null: names, username, avatar, description and the like."""

    user_id: int
    sid: str
    first_name: str
    email: str
    role_id: int
    status: int
    created_at: datetime
    modified_at: datetime
    is_bot: bool = False
    texts: dict[str, Any] = field(default_factory=dict)
    lang: str = "en"
    timezone: str = "UTC"

    @property
    def msid(self) -> str:
        return f"{self.user_id}.{self.sid}"

    @property
    def username(self) -> str:
        return str(self.texts.get("username") or "")


def sid_of(instance: str, user_id: int) -> str:
    """A sid that looks random and is always the same for an instance and a user_id."""
    number = int.from_bytes(hashlib.blake2b(f"{instance}:{user_id}".encode(), digest_size=19).digest())
    digits = ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        digits += _ALPHABET[digit]
    return digits


def moment(value: datetime) -> str:
    """A moment as the vendor prints it, whole seconds in UTC."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _without_nulls(form: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in form.items() if value is not None}


def list_form(member: Member) -> dict[str, Any]:
    """An item of the listing: no email, no last name, no language, no time zone."""
    return _without_nulls(
        {
            "user_id": member.user_id,
            "sid": member.sid,
            "msid": member.msid,
            "username": member.texts.get("username"),
            "user_avatar": member.texts.get("user_avatar"),
            "first_name": member.first_name,
            "role_id": member.role_id,
            "user_status": member.status,
            "created_at": moment(member.created_at),
        }
    )


def self_form(member: Member, *, status_names: bool) -> dict[str, Any]:
    """What create and self answer; the status is a text here."""
    form = list_form(member) | {
        "last_name": member.texts.get("last_name"),
        "middle_name": member.texts.get("middle_name"),
        "is_bot": member.is_bot,
        "user_status": STATUSES[member.status] if status_names else str(member.status),
        "email": member.email,
        "last_modified_at": moment(member.modified_at),
    }
    return _without_nulls(form)


def updated_form(member: Member) -> dict[str, Any]:
    """What an update answers: details without the email."""
    form = list_form(member) | {
        "last_name": member.texts.get("last_name"),
        "middle_name": member.texts.get("middle_name"),
        "is_bot": member.is_bot,
        "user_description": member.texts.get("user_description") or "",
        "meta": {},
        "login_count": 0,
        "post_count": 0,
        "comment_count": 0,
        "reply_count": 0,
    }
    return _without_nulls(form)


def details_form(member: Member, *, hide_email: bool) -> dict[str, Any]:
    """What details answer; the email is left out where the caller may not see it."""
    form = updated_form(member)
    return form if hide_email else form | {"email": member.email}


def state_form(member: Member) -> dict[str, Any]:
    """Everything, for the switchboard."""
    texts = {name: value for name, value in member.texts.items() if value is not None}
    return details_form(member, hide_email=False) | texts | {"lang": member.lang, "timezone": member.timezone}


def page_slice(page: int, size: int, options: HabitateOptions) -> tuple[int, int]:
    """Where a page begins in the sorted whole, and how many items it gives.

    Shorter pages shift the later ones, so that pages 1, 2, 3, … hold every item exactly once.
    """
    if options.empty_every > 0:
        if page % options.empty_every == 0:
            return (page - page // options.empty_every) * size, 0
        page -= page // options.empty_every
    if options.short_every < 1 or options.short_by > size:
        return (page - 1) * size, size
    shortened = (page - 1) // options.short_every
    start = (page - 1) * size - shortened * options.short_by
    return start, size - options.short_by if page % options.short_every == 0 else size


class Members:
    """All members by id, with indexes on email and username (both ignore case) and a list of ids per status."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._by_id: dict[int, Member] = {}
        self._emails: dict[str, int] = {}
        self._usernames: dict[str, int] = {}
        self._ids: dict[int, list[int]] = {status: [] for status in STATUSES}
        self._next_id = 1
        self._version = 0
        self._sorted: tuple[int, int, str, list[Member]] | None = None

    def all(self) -> list[Member]:
        """Everyone, oldest first."""
        return list(self._by_id.values())

    def get(self, user_id: int) -> Member | None:
        """The member of a user_id."""
        return self._by_id.get(user_id)

    def find(self, key: str) -> Member | None:
        """The member of an msid."""
        number, _, sid = key.partition(".")
        member = self._by_id.get(int(number)) if number.isascii() and number.isdigit() else None
        return member if member is not None and sid == member.sid else None

    def email_taken(self, email: str) -> bool:
        """Whether a member has this email in any spelling."""
        return email.casefold() in self._emails

    def username_taken(self, username: str, owner: int | None = None) -> bool:
        """Whether somebody else has this username in any spelling."""
        return self._usernames.get(username.casefold(), owner) != owner

    def add(self, email: str, first_name: str, now: datetime, *, role_id: int, status: int) -> Member:
        """A new member with the next user_id."""
        return self._insert(self._next_id, email, first_name, now, role_id=role_id, status=status)

    def _insert(self, user_id: int, email: str, first_name: str, now: datetime, *, role_id: int, status: int) -> Member:
        sid = sid_of(self._instance, user_id)
        member = Member(user_id, sid, first_name, email, role_id, status, now, now)
        self._by_id[user_id] = member
        self._next_id = max(self._next_id, user_id + 1)
        insort(self._ids[status], user_id)
        self._emails.setdefault(email.casefold(), user_id)
        self._version += 1
        return member

    def rename(self, member: Member, username: str | None) -> None:
        """Sets the username and keeps the index."""
        if member.username and self._usernames.get(member.username.casefold()) == member.user_id:
            del self._usernames[member.username.casefold()]
        member.texts["username"] = username
        if username:
            self._usernames.setdefault(username.casefold(), member.user_id)

    def touched(self, member: Member, now: datetime) -> None:
        """Records that a member changed."""
        member.modified_at = now
        self._version += 1

    def put(self, values: Mapping[str, Any], now: datetime) -> None:
        """Overlays or makes a member with values in read form, unchecked (the switchboard's seed)."""
        user_id = int(values.get("user_id") or self._next_id)
        member = self._by_id.get(user_id)
        if member is None:
            first_name, email = str(values.get("first_name", "")), str(values.get("email", ""))
            member = self._insert(user_id, email, first_name, now, role_id=4, status=10)
        if "email" in values:
            if self._emails.get(member.email.casefold()) == user_id:
                del self._emails[member.email.casefold()]
            member.email = str(values["email"])
            self._emails.setdefault(member.email.casefold(), user_id)
        if "user_status" in values:
            self._ids[member.status].remove(user_id)
            member.status = int(values["user_status"])
            insort(self._ids[member.status], user_id)
        for name in ("first_name", "role_id", "is_bot", "lang", "timezone"):
            if name in values:
                setattr(member, name, values[name])
        for name in ("middle_name", "last_name", "user_avatar", "user_description", "banner", "social_media_links"):
            if name in values:
                member.texts[name] = values[name]
        if "username" in values:
            self.rename(member, values["username"])
        if "created_at" in values:
            member.created_at = datetime.fromisoformat(values["created_at"])
        self.touched(member, now)

    def remove(self, member: Member) -> None:
        """Takes a member away."""
        del self._by_id[member.user_id]
        self._ids[member.status].remove(member.user_id)
        if self._emails.get(member.email.casefold()) == member.user_id:
            del self._emails[member.email.casefold()]
        self.rename(member, None)
        self._version += 1

    def page(
        self,
        status: int,
        sort_by: str,
        order: str,
        page: int,
        size: int,
        options: HabitateOptions,
        *,
        hidden: Collection[str] = (),
    ) -> tuple[Sequence[Member], bool]:
        """The members of one page without those of the `hidden` msids, and whether there may be more.

        Raises `RefusedError` 400 for an unknown order.
        """
        ids = self._ids[status]
        if hidden:
            ids = [user_id for user_id in ids if self._by_id[user_id].msid not in hidden]
        total = len(ids)
        start, count = page_slice(page, size, options)
        end = min(start + count, total)
        more = start + count <= total and total > 0 if options.has_more_might else start + count < total
        if order == "asc":
            chosen = slice(start, end)
        elif order == "desc":
            chosen = slice(max(total - end, 0), max(total - start, 0))
        else:
            raise RefusedError(400, "order must be asc or desc")
        if sort_by == "user_id":
            found = [self._by_id[user_id] for user_id in ids[chosen]]
        else:
            found = [member for member in self._in_order(status, sort_by) if member.msid not in hidden][chosen]
        return (found if order == "asc" else found[::-1]), more

    def _in_order(self, status: int, sort_by: str) -> list[Member]:
        if self._sorted is not None and self._sorted[:3] == (self._version, status, sort_by):
            return self._sorted[3]
        members = [self._by_id[user_id] for user_id in self._ids[status]]
        if sort_by == "joined":
            members.sort(key=lambda member: (member.created_at, member.user_id))
        elif sort_by == "name":
            members.sort(key=lambda member: (member.first_name.casefold(), member.user_id))
        else:
            raise RefusedError(400, "sort_by must be user_id, joined or name")
        self._sorted = (self._version, status, sort_by, members)
        return members
