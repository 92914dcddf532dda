"""Trying an expression of the mapping on one person's row. Reads Redis only and writes nothing.

The expression passes the same checks as one of the settings, so it can neither read files nor look at other rows.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import polars as pl

from provisioner.admin.person_report import person_in_target
from provisioner.errors import ConfigurationError, UsageError
from provisioner.expressions import compile_expression, evaluate_text
from provisioner.model.attributes import InvalidValueError, canonical
from provisioner.model.person_report import AttributeReport, PersonInTarget
from provisioner.model.trial import Trial, TrialEffect
from provisioner.planning.desired import LEAVER, MEMBER
from provisioner.planning.diff import fixed
from provisioner.planning.spec import TargetSpec
from provisioner.runs.known_as import known_as
from provisioner.runtime.context import Deployment
from provisioner.settings import AttributeRule
from provisioner.store.people.snapshots import roster_columns

#: Characters of an expression, and seconds in which it has to be worked out.
LONGEST: Final = 2000
_WITHIN: Final = 5.0
#: Where a fault says that the expression is.
_WHERE: Final = "The expression"


async def try_expression(dep: Deployment, key: str, expression: str, target: str, attribute: str) -> Trial:
    """What an expression gives for somebody, and what it would change of an attribute.

    Args:
        target, attribute: what it would be the expression of; empty: of nothing.

    Raises:
        UsageError: the person is not in the last clean roster, or there is no such target or attribute.
        StoreError: Redis does not answer.
    """
    people = await dep.frames.known()
    key = await known_as(dep, key, people)
    row = people.filter(pl.col("_key") == key) if people is not None else None
    if row is None or not row.height:
        raise UsageError(f"There is no person {key!r} in the last clean roster.", remedy="Search for them above.")
    spec = _spec(dep, target, attribute)
    names = roster_columns(row.columns)
    trial: Trial = {
        "person": key,
        "row": {name: row[name][0] for name in names if row.schema[name] == pl.String},
        "target": target or None,
        "attribute": attribute or None,
        "expression": expression,
        "value": None,
        "fault": None,
        "remedy": None,
        "effect": None,
    }
    if dep.settings.roster.label is not None:
        trial["label"] = (await dep.frames.labels([key])).get(key)
    try:
        if len(expression) > LONGEST:
            raise ConfigurationError(f"It is longer than {LONGEST} characters.", remedy="Take it apart.")
        async with asyncio.timeout(_WITHIN):
            trial["value"] = await asyncio.to_thread(_worked_out, dep, expression, row.select(names))
        if spec is not None and trial["value"] is not None:
            canonical(trial["value"], spec.attributes[attribute].type)
    except ConfigurationError as exc:
        trial["fault"], trial["remedy"] = exc.message, exc.remedy
    except InvalidValueError as exc:
        trial["fault"] = f"{attribute} does not take the value: {exc}"
    except TimeoutError:
        trial["fault"] = f"It was not worked out within {_WITHIN:g} s."
    if spec is not None and trial["fault"] is None:
        trial["effect"] = await _effect(dep, key, row, spec, attribute, expression)
    return trial


def _spec(dep: Deployment, target: str, attribute: str) -> TargetSpec | None:
    if not target:
        return None
    if target not in dep.specs:
        raise UsageError(f"There is no enabled target {target!r}.", remedy=f"Take one of {', '.join(dep.specs)}.")
    spec = dep.specs[target]
    if attribute not in spec.attributes:
        raise UsageError(
            f"{target} has no attribute {attribute!r} that the mapping names.",
            remedy=f"Take one of {', '.join(spec.settings.attributes)}.",
        )
    return spec


def _worked_out(dep: Deployment, text: str, row: pl.DataFrame) -> str | None:
    expression = compile_expression(text, row.columns, where=_WHERE, zone=dep.settings.zone)
    found = evaluate_text(expression, row)
    if found.failed[0]:
        raise ConfigurationError(
            f"It fails for this row: {found.reasons.get(0, 'it cannot be worked out')}.",
            remedy="Such a row would be rejected. Look at the cells that the expression reads.",
        )
    value: str | None = found.values[0]
    return value


def _with_rule(spec: TargetSpec, attribute: str, expression: str) -> TargetSpec:
    """The target as it would be with another expression for an attribute, all else of its rule being the same."""
    own = spec.settings.attributes.get(attribute)
    update = {"from_": expression, "first_free": ()}
    rule = own.model_copy(update=update) if own is not None else AttributeRule.model_validate({"from": expression})
    attributes = {**spec.settings.attributes, attribute: rule}
    return replace(spec, settings=spec.settings.model_copy(update={"attributes": attributes}))


async def _effect(
    dep: Deployment, key: str, row: pl.DataFrame, spec: TargetSpec, attribute: str, expression: str
) -> TrialEffect:
    entry = await dep.ledger.entry(spec.name, key)
    now = await person_in_target(dep, spec.name, key, row, entry)
    tried = await person_in_target(dep, spec.name, key, row, entry, spec=_with_rule(spec, attribute, expression))
    own = _row(now, attribute)
    new = _row(tried, attribute)
    changes, message = _verdict(spec, tried, new, attribute)
    return {
        "standing": tried["standing"],
        "account": tried["link"]["account"] if tried["link"] else None,
        "own_expression": own["expression"] if own else None,
        "now": own["desired"] if own else None,
        "seen": new["observed"] if new else None,
        "written": new["acknowledged"] if new else None,
        "changes": changes,
        "message": message,
    }


def _row(found: PersonInTarget, attribute: str) -> AttributeReport | None:
    return next((one for one in found["attributes"] if one["attribute"] == attribute), None)


def _verdict(spec: TargetSpec, tried: PersonInTarget, new: AttributeReport | None, attribute: str) -> tuple[bool, str]:
    """Whether the next sync would write the value, and why or why not."""
    if tried["standing"] == LEAVER:
        return False, "Nothing: of a leaver's account only what `leaver` says is written."
    if tried["standing"] != MEMBER or new is None:
        return False, f"Nothing: this person's account is left as it is ({tried['reason']})."
    if new["authority"] == "target":
        return False, "Nothing: its authority is `target`, so it is only read back."
    if tried["link"] is None:
        return True, "Their account would be created with it."
    if new["desired"] is None:
        return False, "Nothing: an expression that gives nothing leaves the attribute alone."
    if new["same"]:
        return False, "Nothing: the account has that value."
    if new["authority"] == "create_only":
        return False, "Nothing: it is set at create only, and there is an account."
    if attribute in fixed(spec, [attribute]):
        return False, "Nothing is written: it names the account and is set at create only. The difference is a to-do."
    return True, "The next sync would write it."
