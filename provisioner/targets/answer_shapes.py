"""What a vendor's answers look like, and in what they changed: fields, types and statuses, no values. Pure.

A vendor that changes its mind does so in an answer first: a field is no longer shown, comes as another type, or a new
one is in every record. What an endpoint showed is remembered; what differs from it is said once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from provisioner.targets.responses import NOT_JSON, Answer

#: A field's name says what an organisation called it; what looks like an identifier is none.
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z_ -]*[0-9]?(_[A-Za-z_]+)?")
#: What a part of a path is made of that names a resource, and not one of its objects.
_RESOURCE: Final = re.compile(r"[a-z][a-z_-]*|v[0-9]+(\.[0-9]+)?", re.IGNORECASE)
OTHER: Final = "{…}"
#: Elements of a list that are looked at, and levels.
_LOOKED_AT: Final = 50
_DEEP: Final = 6
#: Objects without a field, after as many with it, that show that it is gone; and likewise that one is new in each.
_ENOUGH: Final = 5
#: Endpoints and fields that are remembered, and up to where objects are counted.
MOST_ENDPOINTS: Final = 60
_MOST_FIELDS: Final = 300
_MOST_COUNTED: Final = 1000


def field_name(name: str) -> str:
    """A field's name as it may be kept."""
    return name if _FIELD.fullmatch(name) else OTHER


def resource_path(path: str, hidden: frozenset[str] = frozenset()) -> str:
    """A path without what names one object of a resource.

    Args:
        hidden: parts that do so though they look otherwise.
    """
    parts = path.partition("?")[0].split("/")
    return "/".join(part if not part or (_RESOURCE.fullmatch(part) and part not in hidden) else OTHER for part in parts)


