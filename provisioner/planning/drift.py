"""What changed in a target since we last wrote it, attribute by attribute, and what is done about it. Pure.

Besides the plan, which asks only what has to be done: here whatever no longer is as the target once acknowledged it is
listed, also where the target has the say, and by whose rule it is corrected, reported, held or left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import polars as pl

from provisioner.model.attributes import DETAILS_READ_AT, fold, members
from provisioner.model.operation import ACCOUNT_KINDS, Kind, Operation
from provisioner.model.worklists import Then
from provisioner.planning.claims import folded
from provisioner.planning.compiled import CompiledTarget
from provisioner.planning.desired import LEAVER, MEMBER, PERSON, STANDING, desired_accounts
from provisioner.planning.spec import ACCOUNT, READ, UNTOUCHABLE, Observation, TargetSpec
from provisioner.planning.target_plan import TargetPlan

#: Of several attributes of a person, what is done with them follows from the first of these that is among them.
_WEIGHT: Final[tuple[Then, ...]] = ("held", "correct", "report", "leave")
_GONE: Final = "its account is gone."
_STOPPED: Final = "it did not stay when we wrote it, so it is written no more; see the to-dos."


@dataclass(frozen=True, slots=True)
class Change:
    """One attribute: what we last wrote, what is there now, and what the roster wants (None: nothing).

    `then` is what the next sync does about it: ``correct`` it, ``report`` it only, wait because a guard, a person or an
    unclear listing has it ``held``, or ``leave`` it; `because` says why, where there is more to say.
    """

    attribute: str
    written: str | None
    observed: str | None
    wanted: str | None
    then: Then
    because: str | None = None


@dataclass(frozen=True, slots=True)
class Drifted:
    """One person's account that is no longer as we wrote it; without `changes` where it is gone."""

    person: str
    account: str | None
    sentence: str
    then: Then
    because: str | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    person: str
    account: str
    attribute: str
    written: str | None
    observed: str | None


def drifted(
    spec: TargetSpec,
    compiled: CompiledTarget,
    people: pl.DataFrame,
    observation: Observation,
    ledger: pl.DataFrame,
    plan: TargetPlan,
    *,
    today: date,
    today_utc: date,
    ends: bool,
    left: Mapping[str, date],
) -> tuple[Drifted, ...]:
    """Everybody whose account changed since we last wrote it, by person.

    Args:
        people, ledger: as `plan_target` takes them; `plan` is what it made of them.
        today, today_utc, ends, left: see `desired_accounts`.
    """
    by_person: dict[str, list[_Found]] = {}
    for found in _changed(spec, observation, ledger):
        by_person.setdefault(found.person, []).append(found)
    desired = desired_accounts(
        spec,
        compiled,
        people.filter(pl.col("_key").is_in(list(by_person))),
        today=today,
        today_utc=today_utc,
        ends=ends,
        left=left,
    )
    rows = {row[PERSON]: row for row in desired.frame.iter_rows(named=True)}
    untouchable = dict(observation.frame.select(ACCOUNT, UNTOUCHABLE).filter(pl.col(UNTOUCHABLE).is_not_null()).rows())
    standing: dict[str, Operation] = {}
    gone: list[Drifted] = []
    for one in plan.operations:
        if one.person in by_person:
            if one.kind in ACCOUNT_KINDS:
                standing[one.person] = one
        elif one.kind is Kind.CREATE and one.drift:
            gone.append(Drifted(one.person, None, _GONE, *_about(one)))
    sentences: dict[str, str] = {}
    for todo in plan.drift:
        earlier = sentences.get(todo.person)
        sentences[todo.person] = f"{earlier} {todo.sentence}" if earlier else todo.sentence
    result = [
        _person(
            spec, all_of_it, rows.get(person), standing.get(person), sentences.get(person), untouchable, plan.stopped
        )
        for person, all_of_it in by_person.items()
    ]
    return tuple(sorted([*result, *gone], key=lambda one: one.person))


