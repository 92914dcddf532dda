"""What habitate tells by its webhooks. Pure.

Source: section "Webhooks" of the API's page: ``{"event", "job_id", "entities": {"user": [{…}]}}``, the user in the form
of the user pages, and "the array will have only one object".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from provisioner.model.event import (
    Fact,
    InboundEvent,
    InvalidEventError,
    any_event,
    digest_of,
    flatten,
    identifier_of,
    moment_of,
    name_of,
    object_of,
    objects_of,
    optional_text,
)
from provisioner.targets.habitate.attributes import STATUSES

_JOINED: Final = "member.joined"
_WAITS: Final = "member.joined_waitlist"


def event(target: str, body: Mapping[str, Any]) -> InboundEvent:
    """Read a webhook.

    Raises:
        InvalidEventError: a member joined, and it does not say who.
    """
    name = name_of(body)
    if name not in (_JOINED, _WAITS):
        return any_event(target, body)
    job = identifier_of(body, "job_id")
    users = objects_of(object_of(body, "entities"), "user")
    if len(users) != 1:
        raise InvalidEventError("entities.user must hold one user")
    user = users[0]
    msid = optional_text(user, "msid") or f"{identifier_of(user, 'user_id')}.{identifier_of(user, 'sid')}"
    joined = optional_text(user, "created_at")
    at = moment_of(joined)
    shows = {"joined_at": joined, "joined_as": "waitlist" if name == _WAITS else "member"}
    return InboundEvent(
        name=name,
        known=True,
        digest=digest_of(target, name, job),
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


def _status(user: Mapping[str, Any]) -> str | None:
    """The member's status by its name; None where it is not said."""
    value = user.get("user_status")
    return STATUSES.get(str(value), str(value).upper()) if isinstance(value, (int, str)) else None
