"""What a Tribal Habits user consists of, and the vendor's spelling of each value. Pure.

Source: pages "Users", "Create a new user" and "Update a specific user" of the Public API V1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from provisioner.model.attributes import Attribute, InvalidValueError, Type, canonical, natural

CUSTOM_PREFIX = "X-"
#: "Custom Fields values must be formatted by their respective types", of which a date is ``23/01/1980``.
_DAY_FIRST = re.compile(r"(?P<d>[0-9]{1,2})/(?P<m>[0-9]{1,2})/(?P<y>[0-9]{4})")
_ISO = re.compile(r"(?P<y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})")

_MANAGERS = ("manager_email", *(f"manager_{number}_email" for number in range(2, 6)))
_REPORTS = ("team_leader_report_frequency", "learner_report_frequency", "assessor_report_frequency")
_READ_ONLY: Mapping[str, Type] = {
    "created_at": Type.TEXT,
    "updated_at": Type.TEXT,
    "current_sign_in_at": Type.TEXT,
    "creator": Type.BOOLEAN,
    "team_leader": Type.BOOLEAN,
    "admin_type": Type.NUMBER,
    "created_by": Type.TEXT,
    "timezone": Type.TEXT,
    "org_admin_access": Type.TEXT,
    "login": Type.TEXT,
}

CATALOGUE: Mapping[str, Attribute] = {
    attribute.name: attribute
    for attribute in (
        Attribute("user_name", Type.FOLDED, identifier=True, required=True, on_update=False),
        Attribute("first_name", required=True, person_name=True),
        Attribute("last_name", required=True, person_name=True),
        Attribute("email", Type.EMAIL, required=True, unique=True),
        Attribute("type"),
        *(Attribute(name, Type.EMAIL) for name in _MANAGERS),
        Attribute("mentor_email", Type.EMAIL),
        Attribute("language"),
        Attribute("lms_learner_id"),
        Attribute("lms_reference"),
        Attribute("active", Type.BOOLEAN),
        Attribute("org_admin", Type.BOOLEAN, role=True),
        *(Attribute(f"role_{number}", Type.FOLDED, role=True) for number in range(1, 6)),
        Attribute("groups", Type.SET),
        Attribute("deactivate_scheduled_date", Type.DATE),
        Attribute("user_notifications_enabled", Type.BOOLEAN, on_create=False),
        *(Attribute(name, on_create=False) for name in _REPORTS),
        *(Attribute(name, type_, on_create=False, on_update=False) for name, type_ in _READ_ONLY.items()),
    )
}

#: What the vendor gives no way to empty.
NEVER_EMPTY = frozenset(
    name
    for name, attribute in CATALOGUE.items()
    if attribute.required or name == "type" or (attribute.type is Type.BOOLEAN and not attribute.read_only)
)


def is_custom(name: str) -> bool:
    """Whether a field is one of those that an organisation defines for itself."""
    return name.startswith(CUSTOM_PREFIX) and len(name) > len(CUSTOM_PREFIX)


def read(
    record: Mapping[str, Any], custom: Mapping[str, Type] | None = None, needed: Collection[str] = CATALOGUE
) -> dict[str, str | None]:
    """All fields of a user as the vendor shows it, as canonical text under the vendor's names.

    Args:
        custom: the declared types of custom fields; a value that is of another type stays as it is.
        needed: fields that must be of the type that the page prints; another one of another type counts as unknown.

    Raises:
        InvalidValueError: one of those is not; the message names it.
    """
    values: dict[str, str | None] = {}
    for name, value in record.items():
        attribute = CATALOGUE.get(name)
        try:
            values[name] = _read_one(value, attribute.type if attribute else Type.TEXT)
            if custom and name in custom:
                values[name] = _custom(values[name], custom[name])
        except InvalidValueError as exc:
            if name in needed:
                raise InvalidValueError(f"{name} {exc}") from None
            values[name] = None
    return values


def _read_one(value: Any, type_: Type) -> str | None:
    if isinstance(value, dict) or (isinstance(value, list) and type_ is not Type.SET):
        # Custom multi-values are joined with `;` on the page; a list would mean the same
        flat = isinstance(value, list) and not any(isinstance(item, (dict, list)) for item in value)
        value = ";".join(map(str, value)) if flat else json.dumps(value, sort_keys=True, ensure_ascii=False)
    if type_ is Type.DATE and isinstance(value, str) and "T" in value:
        value = _utc_day(value)
    return canonical(value, type_)


def _custom(text: str | None, type_: Type) -> str | None:
    day = _DAY_FIRST.fullmatch(text or "") if type_ is Type.DATE else None
    try:
        return canonical(f"{day['y']}-{day['m']}-{day['d']}" if day else text, type_)
    except InvalidValueError:
        return text


def _utc_day(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidValueError("is no moment") from None
    # The portal shows the moment in its own zone, while the day is meant in UTC
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date().isoformat()


def spell(name: str, value: str | None, type_: Type | None = None) -> Any:
    """A canonical value as the vendor takes it; None empties the field.

    Args:
        type_: the declared type of a custom field, whose dates are ``dd/mm/yyyy``, whose numbers are such of JSON, and
            whose several values are joined with ``;``. Without one a date is recognised by its form.
    """
    attribute = CATALOGUE.get(name)
    if attribute is not None and attribute.type is Type.BOOLEAN:
        return value == "true"
    if value is None:
        return "" if name == "groups" or name.startswith("role_") else None
    if not is_custom(name):
        return value
    day = _ISO.fullmatch(value) if type_ in (None, Type.DATE) else None
    if day:
        return f"{day['d']}/{day['m']}/{day['y']}"
    return natural(value, Type.NUMBER) if type_ is Type.NUMBER else value