def _changed(spec: TargetSpec, observation: Observation, ledger: pl.DataFrame) -> Iterator[_Found]:
    """Each attribute of an account that is there and shows something else than the target last acknowledged."""
    observed = observation.frame
    names = [column[2:] for column in ledger.columns if column.startswith("l:")]
    seen = [name for name in names if name in observed.columns and name in spec.attributes]
    extra = [name for name in (READ, DETAILS_READ_AT) if name in observed.columns]
    frame = ledger.select(PERSON, ACCOUNT, "_recorded", *(f"l:{name}" for name in seen)).join(
        observed.select(ACCOUNT, *extra, *seen), on=ACCOUNT, how="inner", maintain_order="left"
    )
    began = pl.lit(observation.began)
    read = pl.coalesce(READ, began) if READ in extra else began
    detailed = DETAILS_READ_AT in extra
    for name in seen:
        attribute = spec.attributes[name]
        if attribute.detail and observed[name].null_count() == observed.height:
            # Nobody's details show it: then we may not see it, which is not the same as being empty
            continue
        at = read
        if attribute.detail and detailed:
            at = pl.min_horizontal(pl.col(DETAILS_READ_AT).cast(pl.Float64, strict=False).fill_null(0.0), began)
        written, now = pl.col(f"l:{name}"), pl.col(name)
        unlike = folded(written.replace("", None), attribute.type).ne_missing(folded(now, attribute.type))
        rows = frame.filter(written.is_not_null() & (pl.col("_recorded") <= at) & unlike)
        for person, account, ours, there in rows.select(PERSON, ACCOUNT, f"l:{name}", name).iter_rows():
            # Others may add members to such a set: only what we wrote and is not there any more is a change
            there_now = {one.lower() for one in members(there)}
            if not attribute.merge or any(one.lower() not in there_now for one in members(ours)):
                yield _Found(person, account, name, ours or None, there)


def _person(
    spec: TargetSpec,
    found: Sequence[_Found],
    row: Mapping[str, Any] | None,
    operation: Operation | None,
    todo: str | None,
    untouchable: Mapping[str, str],
    stopped: Collection[tuple[str, str]],
) -> Drifted:
    changes = tuple(
        _change(spec, one, row, operation, untouchable.get(one.account))
        if (one.person, one.attribute) not in stopped
        else Change(one.attribute, one.written, one.observed, _wanted(one, row), "report", _STOPPED)
        for one in found
    )
    first = min(changes, key=lambda one: _WEIGHT.index(one.then))
    sentence = todo or f"changed in the target: {', '.join(one.attribute for one in changes)}."
    return Drifted(found[0].person, found[0].account, sentence, first.then, first.because, changes)


def _change(
    spec: TargetSpec,
    found: _Found,
    row: Mapping[str, Any] | None,
    operation: Operation | None,
    untouchable: str | None,
) -> Change:
    wanted = _wanted(found, row)
    if operation is not None and found.attribute in operation.after:
        then, because = _about(operation)
    else:
        then, because = _why_not(spec, found, row, wanted, untouchable)
    return Change(found.attribute, found.written, found.observed, wanted or None, then, because)


def _wanted(found: _Found, row: Mapping[str, Any] | None) -> str | None:
    return (row.get(f"w:{found.attribute}") or None) if row is not None else None


def _about(operation: Operation) -> tuple[Then, str | None]:
    """What becomes of an operation that would fix it."""
    if operation.refused:
        return "held", "somebody rejected the correction."
    return ("held", operation.hold) if operation.hold else ("correct", None)


def _why_not(
    spec: TargetSpec, found: _Found, row: Mapping[str, Any] | None, wanted: str | None, untouchable: str | None
) -> tuple[Then, str]:
    """Why nothing is sent about an attribute."""
    name, type_ = found.attribute, spec.attributes[found.attribute].type
    standing = row[STANDING] if row is not None else None
    rules = spec.settings.leaver if standing == LEAVER else spec.settings.attributes
    rule = rules.get(name)
    if standing not in (MEMBER, LEAVER):
        return "leave", "nothing is done about this person's account now."
    if rule is not None and rule.authority == "target":
        return "leave", "the target has the say."
    if rule is not None and rule.authority == "create_only":
        return "leave", "it is set once; since then the target has the say."
    if rule is None or wanted is None:
        return "leave", "the mapping asks for nothing here."
    if fold(wanted or None, type_) == fold(found.observed, type_):
        return "leave", "it is what the roster asks for now."
    if untouchable:
        return "leave", f"the account is {untouchable} and is never touched."
    if spec.attributes[name].identifier or not spec.attributes[name].on_update:
        return "report", "we cannot change it; see the to-dos."
    if spec.settings.drift == "report":
        return "report", f"targets.{spec.name}.drift is report."
    return "leave", "the account is protected, or disputed; see the to-dos."
