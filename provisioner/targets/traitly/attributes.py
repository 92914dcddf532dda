"""What a Traitly customer consists of. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from provisioner.model.attributes import Attribute, Type, canonical

CUSTOM = "custom_attributes"
FAMILY = f"{CUSTOM}."
#: Value of an account that names its texts which Traitly shows as numbers, so that they are sent back as such.
UNQUOTED = "shown_as_numbers"
REQUIRED = ("name", "email", "plan")
OPTIONAL = ("created_at", "monthly_payment_amount", "location", "phone_number", "organisation_id")

CATALOGUE: Mapping[str, Attribute] = {
    attribute.name: attribute
    for attribute in (
        Attribute("customer_id", identifier=True, required=True, on_update=False),
        Attribute("name", required=True, person_name=True),
        Attribute("email", Type.EMAIL, required=True),
        Attribute("plan", required=True),
        Attribute("created_at", Type.EPOCH),
        Attribute("monthly_payment_amount", Type.NUMBER),
        Attribute("location"),
        Attribute("phone_number"),
        Attribute("organisation_id"),
        Attribute(CUSTOM, on_create=False, on_update=False, advice=f"Map {FAMILY}<name> instead."),
    )
}


def flat(value: Any) -> str | None:
    """A custom attribute as canonical text; lists and objects as JSON."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return canonical(value, Type.TEXT)
