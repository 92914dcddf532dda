"""The webhooks of habitate. Pure.

Source: section "Webhooks" of the API's page: ``{"event", "job_id", "entities": {"user": [{…}]}}``, the user in the form
of the user pages, and "the array will have only one object". So several are taken too, each as an event of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from provisioner.model.event import (
    Fact,
    InboundEvent,
    any_event,
    digest_of,
    flatten,
    moment_of,
    name_of,
    optional_text,
)
from provisioner.targets.habitate.attributes import STATUSES

_JOINED: Final = "member.joined"
_WAITS: Final = "member.joined_waitlist"


def single_events(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """One body for each user of a delivery: the page promises one, and keeps a list for it."""
    if body.get("event") not in (_JOINED, _WAITS):
        return (body,)
    users = _users(body)
    if len(users) < 2:
        return (body,)
    entities = body["entities"]
    return [{**body, "entities": {**entities, "user": [user]}} for user in users]


def event(target: str, body: Mapping[str, Any]) -> InboundEvent:
    """Read a webhook about one user; one that does not say who joined is kept as unknown, since nothing may be lost.

    Raises:
        InvalidEventError: it has no name.
    """
    name = name_of(body)
    users = _users(body) if name in (_JOINED, _WAITS) else []
    msid = _msid_of(users[0]) if len(users) == 1 else None
    if msid is None:
        return any_event(target, body)
    user = users[0]
    joined = optional_text(user, "created_at")
    # The page names a job; where there is none, the user and their time of joining are all that tells events apart
    job = optional_text(body, "job_id")
    at = moment_of(joined)
    shows = {"joined_at": joined, "joined_as": "waitlist" if name == _WAITS else "member"}
    return InboundEvent(
        name=name,
        known=True,
        digest=digest_of(target, name, job, msid, None if job else joined),
        at=at,
        account=msid,
        match={
            "username": optional_text(user, "username"),
            "email": optional_text(user, "email"),
            "user_status": _status(user),
        },
        joined=True,
        facts=(Fact("joined", at or 0.0, shows),),
        fields=flatten(body, user),
    )


def _users(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The users of a delivery, whether they come as a list or as the one object."""
    entities = body.get("entities")
    found = entities.get("user") if isinstance(entities, dict) else None
    listed = found if isinstance(found, list) else [found]
    return [one for one in listed if isinstance(one, dict)]


def _msid_of(user: Mapping[str, Any]) -> str | None:
    number, sid = optional_text(user, "user_id"), optional_text(user, "sid")
    return optional_text(user, "msid") or (f"{number}.{sid}" if number and sid else None)


def _status(user: Mapping[str, Any]) -> str | None:
    """The member's status by its name; None where it is not said."""
    value = user.get("user_status")
    return STATUSES.get(str(value), str(value).upper()) if isinstance(value, (int, str)) else None
