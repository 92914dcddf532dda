"""A user resource as it is to be, and the PATCH that makes it so. Pure.

Source: RFC 7644, 3.5.1 (PUT) and 3.5.2 (PATCH).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from provisioner.model.attributes import Attribute, Type, members
from provisioner.model.scim_names import SCIM_PATCH_OP, SCIM_USER
from provisioner.targets.scim.attributes import ACTIVE, MULTIPLE, chosen, elements, family, plain, spelt
from provisioner.targets.scim.paths import Path, get, key_of

#: What a PUT leaves out: the service's own, and what is changed elsewhere.
READ_ONLY: Final = ("meta", "groups")
#: Multi-valued attributes of which one element is the primary one, where there is any.
_WITH_PRIMARY: Final = frozenset({"emails"})

Form = Literal["paths", "lists", "attributes", "value", "keyed"]


@dataclass(frozen=True, slots=True)
class Change:
    """One value that is to be at a path; `value` is JSON, None to remove it. `text`: booleans are spelt as text."""

    path: Path
    value: Any
    type: Type
    text: bool = False

    @property
    def is_element(self) -> bool:
        """Whether the value is one of an element, among several of the attribute."""
        return bool(self.path.where) or (self.path.sub is not None and self.path.attribute in MULTIPLE)

    @property
    def is_set(self) -> bool:
        """Whether the value is a whole list."""
        return self.type is Type.SET


def changes(after: Mapping[str, str | None], attributes: Mapping[str, Attribute], *, text: bool) -> list[Change]:
    """What canonical values mean for a resource; `active` first, since it matters most.

    Args:
        after: by attribute; none of them is `groups`.
        attributes: by name, at least those.
        text: whether booleans are spelt as text.
    """
    ordered = sorted(after, key=lambda name: name != ACTIVE)
    return [_change(name, after[name], attributes[name].type, text=text) for name in ordered]


def _change(name: str, value: str | None, type_: Type, *, text: bool) -> Change:
    path, _ = family(name)
    json = list(members(value)) or None if type_ is Type.SET else spelt(value, type_, booleans_as_text=text)
    return Change(path, json, type_, text)


def applied(resource: Mapping[str, Any], wanted: Sequence[Change]) -> dict[str, Any]:
    """A copy of a resource that holds what is wanted; what nothing is wanted of stays as it is."""
    result: dict[str, Any] = deepcopy(dict(resource))
    for change in wanted:
        container = _container(result, change.path, make=change.value is not None)
        if container is not None:
            _apply(container, change)
            if change.path.schema and not container:
                result.pop(key_of(result, change.path.schema) or "", None)
    return result


def schemas_of(resource: Mapping[str, Any]) -> list[str]:
    """The value of `schemas`: what is said already, the user's, and that of each extension in the resource."""
    said = [str(one) for one in elements(get(resource, "schemas"))]
    held = [SCIM_USER, *(name for name in resource if name.lower().startswith("urn:"))]
    known = {one.lower() for one in said}
    return said + [one for one in held if one.lower() not in known]


