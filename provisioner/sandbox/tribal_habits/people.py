"""The users of one portal: their read form, their indexes, and saving rows."""

import heapq
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from provisioner.sandbox.tribal_habits.rows import (
    ROLES,
    Row,
    RowError,
    TribalHabitsOptions,
    iso_date,
    join_items,
    stamp,
)
from provisioner.sandbox.wire import Call, RefusedError, query_number

PAGE_QUERY = ("page", "max_per_page", "updated_at")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}")
_BLANK: dict[str, Any] = {
    "user_name": None, "first_name": None, "last_name": None, "email": None,
    "manager_email": None, "manager_2_email": None, "manager_3_email": None, "manager_4_email": None,
    "manager_5_email": None, "mentor_email": None, "lms_learner_id": None, "lms_reference": None,
    "org_admin": False, "creator": False, "team_leader": False, "created_at": None, "updated_at": None,
    "current_sign_in_at": None, "admin_type": 0, "deactivate_scheduled_date": None, "language": None,
    "created_by": "PAPI", "timezone": "Australia/Sydney", "user_notifications_enabled": True,
    "team_leader_report_frequency": None, "learner_report_frequency": None,
    "assessor_report_frequency": None, "org_admin_access": "standard", "login": "internal", "type": "Staff",
    "active": True,
}  # fmt: skip
_NOT_ON_UPDATE = frozenset(f"manager_{number}_email" for number in range(2, 6))
_NOT_ON_CREATE = _NOT_ON_UPDATE | {
    "timezone", "user_notifications_enabled", "team_leader_report_frequency", "learner_report_frequency",
    "assessor_report_frequency",
}  # fmt: skip


@dataclass(slots=True)
class Person:
    """One user: the portal's number and the values in read form, the scheduled date apart as `yyyy-mm-dd`."""

    id: int
    values: dict[str, Any]
    updated_at: datetime

    @property
    def user_name(self) -> str:
        return str(self.values["user_name"])


def read_form(person: Person) -> dict[str, Any]:
    """A user as "Get a specific user" prints it; the scheduled date becomes a timestamp with offset."""
    form = dict(person.values)
    day = iso_date(form["deactivate_scheduled_date"])
    if day is not None:
        form["deactivate_scheduled_date"] = stamp(_midnight(day))
    form["updated_at"] = stamp(person.updated_at)
    return form


def created_form(person: Person) -> dict[str, Any]:
    """A user as the create page prints the answer."""
    return {name: value for name, value in read_form(person).items() if name not in _NOT_ON_CREATE}


def updated_form(person: Person) -> dict[str, Any]:
    """A user as the update page prints the answer."""
    return {name: value for name, value in read_form(person).items() if name not in _NOT_ON_UPDATE}


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


