"""PATCH of RFC 7644 (3.5.2), in the forms that are seen: pure.

Names of operations in any case; a path or none; without one the keys of the value may be paths themselves
(``name.givenName``, ``urn:…:User:department``); ``emails[type eq "work"].value`` makes such an email where there is
none, as Microsoft Entra expects.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from provisioner.web.scim.errors import Document, invalid
from provisioner.web.scim.filters import All, Comparison, Filter, read_value_filter, value_matches
from provisioner.web.scim.resource import Resource, checked, read_value
from provisioner.web.scim.schema import Target, UserSchema

_MOST: Final = 200
_FILTERED: Final = re.compile(r"(?P<path>[^\[\]]+)\[(?P<filter>.*)\](?:\.(?P<part>[^.\[\]]+))?", re.DOTALL)
#: What a value without a path may carry along without meaning it.
_OURS: Final = frozenset({"id", "meta", "schemas", "groups", "password"})


@dataclass(frozen=True, slots=True)
class _Place:
    target: Target
    filter: Filter | None = None


def patched(resource: Resource, body: Mapping[str, Any], schema: UserSchema) -> Resource:
    """The resource after all operations of a body, in their order; all of them or none.

    Raises:
        ScimError: the body is no PATCH, or an operation cannot be carried out; names it.
    """
    operations = _folded(body).get("operations")
    if not isinstance(operations, list) or not operations:
        raise invalid("The body has no list of Operations.", "invalidSyntax")
    if len(operations) > _MOST:
        raise invalid(f"There are more than {_MOST} operations.", "tooMany")
    found = copy.deepcopy(resource)
    for one in operations:
        if not isinstance(one, Mapping):
            raise invalid("An operation is no object.", "invalidSyntax")
        _carry_out(found, _folded(one), schema)
    return checked(found)


def _folded(body: Mapping[str, Any]) -> Document:
    return {str(name).lower(): value for name, value in body.items()}


def _carry_out(found: Resource, operation: Mapping[str, Any], schema: UserSchema) -> None:
    word = str(operation.get("op", "")).lower()
    if word not in ("add", "replace", "remove"):
        raise invalid(f"{str(operation.get('op'))[:40]!r} is no operation: add, replace or remove.", "invalidSyntax")
    path = operation.get("path")
    if path is not None and not isinstance(path, str):
        raise invalid("The path is no text.", "invalidPath")
    value = operation.get("value")
    if path:
        _at(found, word, _place(path, schema), value, schema)
        return
    if word == "remove":
        raise invalid("An operation that removes needs a path.", "noTarget")
    if not isinstance(value, Mapping):
        raise invalid("Without a path the value has to be an object.", "invalidSyntax")
    for name, one in value.items():
        if name.lower() in _OURS:
            continue
        if schema.extension(name) is not None and isinstance(one, Mapping):
            _extension(found, word, name, one, schema)
        else:
            _at(found, word, _place(name, schema), one, schema)


def _place(path: str, schema: UserSchema) -> _Place:
    """
    Raises:
        ScimError: invalidPath.
    """
    match = _FILTERED.fullmatch(path.strip())
    name = match["path"].strip() if match else path.strip()
    target = schema.target(name)
    if target is None:
        raise invalid(
            f"There is no attribute {name[:120]!r} here. One of another extension has to be named in "
            "roster.scim.extensions.",
            "invalidPath",
        )
    if target.attribute is not None and target.attribute.mutability == "readOnly":
        raise invalid(f"{name} is set by the server only.", "mutability")
    if match is None:
        return _Place(target)
    attribute = target.attribute
    if attribute is None or not attribute.many or target.part is not None:
        raise invalid(f"{name} has no values that could be filtered.", "invalidPath")
    part = attribute.part(match["part"]) if match["part"] else None
    if match["part"] and part is None:
        raise invalid(f"{name} has no {match['part'][:60]!r}.", "invalidPath")
    return _Place(Target(target.urn, attribute, part), read_value_filter(match["filter"], attribute, schema))


def _at(found: Resource, word: str, place: _Place, value: Any, schema: UserSchema) -> None:
    target = place.target
    if target.attribute is None:
        _extension(found, word, str(target.urn), value, schema)
        return
    holder = found if target.urn is None else found.setdefault(target.urn, {})
    if place.filter is not None:
        _filtered(holder, word, target, place.filter, value)
    elif target.part is not None:
        _part(holder, word, target, value)
    else:
        _whole(holder, word, target, value)
    if target.urn is not None and not found[target.urn]:
        del found[target.urn]


def _extension(found: Resource, word: str, urn: str, value: Any, schema: UserSchema) -> None:
    if word == "remove" or value is None:
        found.pop(urn, None)
        return
    if not isinstance(value, Mapping):
        raise invalid(f"{urn} is no object.")
    for name, one in value.items():
        if name.lower() not in _OURS:
            _at(found, word, _place(f"{urn}:{name}", schema), one, schema)


def _whole(holder: Resource, word: str, target: Target, value: Any) -> None:
    attribute = target.attribute
    assert attribute is not None  # noqa: S101 - the caller saw to it
    name = attribute.name
    read = None if word == "remove" else read_value(attribute, value)
    if read is None:
        if word != "add":
            holder.pop(name, None)
        return
    before = holder.get(name)
    if attribute.many and word == "add" and isinstance(before, list):
        fresh = [one for one in read if one not in before]
        holder[name] = [*(_demoted(before) if any(one.get("primary") for one in fresh) else before), *fresh]
    elif attribute.kind == "complex" and not attribute.many and isinstance(before, dict):
        # Parts that the value does not name stay
        holder[name] = {**before, **read}
    else:
        holder[name] = read


def _demoted(values: list[Resource]) -> list[Resource]:
    """Values of which none is primary any more, since another one becomes it."""
    return [{**one, "primary": False} if one.get("primary") else one for one in values]


def _part(holder: Resource, word: str, target: Target, value: Any) -> None:
    attribute, part = target.attribute, target.part
    assert attribute is not None and part is not None  # noqa: S101, PT018 - the caller saw to it
    read = None if word == "remove" else read_value(part, value)
    before = holder.get(attribute.name)
    if attribute.many:
        values = before or ([] if read is None else [{}])
        _keep(holder, attribute.name, [_with(one, part.name, read) for one in values])
        return
    changed = _with(before or {}, part.name, read)
    if changed:
        holder[attribute.name] = changed
    else:
        holder.pop(attribute.name, None)


def _with(value: Resource, name: str, part: Any) -> Resource:
    if part is None:
        return {key: one for key, one in value.items() if key != name}
    return {**value, name: part}


def _keep(holder: Resource, name: str, values: list[Resource]) -> None:
    kept = [one for one in values if one]
    if kept:
        holder[name] = kept
    else:
        holder.pop(name, None)


def _filtered(holder: Resource, word: str, target: Target, found: Filter, value: Any) -> None:
    attribute, part = target.attribute, target.part
    assert attribute is not None  # noqa: S101 - the caller saw to it
    values: list[Resource] = list(holder.get(attribute.name) or [])
    hits = [place for place, one in enumerate(values) if value_matches(found, one)]
    if word == "remove":
        if not hits:
            return
        if part is None:
            kept = [one for place, one in enumerate(values) if place not in hits]
        else:
            kept = [_with(one, part.name, None) if place in hits else one for place, one in enumerate(values)]
        _keep(holder, attribute.name, kept)
        return
    change: Resource = {}
    if part is not None:
        change = {part.name: read_value(part, value)}
    else:
        read = read_value(attribute, value if not isinstance(value, list) else value[:1])
        change = dict(read[0]) if read else {}
    if not hits:
        values.append(_implied(found))
        hits = [len(values) - 1]
    if change.get("primary"):
        values = _demoted(values)
    for place in hits:
        values[place] = {name: one for name, one in {**values[place], **change}.items() if one is not None}
    _keep(holder, attribute.name, values)


def _implied(found: Filter) -> Resource:
    """The value that a filter describes by its equalities alone.

    Raises:
        ScimError: noTarget, it asks for something else, and no value is so.
    """
    parts = found.filters if isinstance(found, All) else (found,)
    value: Resource = {}
    for one in parts:
        if not isinstance(one, Comparison) or one.operator != "eq" or one.target.part is None or one.value is None:
            raise invalid("No value passes the filter of the path.", "noTarget")
        value[one.target.part.name] = read_value(one.target.part, one.value)
    return value
