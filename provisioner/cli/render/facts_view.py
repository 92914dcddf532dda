"""What a target reports of a person besides their account: enrolments, completions, likelihoods, next actions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from rich.console import Console

from provisioner.cli.render.output import cells, table

#: What is reported of one item of a catalogue, by the names that `known_by` gives: progress.topic.77 and the like.
_OF_ITEM: Final = ("title", "progress", "completed", "due")
_ITEM: Final = re.compile(rf"({'|'.join(_OF_ITEM)})\.([^.]+)\.(.+)")


def facts(out: Console, reported: Mapping[str, str | None]) -> None:
    """Tell the facts of one target, as `story` has them; nothing where there are none."""
    items: dict[tuple[str, str], dict[str, str]] = {}
    rest: dict[str, str] = {}
    for name, value in reported.items():
        if value is None:
            continue
        found = _ITEM.fullmatch(name)
        if found is None:
            rest[name] = value
        else:
            items.setdefault((found[2], found[3]), {})[found[1]] = value
    if rest:
        rows = table("  reported by the target", "value")
        for name, value in sorted(rest.items()):
            rows.add_row(*cells(f"  {name}", value))
        out.print(rows)
    if items:
        rows = table("  enrolled in", *_OF_ITEM)
        for (kind, number), item in sorted(items.items()):
            rows.add_row(*cells(f"  {kind} {number}", *(item.get(name, "") for name in _OF_ITEM)))
        out.print(rows)
