"""Who should have what: the roster's expressions turned into desired accounts, for everybody at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from provisioner.expressions import Evaluated, Expression, evaluate_predicate, evaluate_texts
from provisioner.expressions.misses import unknown_by_miss
from provisioner.model.attributes import OPEN_YEAR, InvalidValueError, Type, canonical
from provisioner.planning.claims import proving
from provisioner.planning.compiled import CompiledTarget, candidate_columns, paths_of_steps
from provisioner.planning.external_knowledge import Record, records_of
from provisioner.planning.leaver_steps import DUE, due_steps
from provisioner.planning.spec import TargetSpec
from provisioner.settings import AttributeRule
from provisioner.settings.leaver import steps_of

_NEVER: Final[Mapping[str, date]] = {}
PERSON, STANDING, REASON, DIGEST = "_person", "_standing", "_reason", "_digest"
MEMBER, LEAVER, STILL, FUTURE = "member", "leaver", "still", "future"
_PLAIN = frozenset({Type.TEXT, Type.FOLDED, Type.EMAIL, Type.VALUE})


@dataclass(frozen=True, slots=True)
class Fault:
    """A person for whom an expression could not be evaluated (`fatal`), or whose value does not fit its attribute."""

    person: str
    where: str
    reason: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Desired:
    """Desired accounts.

    `frame` has `_person`, `_standing`, `_reason`, `_digest` (of the row), `_due` and `_left_on` (see `leaver_steps`),
    one text column ``w:<attribute>`` each (null: leave alone; empty text: clear), one ``m:<attribute>`` per attribute
    that may identify somebody (see `proving`), and one boolean column ``e:<code>`` per enrolment rule. Of an attribute
    that is chosen by `first_free` the wanted value is the first candidate, and its candidates are the columns of
    `candidate_columns`.
    `records` are the external knowledge that members should have.
    """

    frame: pl.DataFrame
    faults: tuple[Fault, ...]
    records: tuple[Record, ...] = ()


def desired_accounts(
    spec: TargetSpec,
    compiled: CompiledTarget,
    people: pl.DataFrame,
    *,
    today: date,
    today_utc: date,
    ends: bool,
    left: Mapping[str, date] = _NEVER,
) -> Desired:
    """Map people to desired accounts.

    Args:
        people: one row per person with `_key`, `_verdict` (employed, leaver, excluded, future, absent, unchanged),
            `_ends` (date) and the roster's columns.
        today: the planning day in the organisation's time zone; `today_utc` the same moment's day in UTC.
        ends: whether the roster has a column of last days.
        left: by person the day on which they left, as far as it is known (see `leaver_steps`).
    """
    faults: list[Fault] = []
    base = people.select(
        pl.col("_key").alias(PERSON), pl.col("_verdict").alias("_verdict"), pl.col("_ends").alias("_ends"),
        # A snapshot of an earlier version has none
        (pl.col(DIGEST).fill_null("") if DIGEST in people.columns else pl.lit("")).alias(DIGEST),
    )  # fmt: skip
    scope = _scope(compiled, people)
    faults += _faults(people, scope.failed, scope.reasons, compiled.scope, f"targets.{spec.name}.scope")
    base = base.with_columns(scope.values.alias("_scope")).with_columns(_standing(), _reason())
    leaving = base[STANDING] == LEAVER
    steps = due_steps(people, leaving, (0, *(after for after, _ in compiled.later)), left, today)
    base = pl.concat([base, steps], how="horizontal")
    wanted: dict[str, pl.Series] = {}
    broken = scope.failed & ~leaving
    said = _said(spec, compiled, people)
    names = list(
        dict.fromkeys([*compiled.attributes, *compiled.leaver, *(one for _, rules in compiled.later for one in rules)])
    )
    identifying = proving(spec.settings.match, compiled.attributes, spec.attributes)
    mapped = [
        _chosen(spec, name, compiled.choices[name], people, leaving, wanted)
        if name in compiled.choices
        else _attribute(spec, name, said, people, leaving, steps[DUE])
        for name in names
    ]
    for name, (column, plain, failed, found) in zip(names, mapped, strict=True):
        wanted[f"w:{name}"] = column
        if name in identifying and plain is not None:
            # A leaver is recognised by what they would hold as a member, of which nothing is enforced
            wanted[f"m:{name}"] = plain
        faults += found
        broken = broken | (failed & ~leaving)
    if ends and spec.ends_attribute and spec.ends_attribute not in compiled.attributes:
        wanted[f"w:{spec.ends_attribute}"] = _day_after(base, today, today_utc)
    faults += _unknown(people, scope, base["_verdict"] == "employed", f"targets.{spec.name}.scope")
    if broken.any():
        base = base.with_columns(pl.when(broken).then(pl.lit(STILL)).otherwise(pl.col(STANDING)).alias(STANDING))
    member = base[STANDING] == MEMBER
    extra = {}
    for index, (code, _, when) in enumerate(compiled.enrolments):
        verdict = evaluate_predicate(when, people)
        faults += _unknown(people, verdict, member, f"targets.{spec.name}.enrolments[{index}].when")
        extra[f"e:{code}"] = verdict.values.fill_null(value=False) & member
    records: list[Record] = []
    for index, rule in enumerate(compiled.knowledge):
        found_records = records_of(rule, spec.knowledge, spec.knowledge_key, people, member)
        records += found_records.records
        path = f"targets.{spec.name}.external_knowledge[{index}]"
        faults += _unknown(people, found_records.verdict, member, f"{path}.when")
        faults += [Fault(person, f"{path}.{name}", reason) for person, name, reason in found_records.unfit]
    frame = base.with_columns(**wanted, **extra)
    return Desired(frame.drop("_verdict", "_scope", "_ends"), tuple(faults), tuple(records))


def standings(compiled: CompiledTarget, people: pl.DataFrame) -> pl.DataFrame:
    """`_person`, `_standing` and `_reason` of everybody, as `desired_accounts` has them but for broken rows."""
    scope = _scope(compiled, people)
    base = people.select(pl.col("_key").alias(PERSON), "_verdict", scope.values.alias("_scope"))
    return base.select(PERSON, _standing(), _reason())


def _scope(compiled: CompiledTarget, people: pl.DataFrame) -> Evaluated:
    """Who should have an account; a look-up without a hit makes nobody a leaver."""
    found = evaluate_predicate(compiled.scope, people)
    return Evaluated(unknown_by_miss(found.values, people, compiled.scope.columns), found.failed, found.reasons)


@dataclass(frozen=True, slots=True)
class _Said:
    """What an expression of the mapping says of everybody."""

    expression: Expression
    result: Evaluated


def _said(spec: TargetSpec, compiled: CompiledTarget, people: pl.DataFrame) -> dict[tuple[str, str], _Said]:
    """By section (``attributes``, ``leaver``) and attribute, what the mapping says where the roster has the say."""
    steps = [compiled.leaver, *(rules for _, rules in compiled.later)]
    asked = {
        (section, name): expression
        for (section, rules), expressions in zip(_sections(spec).items(), [compiled.attributes, *steps], strict=True)
        for name, expression in expressions.items()
        if name in rules and rules[name].authority != "target" and not rules[name].first_free
    }
    results = evaluate_texts(list(asked.values()), people)
    return {key: _Said(one, result) for (key, one), result in zip(asked.items(), results, strict=True)}


def _sections(spec: TargetSpec) -> dict[str, Mapping[str, AttributeRule]]:
    """By the setting's path, the rules for members, and those of each step for leavers."""
    steps = steps_of(spec.settings.leaver)
    return {
        "attributes": spec.settings.attributes,
        **{path: step.rules for path, step in zip(paths_of_steps(len(steps)), steps, strict=True)},
    }


