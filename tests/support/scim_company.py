"""The example's company in a SCIM service: a fifth target, and whether the service holds what the roster says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from provisioner.model.scim_names import SCIM_ENTERPRISE_USER as ENTERPRISE
from provisioner.sandbox import SCIM_TOKEN

SCIM: Final = "scim"
WORK: Final = 'emails[type eq "work"].value'
Person = Mapping[str, str]


def scim_target(sandbox: str, **changes: Any) -> dict[str, Any]:
    """Settings of a target for the sandbox's SCIM service; who manages others is in a second group."""
    return {
        "base_url": f"{sandbox}/{SCIM}",
        "token": SCIM_TOKEN,
        "rate_limit": "20000/second",
        "match": ["userName", "externalId"],
        "attributes": {
            "userName": "LOWER(work_email)",
            "externalId": "employee_id",
            "name.givenName": "first_name",
            "name.familyName": "last_name",
            "displayName": "first_name || ' ' || last_name",
            WORK: "LOWER(work_email)",
            "title": "job_title",
            "active": "TRUE",
            f"{ENTERPRISE}:department": "department",
            "groups": "CASE WHEN job_title LIKE '%Manager%' THEN department || ';Managers' ELSE department END",
        },
        "leaver": {"active": "FALSE", "groups": {"from": "NULL", "empty": "clear"}},
        **changes,
    }


def scim_keeps(user: Mapping[str, Any]) -> bool:
    """Whether a user has what a leaver should have lost."""
    return bool(user["active"]) or bool(_groups(user))


def scim_faults(people: Iterable[Person], state: Mapping[str, Any]) -> Iterator[str]:
    """What the service holds otherwise than the roster asks for, one sentence each.

    Args:
        people: rows of the roster.
        state: what `Switchboard.state` answers for the service.
    """
    users = {user["userName"]: user for user in state["accounts"]}
    if len(users) != len(state["accounts"]):
        yield f"scim: {len(state['accounts'])} users are of {len(users)} people."
    for person in people:
        key, user = person["employee_id"], users.pop(person["work_email"].lower(), None)
        employed = person["employment_status"] == "active"
        if user is None:
            if employed:
                yield f"scim: {key} has no account."
        elif not employed:
            if scim_keeps(user):
                yield f"scim: {key} left and has active {user['active']!r}, groups {sorted(_groups(user))}."
        else:
            held, wanted = _held(user), _wanted(person)
            yield from (
                f"scim: {key} has {name} {held[name]!r}, not {value!r}."
                for name, value in wanted.items()
                if held[name] != value
            )
    yield from (f"scim: the user {name} is nobody's." for name in users)


def _groups(user: Mapping[str, Any]) -> set[str]:
    return {one["display"] for one in user.get("groups", ())}


def _held(user: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "externalId": user.get("externalId"),
        "name": user.get("name"),
        "displayName": user.get("displayName"),
        "emails": [(one.get("type"), one.get("value")) for one in user.get("emails", ())],
        "title": user.get("title"),
        "active": user.get("active"),
        "department": user.get(ENTERPRISE, {}).get("department"),
        "groups": _groups(user),
    }


def _wanted(person: Person) -> dict[str, Any]:
    manages = {"Managers"} if "Manager" in person["job_title"] else set()
    return {
        "externalId": person["employee_id"],
        "name": {"givenName": person["first_name"], "familyName": person["last_name"]},
        "displayName": f"{person['first_name']} {person['last_name']}",
        "emails": [("work", person["work_email"].lower())],
        "title": person["job_title"],
        "active": True,
        "department": person["department"],
        "groups": {person["department"], *manages},
    }
