"""The schema of a User: RFC 7643 (4.1, 4.3), without what we never keep, and with the extensions of the settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from provisioner.model.scim_names import SCIM_ENTERPRISE_USER, SCIM_USER
from provisioner.web.scim.errors import Document

__all__ = ["SCHEMA", "Attribute", "Extension", "Target", "UserSchema"]

SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:Schema"

Kind = Literal["string", "boolean", "complex", "reference", "dateTime", "binary"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute as RFC 7643 (7) describes it; `parts` are the sub-attributes of a complex one."""

    name: str
    kind: Kind = "string"
    description: str = ""
    parts: tuple[Attribute, ...] = ()
    many: bool = False
    required: bool = False
    exact: bool = False
    mutability: Literal["readOnly", "readWrite", "writeOnly"] = "readWrite"
    returned: Literal["always", "default", "never"] = "default"
    unique: bool = False
    examples: tuple[str, ...] = ()
    refers: tuple[str, ...] = ()

    def part(self, name: str) -> Attribute | None:
        """A sub-attribute, whatever the case of its name."""
        return next((one for one in self.parts if one.name.lower() == name.lower()), None)

    def to_json(self) -> Document:
        """As an entry of a schema."""
        found: dict[str, Any] = {
            "name": self.name,
            "type": self.kind,
            "multiValued": self.many,
            "description": self.description or f"The attribute {self.name}.",
            "required": self.required,
            "mutability": self.mutability,
            "returned": self.returned,
        }
        if self.kind != "complex":
            found["caseExact"] = self.exact
            found["uniqueness"] = "server" if self.unique else "none"
        if self.examples:
            found["canonicalValues"] = list(self.examples)
        if self.refers:
            found["referenceTypes"] = list(self.refers)
        if self.parts:
            found["subAttributes"] = [one.to_json() for one in self.parts]
        return found


def _values(name: str, what: str, types: Sequence[str], kind: Kind = "string", **more: Any) -> Attribute:
    """A multi-valued attribute with `value`, `type` and `primary`."""
    return Attribute(
        name,
        "complex",
        f"{what.capitalize()}s of the person.",
        (
            Attribute("value", kind, f"The {what} itself.", **more),
            Attribute("display", description="A name for people."),
            Attribute("type", description="What it is for.", examples=tuple(types)),
            Attribute("primary", "boolean", "Whether it is the preferred one."),
        ),
        many=True,
    )


_ADDRESS: Final = Attribute(
    "addresses",
    "complex",
    "Postal addresses of the person.",
    (
        *(
            Attribute(name, description=what)
            for name, what in (
                ("formatted", "The whole address, as it is written on a letter."),
                ("streetAddress", "Street and number."),
                ("locality", "The city."),
                ("region", "The state or region."),
                ("postalCode", "The postal code."),
                ("country", "The country, as two letters of ISO 3166-1."),
            )
        ),
        Attribute("type", description="What it is for.", examples=("work", "home", "other")),
        Attribute("primary", "boolean", "Whether it is the preferred one."),
    ),
    many=True,
)
#: What every resource has, RFC 7643 (3.1).
COMMON: Final = (
    Attribute(
        "id", description="The identifier here.", exact=True, mutability="readOnly", returned="always", unique=True
    ),
    Attribute("externalId", description="The identifier where the person comes from.", exact=True),
    Attribute(
        "meta",
        "complex",
        "What is known of the resource itself.",
        (
            Attribute("resourceType", exact=True, mutability="readOnly"),
            Attribute("created", "dateTime", mutability="readOnly"),
            Attribute("lastModified", "dateTime", mutability="readOnly"),
            Attribute("location", "reference", exact=True, mutability="readOnly", refers=("uri",)),
            Attribute("version", exact=True, mutability="readOnly"),
        ),
        mutability="readOnly",
    ),
)
_CORE: Final = (
    Attribute("userName", description="The name by which the person signs in.", required=True, unique=True),
    Attribute(
        "name",
        "complex",
        "The parts of the person's name.",
        (
            Attribute("formatted", description="The whole name."),
            Attribute("familyName", description="The family name."),
            Attribute("givenName", description="The given name."),
            Attribute("middleName", description="The middle name."),
            Attribute("honorificPrefix", description="Such as Dr."),
            Attribute("honorificSuffix", description="Such as III."),
        ),
    ),
    Attribute("displayName", description="The name by which the person is shown."),
    Attribute("nickName", description="What the person is called."),
    Attribute("profileUrl", "reference", "A page about the person.", exact=True, refers=("external",)),
    Attribute("title", description="The job title."),
    Attribute("userType", description="Such as Employee or Contractor."),
    Attribute("preferredLanguage", description="The language, such as en-AU."),
    Attribute("locale", description="Where the person is, for dates and numbers, such as en-AU."),
    Attribute("timezone", description="The time zone, such as Australia/Sydney."),
    Attribute("active", "boolean", "Whether the person works here; false makes a leaver."),
    _values("emails", "email address", ("work", "home", "other")),
    _values("phoneNumbers", "phone number", ("work", "home", "mobile", "fax", "pager", "other")),
    _values("ims", "instant messaging address", ()),
    _values("photos", "photo", ("photo", "thumbnail"), "reference", exact=True, refers=("external",)),
    _ADDRESS,
    _values("entitlements", "entitlement", ()),
    _values("roles", "role", ()),
)
_ENTERPRISE: Final = (
    Attribute("employeeNumber", description="The number of the person in the organisation."),
    Attribute("costCenter", description="The cost centre."),
    Attribute("organization", description="The organisation."),
    Attribute("division", description="The division."),
    Attribute("department", description="The department."),
    Attribute(
        "manager",
        "complex",
        "Whom the person reports to.",
        (
            Attribute("value", description="The id of their resource here.", exact=True),
            Attribute("$ref", "reference", "The address of their resource.", exact=True, refers=("User",)),
            Attribute("displayName", description="Their name."),
        ),
    ),
)


