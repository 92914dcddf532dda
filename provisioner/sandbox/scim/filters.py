"""Filters of the SCIM stand-in: comparisons by `eq`, joined by `and`, in brackets too (RFC 7644, 3.4.2.2)."""

import json
import re
from collections.abc import Mapping
from typing import Any

from provisioner.sandbox.wire import RefusedError

_TOKEN = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<mark>[\[\]])|(?P<word>[^\s\[\]"]+))')


class ScimRefusedError(RefusedError):
    """A refusal with its detail keyword (RFC 7644, 3.12)."""

    def __init__(self, status: int, reason: str, keyword: str = "") -> None:
        super().__init__(status, reason)
        self.keyword = keyword


def tokens(text: str) -> list[str]:
    """The words, strings and brackets of a filter."""
    found: list[str] = []
    place = 0
    while place < len(text.rstrip()):
        token = _TOKEN.match(text, place)
        if token is None:
            raise ScimRefusedError(400, f"Unreadable filter: {text}", "invalidFilter")
        found.append(token.group().strip())
        place = token.end()
    return found


def matches(resource: Mapping[str, Any], text: str) -> bool:
    """Whether a resource passes a filter."""
    words = tokens(text)
    passed, rest = _all(resource, words)
    if rest:
        raise ScimRefusedError(400, f"Unreadable filter: {text}", "invalidFilter")
    return passed


def _all(node: Mapping[str, Any], words: list[str]) -> tuple[bool, list[str]]:
    passed, rest = _one(node, words)
    while rest and rest[0].lower() == "and":
        also, rest = _one(node, rest[1:])
        passed = passed and also
    return passed, rest


def _one(node: Mapping[str, Any], words: list[str]) -> tuple[bool, list[str]]:
    if len(words) > 1 and words[1] == "[":
        held = _held(node, words[0])
        rest: list[str] = words[2:]
        end = rest
        passed = False
        for element in held if isinstance(held, list) and held else [{}]:
            one, end = _all(element, rest)
            passed = passed or (one and bool(held))
        if not end or end[0] != "]":
            raise ScimRefusedError(400, "A bracket is not closed", "invalidFilter")
        return passed, end[1:]
    if len(words) < 3 or words[1].lower() != "eq":
        raise ScimRefusedError(400, "Only eq is supported", "invalidFilter")
    return equal(_held(node, words[0]), _value(words[2])), words[3:]


def _held(node: Mapping[str, Any], path: str) -> Any:
    urn, _, name = path.rpartition(":")
    found: Any = node.get(urn, {}) if urn else node
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        raise ScimRefusedError(400, f"Unreadable value: {word}", "invalidFilter") from None


def equal(held: Any, wanted: Any) -> bool:
    """Whether two values are the same; text ignores case."""
    if isinstance(held, str) and isinstance(wanted, str):
        return held.lower() == wanted.lower()
    return type(held) is type(wanted) and bool(held == wanted)
