"""The rules of a member's fields, from the pages "Create a user" and "Update user details". Pure."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from provisioner.sandbox.wire import RefusedError

ON_CREATE = frozenset(
    {"first_name", "middle_name", "last_name", "username", "email", "sso_id", "user_avatar", "lang", "timezone"}
)
ON_UPDATE = frozenset(
    {
        "first_name", "middle_name", "last_name", "username", "user_avatar", "lang", "timezone",
        "user_description", "banner", "social_media_links",
    }
)  # fmt: skip
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
_LANG = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z0-9]{2,4})?")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) | {"UTC"}


def check_member(body: Mapping[str, Any], allowed: frozenset[str], username_rule: str) -> dict[str, Any]:
    """The fields of a body, an empty text as None.

    `username_rule` is the class of characters that a username may hold. Raises `RefusedError` 400.
    """
    unknown = sorted(set(body) - allowed)
    if unknown:
        raise RefusedError(400, f"Request payload validation errors: {unknown[0]} is not allowed")
    values: dict[str, Any] = {}
    for name, value in body.items():
        if name == "social_media_links":
            values[name] = _links(value)
            continue
        if value is not None and not isinstance(value, str):
            raise RefusedError(400, f"Request payload validation errors: {name} must be a string")
        values[name] = value or None
    if not (values.get("first_name") or "").strip():
        raise RefusedError(400, "Request payload validation errors: first_name is required")
    username = values.get("username")
    if username and not re.fullmatch(username_rule, username):
        raise RefusedError(400, "Request payload validation errors: username has spaces or special characters")
    if values.get("lang") and not _LANG.fullmatch(values["lang"]):
        raise RefusedError(400, "Request payload validation errors: lang")
    if values.get("timezone") and values["timezone"] not in _zones():
        raise RefusedError(400, "Request payload validation errors: timezone")
    return values


def check_email(value: Any) -> str:
    """A member's email; raises `RefusedError` 400."""
    if not isinstance(value, str) or not _EMAIL.fullmatch(value):
        raise RefusedError(400, "Request payload validation errors: email")
    return value


def _links(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) - {"Twitter", "Linkedin"}:
        raise RefusedError(400, "Request payload validation errors: social_media_links")
    if not all(isinstance(link, str) for link in value.values()):
        raise RefusedError(400, "Request payload validation errors: social_media_links")
    return value
