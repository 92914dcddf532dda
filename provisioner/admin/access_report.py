"""Who has what, since when, by which rule, and when that was last confirmed: row by row, for any number of people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal, TypedDict

import polars as pl

from provisioner.expressions import evaluate_predicate
from provisioner.model.attributes import Type
from provisioner.planning.compiled import CompiledTarget
from provisioner.planning.desired import LEAVER, MEMBER, PERSON, REASON, STANDING, standings
from provisioner.planning.leaver_steps import LEFT, STEP, due_on, next_step
from provisioner.planning.spec import ACCOUNT, READ, UNTOUCHABLE, TargetSpec
from provisioner.runtime.context import Deployment
from provisioner.settings import AttributeRule
from provisioner.settings.leaver import steps_of
from provisioner.store.people.snapshots import Reading
from provisioner.store.runs.shapes import moment

#: People whose entries are read at once.
_BATCH: Final = 5_000
_HOW: Final = {"created": "created by us", "adopted": "found when it was to be created", "hand": "linked by hand"}


class AccessRow(TypedDict):
    """One account: whose it is, what it may do, and by what.

    `has` are its roles, sets and whether it is active, as observed or else as last acknowledged. `since` is when the
    link began, null if that is not known. `protected` null: nobody can say. `next_step` is the day (ISO) of a leaver's
    next step, null where none is to come; `next_step_sets` are its attributes, each with the setting's own words.
    """

    target: str
    person: str | None
    account: str
    access: Literal["active", "left", "orphan"]
    has: dict[str, str]
    enrolments: list[str]
    rule: str
    matched: str
    since: str | None
    last_confirmed: str | None
    protected: bool | None
    untouchable: str | None
    next_step: str | None
    next_step_sets: dict[str, str]


COLUMNS: Final = tuple(AccessRow.__annotations__)


def cells(row: AccessRow) -> list[str]:
    """A row as text, in the order of `COLUMNS`."""
    return [_text(value) for value in row.values()]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={one}" for name, one in value.items())
    return "; ".join(value) if isinstance(value, list) else str(value)


@dataclass(frozen=True, slots=True)
class _Target:
    """What the rows of one target are made from."""

    spec: TargetSpec
    names: tuple[str, ...]
    shown: pl.DataFrame
    reading: Reading | None
    standings: Mapping[str, tuple[str, str]]
    today: date

    @property
    def after(self) -> tuple[int, ...]:
        """By step of `leaver`, the days after the day of leaving."""
        return tuple(step.after for step in steps_of(self.spec.settings.leaver))


async def access(dep: Deployment, targets: Sequence[str]) -> AsyncIterator[list[AccessRow]]:
    """The rows in batches: target by target, people by their keys, then the accounts that belong to nobody.

    Raises:
        StoreError: Redis does not answer.
    """
    for target in targets:
        about = await _about(dep, target)
        people = await dep.ledger.people(target)
        ours: set[str] = set()
        for start in range(0, len(people), _BATCH):
            frame = await dep.ledger.frame(target, about.names, people[start : start + _BATCH])
            ours.update(frame[ACCOUNT].drop_nulls())
            yield list(_linked(about, frame))
        orphans = about.shown.filter(~pl.col(ACCOUNT).is_in(list(ours)))
        for start in range(0, orphans.height, _BATCH):
            yield list(_orphans(about, orphans.slice(start, _BATCH)))


async def _about(dep: Deployment, target: str) -> _Target:
    spec, compiled = dep.specs[target], dep.compiled(target, None)
    names = tuple(
        name
        for name, one in spec.attributes.items()
        if one.role or one.type is Type.SET or name in (spec.activity, spec.role_attribute)
    )
    remembered = await dep.frames.remembered(target)
    frame = remembered[0] if remembered else pl.DataFrame(schema={ACCOUNT: pl.String, UNTOUCHABLE: pl.String})
    known = await dep.frames.known()
    found = {} if known is None else _standings(compiled, known)
    reading = remembered[1] if remembered else None
    shown = _shown(compiled, frame, names, reading.seen if reading else 0.0)
    today, _ = await dep.clock.today()
    return _Target(spec, names, shown, reading, found, today)


def _standings(compiled: CompiledTarget, known: pl.DataFrame) -> dict[str, tuple[str, str]]:
    rows = standings(compiled, known).select(PERSON, STANDING, REASON).iter_rows()
    return {person: (standing, reason) for person, standing, reason in rows}


def _shown(compiled: CompiledTarget, frame: pl.DataFrame, names: Sequence[str], read_at: float) -> pl.DataFrame:
    """The accounts as last observed, with ``o:<attribute>`` each, `_shown`, when they were read, and whether they are
    protected."""
    missing = [name for name in compiled.protect.columns if name not in frame.columns]
    full = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
    verdict = evaluate_predicate(compiled.protect, full).values
    columns = [pl.col(name).alias(f"o:{name}") for name in names if name in frame.columns]
    read = pl.lit(read_at, dtype=pl.Float64)
    read = pl.coalesce(READ, read) if READ in frame.columns else read
    return frame.select(
        ACCOUNT,
        UNTOUCHABLE,
        read.alias("_read_at"),
        *columns,
        verdict.alias("_protected"),
        pl.lit(value=True).alias("_shown"),
    ).sort(ACCOUNT)


def _linked(about: _Target, ledger: pl.DataFrame) -> Iterator[AccessRow]:
    rows = ledger.join(about.shown, on=ACCOUNT, how="left", maintain_order="left")
    for row in rows.iter_rows(named=True):
        person, state = row[PERSON], row["_state"]
        coming, sets = _coming(about, person, row)
        confirmed = [row["_recorded"], about.reading.seen if about.reading and row["_shown"] else 0.0]
        yield {
            "target": about.spec.name,
            "person": person,
            "account": row[ACCOUNT],
            "access": "left" if state == "left" else "active",
            "has": _has(about, row),
            "enrolments": list(row["_enrolled"] or ()),
            "rule": _rule(about, person, row),
            "matched": _HOW.get(row["_matched_by"], f"found by {row['_matched_by']}" if row["_matched_by"] else ""),
            "since": moment(row["_linked"] or None),
            "last_confirmed": moment(max(confirmed) or None),
            # What no listing showed is protected by nobody's word
            "protected": row["_protected"],
            "untouchable": row[UNTOUCHABLE],
            "next_step": coming,
            "next_step_sets": sets,
        }


def _orphans(about: _Target, accounts: pl.DataFrame) -> Iterator[AccessRow]:
    for row in accounts.iter_rows(named=True):
        yield {
            "target": about.spec.name,
            "person": None,
            "account": row[ACCOUNT],
            "access": "orphan",
            "has": _has(about, row),
            "enrolments": [],
            "rule": "no person of the roster is linked to it",
            "matched": "",
            "since": None,
            "last_confirmed": moment(about.reading.seen) if about.reading else None,
            "protected": row["_protected"],
            "untouchable": row[UNTOUCHABLE],
            "next_step": None,
            "next_step_sets": {},
        }


def _coming(about: _Target, person: str, row: Mapping[str, Any]) -> tuple[str | None, dict[str, str]]:
    """The day of a leaver's next step, and what it sets; of whoever is to be active again none is to come."""
    standing, _ = about.standings.get(person, ("", ""))
    if row["_state"] != "left" or not row[LEFT] or standing == MEMBER:
        return None, {}
    coming = next_step(about.after, date.fromisoformat(row[LEFT]), about.today)
    if coming is None:
        return None, {}
    step = steps_of(about.spec.settings.leaver)[due_on(about.after, date.fromisoformat(row[LEFT]), about.today)]
    return coming.isoformat(), {name: _words(rule) for name, rule in step.rules.items()}