@dataclass(frozen=True)
class Extension:
    """A schema besides that of User; its attributes lie under its URN."""

    urn: str
    name: str
    attributes: tuple[Attribute, ...]


@dataclass(frozen=True)
class Target:
    """Where a path leads: to an attribute, perhaps within an extension (its URN), perhaps to a part of it.

    Without `attribute` it is the whole extension.
    """

    urn: str | None
    attribute: Attribute | None
    part: Attribute | None = None


class UserSchema:
    """All attributes that a User may have here."""

    def __init__(self, extensions: Mapping[str, Iterable[str]] | None = None) -> None:
        """
        Args:
            extensions: URN and attributes of further extensions, which are texts.
        """
        own = [
            Extension(urn, urn.rsplit(":", 1)[-1], tuple(Attribute(name) for name in names))
            for urn, names in (extensions or {}).items()
            if urn.lower() != SCIM_ENTERPRISE_USER.lower()
        ]
        self.extensions = (Extension(SCIM_ENTERPRISE_USER, "EnterpriseUser", _ENTERPRISE), *own)
        self._names = {one.name.lower(): one for one in (*COMMON, *_CORE)}
        self._within = {
            one.urn.lower(): (one.urn, {attribute.name.lower(): attribute for attribute in one.attributes})
            for one in self.extensions
        }

    def attribute(self, name: str) -> Attribute | None:
        """An attribute of the core schema, whatever the case of its name."""
        return self._names.get(name.lower())

    def extension(self, urn: str) -> tuple[str, Mapping[str, Attribute]] | None:
        """The URN as it is spelt here and the attributes by their names in lower case; None if we know none such."""
        return self._within.get(urn.lower())

    def target(self, path: str) -> Target | None:
        """Where a path without a filter leads: ``[URN:]name[.part]``; None if nowhere."""
        lower = path.lower()
        for folded, (urn, attributes) in self._within.items():
            if lower == folded:
                return Target(urn, None)
            if lower.startswith((f"{folded}:", f"{folded}.")):
                return _within(urn, attributes, path[len(folded) + 1 :])
        if lower.startswith(f"{SCIM_USER.lower()}:"):
            path = path[len(SCIM_USER) + 1 :]
        return _within(None, self._names, path)

    @cached_property
    def documents(self) -> tuple[Document, ...]:
        """What ``/Schemas`` shows, without `meta`."""
        core = _schema(SCIM_USER, "User", "A person.", (COMMON[1], *_CORE))
        return (core, *(_schema(one.urn, one.name, "More of a person.", one.attributes) for one in self.extensions))

    def __iter__(self) -> Iterator[Attribute]:
        """The attributes of the core schema."""
        return iter(self._names.values())


def _within(urn: str | None, attributes: Mapping[str, Attribute], path: str) -> Target | None:
    name, dot, rest = path.partition(".")
    found = attributes.get(name.lower())
    if found is None:
        return None
    if not dot:
        return Target(urn, found)
    part = found.part(rest)
    return None if part is None else Target(urn, found, part)


def _schema(urn: str, name: str, description: str, attributes: Iterable[Attribute]) -> Document:
    return {
        "schemas": [SCHEMA],
        "id": urn,
        "name": name,
        "description": description,
        "attributes": [one.to_json() for one in attributes],
    }
