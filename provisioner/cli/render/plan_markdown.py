"""A plan as Markdown for a pull request: what would change where, what is held, and what only a person settles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from provisioner.cli.render.run_report import change
from provisioner.model.plan_file import PlanFile, PlanPart
from provisioner.model.run_document import KINDS
from provisioner.model.wording import counted

#: Rows of a table that are shown; the forges cut a comment off at 65,536 characters.
_SHOWN: Final = 100
_LONGEST: Final = 200
#: What Markdown or a forge would take for more than text: marks, HTML, mentions, and what ends a table's cell.
_SIGNS: Final = re.compile(r"([\\`*_{}\[\]<>|#~@&])")


def markdown(plan: PlanFile) -> str:
    """The text of a comment on a pull request."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: PlanFile) -> Iterator[str]:
    count = len(plan["operations"])
    yield f"### Plan: {counted(count, 'operation')}, {plan['status']}"
    yield ""
    if plan["asked"]["people"] is not None:
        yield f"About {counted(len(plan['asked']['people']), 'person', 'people')} only. "
    roster = plan["roster"]
    if roster is not None:
        size = f"{counted(roster['rows'], 'row')}, {counted(roster['people'], 'person', 'people')}"
        yield f"Roster: {size}, {roster['rejected']} rejected."
        for reason in roster["degraded"]:
            yield f"\n**Degraded:** {_text(reason)}"
    yield ""
    kinds = [kind for kind in KINDS if any(part["planned"].get(kind) for part in plan["targets"].values())]
    yield from _table(
        ["target", "status", *kinds, "held", "adopted", "conflicts", "to-dos", "unchanged"],
        ([name, part["status"], *_figures(part, kinds)] for name, part in plan["targets"].items()),
    )
    yield from _remarks(plan["targets"])
    for name in plan["targets"]:
        rows = [one for one in plan["operations"] if one["target"] == name]
        if rows:
            yield from _operations(name, rows, plan["targets"][name]["guards"])
    yield ""
    yield f"Digest: `{plan['digest']}`. Apply it: `provisioner sync --plan {plan['digest']} --wait`"


def _figures(part: PlanPart, kinds: Sequence[str]) -> list[object]:
    planned = [part["planned"].get(kind, 0) for kind in kinds]
    return [*planned, sum(part["held"].values()), part["adopted"], part["conflicts"], part["todo"], part["unchanged"]]


def _remarks(targets: Mapping[str, PlanPart]) -> Iterator[str]:
    found: list[str] = []
    for name, part in targets.items():
        said = [*([part["error"]["message"]] if "error" in part else []), *part["guards"], *part["notes"]]
        found += [f"- **{name}**: {_text(one)}" for one in said]
        if "lists" in part:
            rows = [*part["lists"]["conflicts"], *part["lists"]["todos"]]
            found += [f"- {name}, {_text(row['person'])}: {_text(row['message'])}" for row in rows[:_SHOWN]]
            found += [f"- {name}: and {len(rows) - _SHOWN} more for a person"] if len(rows) > _SHOWN else []
    if found:
        yield ""
        yield from found


def _operations(name: str, rows: Sequence[Mapping[str, Any]], guards: Sequence[str]) -> Iterator[str]:
    yield ""
    yield f"<details><summary>{name}: {counted(len(rows), 'operation')}</summary>"
    yield ""
    yield from _table(
        ["kind", "person", "change", "held or why"],
        ([one["kind"], one["person"], change(one), _said(one, guards)] for one in rows[:_SHOWN]),
    )
    if len(rows) > _SHOWN:
        yield ""
        yield f"and {len(rows) - _SHOWN} more in the file"
    yield ""
    yield "</details>"


def _said(one: Mapping[str, Any], guards: Sequence[str]) -> str:
    """What is said of one operation; a guard that holds it holds others too, and is explained above the tables."""
    error = one["error"]
    said = ""
    if error:
        explained = error["message"] in guards
        said = one["status"] if explained else f"{one['status']}: {error['message'].rstrip('.')}"
    parts = [said, one["reason"], "drift" if one["drift"] else ""]
    return "; ".join(part for part in parts if part)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(' --- ' for _ in head)}|"
    for row in rows:
        yield f"| {' | '.join(_text(cell) for cell in row)} |"


def _text(value: object) -> str:
    """A value as it is, in one line, and nothing in it taken for a mark."""
    line = " ".join(str(value).split())
    line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
    return _SIGNS.sub(r"\\\1", line)
