"""Attribute paths and filters of SCIM. Pure.

Source: RFC 7644, 3.4.2.2 (filters) and 3.5.2 (paths), RFC 7643, 2.1 (names ignore case) and 3.3 (extensions).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from provisioner.model.scim_names import SCIM_USER

_NAME = r"[A-Za-z$][A-Za-z0-9_$-]*"
_PATH = re.compile(
    rf"(?:(?P<schema>urn:[^\[\"]+):)?(?P<attribute>{_NAME})(?:\[(?P<where>.*)\])?(?:\.(?P<sub>{_NAME}))?"
)
_TERM = re.compile(rf'(?P<name>{_NAME})\s+eq\s+(?P<value>"(?:[^"\\]|\\.)*"|true|false)', re.IGNORECASE)
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)


class InvalidPathError(ValueError):
    """A text is no path of an attribute; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Path:
    """Where a value lies in a resource.

    `schema` is the URN of an extension, None for the core. `where` chooses one element of a multi-valued attribute:
    its sub-attributes with the values that they must have. `sub` is the sub-attribute that holds the value. Without
    `where`, ``emails.value`` means the primary element, else the first.
    """

    schema: str | None
    attribute: str
    where: tuple[tuple[str, str | bool], ...] = ()
    sub: str | None = None

    @property
    def head(self) -> str:
        """The path of the whole attribute."""
        return f"{self.schema}:{self.attribute}" if self.schema else self.attribute

    @property
    def element(self) -> str:
        """The path of the chosen element, or of the whole attribute where none is chosen."""
        terms = " and ".join(f"{name} eq {literal(value)}" for name, value in self.where)
        return f"{self.head}[{terms}]" if terms else self.head

    def __str__(self) -> str:
        return f"{self.element}.{self.sub}" if self.sub else self.element

    def chooses(self, element: Any) -> bool:
        """Whether an element of a multi-valued attribute is the one that `where` means."""
        return isinstance(element, Mapping) and all(_same(get(element, name), wanted) for name, wanted in self.where)


@lru_cache(maxsize=4096)
def parse(text: str) -> Path:
    """Read a path such as ``emails[type eq "work"].value``.

    Raises:
        InvalidPathError: it is none, or its filter is more than comparisons by `eq` joined by `and`.
    """
    found = _PATH.fullmatch(text.strip())
    if found is None:
        raise InvalidPathError("is no SCIM attribute path")
    schema = found["schema"]
    if schema and schema.lower() == SCIM_USER.lower():
        schema = None
    where: list[tuple[str, str | bool]] = []
    for term in _AND.split(found["where"].strip()) if found["where"] is not None else ():
        parts = _TERM.fullmatch(term)
        if parts is None:
            raise InvalidPathError('may choose an element only by comparisons such as [type eq "work"]')
        where.append((parts["name"], _value(parts["value"])))
    if where and not found["sub"]:
        raise InvalidPathError("names no sub-attribute: put one behind the bracket, such as .value")
    return Path(schema, found["attribute"], tuple(where), found["sub"])


def _value(text: str) -> str | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return str(json.loads(text))
    except ValueError:
        raise InvalidPathError(f"compares with {text}, which is no JSON string") from None


def literal(value: str | bool) -> str:
    """A value as filters spell it: JSON, so that quotes and backslashes in it end nothing."""
    return json.dumps(value, ensure_ascii=False)


def equals(path: Path, value: str) -> str:
    """The filter that finds resources in which an attribute has a value."""
    if path.where:
        terms = " and ".join(f"{name} eq {literal(wanted)}" for name, wanted in path.where)
        return f"{path.head}[{terms} and {path.sub} eq {literal(value)}]"
    return f"{path} eq {literal(value)}"


def get(container: Mapping[str, Any], name: str) -> Any:
    """A member of an object by its name, whose case does not matter; None if there is none."""
    key = key_of(container, name)
    return None if key is None else container[key]


def key_of(container: Mapping[str, Any], name: str) -> str | None:
    """The name under which an object holds an attribute, None if it does not."""
    if name in container:
        return name
    lowered = name.lower()
    return next((key for key in container if key.lower() == lowered), None)


def _same(shown: Any, wanted: str | bool) -> bool:
    if isinstance(wanted, bool):
        # An element that does not say that it is primary is not
        return (str(shown).lower() == "true") is wanted
    return isinstance(shown, str) and shown.lower() == wanted.lower()