@dataclass(frozen=True, slots=True)
class Seen:
    """A field: its types, how many objects showed it, and how many could have."""

    types: frozenset[str]
    shown: int
    objects: int

    @property
    def always(self) -> bool:
        """Whether each object showed it."""
        return self.shown == self.objects

    def and_then(self, later: Seen) -> Seen:
        """Both together; the counts are kept small."""
        shown, objects = self.shown + later.shown, self.objects + later.objects
        if objects > _MOST_COUNTED:
            shown, objects = (_MOST_COUNTED, _MOST_COUNTED) if shown == objects else (shown // 2, objects // 2)
        return Seen(self.types | later.types, shown, objects)


@dataclass(frozen=True, slots=True)
class Shape:
    """What one endpoint showed: statuses of success, and fields by their path, ``records[].email``."""

    statuses: frozenset[int] = frozenset()
    fields: Mapping[str, Seen] = field(default_factory=dict)

    def and_then(self, later: Shape) -> Shape:
        """Both together. Of a field that the later one lacks the objects that could have shown it count."""
        fields = dict(self.fields)
        for path, seen in later.fields.items():
            if path in fields:
                fields[path] = fields[path].and_then(seen)
            elif len(fields) < _MOST_FIELDS:
                before = _objects(self.fields, path)
                fields[path] = Seen(frozenset(), 0, before).and_then(seen) if before else seen
        for path, seen in self.fields.items():
            if path not in later.fields and (objects := _objects(later.fields, path)):
                fields[path] = seen.and_then(Seen(frozenset(), 0, objects))
        return Shape(self.statuses | later.statuses, fields)

    def to_json(self) -> object:
        """The form in Redis."""
        fields = {path: [sorted(one.types), one.shown, one.objects] for path, one in self.fields.items()}
        return {"statuses": sorted(self.statuses), "fields": fields}

    @classmethod
    def from_json(cls, document: Any) -> Shape:
        """The inverse of `to_json`."""
        fields = {
            path: Seen(frozenset(types), int(shown), int(objects))
            for path, (types, shown, objects) in document["fields"].items()
        }
        return cls(frozenset(document["statuses"]), fields)


def _objects(fields: Mapping[str, Seen], path: str) -> int:
    """How many objects could have shown a field: those of the place that it is in."""
    place = path.rpartition(".")[0]
    return max((one.objects for name, one in fields.items() if name.rpartition(".")[0] == place), default=0)


def shape_of(answer: Answer) -> Shape:
    """The shape of one answer of success, of which the first elements of each list are looked at."""
    shown: dict[str, int] = {}
    types: dict[str, set[str]] = {}
    places: dict[str, int] = {}
    if answer.json is not NOT_JSON:
        for place, name, type_ in _walk(answer.json, "", 0):
            if name is None:
                places[place] = places.get(place, 0) + 1
                continue
            path = f"{place}.{name}" if place else name
            if path not in shown and len(shown) >= _MOST_FIELDS:
                continue
            shown[path] = shown.get(path, 0) + 1
            types.setdefault(path, set()).update({type_} if type_ else ())
    fields = {
        path: Seen(frozenset(types[path]), count, max(count, places.get(path.rpartition(".")[0], 0)))
        for path, count in shown.items()
    }
    return Shape(frozenset({answer.status}), fields)


def _walk(value: Any, place: str, level: int) -> Iterator[tuple[str, str | None, str]]:
    """Each object as its place, and each of its fields with a type; null has none."""
    if level > _DEEP:
        return
    if isinstance(value, Mapping):
        yield place, None, ""
        for name, part in value.items():
            named = field_name(str(name))
            if named != OTHER:
                yield place, named, _type(part)
            yield from _walk(part, f"{place}.{named}" if place else named, level + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value[:_LOOKED_AT]:
            yield from _walk(part, f"{place}[]", level + 1)


def _type(value: Any) -> str:
    """What programs tell apart; empty for null and an empty list, which say nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "object"
    inside = {"list" if isinstance(one, list) else _type(one) for one in value[:_LOOKED_AT]} - {""}
    return f"list of {' and '.join(sorted(inside))}" if inside else ""


def changes(known: Shape, found: Shape) -> list[str]:
    """In what an endpoint's answers differ from what it showed so far, each as a clause."""
    said = []
    if known.statuses and (new := found.statuses - known.statuses):
        before = ", ".join(map(str, sorted(known.statuses)))
        said.append(f"the status is {', '.join(map(str, sorted(new)))}, and was {before}")
    gone = _gone(known, found)
    for path, seen in known.fields.items():
        now = found.fields.get(path)
        if path in gone:
            said.append(f"{path} is shown no more")
        elif now is not None and seen.types and (other := now.types - seen.types):
            said.append(f"{path} is {_named(other)}, and was {_named(seen.types)}")
    for path, seen in found.fields.items():
        if path not in known.fields and seen.always and seen.shown >= _ENOUGH <= _objects(known.fields, path):
            said.append(f"{path} is new, in each record")
    return said


def without_gone(known: Shape, found: Shape) -> Shape:
    """What is known from now on: what was told is not told again, as a field that is gone is known no more."""
    gone = _gone(known, found)
    return replace(known, fields={path: seen for path, seen in known.fields.items() if path not in gone})


def _gone(known: Shape, found: Shape) -> frozenset[str]:
    """The fields that each object showed so far and that enough objects show no more."""
    return frozenset(
        path
        for path, seen in known.fields.items()
        if path not in found.fields
        and seen.always
        and seen.shown >= _ENOUGH
        and _objects(found.fields, path) >= _ENOUGH
    )


def _named(types: frozenset[str]) -> str:
    return " or ".join(sorted(types))


class AnswerShapes:
    """The shapes of the answers of one target, by endpoint, while it is being read; of each endpoint the first few
    answers are looked at."""

    _EACH: Final = 20

    def __init__(self) -> None:
        self.shapes: dict[str, Shape] = {}
        self._counts: dict[str, int] = {}

    def note(self, path: str, _params: Mapping[str, Any], answer: Answer) -> None:
        """Look at an answer; failures are judged elsewhere."""
        if not 200 <= answer.status < 300:
            return
        # A path made of a template shows no part that names somebody
        endpoint = f"GET {resource_path(str(getattr(path, 'shown', path)))}"
        count = self._counts.get(endpoint, 0)
        if count >= self._EACH or (not count and len(self._counts) >= MOST_ENDPOINTS):
            return
        self._counts[endpoint] = count + 1
        self.shapes[endpoint] = self.shapes.get(endpoint, Shape()).and_then(shape_of(answer))
