"""The mapping's own tests: a row of the roster, and the accounts that it should give. Reads no target and no Redis."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, TypedDict

import polars as pl
import yaml
from pydantic import TypeAdapter, ValidationError

from provisioner.errors import ConfigurationError, ProvisionerError
from provisioner.model.attributes import InvalidValueError, Type, canonical
from provisioner.planning.compiled import compile_target
from provisioner.planning.desired import LEAVER, MEMBER, PERSON, STANDING, desired_accounts
from provisioner.planning.spec import TargetSpec
from provisioner.roster import Source, pushed
from provisioner.roster.columns_read import read_by
from provisioner.roster.lookups import fetch_tables
from provisioner.runs.judged_roster import people_of
from provisioner.runtime.clock import day_in
from provisioner.runtime.context import build_targets
from provisioner.settings import MappingTest, RosterSettings, Settings
from provisioner.settings.nearest import nearest

#: Stands for the one target, or for every target that has the attribute.
_ANY_TARGET: Final = "target"
#: The key of a row that has none.
_NOBODY: Final = "TEST"
#: Of a row that lacks what the scope asks for.
_SCOPE_UNKNOWN: Final = "nothing: the target's scope gives neither yes nor no for this row"
#: In these the case of letters does not count.
_FOLDED: Final = frozenset({Type.EMAIL, Type.FOLDED})


#: Attributes with the values wanted; None: no account.
_Wanted = Mapping[str, object] | None


class Difference(TypedDict):
    """What a test wanted and what came of its row; `attribute` is null where the account itself is meant."""

    test: str
    target: str | None
    attribute: str | None
    expected: str | None
    found: str | None


@dataclass(frozen=True, slots=True)
class _Given:
    """What tests are run with."""

    settings: Settings
    specs: Mapping[str, TargetSpec]
    tables: Mapping[str, Source]
    today: date
    today_utc: date


def read_tests(path: str) -> tuple[MappingTest, ...]:
    """The tests in a YAML or JSON file: a list, or ``tests:`` with one.

    Raises:
        ConfigurationError: it is no such file.
    """
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        found = document.get("tests") if isinstance(document, dict) else document
        return TypeAdapter(tuple[MappingTest, ...]).validate_python(found or ())
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigurationError(f"{path} is no YAML.", remedy="Write tests: [{row: {…}, TARGET: {…}}].") from None
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"{path}: tests.{place}: {first['msg']}.") from None


def run_tests(settings: Settings, tests: Sequence[MappingTest]) -> list[Difference]:
    """Every difference between what the tests want and what the mapping gives.

    Raises:
        ProvisionerError: the settings are wrong, or a test names a target that there is not.
    """
    if not tests:
        return []
    _, specs = build_targets(settings)
    tables = fetch_tables(settings.roster, settings.web.rosters)
    today, today_utc = day_in(settings.zone, datetime.now(UTC).timestamp())
    given = _Given(settings, specs, tables, today, today_utc)
    found: list[Difference] = []
    for number, test in enumerate(tests, 1):
        found += _differences(given, test, test.name or f"test {number}")
    return found


def _differences(given: _Given, test: MappingTest, name: str) -> list[Difference]:
    wanted = _by_target(given, test, name)
    roster, source = _roster_of(given, test)
    try:
        people, _ = people_of(
            given.specs, source, roster, given.today, given.today_utc, given.settings.zone, tables=given.tables
        )
    except ConfigurationError:
        raise
    except ProvisionerError as exc:
        return [Difference(test=name, target=None, attribute=None, expected="a person", found=exc.message)]
    rejected = [*people.rejects, *people.unknown]
    if people.frame.is_empty():
        why = f"the row is rejected: {rejected[0].reason}" if rejected else "the row is nobody by roster.skip"
        return [
            Difference(test=name, target=target, attribute=None, expected="an account", found=why)
            for target, attributes in wanted.items()
            if attributes is not None
        ]
    found: list[Difference] = []
    for target, attributes in wanted.items():
        found += _in_target(given, people.frame, name, target, attributes)
    return found


def _by_target(given: _Given, test: MappingTest, name: str) -> dict[str, _Wanted]:
    """What is wanted, by target."""
    wanted: dict[str, _Wanted] = {}
    for target, attributes in test.targets.items():
        if target in given.specs:
            wanted[target] = attributes
        elif target == _ANY_TARGET:
            for one, spec in given.specs.items():
                mapped = {key: value for key, value in (attributes or {}).items() if key in spec.attributes}
                if len(given.specs) == 1:
                    wanted[one] = attributes
                elif attributes is None or mapped:
                    wanted[one] = None if attributes is None else mapped
        else:
            raise ConfigurationError(
                f"{name}: there is no enabled target {target!r}{nearest(target, given.specs)}.",
                remedy=f"The targets are: {', '.join(given.specs)}.",
            )
    return wanted


def _roster_of(given: _Given, test: MappingTest) -> tuple[RosterSettings, Source]:
    """The settings to read the one row with, and that row as a file.

    Its columns have the names below `rename`. A looked-up column that the row gives itself is not looked up.
    """
    roster = given.settings.roster
    row = {str(key): _text(value) for key, value in test.row.items()}
    lookups = {name: one for name, one in roster.lookups.items() if not any(key.startswith(f"{name}.") for key in row)}
    columns = {name: text for name, text in roster.columns.items() if name not in row}
    plain = {"rename": {}, "encoding": "utf-8", "header_row": 1, "records": None, "pages": None, "delimiter": ","}
    update = {name: value for name, value in plain.items() if name in RosterSettings.model_fields}
    settings = roster.model_copy(update={**update, "lookups": lookups, "columns": columns})
    needs = frozenset[str]().union(*(compile_target(spec, None).columns for spec in given.specs.values()))
    for name in sorted(read_by(settings, needs)):
        first, dot, column = name.partition(".")
        if dot and first in lookups:
            if lookups[first].in_ is None and lookups[first].values is None:
                row.setdefault(column, "")
        elif name not in columns:
            row.setdefault(name, "")
    if settings.key in row and not row[settings.key]:
        row[settings.key] = _NOBODY
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    writer.writerows([list(row), list(row.values())])
    return settings, pushed(buffer.getvalue().encode(), "the test's row")


def _in_target(given: _Given, people: pl.DataFrame, name: str, target: str, attributes: _Wanted) -> list[Difference]:
    spec, zone_ends = given.specs[target], given.settings.roster.ends is not None
    desired = desired_accounts(
        spec, compile_target(spec, None), people, today=given.today, today_utc=given.today_utc, ends=zone_ends
    )
    row = desired.frame.filter(pl.col(PERSON) == people["_key"][0]).row(0, named=True)
    standing = row[STANDING]
    if attributes is None:
        if standing != MEMBER:
            return []
        return [Difference(test=name, target=target, attribute=None, expected=None, found="an account")]
    if standing not in (MEMBER, LEAVER):
        reason = str(row["_reason"])
        why = _SCOPE_UNKNOWN if reason == "scope unknown" else f"no change: {reason}"
        return [Difference(test=name, target=target, attribute=None, expected="an account", found=why)]
    found = []
    for attribute, value in attributes.items():
        if attribute not in spec.settings.attributes and attribute not in spec.settings.leaver:
            near = nearest(attribute, spec.settings.attributes)
            why = f"nothing: the mapping does not set it{near}"
            found.append(Difference(test=name, target=target, attribute=attribute, expected=_shown(value), found=why))
            continue
        type_ = spec.attributes[attribute].type
        actual = row.get(f"w:{attribute}") or None
        if _canonical(value, type_) != _folded(actual, type_):
            found.append(
                Difference(test=name, target=target, attribute=attribute, expected=_shown(value), found=actual)
            )
    return found


def _canonical(value: Any, type_: Type) -> str | None:
    text = _shown(value)
    if text is None:
        return None
    try:
        return _folded(canonical(text, type_), type_)
    except InvalidValueError:
        return text


def _folded(text: str | None, type_: Type) -> str | None:
    return text.casefold() if text is not None and type_ in _FOLDED else text


def _shown(value: Any) -> str | None:
    """A wanted value as an attribute's text; a list is a set of names."""
    if isinstance(value, (list, tuple)):
        return ";".join(_text(one) for one in value) or None
    return _text(value) or None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
