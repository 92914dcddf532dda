"""Writes docs/settings.md from the settings' own models: every key with its type, default and meaning.

::

    python scripts/make_settings_reference.py            write the file
    python scripts/make_settings_reference.py --check    exit with 1 if it is not current
"""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from provisioner.settings import Cron, Duration, Percent, Settings
from provisioner.settings.attribute_rule import Sql
from provisioner.settings.kinds import known_kinds, settings_model
from provisioner.settings.targets import TargetSettings
from provisioner.settings.values import DateForms, Rate, Rates, format_duration

FILE: Final = Path(__file__).parents[1] / "docs" / "settings.md"
#: Kinds in the order of the README; any other follows them.
_FIRST: Final = ("tribal_habits", "habitate", "traitly", "mtribes")
_HEAD: Final = """# Settings

<!-- Written by scripts/make_settings_reference.py from the settings' own models; edit those. -->

The YAML file is `config/provisioner.yaml`, or the one that `PROVISIONER_CONFIG` names. Environment variables win over
files in `PROVISIONER_SECRETS_DIR`, and these over the YAML: `targets.traitly.token` is also the variable
`PROVISIONER_TARGETS__TRAITLY__TOKEN` and the file `targets__traitly__token`. A key that does not exist is an error,
which names the nearest one that does.

Durations are `90s`, `30m`, `24h` or `7d`; percentages `10` or `10%`; rates `300/minute`, `10/second` or `100/10s`.
Cron expressions have five fields (minute, hour, day of the month, month, day of the week), read as Debian's cron reads
them: names of three letters, Sunday is 0 or 7, `L` is the last day and `LW` the last weekday of a month, `FRI#2` the
second and `5L` the last Friday. If both kinds of day are given and neither begins with a star, one of them is enough.
A time of day that a change of the clocks leaves out comes at once after it, one that it repeats comes once.
SQL is one expression over the roster's columns, looked at row by row: see the [mapping cookbook](cookbook.md). A
*secret* never appears in a log. `config/provisioner.example.yaml` is a whole file with the reasons for each default.
"""
_PLAIN: Final = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret",
    Rate: "rate",
    Cron: "cron expression",
    timedelta: "duration",
}
#: Sections whose keys stand in the table already, under another name.
_TOLD_ELSEWHERE: Final = ("targets.<name>.guards", "targets.<name>.leaver")
_NAMED: Final = (
    (Duration, "duration"),
    (Percent, "percent"),
    (Sql, "SQL"),
    (Rates, "rate, or a list of rates"),
    (DateForms, "form, or a list of forms"),
)


_LEAVERS: Final = """## Leavers in steps

`targets.<name>.leaver` is a mapping, or a list of mappings, which are its steps:

```yaml
leaver:
  - {role: "'Guest'"}                     # at once
  - {after: 30d, active: "FALSE"}         # 30 days after the day of leaving
  - {after: 90d, email: {from: "NULL", empty: clear}}
```
"""
_STEP_KEYS: Final = (
    (
        "`targets.<name>.leaver[].after`",
        "duration in whole days",
        "*required* from the second step on; the first has none",
        "Days after the day of leaving, in `timezone`; each longer than that of the step before.",
    ),
    (
        "`targets.<name>.leaver[].<attribute>`",
        "SQL or section",
        "one at least",
        "As in `attributes`. What a step does not name, or leaves alone by NULL, is as the step before it says.",
    ),
)
_STEPS: Final = """\
The day of leaving is the earliest that is known: the day after `ends`, the day on which a roster that was
accepted said so first, the day that the ledger has. A step is one `leave`, which counts for `guards.leavers`; a rehire
between two steps ends them. `provisioner why KEY` and `provisioner access` name the day of the next step
([decision 72](decisions/0072-leavers-go-in-steps.md)).
"""


def reference() -> str:
    """The page."""
    parts = [_HEAD, "## The whole\n", _table(_rows(Settings, ""))]
    parts += ["## Every target\n", "Under `targets.<name>`; the kind is the name unless `kind` says otherwise.\n"]
    parts += [_table(_rows(TargetSettings, "targets.<name>.")), _LEAVERS, _table(_STEP_KEYS), _STEPS]
    for kind in dict.fromkeys((*_FIRST, *known_kinds())):
        model = settings_model(kind) or TargetSettings
        parts += [f"## Targets of the kind {kind}\n", "What such a target has besides, or has otherwise.\n"]
        parts += [_table(_rows(model, "targets.<name>.", beside=TargetSettings))]
    return "\n".join(parts)


def _rows(
    model: type[BaseModel], prefix: str, beside: type[BaseModel] | None = None
) -> Iterator[tuple[str, str, str, str]]:
    """(key, type, default, meaning) of a section and of the sections within it."""
    credentials = getattr(model, "credentials", ())
    if getattr(model, "default_base_url", None):
        yield f"`{prefix}base_url`", "text", f"`{getattr(model, 'default_base_url', '')}`", "The vendor's address."
    for name, field in model.model_fields.items():
        if beside is not None and name in beside.model_fields and _same(field, beside.model_fields[name]):
            continue
        key = f"{prefix}{field.alias or name}"
        annotation = _annotation(field)
        inner, form = _inner(annotation)
        if inner is TargetSettings:
            continue
        default = "*required*" if name in credentials and field.default is None else _default(field)
        yield f"`{key}`", _type(annotation), default, field.description or ""
        if inner is not None and key not in _TOLD_ELSEWHERE:
            yield from _rows(inner, f"{key}{form}.")


def _annotation(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _same(one: FieldInfo, other: FieldInfo) -> bool:
    return one.annotation == other.annotation and one.get_default() == other.get_default()


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The section within a type, and how its keys hang on: directly, in a list, or by name."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    if origin is Annotated:
        return _inner(arguments[0])
    if origin in (Union, types.UnionType):
        found = [_inner(one) for one in arguments if one is not type(None)]
        return found[0] if len(found) == 1 else (None, "")
    if origin is tuple:
        inner, _ = _inner(arguments[0])
        return inner, "[]"
    if origin is dict:
        inner, _ = _inner(arguments[1])
        return inner, ".<name>"
    return None, ""


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        marks = [name for known, name in _NAMED if get_args(known)[1] in arguments[1:]]
        return marks[0] if marks else _type(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join("null" if one is type(None) else _type(one) for one in arguments)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"name: {_type(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return _PLAIN.get(annotation, "text")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    if field.default_factory is not None:
        return ""
    return _value(field.default)


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    if isinstance(value, BaseModel):
        shown = {name: getattr(value, name) for name in type(value).model_fields}
        return ", ".join(f"{name} {_value(one)}" for name, one in shown.items() if one is not None)
    if isinstance(value, tuple):
        return ", ".join(_value(one) for one in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"`{name}`" for name in value) or "none"
    return f"`{value}`" if str(value) else "none"


def _table(rows: Iterable[tuple[str, str, str, str]]) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description="Write the settings reference.")
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    if parser.parse_args().check:
        if FILE.exists() and FILE.read_text(encoding="utf-8") == reference():
            return 0
        print(f"{FILE.name} is not current: run scripts/make_settings_reference.py", file=sys.stderr)
        return 1
    FILE.write_text(reference(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
