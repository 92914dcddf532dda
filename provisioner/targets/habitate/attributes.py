"""What a habitate member consists of, and the vendor's spelling of each value. Pure.

Source: section "Users" of habitate's API page. Fields that no answer prints are known from the ledger only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from provisioner.model.attributes import Attribute, InvalidValueError, Type, canonical

STATUSES: Mapping[str, str] = {
    "10": "ACTIVE",
    "6": "UNVERIFIED",
    "5": "INVITED",
    "4": "WAITLIST",
    "0": "INACTIVE",
    "-3": "BANNED",
    "-100": "DELETED",
}
BANNED = "BANNED"
DELETED = "DELETED"
#: Statuses of members who proved that the email is theirs. Whoever is invited, waits or was deactivated may not have.
VERIFIED = ("ACTIVE",)
#: Statuses in which a member can use the community.
USABLE = ("ACTIVE",)

_ON_CREATE = re.compile(r"[A-Za-z0-9]+")
_ON_UPDATE = re.compile(r"[A-Za-z0-9_]+")


def username_fault(username: str, *, creating: bool) -> str | None:
    """Why habitate would refuse a username, and what to do; None if it would not."""
    if (_ON_CREATE if creating else _ON_UPDATE).fullmatch(username):
        return None
    allowed = "letters and digits (not even _)" if creating else "letters, digits and _"
    return (
        f"habitate takes only {allowed} in a username here; map one that fits, for example with "
        "REGEXP_REPLACE or REPLACE, or leave username out"
    )


def _new_username_fault(username: str) -> str | None:
    return username_fault(username, creating=True)


def _changed_username_fault(username: str) -> str | None:
    return username_fault(username, creating=False)


CATALOGUE: Mapping[str, Attribute] = {
    attribute.name: attribute
    for attribute in (
        Attribute(
            "email",
            Type.EMAIL,
            required=True,
            on_update=False,
            detail=True,
            chosen_by_user=True,
            verified_when=("user_status", VERIFIED),
            advice="habitate's API cannot change an email: the member changes it in their own account settings, or an "
            "admin of the community does.",
        ),
        Attribute("first_name", required=True, chosen_by_user=True, person_name=True),
        Attribute("middle_name", detail=True, chosen_by_user=True),
        Attribute("last_name", detail=True, chosen_by_user=True, person_name=True),
        Attribute(
            "username",
            Type.FOLDED,
            chosen_by_user=True,
            fault=_new_username_fault,
            update_fault=_changed_username_fault,
        ),
        Attribute(
            "sso_id",
            observed=False,
            on_update=False,
            late="habitate takes an sso_id at create only, and a sign-in by SSO may make a second account. Ask "
            "habitate to set it; then map it with `authority: create_only`",
        ),
        Attribute("user_avatar", chosen_by_user=True),
        Attribute("lang", observed=False),
        Attribute("timezone", observed=False),
        Attribute("user_description", on_create=False, detail=True, chosen_by_user=True),
        Attribute("banner", observed=False, on_create=False),
        Attribute("role", Type.FOLDED, role=True),
        Attribute("boards", Type.SET, observed=False),
        Attribute("msid", on_create=False, on_update=False),
        Attribute("user_id", Type.NUMBER, on_create=False, on_update=False),
        Attribute(
            "user_status",
            on_create=False,
            on_update=False,
            usable=USABLE,
            advice="habitate's API cannot change it. Let an admin of the community approve, invite again or reactivate "
            "them",
        ),
        Attribute("is_bot", Type.BOOLEAN, on_create=False, on_update=False),
        Attribute("created_at", on_create=False, on_update=False),
    )
}

#: The fields of "Create a user" and of "Update user details". The links are a member's own: only sent back.
CREATE_FIELDS = (
    "first_name", "middle_name", "last_name", "username", "email", "sso_id", "user_avatar", "lang", "timezone",
)  # fmt: skip
LINKS = "social_media_links"
UPDATE_FIELDS = (
    "first_name", "middle_name", "last_name", "username", "user_avatar", "lang", "timezone", "user_description",
    "banner",
)  # fmt: skip
#: What an item of the listing prints; only details print the rest.
LISTED = ("username", "user_avatar", "first_name", "role_id", "user_status", "created_at")


def read(record: Mapping[str, Any]) -> dict[str, str | None]:
    """All fields of a member as the vendor shows it, as canonical text under the vendor's names.

    The status is a name whichever way it was printed, and the msid is made up from its parts where it is missing.

    Raises:
        InvalidValueError: a field is not of the type that the page prints, or there is no msid; the message names it.
    """
    values: dict[str, str | None] = {}
    for name, value in record.items():
        attribute = CATALOGUE.get(name)
        text = json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, (dict, list)) else value
        try:
            values[name] = canonical(text, attribute.type if attribute else Type.TEXT)
        except InvalidValueError as exc:
            raise InvalidValueError(f"{name} {exc}") from None
    status = values.get("user_status")
    values["user_status"] = STATUSES.get(status, status.upper()) if status else None
    if not values.get("msid"):
        if not values.get("user_id") or not values.get("sid"):
            raise InvalidValueError("msid is missing")
        values["msid"] = f"{values['user_id']}.{values['sid']}"
    return values


def create_body(wanted: Mapping[str, str | None]) -> dict[str, Any]:
    """The body of "Create a user": every field that has a value."""
    return {name: wanted[name] for name in CREATE_FIELDS if wanted.get(name)}


def update_body(
    wanted: Mapping[str, str | None], after: Mapping[str, str | None], observed: Mapping[str, str | None]
) -> dict[str, Any]:
    """The body of "Update user details": every writable field known, since an absent one may be cleared.

    What is to be emptied is sent as the empty text, since an absent one may also be kept.
    """
    body: dict[str, Any] = {}
    for name in UPDATE_FIELDS:
        value = after[name] if name in after else (wanted.get(name) or observed.get(name))
        if value:
            body[name] = value
        elif name in after and name != "username":
            body[name] = ""
    links = observed.get(LINKS)
    if links:
        body[LINKS] = json.loads(links)
    return body