def _standing() -> pl.Expr:
    verdict, scope = pl.col("_verdict"), pl.col("_scope")
    return (
        pl.when(verdict == "leaver").then(pl.lit(LEAVER))
        .when(verdict == "future").then(pl.lit(FUTURE))
        .when(verdict != "employed").then(pl.lit(STILL))
        .when(scope.is_null()).then(pl.lit(STILL))
        .when(scope).then(pl.lit(MEMBER))
        .otherwise(pl.lit(LEAVER))
        .alias(STANDING)
    )  # fmt: skip


def _reason() -> pl.Expr:
    verdict, scope = pl.col("_verdict"), pl.col("_scope")
    return (
        pl.when(verdict != "employed").then(verdict)
        .when(scope.is_null()).then(pl.lit("scope unknown"))
        .when(~scope).then(pl.lit("out of scope"))
        .otherwise(pl.lit("employed"))
        .alias(REASON)
    )  # fmt: skip


def _attribute(
    spec: TargetSpec,
    name: str,
    said: Mapping[tuple[str, str], _Said],
    people: pl.DataFrame,
    leaving: pl.Series,
    due: pl.Series,
) -> tuple[pl.Series, pl.Series | None, pl.Series, list[Fault]]:
    """One attribute for everybody: members by `attributes`, leavers by the steps of `leaver` that are `due`.

    Besides it what `attributes` alone says of everybody, who failed, and the faults.
    """
    type_ = spec.attributes[name].type
    faults: list[Fault] = []
    plain: pl.Series | None = None
    column = pl.Series(name, [None], dtype=pl.String).new_from_index(0, people.height)
    broken = pl.repeat(False, people.height, dtype=pl.Boolean, eager=True)
    for place, (section, rules) in enumerate(_sections(spec).items()):
        if (section, name) not in said:
            continue
        applies = leaving & (due >= place) if place else ~leaving
        expression, result = said[section, name].expression, said[section, name].result
        path = f"targets.{spec.name}.{section}.{name}"
        failed = result.failed & applies
        faults += _faults(people, failed, result.reasons, expression, path)
        values, invalid = canonical_column(result.values, type_, constant=expression.constant)
        if name == spec.ends_attribute:
            values = values.set((values >= f"{OPEN_YEAR}").fill_null(value=False), None)
        plain = values if section == "attributes" else plain
        left_alone = failed
        if invalid:
            unfit = result.values.is_in(list(invalid)).fill_null(value=False) & applies
            faults += [
                Fault(key, path, f"the value {invalid[value]}")
                for key, value in people.select("_key", pl.Series("_v", result.values)).filter(unfit).iter_rows()
            ]
            left_alone = failed | unfit
        if rules[name].empty == "clear":
            values = values.fill_null("")
        if left_alone.any():
            values = values.set(left_alone, None)
        if place > 1:
            # What a later step leaves alone is as the step before it says
            applies = applies & values.is_not_null()
        # To take values away costs nothing; to merge two columns of a million texts does
        column = values.set(leaving, None) if section == "attributes" else values.zip_with(applies, column)
        broken = broken | failed
    return column.alias(name), plain, broken, faults


