"""Stand-in of habitate's API v1: members, roles and the members of private boards.

HTTP Basic with any username and the key as password; a wrong key answers 403. What the pages leave open was
decided so that a careless client fails: fields absent from an update are cleared, unknown fields and query
parameters are refused, a list page may be short with more to come, board members cannot be listed, one wrong
msid refuses a whole change of members. Posts, comments, replies, tags and the making of boards are not served.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from provisioner.sandbox.habitate.checks import ON_CREATE, ON_UPDATE, check_email, check_member
from provisioner.sandbox.habitate.members import (
    STATUSES,
    HabitateOptions,
    Member,
    Members,
    details_form,
    list_form,
    self_form,
    sid_of,
    state_form,
    updated_form,
)
from provisioner.sandbox.vendor import Vendor
from provisioner.sandbox.wire import (
    Answer,
    Call,
    RefusedError,
    Route,
    allow_query,
    body_says_json,
    is_whole,
    json_object,
    query_number,
)

HABITATE_KEY = "sandbox-habitate-key"
ROLES = {1: "Owner", 2: "Admin", 3: "Moderator", 4: "Member", 5: "Guest"}
BOARDS = {1: "General", 2: "Sales", 3: "Engineering", 4: "People", 5: "Finance", 6: "Support"}
"""Board ids and names; the first is public, the others private."""
_PUBLIC_BOARD = 1
_BOT_ID = 1
_ACTIVE, _WAITLIST = 10, 4
_STATUS_WORDS = {
    400: "BAD_REQUEST", 403: "FORBIDDEN", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 409: "CONFLICT",
    429: "TOO_MANY_REQUESTS",
}  # fmt: skip


class Habitate(Vendor[HabitateOptions]):
    """One community. It begins with one member, the bot that the key belongs to."""

    kind = "habitate"
    key: ClassVar[str] = "msid"
    listings: ClassVar[frozenset[str]] = frozenset({"/api/v1/users"})
    knows_405: ClassVar[bool] = True

    def __init__(self, name: str, options: HabitateOptions) -> None:
        super().__init__(name, options)
        self._members = Members(name)
        self._boards: dict[int, set[str]] = {number: set() for number in BOARDS if number != _PUBLIC_BOARD}
        self._errors = 0
        self._bot_made = False
        self._jobs = 0

    @classmethod
    def defaults(cls) -> HabitateOptions:
        return HabitateOptions()

    def routes(self) -> Sequence[Route]:
        return [
            Route("GET", "/api/v1/users", self.list_members),
            Route("POST", "/api/v1/users", self.create),
            Route("GET", "/api/v1/users/me", self.myself),
            Route("GET", "/api/v1/users/{msid}", self.details),
            Route("PUT", "/api/v1/users/{msid}", self.update),
            Route("PATCH", "/api/v1/users/{msid}", self.patch),
            Route("GET", "/api/v1/roles", self.list_roles),
            Route("GET", "/api/v1/boards", self.list_boards),
            Route("GET", "/api/v1/boards/{board_id}", self.one_board),
            Route("PUT", "/api/v1/boards/{board_id}/members", self.change_board_members),
        ]

    def admit(self, call: Call) -> None:
        if not self._knows(call.headers.get("authorization", "")):
            raise RefusedError(403, "Access denied")
        if not call.headers.get("user-agent", "").strip():
            raise RefusedError(400, "A user agent is required")
        if not body_says_json(call):
            raise RefusedError(400, "Content-Type must be application/json")
        self._make_bot(call.now)

    def _knows(self, header: str) -> bool:
        scheme, _, credentials = header.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            username, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return bool(username and colon) and password == (self.options.api_key or HABITATE_KEY)

    def _make_bot(self, now: datetime) -> None:
        if not self._bot_made:
            bot = {"user_id": _BOT_ID, "email": "bot@sandbox.invalid", "first_name": "Bot", "username": "apibot"}
            self._members.put(bot | {"role_id": 2, "is_bot": True}, now)
            self._bot_made = True

    def refusal(self, refusal: RefusedError) -> Answer:
        self._errors += 1
        body = {
            "id": sid_of(f"{self.name}:error", self._errors)[:20],
            "status": _STATUS_WORDS.get(refusal.status, "SERVER_ERROR"),
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "message": f"ERR_V1█{refusal.reason}",
        }
        return Answer(refusal.status, body)

    def rows(self, body: Any) -> int:
        changes = body.get("member_changes") if isinstance(body, dict) else None
        return len(changes) if isinstance(changes, dict) else 1

    def dump(self) -> Mapping[str, Any]:
        return {
            "accounts": [state_form(member) for member in self._members.all()],
            "boards": {BOARDS[number]: sorted(msids) for number, msids in self._boards.items()},
        }

    def seed(self, accounts: Sequence[Mapping[str, Any]], now: datetime) -> int:
        self._make_bot(now)
        for account in accounts:
            if not account.get("user_id") and not account.get("email"):
                raise RefusedError(400, "every seeded account needs a user_id or an email")
            self._members.put(account, now)
        return len(accounts)

    def remove(self, key: str) -> None:
        member = self._members.find(key)
        if member is None:
            raise RefusedError(404, "User not found")
        self._members.remove(member)
        for msids in self._boards.values():
            msids.discard(member.msid)

    def act(self, action: str, given: Mapping[str, Any], now: datetime) -> Any:
        """`join`: somebody joins by themselves, in read form, onto the waitlist with `waitlist`; see `Vendor.act`.

        `status`: the number of another status that they get.
        """
        if action != "join":
            return super().act(action, given, now)
        email = given.get("email")
        if not isinstance(email, str) or self._members.email_taken(email):
            raise RefusedError(400, "email is required, and nobody else's")
        self._make_bot(now)
        waits = given.get("waitlist") is True
        member = self._members.add(
            email,
            str(given.get("first_name", "")),
            now,
            role_id=self.options.created_role,
            status=int(given.get("status", _WAITLIST if waits else _ACTIVE)),
        )
        for name in ("middle_name", "last_name"):
            member.texts[name] = given.get(name)
        self._members.rename(member, given.get("username") or f"member{member.user_id}")
        self._tell_joined(member)
        return state_form(member)

    def _tell_joined(self, member: Member) -> None:
        events = {_ACTIVE: "member.joined", _WAITLIST: "member.joined_waitlist"}
        event = events.get(member.status)
        if event is None:
            return
        self._jobs += 1
        form = self_form(member, status_names=False) | {"user_status": member.status}
        names = (
            *("sid", "msid", "email", "role_id", "user_id", "username", "last_name", "created_at", "first_name"),
            *("user_avatar", "user_status"),
        )
        user = {name: form[name] for name in names if form.get(name) is not None}
        self.webhooks.tell({"event": event, "job_id": self._jobs, "entities": {"user": [user]}})

    def list_members(self, call: Call) -> Answer:
        if not self.options.can_list:
            raise RefusedError(403, "The LIST permission is missing")
        allow_query(call, "page", "page_size", "sort_by", "order", "status")
        page = query_number(call, "page", 1)
        size = query_number(call, "page_size", 10)
        if size > self.options.page_cap:
            raise RefusedError(400, f"page_size is at most {self.options.page_cap}")
        text = call.query.get("status", "10")
        if not re.fullmatch(r"-?\d{1,3}", text) or int(text) not in STATUSES:
            raise RefusedError(400, "status is unknown")
        if int(text) in self.options.statuses_refused:
            raise RefusedError(403, "Members of this status may not be listed")
        members, more = self._members.page(
            int(text),
            call.query.get("sort_by", "user_id"),
            call.query.get("order", "desc"),
            page,
            size,
            self.options,
            hidden=self.unlisted,
        )
        return Answer(200, [list_form(member) for member in members], {"has_more": "1" if more else "0"})

    def myself(self, _call: Call) -> Answer:
        bot = self._members.get(_BOT_ID)
        if bot is None:
            raise RefusedError(404, "User not found")
        return Answer(200, self_form(bot, status_names=self.options.status_names))

    def details(self, _call: Call, key: str) -> Answer:
        member = self._members.find(key)
        if member is None and self.options.can_list and key.isascii() and key.isdigit():
            member = self._members.get(int(key))
        if member is None or STATUSES[member.status] == "DELETED":
            raise RefusedError(404, "User not found")
        if _named(member.msid, self.options.details_gone):
            raise RefusedError(404, "User not found")
        if _named(member.msid, self.options.details_forbidden):
            raise RefusedError(403, "The details of this user may not be read")
        return Answer(200, details_form(member, hide_email=self.options.hide_email))

    def _need(self, msid: str) -> Member:
        member = self._members.find(msid)
        if member is None or STATUSES[member.status] == "DELETED":
            raise RefusedError(404, "User not found")
        if msid in self.options.forbidden:
            raise RefusedError(403, "This user may not be changed")
        return member

    def create(self, call: Call) -> Answer:
        values = check_member(json_object(call), ON_CREATE, r"[A-Za-z0-9]+")
        email = check_email(values.get("email"))
        username = values.get("username")
        if not self.options.allow_duplicates:
            if self._members.email_taken(email):
                raise RefusedError(409, "A user with this email exists")
            if username and self._members.username_taken(username):
                raise RefusedError(409, "A user with this username exists")
        member = self._members.add(
            email,
            values["first_name"],
            call.now,
            role_id=self.options.created_role,
            status=self.options.created_status,
        )
        for name in ("middle_name", "last_name", "user_avatar", "sso_id"):
            member.texts[name] = values.get(name)
        made_up = re.sub(r"[^A-Za-z0-9]", "", values["first_name"]) + str(member.user_id)
        self._members.rename(member, username or made_up)
        member.lang = values.get("lang") or "en"
        member.timezone = values.get("timezone") or "UTC"
        self._tell_joined(member)
        return Answer(201, self_form(member, status_names=self.options.status_names))

    def update(self, call: Call, msid: str) -> Answer:
        member = self._need(msid)
        values = check_member(json_object(call), ON_UPDATE, r"[A-Za-z0-9_]+")
        username = values.get("username")
        if username and not self.options.allow_duplicates and self._members.username_taken(username, member.user_id):
            raise RefusedError(409, "A user with this username exists")
        member.first_name = values["first_name"]
        for name in ("middle_name", "last_name", "user_avatar", "user_description", "banner", "social_media_links"):
            member.texts[name] = values.get(name)
        self._members.rename(member, username)
        member.lang = values.get("lang") or "en"
        member.timezone = values.get("timezone") or "UTC"
        self._members.touched(member, call.now)
        return Answer(200, updated_form(member))

    def patch(self, call: Call, msid: str) -> Answer:
        member = self._need(msid)
        body = json_object(call)
        data = body.get("data")
        if set(body) - {"action", "data", "details"} or body.get("action") != 101 or not is_whole(body["action"]):
            raise RefusedError(400, "Request payload validation errors: action")
        if not isinstance(data, dict) or set(data) != {"role_id"}:
            raise RefusedError(400, "Request payload validation errors: data")
        if not is_whole(data["role_id"]) or data["role_id"] not in ROLES:
            raise RefusedError(400, "Request payload validation errors: role_id")
        if not isinstance(body.get("details", ""), str):
            raise RefusedError(400, "Request payload validation errors: details")
        member.role_id = data["role_id"]
        member.texts["role_details"] = body.get("details")
        self._members.touched(member, call.now)
        return Answer(200, {"message": "OK"})

    def list_roles(self, _call: Call) -> Answer:
        roles = [
            {"role_id": number, "role_name": name, "role_details": f"{name} role", "is_default": number in {3, 4}}
            for number, name in ROLES.items()
        ]
        return Answer(200, roles)

    def list_boards(self, _call: Call) -> Answer:
        return Answer(200, [_board(number) for number in BOARDS])

    def one_board(self, _call: Call, board_id: str) -> Answer:
        return Answer(200, _board(_board_number(board_id)))

    def change_board_members(self, call: Call, board_id: str) -> Answer:
        """Grants (`true`) and takes (`false`) access to a private board, all of the body or nothing of it."""
        number = _board_number(board_id)
        if number == _PUBLIC_BOARD:
            raise RefusedError(400, "The board is not private")
        body = json_object(call)
        changes = body.get("member_changes")
        if set(body) != {"member_changes"} or not isinstance(changes, dict) or not changes:
            raise RefusedError(400, "Request payload validation errors: member_changes")
        for msid, granted in changes.items():
            if not isinstance(granted, bool) or self._members.find(msid) is None:
                raise RefusedError(400, f"Request payload validation errors: member_changes.{msid}")
        for msid, granted in changes.items():
            if granted:
                self._boards[number].add(msid)
            else:
                self._boards[number].discard(msid)
        return Answer(200, {"message": "OK"})


def _named(msid: str, msids: Sequence[str]) -> bool:
    return "*" in msids or msid in msids


def _board_number(board_id: str) -> int:
    number = int(board_id) if board_id.isascii() and board_id.isdigit() else 0
    if number not in BOARDS:
        raise RefusedError(404, "Board not found")
    return number


def _board(number: int) -> dict[str, Any]:
    return {
        "board_id": number,
        "display_order": number,
        "board_name": BOARDS[number],
        "board_type": "DEFAULT",
        "is_private": number != _PUBLIC_BOARD,
        "hidden_type": 1 if number == _PUBLIC_BOARD else 2,
        "permission_for": 10,
        "needs_approval": False,
        "pinned_posts": [],
        "post_count": 0,
        "about": f"{BOARDS[number]} board",
    }


__all__ = ["HABITATE_KEY", "Habitate", "HabitateOptions"]
