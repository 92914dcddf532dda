"""PATCH of the SCIM stand-in (RFC 7644, 3.5.2): a path that finds nothing is refused as the RFC says."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from provisioner.sandbox.scim.definitions import PATCH, READ_ONLY
from provisioner.sandbox.scim.filters import ScimRefusedError, matches

_PATH = re.compile(r"(?:(?P<urn>urn:[^\[\"]+):)?(?P<name>[A-Za-z]+)(?:\[(?P<filter>.+)\])?(?:\.(?P<sub>[A-Za-z$]+))?")
_MULTIPLE = ("emails", "phoneNumbers", "roles", "entitlements", "addresses", "members")
FORMS = ("any", "paths", "whole", "keyed")
"""Which requests are taken: all of the RFC's, only those with a path, only those without, only those whose value has
paths as keys."""


def patched(resource: Mapping[str, Any], body: Mapping[str, Any], form: str = "any") -> dict[str, Any]:
    """The resource after all operations of a request."""
    if body.get("schemas") != [PATCH]:
        raise ScimRefusedError(400, "schemas must be PatchOp", "invalidSyntax")
    result: dict[str, Any] = deepcopy(dict(resource))
    for operation in operations_of(body):
        verb, path, value = str(operation.get("op")).lower(), operation.get("path"), operation.get("value")
        if verb not in ("add", "replace", "remove") or set(operation) - {"op", "path", "value"}:
            raise ScimRefusedError(400, "An operation is add, replace or remove", "invalidSyntax")
        if (form == "paths" and not path) or (form in ("whole", "keyed") and path and verb != "remove"):
            raise ScimRefusedError(400, "This form of PATCH is not taken", "invalidPath")
        if path:
            _at(result, verb, str(path), value, keep=form == "keyed")
        elif verb == "remove":
            raise ScimRefusedError(400, "What is to be removed has no path", "noTarget")
        else:
            _whole(result, verb, value, keyed=form == "keyed")
    return result


def operations_of(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The operations of a request."""
    found = body.get("Operations")
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise ScimRefusedError(400, "Operations is no list of objects", "invalidSyntax")
    return found


def _whole(resource: dict[str, Any], verb: str, value: Any, *, keyed: bool) -> None:
    if not isinstance(value, dict):
        raise ScimRefusedError(400, "A value without a path is an object", "invalidValue")
    for name, part in value.items():
        if keyed:
            _at(resource, verb, name, part, keep=True)
        elif name.startswith("urn:"):
            for inner, held in part.items():
                _at(resource, verb, f"{name}:{inner}", held, keep=False)
        else:
            _at(resource, verb, name, part, keep=False)


def _at(resource: dict[str, Any], verb: str, path: str, value: Any, *, keep: bool) -> None:
    found = _PATH.fullmatch(path)
    if found is None or (found["urn"] or "").endswith("core:2.0:User"):
        raise ScimRefusedError(400, f"No path: {path}", "invalidPath")
    name, sub = found["name"], found["sub"]
    if name in READ_ONLY:
        raise ScimRefusedError(400, f"{name} is read-only", "mutability")
    if verb != "remove" and value is None:
        raise ScimRefusedError(400, "The value is missing", "invalidValue")
    node = resource.setdefault(found["urn"], {}) if found["urn"] else resource
    if found["filter"]:
        _elements(node, verb, found, value, keep=keep)
    elif sub:
        held = node.setdefault(name, {})
        if not isinstance(held, dict):
            raise ScimRefusedError(400, f"{name} is a list", "invalidPath")
        _change(held, verb, sub, value)
    else:
        _change(node, verb, name, value)
    for key in (name, found["urn"]):
        if key and resource.get(key) in ([], {}):
            del resource[key]


def _change(node: dict[str, Any], verb: str, name: str, value: Any) -> None:
    if verb == "remove":
        gone = {one.get("value") for one in value} if isinstance(value, list) else None
        if gone is not None and isinstance(node.get(name), list):
            node[name] = [one for one in node[name] if one.get("value") not in gone]
        else:
            node.pop(name, None)
    elif verb == "add" and name in _MULTIPLE:
        new = value if isinstance(value, list) else [value]
        node[name] = [*node.get(name, []), *(one for one in new if one not in node.get(name, []))]
    elif verb == "add" and isinstance(value, dict) and isinstance(node.get(name), dict):
        node[name] |= value
    else:
        node[name] = value


def _elements(node: dict[str, Any], verb: str, found: re.Match[str], value: Any, *, keep: bool) -> None:
    name, sub = found["name"], found["sub"]
    held: list[dict[str, Any]] = node.get(name) or []
    fitting = [one for one in held if matches(one, found["filter"])]
    if not fitting and keep and verb != "remove" and sub:
        kind = re.fullmatch(r'\s*type eq "([^"]+)"\s*', found["filter"])
        node[name] = [*held, {**({"type": kind[1]} if kind else {}), sub: value}]
        return
    if not fitting:
        raise ScimRefusedError(400, f"Nothing fits {found['filter']}", "noTarget")
    for one in fitting:
        if sub:
            _change(one, verb, sub, value)
        elif verb == "remove":
            held = [other for other in held if other is not one]
        elif isinstance(value, dict):
            one.update(value)
    node[name] = held
