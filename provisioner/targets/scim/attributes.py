"""What a SCIM user consists of, and a resource as canonical text. Pure.

Source: RFC 7643, 4.1 (User), 4.3 (enterprise extension) and 3.1 (common attributes).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from provisioner.model.attributes import Attribute, InvalidValueError, Type, canonical, natural
from provisioner.model.scim_names import SCIM_ENTERPRISE_USER
from provisioner.targets.scim.paths import InvalidPathError, Path, get, parse

GROUPS: Final = "groups"
ACTIVE: Final = "active"
USER_NAME: Final = "userName"
#: Attributes of a user with sub-attributes, and those that hold several elements.
COMPLEX: Final = frozenset({"name", "meta", "manager"})
MULTIPLE: Final = frozenset(
    {"emails", "phoneNumbers", "ims", "photos", "addresses", "entitlements", "roles", "x509Certificates"}
)
#: Sub-attributes that a user's attributes have (RFC 7643, 8.7.1), apart from `type`, `primary` and `display`.
SUBS: Final[Mapping[str, frozenset[str]]] = {
    "name": frozenset({"formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"}),
    "addresses": frozenset({"formatted", "streetAddress", "locality", "region", "postalCode", "country"}),
    **dict.fromkeys(MULTIPLE - {"addresses"}, frozenset({"value"})),
    "manager": frozenset({"value", "displayName"}),
    "meta": frozenset({"created", "lastModified", "location", "resourceType", "version"}),
}
_COMMON: Final = frozenset({"type", "primary", "display"})
#: Never written and never kept here.
SECRET: Final = "password"  # noqa: S105 - the name of an attribute

CATALOGUE: Final[Mapping[str, Attribute]] = {
    attribute.name: attribute
    for attribute in (
        Attribute(USER_NAME, Type.FOLDED, required=True),
        Attribute("externalId"),
        Attribute("name.formatted", person_name=True),
        Attribute("name.familyName", person_name=True),
        Attribute("name.givenName", person_name=True),
        Attribute("name.middleName"),
        Attribute("name.honorificPrefix"),
        Attribute("name.honorificSuffix"),
        Attribute("displayName", person_name=True),
        Attribute("nickName"),
        Attribute("profileUrl"),
        Attribute("title"),
        Attribute("userType"),
        Attribute("preferredLanguage"),
        Attribute("locale"),
        Attribute("timezone"),
        Attribute(ACTIVE, Type.BOOLEAN),
        Attribute("roles", Type.SET, role=True),
        Attribute("entitlements", Type.SET, role=True),
        Attribute(GROUPS, Type.SET),
        *(
            Attribute(f"{SCIM_ENTERPRISE_USER}:{name}")
            for name in ("employeeNumber", "costCenter", "organization", "division", "department", "manager.value")
        ),
        Attribute("id", on_create=False, on_update=False),
        Attribute("meta.created", on_create=False, on_update=False),
        Attribute("meta.lastModified", on_create=False, on_update=False),
    )
}


def family(name: str) -> tuple[Path, Attribute]:
    """An attribute by its path, also one that the catalogue does not list.

    Raises:
        InvalidPathError: it is no path, or the RFC's user has no such attribute.
    """
    path = parse(name)
    if name in CATALOGUE:
        return path, CATALOGUE[name]
    known = CATALOGUE.get(str(path))
    if known is not None:
        return path, known
    if path.schema:
        _without_secret(path)
        return path, Attribute(name)
    if path.attribute not in MULTIPLE | COMPLEX:
        raise InvalidPathError("is no attribute of a SCIM user")
    if path.sub is None:
        raise InvalidPathError(f'names no value: write {path.attribute}[type eq "work"].value or alike')
    if path.sub not in SUBS[path.attribute] | (_COMMON if path.attribute in MULTIPLE else frozenset()):
        raise InvalidPathError(f"has no sub-attribute {path.sub!r}")
    type_ = Type.EMAIL if (path.attribute, path.sub) == ("emails", "value") else Type.TEXT
    type_ = Type.BOOLEAN if path.sub == "primary" else type_
    writable = path.attribute != "meta"
    role = path.attribute in ("roles", "entitlements")
    return path, Attribute(name, type_, role=role, on_create=writable, on_update=writable)


def _without_secret(path: Path) -> None:
    if SECRET in (path.attribute.lower(), (path.sub or "").lower()):
        raise InvalidPathError("is a password: provisioner sends none, and keeps none")


def is_custom(name: str) -> bool:
    """Whether only the settings can say of which type an attribute is: one of an organisation's own extension."""
    try:
        path = parse(name)
    except InvalidPathError:
        return False
    return path.schema is not None and path.schema.lower() != SCIM_ENTERPRISE_USER.lower()


def spelt(text: str | None, type_: Type, *, booleans_as_text: bool) -> Any:
    """A canonical value as JSON."""
    if type_ is Type.BOOLEAN and text is not None:
        return text.capitalize() if booleans_as_text else text == "true"
    return natural(text, type_)


def shown(resource: Mapping[str, Any], path: Path, type_: Type) -> str | None:
    """The value at a path of a resource, as canonical text.

    Raises:
        InvalidValueError: it is not of the attribute's type; the message names the path.
    """
    try:
        return _canonical(value_at(resource, path), type_)
    except InvalidValueError as exc:
        raise InvalidValueError(f"{path} {exc}") from None


def value_at(resource: Mapping[str, Any], path: Path) -> Any:
    """The JSON at a path, None if nothing is there. Of several elements that fit, the primary one, else the first."""
    container = container_of(resource, path)
    node = None if container is None else get(container, path.attribute)
    if path.where or (path.sub and isinstance(node, list)):
        fitting = [one for one in elements(node) if path.chooses(one)]
        node = chosen(fitting)
    if path.sub:
        return get(node, path.sub) if isinstance(node, Mapping) else None
    return node


def container_of(resource: Mapping[str, Any], path: Path) -> Mapping[str, Any] | None:
    """The object that holds the attribute of a path: the resource, or its extension."""
    found = get(resource, path.schema) if path.schema else resource
    return found if isinstance(found, Mapping) else None


def elements(node: Any) -> list[Any]:
    """The elements of a multi-valued attribute, however few."""
    return list(node) if isinstance(node, list) else [] if node is None else [node]


def chosen(fitting: Collection[Any]) -> Any:
    """The primary element, else the first, None of none."""
    primary = (one for one in fitting if isinstance(one, Mapping) and str(get(one, "primary")).lower() == "true")
    return next(primary, next(iter(fitting), None))


def _canonical(value: Any, type_: Type) -> str | None:
    if type_ is Type.SET:
        return canonical([plain(one) for one in elements(value)], type_)
    if isinstance(value, (Mapping, list)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")) if value else None
    return canonical(value, type_)


def plain(element: Any) -> str:
    """The text of an element of a set: itself, or its `value`."""
    return str(get(element, "value") or "") if isinstance(element, Mapping) else str(element)
