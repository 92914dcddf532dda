"""What an administrator needs at first contact: settings to start from, for a roster that does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml

from provisioner.model.check_result import Fragment, Line
from provisioner.roster import People, Source
from provisioner.roster.sketch import Sketch, is_no_person, quoted_column, sketch
from provisioner.settings import RosterSettings

_TOLD: Final = 3
_REMARKS: Final = {
    "encoding": "as it was found; look at the names",
    "dates": "how days are written; of several that read all cells keep the right one",
    "skip": "rows that look like no people",
}


def fragment_of(source: Source, settings: RosterSettings, zone: ZoneInfo) -> Fragment | None:
    """Settings to start from; None if the file is no table."""
    found = sketch(source, settings, zone)
    if found is None:
        return None
    return Fragment(_yaml(found), found.settings, found.columns, found.keys, found.status, found.dates)


def _yaml(found: Sketch) -> str:
    lines = ["roster:"]
    for name, value in found.settings.items():
        remark = _REMARKS.get(name, "")
        if name == "key" and found.keys[1:]:
            remark = f"or {', '.join(found.keys[1:])}"
        if name == "employed":
            column, texts = next(iter(found.status.items()))
            remark = f"{column}: " + ", ".join(f"{text} {count}" for text, count in texts.items())
        lines.append(f"  {name}: {_scalar(value)}{f'  # {remark}' if remark else ''}")
    if "key" not in found.settings:
        lines.append(
            "  # key: no column has another value in each row; an expression may: \"company || '-' || number\""
        )
    lines.append(f"  # columns: {', '.join(found.columns)}")
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return str(text).removesuffix("\n").removesuffix("\n...")


def totals(people: People) -> list[Line]:
    """Rows that are taken for people and look like a total, or like the header once more."""
    names = [name for name in people.columns if name in people.frame.columns]
    rows = people.frame.select("_line", *names)
    found: list[Mapping[str, Any]] = [row for row in rows.iter_rows(named=True) if is_no_person(row, names)]
    lines = []
    for row in found[:_TOLD]:
        column = next(name for name in names if row[name])
        test = f"{quoted_column(column)} = '{str(row[column]).strip()}'".replace('"', '\\"')
        message = f"Line {row['_line']} looks like a total or a header, and is taken for a person."
        lines.append(Line("roster", "warn", message, f'Set `roster.skip: "{test}"`, or the like.'))
    return lines
