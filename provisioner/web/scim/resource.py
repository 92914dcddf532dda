"""A User as it is kept: attributes spelt as the schema has them, of its types, and nothing else. Pure.

What comes may be spelt in any case, and booleans may be text, as Microsoft Entra sends them. What is not kept: unknown
attributes, what only the server may set, and passwords.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from provisioner.model.scim_names import SCIM_USER
from provisioner.web.scim.errors import Document, ScimError, invalid
from provisioner.web.scim.schema import Attribute, Target, UserSchema

#: A User without `id` and `meta`, as JSON.
Resource = dict[str, Any]

_BOOLEANS: Final = {"true": True, "false": False}
_MOST_VALUES: Final = 200
_LONGEST: Final = 4000
#: What a client may send along without meaning to change it.
_OURS: Final = frozenset({"id", "meta", "schemas", "groups", "password"})


def read_resource(body: Mapping[str, Any], schema: UserSchema) -> Resource:
    """The User that a body describes.

    Raises:
        ScimError: it is no User, or a value is not of its attribute's type.
    """
    named = body.get("schemas")
    if named is not None:
        texts = [str(one).lower() for one in named] if isinstance(named, list) else []
        if SCIM_USER.lower() not in texts:
            raise invalid(f"`schemas` does not name {SCIM_USER}.", "invalidSyntax")
    found: Resource = {}
    for name, value in body.items():
        if name.lower() in _OURS:
            continue
        extension = schema.extension(name)
        if extension is not None:
            urn, attributes = extension
            found |= _read_extension(urn, attributes, value)
        elif (attribute := schema.attribute(name)) is not None and attribute.mutability == "readWrite":
            _put(found, attribute, read_value(attribute, value))
    return checked(found)


def _read_extension(urn: str, attributes: Mapping[str, Attribute], value: Any) -> Resource:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise invalid(f"{urn} is no object.")
    inner: Resource = {}
    for name, one in value.items():
        if (attribute := attributes.get(name.lower())) is not None:
            _put(inner, attribute, read_value(attribute, one))
    return {urn: inner} if inner else {}


def _put(found: Resource, attribute: Attribute, value: Any) -> None:
    if value is not None:
        found[attribute.name] = value


def checked(resource: Resource) -> Resource:
    """The same resource, if it is a whole one.

    Raises:
        ScimError: `userName` is missing, or two values of one attribute are primary.
    """
    if not resource.get("userName"):
        raise invalid("userName is missing.")
    for name, values in resource.items():
        if isinstance(values, list) and sum(1 for one in values if one.get("primary")) > 1:
            raise invalid(f"More than one of {name} is primary.")
    return resource


def read_value(attribute: Attribute, value: Any) -> Any:
    """A value in the form of its attribute; None where it says that there is none.

    Raises:
        ScimError: it is of another type, too long, or there are too many.
    """
    if not attribute.many:
        if isinstance(value, list) and attribute.kind == "complex" and len(value) <= 1:
            # Microsoft Entra sends a manager so
            value = value[0] if value else None
        return _read_one(attribute, value)
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    if len(values) > _MOST_VALUES:
        raise invalid(f"{attribute.name} has more than {_MOST_VALUES} values.", "tooMany")
    read = [one for one in (_read_one(attribute, one) for one in values) if one is not None]
    unique = [one for place, one in enumerate(read) if one not in read[:place]]
    return unique or None


def _read_one(attribute: Attribute, value: Any) -> Any:
    if value is None:
        return None
    if attribute.kind == "complex":
        return _read_complex(attribute, value)
    if attribute.kind == "boolean":
        return read_boolean(attribute.name, value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise invalid(f"{attribute.name} is no text.")
    text = str(value)
    if len(text) > _LONGEST:
        raise invalid(f"{attribute.name} is longer than {_LONGEST} characters.")
    if "\x00" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise invalid(f"{attribute.name} holds signs that no text has.")
    return text or None


def read_boolean(name: str, value: Any) -> bool | None:
    """A boolean, which may be written as text.

    Raises:
        ScimError: it is none.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _BOOLEANS:
        return _BOOLEANS[value.strip().lower()]
    if value == "":
        return None
    raise invalid(f"{name} is neither true nor false.")