def _chosen(
    spec: TargetSpec,
    name: str,
    expressions: Sequence[Expression],
    people: pl.DataFrame,
    leaving: pl.Series,
    columns: dict[str, pl.Series],
) -> tuple[pl.Series, pl.Series | None, pl.Series, list[Fault]]:
    """As `_attribute`, of one that is chosen by `first_free`: the first candidate. The candidates go into `columns`."""
    faults: list[Fault] = []
    broken = pl.repeat(False, people.height, dtype=pl.Boolean, eager=True)
    found: list[pl.Series] = []
    results = evaluate_texts(list(expressions), people)
    places = zip(candidate_columns(name, len(expressions)), expressions, results, strict=True)
    for place, (column, expression, result) in enumerate(places):
        failed = result.failed & ~leaving
        path = f"targets.{spec.name}.attributes.{name}.first_free[{place}]"
        faults += _faults(people, failed, result.reasons, expression, path)
        values = result.values.str.strip_chars().replace("", None).set(leaving | result.failed, None)
        columns[column] = values.alias(column)
        found.append(columns[column])
        broken = broken | failed
    return pl.select(pl.coalesce(found)).to_series().alias(name), None, broken, faults


def canonical_column(values: pl.Series, type_: Type, *, constant: bool = False) -> tuple[pl.Series, dict[str, str]]:
    """Canonical values of a text that `evaluate_text` gave, and what is wrong with those that do not fit.

    Args:
        constant: everybody has the same.

    Returns:
        The values, and value → reason.
    """
    if type_ in _PLAIN:
        return values, {}
    if constant and values.len() > 1:
        first, unfit = canonical_column(values.head(1), type_)
        return first.new_from_index(0, values.len()), unfit
    invalid: dict[str, str] = {}
    spelt: dict[str, str | None] = {}
    for value in values.drop_nulls().unique().to_list():
        try:
            spelt[value] = canonical(value, type_)
        except InvalidValueError as exc:
            invalid[value] = str(exc)
            spelt[value] = None
    old, new = list(spelt), list(spelt.values())
    if old == new:
        return values, invalid
    return values.replace_strict(old, new, default=None, return_dtype=pl.String), invalid


def _day_after(base: pl.DataFrame, today: date, today_utc: date) -> pl.Series:
    """The day after the last day, for members whose last day is not over; empty text where there is none."""
    day = pl.col("_ends") + timedelta(days=1)
    return base.select(
        pl.when(pl.col(STANDING) != MEMBER).then(None)
        .when(pl.col("_ends").is_null() | (pl.col("_ends").dt.year() >= OPEN_YEAR)).then(pl.lit(""))
        .when((pl.col("_ends") >= today) & (day > today_utc)).then(day.dt.to_string("%Y-%m-%d"))
        .otherwise(None)
    ).to_series()  # fmt: skip


def _unknown(people: pl.DataFrame, verdict: Evaluated, asked: pl.Series, where: str) -> list[Fault]:
    """Those for whom a predicate is neither true nor false: it changes nothing for them, and they are listed."""
    unknown = verdict.values.is_null() & ~verdict.failed & asked
    return [
        Fault(key, where, "is neither true nor false for this person, so it changes nothing; fill in the roster's row")
        for key in people["_key"].filter(unknown).to_list()
    ]


def _faults(
    people: pl.DataFrame, failed: pl.Series, reasons: Mapping[int, str], expression: Expression, where: str
) -> list[Fault]:
    if not failed.any():
        return []
    keys = people["_key"]
    return [
        Fault(keys[index], where, reasons.get(index, f"{expression.text!r} cannot be evaluated"), fatal=True)
        for index in failed.arg_true().to_list()
    ]