class People:
    """All users, in the order of their making, with indexes on `user_name` and email.

    A `user_name` is found only as it is spelled, yet is taken in any spelling; emails likewise.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, Person] = {}
        self._names: dict[str, str] = {}
        self._emails: dict[str, str] = {}
        self._scheduled: list[tuple[date, str]] = []
        self._next_id = 1
        self._version = 0
        self._list: tuple[int, tuple[str, ...], list[Person]] | None = None

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, user_name: str) -> Person | None:
        """The user of exactly this `user_name`."""
        return self._by_name.get(user_name)

    def need(self, user_name: str) -> Person:
        """The user; raises `RefusedError` 404."""
        person = self._by_name.get(user_name)
        if person is None:
            raise RefusedError(404, "User not found")
        return person

    def all(self) -> list[Person]:
        """Everyone, oldest first."""
        return list(self._by_name.values())

    def create(self, row: Row, options: TribalHabitsOptions, now: datetime) -> Person:
        """Makes a user of a checked row; raises `RowError` where the user_name or the email is taken."""
        user_name = row.changes["user_name"]
        if user_name.casefold() in self._names:
            raise RowError("User name has already been taken")
        self._free_email(row.changes["email"], "")
        values = blank_values(options) | {"created_at": stamp(now)} | dict(row.changes)
        person = Person(self._next_id, values, now)
        self._next_id += 1
        self._by_name[user_name] = person
        self._names[user_name.casefold()] = user_name
        self._index(person)
        return person

    def update(self, person: Person, changes: Mapping[str, Any], now: datetime) -> bool:
        """Lays checked values over a user's; answers whether anything differed.

        Raises `RowError` where the email is taken.
        """
        differing = {name: value for name, value in changes.items() if not _same(name, person.values.get(name), value)}
        if not differing:
            return False
        if "email" in differing:
            self._free_email(differing["email"], person.user_name)
            self._emails.pop(str(person.values["email"]).casefold(), None)
        person.values.update(differing)
        person.updated_at = now
        self._index(person)
        return True

    def put(self, values: Mapping[str, Any], options: TribalHabitsOptions, now: datetime) -> None:
        """Overlays or makes a user with values in read form, unchecked (the switchboard's seed)."""
        user_name = str(values["user_name"])
        person = self._by_name.get(user_name)
        if person is None:
            person = Person(self._next_id, blank_values(options) | {"created_at": stamp(now)}, now)
            self._next_id += 1
            self._by_name[user_name] = person
            self._names[user_name.casefold()] = user_name
        elif person.values["email"]:
            self._emails.pop(str(person.values["email"]).casefold(), None)
        person.values.update(values)
        person.values.pop("updated_at", None)
        day = person.values["deactivate_scheduled_date"]
        if day and iso_date(day) is None:
            person.values["deactivate_scheduled_date"] = datetime.fromisoformat(day).astimezone(UTC).date().isoformat()
        person.updated_at = datetime.fromisoformat(values["updated_at"]) if values.get("updated_at") else now
        self._index(person)

    def remove(self, user_name: str) -> None:
        """Takes a user away; raises `RefusedError` 404."""
        person = self.need(user_name)
        del self._by_name[user_name]
        self._names.pop(user_name.casefold(), None)
        self._emails.pop(str(person.values["email"]).casefold(), None)
        self._version += 1

    def deactivate_due(self, now: datetime) -> None:
        """Deactivates everyone whose scheduled date has come."""
        while self._scheduled and self._scheduled[0][0] <= now.date():
            day, user_name = heapq.heappop(self._scheduled)
            person = self._by_name.get(user_name)
            if person is None or person.values["deactivate_scheduled_date"] != day.isoformat():
                continue
            person.values |= {"active": False, "deactivate_scheduled_date": None}
            person.updated_at = now
            self._version += 1

    def matching(self, query: Mapping[str, str]) -> list[Person]:
        """Everyone whom the filters `updated_at`, `updated_before` and `active` leave, oldest first."""
        wanted = tuple(query.get(name, "") for name in ("updated_at", "updated_before", "active"))
        if self._list is not None and self._list[:2] == (self._version, wanted):
            return self._list[2]
        after, before, active = moment(wanted[0]), moment(wanted[1]), wanted[2]
        if active not in {"", "true", "false"}:
            raise RefusedError(400, "active must be true, false or empty")
        found = [
            person
            for person in self._by_name.values()
            if (after is None or person.updated_at > after)
            and (before is None or person.updated_at < before)
            and (not active or person.values["active"] is (active == "true"))
        ]
        self._list = (self._version, wanted, found)
        return found

    def _free_email(self, email: str, owner: str) -> None:
        if self._emails.get(email.casefold(), owner) != owner:
            raise RowError("Email has already been taken")

    def _index(self, person: Person) -> None:
        self._version += 1
        if person.values["email"]:
            self._emails[str(person.values["email"]).casefold()] = person.user_name
        day = iso_date(person.values["deactivate_scheduled_date"])
        if day is not None:
            heapq.heappush(self._scheduled, (day, person.user_name))


def blank_values(options: TribalHabitsOptions) -> dict[str, Any]:
    """A user of whom nothing is known, in the order of the read form."""
    return _BLANK | dict.fromkeys(options.custom_fields) | dict.fromkeys(ROLES, "") | {"groups": ""}


def _same(name: str, present: Any, wanted: Any) -> bool:
    if name == "groups":
        return set(join_items(present or "").split(";")) == set(join_items(wanted or "").split(";"))
    return bool(present == wanted)


def moment(text: str) -> datetime | None:
    """A filter's moment, `yyyy-mm-ddThh:mm:ss` in UTC; None for an empty one.

    Raises `RefusedError` 400 for another form.
    """
    if not text:
        return None
    if not _MOMENT.fullmatch(text):
        raise RefusedError(400, "A time filter must be yyyy-mm-ddThh:mm:ss")
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise RefusedError(400, "A time filter must be yyyy-mm-ddThh:mm:ss") from error


def page_of(call: Call, cap: int, everything: Sequence[Any]) -> tuple[dict[str, Any], Sequence[Any]]:
    """The envelope without its records, and the slice of the records on the page that the query names.

    `max_per_page` is cut to the cap, and the one used is the one answered; beyond a negative cap it is refused.
    """
    page = query_number(call, "page", 1)
    asked = query_number(call, "max_per_page", 25)
    if cap < 0 and asked > -cap:
        raise RefusedError(422, f"max_per_page may be at most {-cap}")
    size = min(asked, abs(cap))
    envelope = {
        "total_records": len(everything),
        "max_per_page": size,
        "current_page": page,
        "total_pages": -(-len(everything) // size),
    }
    return envelope, everything[(page - 1) * size : page * size]
