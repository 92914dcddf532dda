"""Filters of RFC 7644 (3.4.2.2): read into a tree, and tried on a representation. Pure.

Beyond the RFC, the path of a comparison may have a filter of its own, ``emails[type eq "work"].value eq "a@b.c"``, as
Microsoft Entra writes it, and booleans may be quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast

from provisioner.web.scim.errors import Document, ScimError, invalid
from provisioner.web.scim.schema import Attribute, Target, UserSchema

LONGEST: Final = 4000
_DEEPEST: Final = 20
_TOKEN: Final = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>[()\[\]])|(?P<word>[^\s()\[\]"]+))')
_OPERATORS: Final = frozenset({"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le", "pr"})

Operator = Literal["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le", "pr"]
Scalar = str | bool | int | float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One attribute, compared with a value; `pr` asks only whether it has one.

    `within` is a filter over the values of a multi-valued attribute, of which `target` names the part.
    """

    target: Target
    operator: Operator
    value: Scalar = None
    within: Filter | None = None


@dataclass(frozen=True, slots=True)
class Within:
    """Whether one value of a multi-valued attribute passes a filter."""

    target: Target
    filter: Filter


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a filter."""

    filter: Filter


@dataclass(frozen=True, slots=True)
class All:
    """Every one of some filters."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of some filters."""

    filters: tuple[Filter, ...]


Filter = Comparison | Within | Not | All | AnyOf


def read_filter(text: str, schema: UserSchema) -> Filter:
    """A filter over Users.

    Raises:
        ScimError: invalidFilter, it is none, or too long or deep.
    """
    return _Reader(text, schema, None).whole()


def read_value_filter(text: str, attribute: Attribute, schema: UserSchema) -> Filter:
    """A filter over the values of one attribute, as it is in the brackets of a path.

    Raises:
        ScimError: invalidFilter.
    """
    return _Reader(text, schema, attribute).whole()