def _words(rule: AttributeRule) -> str:
    return f"{rule.from_} (emptied)" if rule.empty == "clear" else rule.from_


def _has(about: _Target, row: Mapping[str, Any]) -> dict[str, str]:
    """What was acknowledged after the account was read wins over what it showed then."""
    found = {}
    fresh = (row.get("_recorded") or 0.0) > (row["_read_at"] or 0.0)
    for name in about.names:
        seen, acknowledged = row.get(f"o:{name}"), row.get(f"l:{name}")
        observed = f"o:{name}" in row and row["_shown"]
        value = acknowledged if not observed or (fresh and acknowledged is not None) else seen
        if value:
            found[name] = str(value)
    return found


def _rule(about: _Target, person: str, row: Mapping[str, Any]) -> str:
    """Why somebody has the account in that state, in the words of the settings."""
    state, left = row["_state"], row[LEFT]
    standing, reason = about.standings.get(person, ("", ""))
    scope = about.spec.settings.scope
    if standing == MEMBER:
        said = f"{reason}, and in scope: {scope}"
    elif standing == LEAVER:
        said = f"out of scope: {scope}" if reason == "out of scope" else "left by the roster"
    else:
        said = f"unchanged, {reason}" if reason else "not in the roster"
    if standing == LEAVER and state != "left":
        return f"{said}; the leave is unfinished"
    if standing == LEAVER and left and row[STEP] < (due := due_on(about.after, date.fromisoformat(left), about.today)):
        return f"{said}; step {due} of {len(about.after)} is due and unfinished"
    return said
