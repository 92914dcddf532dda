"""Pushed people as rows: the columns that a SCIM User comes to, one row a person. Pure.

The columns are always the same, whoever was pushed: the paths of SCIM with dots. Of values with a type there is a
column for each usual type, for the primary one, and for the first of any other type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from provisioner.model.pushed_person import PushedPerson
from provisioner.model.scim_names import SCIM_ENTERPRISE_USER
from provisioner.settings import RosterSettings

#: The column that says whether the person works here: ``true`` or ``false``.
ACTIVE: Final = "active"
#: The column of the key before the present one, where the same resource came with another.
PREVIOUS: Final = "previousKey"

#: The extension of RFC 7643 (4.3).
_SINGLE: Final = (
    *("userName", "externalId", "displayName", "nickName", "profileUrl", "title", "userType"),
    *("preferredLanguage", "locale", "timezone"),
)
_NAME: Final = ("formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix")
_ADDRESS: Final = ("formatted", "streetAddress", "locality", "region", "postalCode", "country")
_COMPANY: Final = ("employeeNumber", "costCenter", "organization", "division", "department")
#: Values of several types: the types that have a column, and the parts (none: the value alone).
_TYPED: Final[Mapping[str, tuple[Sequence[str], Sequence[str]]]] = {
    "emails": (("work", "home"), ()),
    "phoneNumbers": (("work", "home", "mobile", "fax", "pager"), ()),
    "photos": (("photo", "thumbnail"), ()),
    "addresses": (("work", "home"), _ADDRESS),
}
_SETS: Final = ("roles", "entitlements", "ims")
_ANY: Final = ("primary", "other")
#: One column for whoever wants the email or the phone number, whatever its type.
_BEST: Final = {"email": "emails", "phone": "phoneNumbers"}


def columns(settings: RosterSettings) -> tuple[str, ...]:
    """The columns of pushed people, in their order."""
    found = ["id", *_SINGLE, ACTIVE, "deleted", *(f"name.{part}" for part in _NAME), *_BEST]
    for name, (types, parts) in _TYPED.items():
        for type_ in (*types, *_ANY):
            found += [f"{name}.{type_}.{part}" for part in parts] if parts else [f"{name}.{type_}"]
    found += [*_SETS, *_COMPANY, "manager", "manager.value", "manager.displayName"]
    found += [_own_column(name) for names in settings.scim.extensions.values() for name in names]
    return (*dict.fromkeys(found), "meta.created", PREVIOUS)


def rows(people: Iterable[PushedPerson], settings: RosterSettings, *, created: Mapping[str, str]) -> bytes:
    """The people as a JSON array, one object a line, in the order of their ids: the same people give the same bytes.

    Args:
        created: by id the day on which somebody was first pushed.
    """
    everybody = sorted(people, key=lambda one: one.id)
    key_of = {one.id: one.key for one in everybody}
    blank = dict.fromkeys(columns(settings))
    lines = []
    for place, one in enumerate(everybody):
        row = dict(_cells(one, settings, key_of))
        row["meta.created"] = created[one.id]
        # Every column is named once, so that it is there though nobody has a value in it
        lines.append(json.dumps({**blank, **row} if place == 0 else row, ensure_ascii=False))
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def _cells(person: PushedPerson, settings: RosterSettings, key_of: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    resource = person.resource
    yield "id", person.id
    yield ACTIVE, "true" if person.active else "false"
    yield "deleted", "true" if person.deleted else "false"
    if person.previous:
        yield PREVIOUS, person.previous
    yield from ((name, str(resource[name])) for name in _SINGLE if name in resource)
    yield from _parts("name", resource.get("name"), _NAME)
    for name, (types, parts) in _TYPED.items():
        yield from _typed(name, resource.get(name) or (), types, parts)
    for name, of in _BEST.items():
        best = _best(resource.get(of) or ())
        if best is not None:
            yield name, best
    for name in _SETS:
        values = [str(one["value"]) for one in resource.get(name) or () if one.get("value")]
        if values:
            yield name, ";".join(values)
    company = resource.get(SCIM_ENTERPRISE_USER) or {}
    yield from ((name, str(company[name])) for name in _COMPANY if name in company)
    manager = company.get("manager") or {}
    yield from _parts("manager", manager, ("value", "displayName"))
    if "value" in manager:
        yield "manager", key_of.get(manager["value"], str(manager["value"]))
    for urn, names in settings.scim.extensions.items():
        more = resource.get(urn) or {}
        yield from ((_own_column(name), str(more[name])) for name in names if name in more)


def _own_column(name: str) -> str:
    """The column of an attribute of the settings' own extensions."""
    return f"extension.{name}" if name in _SINGLE or name in _COMPANY or name in _FIXED else name


_FIXED: Final = frozenset({"id", ACTIVE, "deleted", *_BEST, *_SETS, "manager", PREVIOUS})


def _parts(name: str, value: Any, parts: Sequence[str]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        yield from ((f"{name}.{part}", str(value[part])) for part in parts if part in value)


def _typed(
    name: str, values: Sequence[Mapping[str, Any]], types: Sequence[str], parts: Sequence[str]
) -> Iterator[tuple[str, str]]:
    found: dict[str, Mapping[str, Any]] = {}
    for one in values:
        type_ = str(one.get("type", "")).casefold()
        found.setdefault(type_ if type_ in types else "other", one)
        if one.get("primary"):
            found.setdefault("primary", one)
    for type_, one in found.items():
        if parts:
            yield from _parts(f"{name}.{type_}", one, parts)
        elif one.get("value"):
            yield f"{name}.{type_}", str(one["value"])


def _best(values: Sequence[Mapping[str, Any]]) -> str | None:
    """The primary value, else the one for work, else the first."""
    there = [one for one in values if one.get("value")]
    if not there:
        return None
    ranks = {True: 0, "work": 1}
    best = min(
        there, key=lambda one: ranks.get(bool(one.get("primary")), ranks.get(str(one.get("type")).casefold(), 2))
    )
    return str(best["value"])


def has_left(frame: pl.DataFrame, settings: RosterSettings) -> pl.Expr:
    """Of each row whether whoever pushes people said that this one left, whatever `employed` makes of the row."""
    if not settings.pushed_people or ACTIVE not in frame.columns:
        return pl.lit(value=False)
    return (pl.col(ACTIVE) == "false").fill_null(value=False)