class _Reader:
    """Reads one filter by recursive descent: ``or`` binds least, then ``and``, then ``not``."""

    def __init__(self, text: str, schema: UserSchema, inner: Attribute | None) -> None:
        if len(text) > LONGEST:
            raise invalid(f"The filter is longer than {LONGEST} characters.", "invalidFilter")
        self._schema = schema
        self._inner: list[Attribute] = [inner] if inner is not None else []
        self._tokens = _tokens(text)
        self._place = 0
        self._depth = 0

    def whole(self) -> Filter:
        found = self._any()
        if self._place < len(self._tokens):
            raise _wrong(f"{self._tokens[self._place]!r} is not expected there")
        return found

    def _next(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _take(self) -> str:
        found = self._next()
        if not found:
            raise _wrong("it ends too early")
        self._place += 1
        return found

    def _expect(self, sign: str) -> None:
        if self._take() != sign:
            raise _wrong(f"{sign!r} is missing")

    def _any(self) -> Filter:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _wrong("it is nested too deeply")
        found = [self._all()]
        while self._next().lower() == "or":
            self._place += 1
            found.append(self._all())
        self._depth -= 1
        return found[0] if len(found) == 1 else AnyOf(tuple(found))

    def _all(self) -> Filter:
        found = [self._one()]
        while self._next().lower() == "and":
            self._place += 1
            found.append(self._one())
        return found[0] if len(found) == 1 else All(tuple(found))

    def _one(self) -> Filter:
        word = self._take()
        if word.lower() == "not" and self._next() == "(":
            self._place += 1
            found: Filter = Not(self._any())
            self._expect(")")
            return found
        if word == "(":
            found = self._any()
            self._expect(")")
            return found
        if word.startswith('"') or word in ")[]":
            raise _wrong(f"an attribute is expected in place of {word!r}")
        return self._about(word)

    def _about(self, word: str) -> Filter:
        target = self._target(word)
        if self._next() != "[":
            return self._compared(target, None)
        if self._inner or target.attribute is None or not target.attribute.many or target.part is not None:
            raise _wrong(f"{word!r} has no values that could be filtered")
        self._place += 1
        self._inner.append(target.attribute)
        within = self._any()
        self._inner.pop()
        self._expect("]")
        if not self._next().startswith("."):
            return Within(target, within)
        name = self._take().removeprefix(".")
        part = target.attribute.part(name)
        if part is None:
            raise _wrong(f"{word} has no {name!r}")
        return self._compared(Target(target.urn, target.attribute, part), within)

    def _compared(self, target: Target, within: Filter | None) -> Filter:
        operator = self._take().lower()
        if operator not in _OPERATORS:
            raise _wrong(f"{operator!r} is no operator")
        if operator == "pr":
            return Comparison(target, "pr", within=within)
        return Comparison(target, cast("Operator", operator), _scalar(self._take()), within)

    def _target(self, word: str) -> Target:
        if self._inner:
            part = self._inner[-1].part(word)
            if part is None:
                raise _wrong(f"{self._inner[-1].name} has no {word!r}")
            return Target(None, self._inner[-1], part)
        target = self._schema.target(word)
        if target is None or target.attribute is None:
            raise _wrong(f"there is no attribute {word!r}")
        return target


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    place = 0
    text = text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise _wrong("a quotation mark is missing")
        found.append(match["text"] or match["sign"] or match["word"])
        place = match.end()
    if not found:
        raise _wrong("it is empty")
    return found


def _scalar(token: str) -> Scalar:
    try:
        value = json.loads(token)
    except ValueError:
        raise _wrong(f"{token!r} is no value; texts are in quotation marks") from None
    if isinstance(value, (list, dict)):
        raise _wrong(f"{token!r} is no value")
    return cast("Scalar", value)


def _wrong(what: str) -> ScimError:
    return invalid(f"The filter is wrong: {what}.", "invalidFilter")


def matches(found: Filter, shown: Mapping[str, Any]) -> bool:
    """Whether a representation passes a filter."""
    match found:
        case All(filters):
            return all(matches(one, shown) for one in filters)
        case AnyOf(filters):
            return any(matches(one, shown) for one in filters)
        case Not(inner):
            return not matches(inner, shown)
        case Within(target, inner):
            return any(value_matches(inner, one) for one in _elements(target, shown))
        case Comparison(target, operator, value, within):
            values = _values(target, shown, within)
            return _compared(target.part or target.attribute, operator, values, value)


def value_matches(found: Filter, element: Mapping[str, Any]) -> bool:
    """Whether one value of a multi-valued attribute passes a filter over such values."""
    match found:
        case All(filters):
            return all(value_matches(one, element) for one in filters)
        case AnyOf(filters):
            return any(value_matches(one, element) for one in filters)
        case Not(inner):
            return not value_matches(inner, element)
        case Comparison(target, operator, value, _):
            part = target.part
            there = [element[part.name]] if part is not None and part.name in element else []
            return _compared(part, operator, there, value)
        case Within():
            return False


def _elements(target: Target, shown: Mapping[str, Any]) -> list[Document]:
    place = shown if target.urn is None else shown.get(target.urn) or {}
    assert target.attribute is not None  # noqa: S101 - the reader saw to it
    value = place.get(target.attribute.name)
    return value if isinstance(value, list) else [] if value is None else [value]


def _values(target: Target, shown: Mapping[str, Any], within: Filter | None) -> list[Any]:
    elements: list[Any] = _elements(target, shown)
    if within is not None:
        elements = [one for one in elements if value_matches(within, one)]
    if target.part is not None:
        return [one[target.part.name] for one in elements if target.part.name in one]
    if target.attribute is not None and target.attribute.kind == "complex":
        # Of a complex attribute its `value` is meant, where it has one
        return [one.get("value", one) for one in elements]
    return elements


def _compared(attribute: Attribute | None, operator: Operator, values: list[Any], wanted: Scalar) -> bool:
    if operator == "pr":
        return any(one not in (None, "", {}, []) for one in values)
    if operator == "ne":
        return not _compared(attribute, "eq", values, wanted)
    if wanted is None:
        return operator == "eq" and not values
    return any(_holds(attribute, operator, one, wanted) for one in values)


def _holds(attribute: Attribute | None, operator: Operator, value: Any, wanted: Scalar) -> bool:
    if isinstance(value, bool):
        word = wanted if isinstance(wanted, bool) else {"true": True, "false": False}.get(str(wanted).lower())
        return operator == "eq" and word is value
    if not isinstance(value, str) or isinstance(wanted, bool):
        return False
    have, want = value, str(wanted)
    if attribute is not None and attribute.kind == "dateTime":
        have, want = _moment(have), _moment(want)
    elif attribute is None or not attribute.exact:
        have, want = have.casefold(), want.casefold()
    match operator:
        case "eq":
            return have == want
        case "co":
            return want in have
        case "sw":
            return have.startswith(want)
        case "ew":
            return have.endswith(want)
        case "gt":
            return have > want
        case "ge":
            return have >= want
        case "lt":
            return have < want
        case _:
            return have <= want


def _moment(text: str) -> str:
    """A moment in a form in which the order of texts is that of time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.timestamp():020.6f}" if moment.tzinfo else text


def equalities(found: Filter) -> tuple[Comparison, ...]:
    """The comparisons by ``eq`` of whole attributes that all have to hold; by one of them people may be looked up."""
    parts = found.filters if isinstance(found, All) else (found,)
    return tuple(
        one
        for one in parts
        if isinstance(one, Comparison) and one.operator == "eq" and one.target.part is None and one.within is None
    )
