"""A roster as runs and `check` judge it: who is believed, and whether the whole is."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.expressions import Expression, compile_expression, evaluate_text
from provisioner.model.attributes import Type
from provisioner.planning.compiled import CompiledTarget, compile_target
from provisioner.planning.desired import desired_accounts
from provisioner.planning.same_person import Pair
from provisioner.planning.spec import TargetSpec
from provisioner.roster import Baseline, People, Reject, Source, Verdict, gate, judge, read, unlisted
from provisioner.roster.columns_read import read_by_events
from provisioner.roster.identity import Spelling, spelt_as_known
from provisioner.roster.values import Read
from provisioner.runs.known_snapshot import unfamiliar_leavers
from provisioner.runs.same_person import pairs_of, vanished_sentence
from provisioner.runtime.clock import day_in
from provisioner.runtime.context import Deployment
from provisioner.settings import RosterSettings


@dataclass(frozen=True, slots=True)
class Judged:
    """A roster as it was read: the `people`, those `previous` to it, who of both may be one person (`pairs`), leavers
    by a status that is new (`unfamiliar`), and the gate's `verdict`, by the `baseline` of the last clean one."""

    people: People
    previous: pl.DataFrame | None
    baseline: Baseline | None
    pairs: tuple[Pair, ...]
    unfamiliar: Mapping[str, str]
    verdict: Verdict


async def judged(
    dep: Deployment, source: Source, facts: Mapping[str, bytes], now: float, tables: Mapping[str, Source]
) -> Judged:
    """Read a roster and gate it, as runs and `check` do; nothing is kept.

    Args:
        facts: what is remembered of the last clean one.
        now: epoch seconds by Redis's clock.
        tables: the files of look-ups.

    Raises:
        RosterError: it cannot be read.
        ConfigurationError: an expression does not fit its columns.
    """
    settings = dep.settings
    previous = await dep.frames.known()
    baseline = Baseline.from_facts(facts)
    today, today_utc = day_in(settings.zone, now)
    spelling = Spelling(previous["_key"] if previous is not None else ())
    people, mapped = await asyncio.to_thread(
        people_of,
        dep.specs,
        source,
        settings.roster,
        today,
        today_utc,
        settings.zone,
        spelling,
        tables=tables,
        also=read_by_events(settings),
    )
    pairs = await pairs_of(dep, people.frame, unlisted(previous, people))
    moment = datetime.fromtimestamp(now, UTC)
    verdict = gate(
        people, baseline, settings.roster, mapped=mapped, modified=source.modified, now=moment, known=previous
    )
    if (lost := vanished_sentence(pairs)) and verdict.status != "rejected":
        verdict = Verdict("degraded", (*verdict.reasons, lost))
    if source.doubt and verdict.status != "rejected":
        verdict = Verdict("degraded", (*verdict.reasons, source.doubt))
    unfamiliar = await unfamiliar_leavers(dep, people.frame, previous, today)
    return Judged(people, previous, baseline, pairs, unfamiliar, verdict)


def people_of(
    specs: Mapping[str, TargetSpec],
    source: Source,
    settings: RosterSettings,
    today: date,
    today_utc: date,
    zone: ZoneInfo,
    spelling: Spelling | None = None,
    *,
    tables: Mapping[str, Source] | None = None,
    also: Collection[str] = (),
) -> tuple[People, frozenset[str]]:
    """Everyone whose row is believed, also by the mapping of every target; and the columns that it reads.

    Args:
        spelling: how the keys of known people are spelt.
        tables: the files of look-ups.
        also: columns that something else than the mapping reads.

    Raises:
        RosterError: the file cannot be read as a roster, or columns are missing.
        ConfigurationError: an expression does not fit the columns.
    """
    drafts = {name: compile_target(spec, None) for name, spec in specs.items()}
    needs = frozenset[str]().union(*(draft.columns for draft in drafts.values()))
    spelling = spelling or Spelling(())
    found = read(
        source,
        settings,
        needs=needs | set(also),
        emails=_emails(specs, drafts),
        names=_names(specs, drafts, settings),
        tables=tables,
        zone=zone,
    )
    found = spelt_as_known(found, spelling, settings.key)
    people = believed(specs, found, settings, today, today_utc, zone)
    return replace(people, renamed={spelling.of(old): new for old, new in people.renamed.items()}), needs


def believed(
    specs: Mapping[str, TargetSpec], found: Read, settings: RosterSettings, today: date, today_utc: date, zone: ZoneInfo
) -> People:
    """Of rows that were read, everyone whose row is believed, also by the mapping of every target.

    Raises:
        ConfigurationError: an expression does not fit the columns.
    """
    compiled = {name: compile_target(spec, found.columns) for name, spec in specs.items()}
    people = judge(found, settings, today=today, zone=zone)
    faults: dict[str, Reject] = {}
    lines = dict(people.frame.select("_key", "_line").iter_rows())
    for name, spec in specs.items():
        desired = desired_accounts(
            spec, compiled[name], people.frame, today=today, today_utc=today_utc, ends=settings.ends is not None
        )
        leaving = people.frame.filter(pl.col("_verdict") != "employed")["_key"]
        spared = set(leaving.to_list())
        for fault in desired.faults:
            if fault.fatal and fault.person not in spared:
                reject = Reject(lines[fault.person], fault.person, None, None, f"{fault.where}: {fault.reason}")
                faults.setdefault(fault.person, reject)
    if faults:
        people = replace(
            people,
            frame=people.frame.filter(~pl.col("_key").is_in(list(faults))),
            rejects=tuple(sorted((*people.rejects, *faults.values()), key=lambda reject: reject.line)),
            present=people.present | faults.keys(),
        )
    return people


def _names(
    specs: Mapping[str, TargetSpec], compiled: Mapping[str, CompiledTarget], settings: RosterSettings
) -> frozenset[str]:
    """Columns of which people's names are made, also by way of computed columns."""
    found: set[str] = set()
    for name, spec in specs.items():
        for attribute, expression in compiled[name].attributes.items():
            if spec.attributes[attribute].person_name:
                found |= expression.columns
    left = list(found)
    while left:
        text = settings.columns.get(left.pop())
        more = compile_expression(text, None, where="roster.columns").columns - found if text else frozenset()
        found |= more
        left += more
    return frozenset(found)


def _emails(specs: Mapping[str, TargetSpec], compiled: Mapping[str, CompiledTarget]) -> frozenset[str]:
    """Columns that are handed on as an email address as they are, their case aside."""
    found: set[str] = set()
    for name, spec in specs.items():
        for attribute, expression in compiled[name].attributes.items():
            if spec.attributes[attribute].type is Type.EMAIL and _hands_on(expression):
                found |= expression.columns
    return frozenset(found)


def _hands_on(expression: Expression) -> bool:
    """Whether an expression gives the one column that it reads, and nothing of its own."""
    if len(expression.columns) != 1:
        return False
    words = ["one", "Two@example.com"]
    answer = evaluate_text(expression, pl.DataFrame({next(iter(expression.columns)): words}))
    return [value and value.lower() for value in answer.values.to_list()] == [word.lower() for word in words]
