"""What the vendors' answers look like, without a value: the file of `check --connect --record FILE`.

A field's name says what an organisation called it, and is kept; a name that looks like an identifier is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from provisioner import installed_version
from provisioner.admin.whole_file import whole_file
from provisioner.targets.answer_shapes import field_name, resource_path
from provisioner.targets.responses import NOT_JSON, Answer

_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+.*")


def shape(value: Any) -> Any:
    """The shape of a JSON value: types in place of values, and one shape for all elements of a list."""
    if value is NOT_JSON:
        return "no JSON"
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for name, part in value.items():
            named = field_name(str(name))
            found[named] = _either(found.get(named), shape(part))
        return dict(sorted(found.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        inside: Any = None
        for part in value:
            inside = _either(inside, shape(part))
        return [] if inside is None else [inside]
    return _type(value)


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "whole number" if isinstance(value, int) else "number"
    text = str(value)
    forms = (("text of a number", _NUMBER), ("day", _DAY), ("moment", _MOMENT))
    return next((form for form, pattern in forms if pattern.fullmatch(text)), "text" if text else "empty text")


def _either(one: Any, other: Any) -> Any:
    """The shape of what is of one or the other."""
    if one is None or one == other:
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted({*one, *other})
        return {name: _either(one.get(name, "absent"), other.get(name, "absent")) for name in names}
    if isinstance(one, list) and isinstance(other, list):
        return [_either(one[0] if one else None, other[0] if other else None)] if one or other else []
    kinds = {*_kinds(one), *_kinds(other)}
    return " or ".join(sorted(kinds))


def _kinds(one: Any) -> Collection[str]:
    if isinstance(one, str):
        return one.split(" or ")
    return ("object",) if isinstance(one, dict) else ("list",)


class Recorder:
    """The shapes of the answers of all targets; written once, at the end."""

    def __init__(self) -> None:
        self._targets: dict[str, dict[str, Any]] = {}

    def add(self, target: str, kind: str) -> None:
        """Begin with a target, of which nothing may be heard."""
        self._targets[target] = {"kind": kind, "answers": []}

    def note(
        self, target: str, path: str, params: Mapping[str, Any], answer: Answer, *, known: Collection[str]
    ) -> None:
        """Note one answer.

        Args:
            known: identifiers that may stand in the path.
        """
        hidden = frozenset({quote(name, safe="") for name in known} | set(known))
        entry = {
            "path": resource_path(path, hidden),
            "query": sorted(params),
            "status": answer.status,
            "headers": sorted(answer.headers),
            "body": shape(answer.json),
        }
        answers = self._targets[target]["answers"]
        if entry not in answers:
            answers.append(entry)

    def write(self, place: Path) -> None:
        """Put the file in place, whole, for its owner only.

        Raises:
            UsageError: it cannot be written.
        """
        document = {
            "version": installed_version(),
            "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "targets": dict(sorted(self._targets.items())),
        }
        with whole_file(place, "--record") as file:
            file.write(f"{json.dumps(document, ensure_ascii=False, indent=1)}\n".encode())