def replacement(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a PUT: the whole resource but for what only the service writes."""
    kept = {name: value for name, value in resource.items() if name.lower() not in READ_ONLY}
    kept["schemas"] = schemas_of(kept)
    return kept


def _container(resource: dict[str, Any], path: Path, *, make: bool) -> dict[str, Any] | None:
    if path.schema is None:
        return resource
    key = key_of(resource, path.schema)
    held = resource.get(key) if key else None
    if not isinstance(held, dict):
        if not make:
            return None
        held = resource[key or path.schema] = {}
    return held


def _apply(container: dict[str, Any], change: Change) -> None:
    path, value = change.path, change.value
    key = key_of(container, path.attribute) or path.attribute
    if change.is_element:
        _apply_to_element(container, key, change)
    elif path.sub:
        held = container.get(key)
        held = held if isinstance(held, dict) else {}
        _put(held, path.sub, value)
        _put(container, key, held or None)
    elif change.is_set:
        _put(container, key, _same_set(elements(container.get(key)), value))
    else:
        _put(container, key, value)


def _apply_to_element(container: dict[str, Any], key: str, change: Change) -> None:
    path, value = change.path, change.value
    held = [one for one in elements(container.get(key)) if isinstance(one, Mapping)]
    fitting = _fitting(held, path)
    sub = path.sub or "value"
    if value is not None and not fitting:
        element: dict[str, Any] = {name: _spelt(wanted, text=change.text) for name, wanted in path.where}
        if path.where and path.attribute in _WITH_PRIMARY and not any(get(one, "primary") for one in held):
            element.setdefault("primary", _spelt(True, text=change.text))
        element[sub] = value
        container[key] = [*held, element]
        return
    if not fitting:
        return
    # Of several that fit, each would be read in its turn: all get the value
    kept = []
    for one in held:
        if any(one is other for other in fitting):
            one = dict(one)
            _put(one, key_of(one, sub) or sub, value)
            if value is None and (sub.lower() == "value" or _bare(one, path)):
                continue
        kept.append(one)
    _put(container, key, kept or None)


def _fitting(held: Sequence[Any], path: Path) -> list[Any]:
    """The elements that a path means: all that fit, or the chosen one where the path says nothing of them."""
    if path.where:
        return [one for one in held if path.chooses(one)]
    one = chosen(held)
    return [] if one is None else [one]


def _spelt(value: str | bool, *, text: bool) -> Any:
    return str(value) if text and isinstance(value, bool) else value


def _bare(element: Mapping[str, Any], path: Path) -> bool:
    """Whether an element says nothing but by what it is chosen."""
    chosen_by = {name.lower() for name, _ in path.where} | {"primary", "type"}
    return not {name for name in element if name.lower() not in chosen_by}


def _same_set(held: list[Any], value: list[str] | None) -> list[Any] | None:
    """The elements of a set: those that stay are kept as they are, new ones have the shape of the others."""
    wanted = {name.lower(): name for name in value or ()}
    kept = [one for one in held if plain(one).lower() in wanted]
    there = {plain(one).lower() for one in kept}
    bare = bool(held) and not any(isinstance(one, Mapping) for one in held)
    new = [name if bare else {"value": name} for key, name in wanted.items() if key not in there]
    return [*kept, *new] or None


def _put(container: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        container.pop(key, None)
    else:
        container[key] = value


def patch(resource: Mapping[str, Any], wanted: Sequence[Change], form: Form) -> dict[str, Any] | None:
    """The PATCH that brings a resource to what is wanted, None if it is so already.

    Only what differs is named. An element that is not there yet is added as a whole, since a replacement at its path
    would find no target.
    """
    target = applied(resource, wanted)
    differing = [change for change in wanted if _held(resource, change) != _held(target, change)]
    if not differing:
        return None
    makers: dict[Form, _Maker] = {
        "paths": partial(_by_path, lists=False),
        "lists": partial(_by_path, lists=True),
        "attributes": _by_attribute,
        "value": _by_value,
        "keyed": _by_key,
    }
    return {"schemas": [SCIM_PATCH_OP], "Operations": makers[form](resource, target, differing)}


_Maker = Callable[[Mapping[str, Any], Mapping[str, Any], Sequence[Change]], list[dict[str, Any]]]


def _held(resource: Mapping[str, Any], change: Change) -> Any:
    """What a resource holds of what a change is about."""
    path, part = change.path, _part(resource, change.path)
    if change.is_element:
        found = [get(one, path.sub or "value") for one in _fitting(elements(part), path)]
        return [value for value in found if value is not None]
    if change.is_set:
        return {plain(one).lower() for one in elements(part)}
    if path.sub:
        return get(part, path.sub) if isinstance(part, Mapping) else None
    return part


def _part(resource: Mapping[str, Any], path: Path) -> Any:
    """The whole attribute that a path lies in."""
    container: Any = get(resource, path.schema) if path.schema else resource
    return get(container, path.attribute) if isinstance(container, Mapping) else None


def _by_path(
    resource: Mapping[str, Any], target: Mapping[str, Any], differing: Sequence[Change], *, lists: bool
) -> list[dict[str, Any]]:
    operations: list[dict[str, Any]] = []
    added: set[str] = set()
    for change in differing:
        path = change.path
        part = _part(target, path)
        if change.is_element and (lists or not path.where):
            if path.head not in added:
                added.add(path.head)
                operations.append(_whole(path.head, part))
        elif path.where:
            before = [one for one in elements(_part(resource, path)) if path.chooses(one)]
            if not before:
                if path.element in added:
                    continue
                added.add(path.element)
                fresh = [one for one in elements(part) if path.chooses(one)]
                operations.append({"op": "add", "path": path.head, "value": fresh})
            elif change.value is not None:
                operations.append({"op": "replace", "path": str(path), "value": change.value})
            else:
                operations.append({"op": "remove", "path": _removed(target, path)})
        elif change.value is None:
            operations.append({"op": "remove", "path": str(path)})
        else:
            operations.append({"op": "replace", "path": str(path), "value": part if change.is_set else change.value})
    return operations


def _by_attribute(
    resource: Mapping[str, Any], target: Mapping[str, Any], differing: Sequence[Change]
) -> list[dict[str, Any]]:
    del resource
    heads = {change.path.head: _part(target, change.path) for change in differing}
    return [_whole(head, part) for head, part in heads.items()]


def _removed(target: Mapping[str, Any], path: Path) -> str:
    """What to remove of an element: its value, or all of it where nothing else would be left."""
    still = any(path.chooses(one) for one in elements(_part(target, path)))
    return str(path) if still or not path.where else path.element


def _whole(head: str, part: Any) -> dict[str, Any]:
    return {"op": "remove", "path": head} if part is None else {"op": "replace", "path": head, "value": part}


def _by_value(
    resource: Mapping[str, Any], target: Mapping[str, Any], differing: Sequence[Change]
) -> list[dict[str, Any]]:
    del resource
    value: dict[str, Any] = {}
    removed: dict[str, None] = {}
    for change in differing:
        part = _part(target, change.path)
        if part is None:
            removed[change.path.head] = None
        elif change.path.schema:
            value.setdefault(change.path.schema, {})[change.path.attribute] = part
        else:
            value[change.path.attribute] = part
    return _one_value(value, removed)


def _by_key(
    resource: Mapping[str, Any], target: Mapping[str, Any], differing: Sequence[Change]
) -> list[dict[str, Any]]:
    del resource
    value: dict[str, Any] = {}
    removed: dict[str, None] = {}
    for change in differing:
        if change.is_element and not change.path.where:
            value[change.path.head] = _part(target, change.path) or []
        elif change.value is None:
            removed[_removed(target, change.path)] = None
        else:
            value[str(change.path)] = _part(target, change.path) if change.is_set else change.value
    return _one_value(value, removed)


def _one_value(value: Mapping[str, Any], removed: Mapping[str, None]) -> list[dict[str, Any]]:
    operations: list[dict[str, Any]] = [{"op": "remove", "path": path} for path in removed]
    return [*operations, {"op": "replace", "value": dict(value)}] if value else operations
