"""Events that a target tells us of by a webhook, and the facts that are kept of a person.

Only a target's own module knows the vendor's spelling of a webhook; it makes an `InboundEvent` of the body. Everything
after that (storing, routing, writing back) works on these values and knows no vendor.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

#: Levels of arrays and objects within each other; the vendors' samples have five.
MAX_DEPTH: Final = 24
_LONGEST_NAME: Final = 200
_LONGEST_VALUE: Final = 1000


class NotJsonError(ValueError):
    """The body is no JSON."""


class InvalidEventError(ValueError):
    """The body is JSON, but not an event of this target; the message repeats no value of it."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is known of a person in a target since `at` (epoch seconds; a later one replaces it).

    `name` tells it apart from the person's other facts there. `shows` are attributes as text, of which the newest
    fact's count; `gathers` are members that all facts together make a set of.
    """

    name: str
    at: float
    shows: Mapping[str, str | None] = field(default_factory=dict)
    gathers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InboundEvent:
    """One event, as its target's module read it.

    `known` is false for one that the vendor's pages do not name. `digest` is the same for each delivery of one event.
    `at` is when it happened by the vendor's clock, None where it does not say. `account` is the identifier of the
    account that it is about, `match` what else that account may be recognised by (attribute → value). `joined`: the
    account is new. `own`: it tells of something that was done through the vendor's API, so probably by us. `fields` is
    the whole body, flattened, for expressions.
    """

    name: str
    known: bool
    digest: str
    at: float | None = None
    account: str | None = None
    match: Mapping[str, str | None] = field(default_factory=dict)
    joined: bool = False
    own: bool = False
    facts: tuple[Fact, ...] = ()
    fields: Mapping[str, str | None] = field(default_factory=dict)


def read_json(content: bytes) -> Any:
    """Parse a body that came from outside.

    Raises:
        NotJsonError: it is no JSON, or holds numbers that JSON does not have.
        InvalidEventError: it is nested deeper than `MAX_DEPTH`, or holds text or numbers that nothing can store.
    """
    try:
        value = json.loads(content, parse_constant=_no_constant)
    except RecursionError:
        raise InvalidEventError(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        raise NotJsonError("the body is no JSON") from None
    waiting = [(value, 1)]
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, (dict, list)):
            if depth > MAX_DEPTH:
                raise InvalidEventError(f"it is nested deeper than {MAX_DEPTH} levels")
            inner = [*one.keys(), *one.values()] if isinstance(one, dict) else one
            waiting += [(member, depth + 1) for member in inner]
        elif isinstance(one, float) and not math.isfinite(one):
            raise InvalidEventError("it holds a number that is too large")
        elif isinstance(one, str) and not one.isascii():
            _check_text(one)
    return value


def _no_constant(_: str) -> Any:
    raise ValueError("JSON has no such number")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidEventError("it holds half of a surrogate pair") from None


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON value: keys sorted, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def digest_of(*parts: Any) -> str:
    """What names an event wherever and however often it comes (32 hexadecimal digits)."""
    return hashlib.blake2b(canonical_json(parts).encode(), digest_size=16).hexdigest()


def text_of(body: Mapping[str, Any], name: str) -> str:
    """A field that must hold text.

    Raises:
        InvalidEventError: it is missing, empty or of another type.
    """
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidEventError(f"{name} must be a text")
    if len(value) > _LONGEST_VALUE:
        raise InvalidEventError(f"{name} is longer than {_LONGEST_VALUE} characters")
    return value.strip()


def name_of(body: Mapping[str, Any], field_name: str = "event") -> str:
    """The event's name.

    Raises:
        InvalidEventError: there is none, or it is longer than any name is.
    """
    name = text_of(body, field_name)
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidEventError(f"{field_name} is no name")
    return name


def identifier_of(body: Mapping[str, Any], name: str) -> str:
    """A field that must hold an identifier, as text or as a whole number.

    Raises:
        InvalidEventError: it is missing, empty or of another type.
    """
    value = body.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_of(body, name)


def object_of(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A field that must hold an object.

    Raises:
        InvalidEventError: it is missing or of another type.
    """
    value = body.get(name)
    if not isinstance(value, dict):
        raise InvalidEventError(f"{name} must be an object")
    return value


def objects_of(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A field that must hold a list of objects.

    Raises:
        InvalidEventError: it is missing or of another type.
    """
    value = body.get(name)
    if not isinstance(value, list) or not all(isinstance(member, dict) for member in value):
        raise InvalidEventError(f"{name} must be a list of objects")
    return value


def optional_text(body: Mapping[str, Any], name: str) -> str | None:
    """A field that may hold a plain value, as text; None for nothing, and for what is no plain value."""
    return plain(body.get(name))


def plain(value: Any) -> str | None:
    """A plain JSON value as text: booleans are ``true`` and ``false``; None for nothing, objects and lists."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, (dict, list)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value).strip() or None


def moment_of(value: Any) -> float | None:
    """Epoch seconds of ISO 8601 text (without an offset: UTC) or of a number; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value) if 0 < value < 1e11 else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def flatten(body: Mapping[str, Any], *unwrapped: Mapping[str, Any]) -> dict[str, str | None]:
    """All plain values of an event as text, by name.

    The fields of nested objects are named with ``_`` between the levels, those of objects in a list besides with
    their place from 0 on; plain values of a list are joined with ``;``. The fields of the `unwrapped` objects, which
    are the envelope's content, may also be named alone. Where two would have one name, the outer one has it.
    """
    found: dict[str, str | None] = {}
    for start in (body, *unwrapped):
        _flatten(start, "", found)
    return found


def _flatten(value: Mapping[str, Any], prefix: str, found: dict[str, str | None]) -> None:
    nested: list[tuple[str, Mapping[str, Any]]] = []
    for key, member in value.items():
        name = f"{prefix}{key}"
        if isinstance(member, dict):
            nested.append((f"{name}_", member))
        elif isinstance(member, list):
            texts = [plain(one) for one in member if not isinstance(one, (dict, list))]
            found.setdefault(name, ";".join(text for text in texts if text) or None)
            nested += [(f"{name}_{place}_", one) for place, one in enumerate(member) if isinstance(one, dict)]
        else:
            found.setdefault(name, plain(member))
    for deeper, inner in nested:
        _flatten(inner, deeper, found)


def any_event(target: str, body: Mapping[str, Any]) -> InboundEvent:
    """An event of which only the name is known: in the field ``event``, else in ``object``.

    Raises:
        InvalidEventError: neither holds a name.
    """
    name = name_of(body, "event" if "event" in body else "object" if "object" in body else "event")
    return InboundEvent(name, known=False, digest=digest_of(target, body), fields=flatten(body))
