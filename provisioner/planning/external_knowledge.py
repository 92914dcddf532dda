"""External knowledge (certificates, licences): which records the roster says that people should have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.expressions import Evaluated, Expression, compile_expression, evaluate_predicate, evaluate_text
from provisioner.model.attributes import Attribute, InvalidValueError, canonical


@dataclass(frozen=True, slots=True)
class KnowledgeRule:
    """One entry of `external_knowledge`: who has it, and the expression of each of its fields."""

    when: Expression
    fields: Mapping[str, Expression]


@dataclass(frozen=True, slots=True)
class Record:
    """One record that a person should have, in canonical text.

    `slot` tells it apart from others of the person; the ledger remembers it by that.
    """

    person: str
    slot: str
    values: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Records:
    """What was found of one entry: `unfit` are (person, field, reason); `verdict` that of `when` for everybody."""

    records: tuple[Record, ...]
    unfit: tuple[tuple[str, str, str], ...]
    verdict: Evaluated


def compile_rules(
    entries: Collection[Mapping[str, str]], columns: Collection[str] | None, *, where: str, zone: ZoneInfo
) -> Iterator[KnowledgeRule]:
    """Check the expressions of all entries.

    Raises:
        ConfigurationError: one is wrong; the message names its setting.
    """
    for index, entry in enumerate(entries):
        path = f"{where}[{index}]"
        when = compile_expression(entry.get("when", "TRUE"), columns, where=f"{path}.when", predicate=True, zone=zone)
        fields = {
            name: compile_expression(text, columns, where=f"{path}.{name}", zone=zone)
            for name, text in entry.items()
            if name != "when"
        }
        yield KnowledgeRule(when, fields)


def records_of(
    rule: KnowledgeRule,
    catalogue: Mapping[str, Attribute],
    key: Sequence[str],
    people: pl.DataFrame,
    asked: pl.Series,
) -> Records:
    """The records of one entry.

    A record that lacks a required field is none, and one of which a field does not fit is not made.

    Args:
        catalogue: the fields that the vendor takes.
        key: those of them that make a record another one.
        people: with `_key` and the roster's columns.
        asked: who of them may have one.
    """
    verdict = evaluate_predicate(rule.when, people)
    chosen = people.filter(verdict.values.fill_null(value=False) & asked)
    persons = chosen["_key"].to_list()
    unfit: dict[tuple[str, str], str] = {}
    drafts: dict[str, dict[str, str | None]] = {person: {} for person in persons}
    for name, expression in rule.fields.items():
        result = evaluate_text(expression, chosen)
        for row, (person, value) in enumerate(zip(persons, result.values.to_list(), strict=True)):
            try:
                drafts[person][name] = canonical(value, catalogue[name].type)
            except InvalidValueError as exc:
                unfit[person, name] = f"the value {exc}"
            if row in result.reasons:
                unfit[person, name] = result.reasons[row]
    needed = [name for name, field in catalogue.items() if field.required]
    faulty = {person for person, _ in unfit}
    records = tuple(
        Record(person, _slot(draft, key), {name: value for name, value in draft.items() if value is not None})
        for person, draft in drafts.items()
        if person not in faulty and all(draft.get(name) for name in needed)
    )
    return Records(records, tuple((person, name, reason) for (person, name), reason in unfit.items()), verdict)


def _slot(values: Mapping[str, str | None], key: Sequence[str]) -> str:
    text = json.dumps([values.get(name) for name in key], ensure_ascii=False)
    return f"knowledge:{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