def _read_complex(attribute: Attribute, value: Any) -> Resource | None:
    if isinstance(value, (str, int)) and not isinstance(value, bool) and attribute.part("value") is not None:
        value = {"value": value}
    if not isinstance(value, Mapping):
        raise invalid(f"{attribute.name} is no object.")
    found: Resource = {}
    for name, one in value.items():
        if (part := attribute.part(name)) is not None:
            _put(found, part, _read_one(part, one))
    return found or None


def represented(
    resource: Resource,
    *,
    id_: str,
    version: int,
    created: float,
    modified: float,
    base: str,
    schema: UserSchema,
) -> Document:
    """A User as it is answered.

    Args:
        version: grows with each change.
        created: epoch seconds, as is `modified`.
        base: the address of the service, without a slash at its end.
    """
    extensions = [one.urn for one in schema.extensions if one.urn in resource]
    return {
        "schemas": [SCIM_USER, *extensions],
        "id": id_,
        **resource,
        "meta": {
            "resourceType": "User",
            "created": _moment(created),
            "lastModified": _moment(modified),
            "location": f"{base}/Users/{id_}",
            "version": etag(version),
        },
    }


def etag(version: int) -> str:
    """The version as an entity tag."""
    return f'W/"{version}"'


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def projected(
    shown: dict[str, Any], schema: UserSchema, wanted: Iterable[str] = (), unwanted: Iterable[str] = ()
) -> Document:
    """A representation with the wanted attributes only, or without the unwanted ones; `id` and `schemas` always stay.

    Raises:
        ScimError: both are asked for.
    """
    wanted, unwanted = tuple(wanted), tuple(unwanted)
    if wanted and unwanted:
        raise ScimError(400, "Only one of attributes and excludedAttributes may be given.", "invalidValue")
    if wanted:
        found = {name: shown[name] for name in ("schemas", "id")}
        for path in wanted:
            if (target := schema.target(path)) is not None:
                _copy(shown, found, target)
        return found
    found = dict(shown)
    for path in unwanted:
        target = schema.target(path)
        if target is not None and not (target.attribute is not None and target.attribute.returned == "always"):
            _leave_out(found, target)
    return found


def _copy(shown: Mapping[str, Any], found: dict[str, Any], target: Target) -> None:
    if target.attribute is None:
        urn = str(target.urn)
        if urn in shown:
            found[urn] = shown[urn]
        return
    source: Mapping[str, Any] = shown
    if target.urn is not None:
        source = shown.get(target.urn) or {}
    name = target.attribute.name
    if name not in source:
        return
    place = found if target.urn is None else found.setdefault(target.urn, {})
    if target.part is None:
        place[name] = source[name]
        return
    part = target.part.name
    if isinstance(source[name], list):
        before = place.get(name) or [{} for _ in source[name]]
        place[name] = [
            {**old, **({part: one[part]} if part in one else {})} for old, one in zip(before, source[name], strict=True)
        ]
    elif part in source[name]:
        place[name] = {**(place.get(name) or {}), part: source[name][part]}


def _leave_out(found: dict[str, Any], target: Target) -> None:
    if target.attribute is None:
        found.pop(str(target.urn), None)
        return
    place = found
    if target.urn is not None:
        if target.urn not in found:
            return
        place = found[target.urn] = dict(found[target.urn])
    name = target.attribute.name
    if target.part is None:
        place.pop(name, None)
    elif name in place:
        part = target.part.name
        value = place[name]
        without = [_without(one, part) for one in value] if isinstance(value, list) else _without(value, part)
        place[name] = without


def _without(value: Mapping[str, Any], part: str) -> Document:
    return {name: one for name, one in value.items() if name != part}
