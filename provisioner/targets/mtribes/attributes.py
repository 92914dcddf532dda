"""What a mtribes user consists of, and how a tag is spelt. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from provisioner.model.attributes import Attribute, InvalidValueError, Type, members

#: "at most three levels separated by `/`"
TAG_LEVELS = 3

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def tag(text: str) -> str:
    """A tag as mtribes takes it: in lower case, with at most three levels.

    Raises:
        InvalidValueError: mtribes would not take it.
    """
    levels = text.split("/")
    if len(levels) > TAG_LEVELS:
        raise InvalidValueError(f"tag {text!r} has {len(levels)} levels; mtribes takes at most {TAG_LEVELS}")
    if any(not level or level != level.strip() for level in levels):
        # Mended here it would differ from the mapping for ever, and be sent in every run
        raise InvalidValueError(f"tag {text!r} has an empty level or blanks next to a slash; fix it in the mapping")
    return text.lower()


def number_fault(identifier: str) -> str | None:
    """Why a text cannot be the id of a user where ids are numbers: read back, it would be another text."""
    if identifier.isascii() and identifier.isdecimal() and str(int(identifier)) == identifier:
        return None
    return f"id {identifier!r} is no number as mtribes shows them (targets.<name>.dialect.ids.numbers)"


def _tags_fault(tags: str) -> str | None:
    try:
        for one in members(tags):
            tag(one)
    except InvalidValueError as exc:
        return str(exc)
    return None


CATALOGUE: Mapping[str, Attribute] = {
    attribute.name: attribute
    for attribute in (
        Attribute("id", identifier=True, required=True, on_update=False),
        Attribute("name", person_name=True),
        Attribute("email", Type.EMAIL),
        Attribute("tags", Type.SET, merge=True, fault=_tags_fault),
        Attribute("tribes", Type.SET, observed=False, on_create=False, on_update=False),
    )
}


def is_field(name: str) -> bool:
    """Whether a field of a user may have that name; the vendor's list of fields is not known."""
    return _FIELD.fullmatch(name) is not None
