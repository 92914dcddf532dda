"""What an administrator needs at first contact: settings to start from, for a roster that does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml

from provisioner.model.check_result import Fragment, Line
from provisioner.model.wording import counted
from provisioner.roster import People, Source
from provisioner.roster.sketch import TOTAL, Sketch, is_no_person, quoted_column, sketch
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
            remark = _counted(column, texts)
            if found.unsure:
                remark += f"; leavers by this: {', '.join(found.unsure)}"
        lines.append(f"  {name}: {_scalar(value)}{_remark(remark) if remark else ''}")
    if found.repeated:
        rows = counted(found.repeated, "row has", "rows have")
        lines.append(
            _remark(f"pick: {rows} the key of another; say which one counts, such as start_date DESC, or exclude some")
        )
    if "key" not in found.settings:
        lines.append(_remark(f"key: {_no_key(found)}"))
    if "employed" not in found.settings and found.status:
        texts_of = "; ".join(_counted(column, texts) for column, texts in found.status.items())
        lines.append(_remark(f"employed: is it in one of these? {texts_of}"))
    lines.append(_remark(f"columns: {', '.join(found.columns)}"))
    return "\n".join(lines) + "\n"


def _counted(column: str, texts: Mapping[str, int]) -> str:
    return f"{column}: " + ", ".join(f"{text} {count}" for text, count in texts.items())


def _no_key(found: Sketch) -> str:
    if found.addresses:
        return (
            f"only {', '.join(found.addresses)} has another value in each row, and addresses change; export the "
            "number of each person too"
        )
    return "no column has another value in each row; an expression may: \"company || '-' || number\""


def _remark(text: str) -> str:
    """A comment of YAML, which must not go on in another line."""
    return "  # " + " ".join(text.split())


def _scalar(value: Any) -> str:
    """A value as YAML in one line."""
    broken = isinstance(value, str) and len(value.splitlines()) > 1
    style = '"' if broken else None
    text = yaml.safe_dump(value, default_flow_style=True, default_style=style, allow_unicode=True, width=10_000)
    return str(text).removesuffix("\n").removesuffix("\n...")


def totals(people: People, key: str) -> list[Line]:
    """Rows that are taken for people and look like a total, or like the header once more.

    Args:
        key: `roster.key`; of an expression nothing is read.
    """
    names = [name for name in people.columns if name in people.frame.columns]
    rows = people.frame.select("_line", *names)
    found: list[Mapping[str, Any]] = [row for row in rows.iter_rows(named=True) if is_no_person(row, names)]
    lines = []
    for row in found[:_TOLD]:
        column = next(name for name in names if row[name])
        test = f"{quoted_column(column)} = '{str(row[column]).strip()}'".replace('"', '\\"')
        message = f"Line {row['_line']} looks like a total or a header, and is taken for a person."
        lines.append(Line("roster", "warn", message, f'Set `roster.skip: "{test}"`, or the like.'))
    for one in people.rejects if key in people.columns else ():
        word = None if one.key is None or one.column is not None else TOTAL.match(one.key)
        if word is not None and len(lines) < _TOLD:
            test = f"{quoted_column(key)} LIKE '{word[0]}%'".replace('"', '\\"')
            message = f"Line {one.line} looks like a total, and is rejected as a person."
            lines.append(Line("roster", "warn", message, f'Set `roster.skip: "{test}"`, or the like.'))
    return lines
