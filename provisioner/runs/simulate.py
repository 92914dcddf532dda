"""What other settings would have done with the kept clean rosters. Reads Redis only, and writes nothing.

Both settings start from accounts as the running ones would have made them by the first of these rosters, and what the
targets were last seen to hold besides. From then on each plans every day by itself, so that what differs is due to the
settings. Whatever is planned takes effect; what a guard or the gate would hold is named, and taken for approved.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import polars as pl

from provisioner.errors import ConfigurationError, UsageError
from provisioner.expressions import compile_expression
from provisioner.model.attributes import Attribute, Type, natural
from provisioner.model.operation import Kind, Operation, Status
from provisioner.model.run_document import first_of
from provisioner.model.simulation import (
    SimulatedDay,
    SimulatedPart,
    SimulatedPerson,
    SimulatedRoster,
    SimulatedSide,
    Simulation,
)
from provisioner.planning.compiled import CompiledTarget, compile_target
from provisioner.planning.desired import PERSON
from provisioner.planning.guards import COVERS
from provisioner.planning.leaver_steps import days_of_leaving
from provisioner.planning.plan import plan_target
from provisioner.planning.simulation import Unlike, World, carried_out, differing, renamed, settled, unlike, with_shown
from provisioner.planning.spec import ACCOUNT, Planning, TargetSpec
from provisioner.planning.target_plan import TargetPlan
from provisioner.roster import Baseline, People, Verdict, gate, judge
from provisioner.roster.statuses import statuses_of, unfamiliar
from provisioner.runs.judged_roster import believed
from provisioner.runs.kept_rosters import Kept, absent_of, computed, kept_rosters, read_again
from provisioner.runtime.clock import day_in
from provisioner.runtime.context import Deployment, build_targets
from provisioner.settings import Settings

#: What decides how a file is read: of kept rows it has been decided.
_READING: Final = (
    *("url", "key", "trim", "nulls", "skip", "rename", "lookups", "pick", "encoding", "header_row", "delimiter"),
    *("records", "sheet"),
)


@dataclass(slots=True)
class _Side:
    """One of the two settings, and how far it has come; `worlds` are by target, `sent` by target and guard."""

    settings: Settings
    specs: Mapping[str, TargetSpec]
    worlds: dict[str, World]
    baseline: Baseline | None = None
    known: pl.DataFrame | None = None
    seen: dict[str, frozenset[str]] = field(default_factory=dict)
    sent: dict[str, list[tuple[float, Counter[str]]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A day's people by one of the settings: those who are here, all who are known, and what the gate says."""

    here: People
    people: pl.DataFrame
    verdict: Verdict
    compiled: Mapping[str, CompiledTarget]


async def simulate(dep: Deployment, other: Settings, config: str, last: int | None = None) -> Simulation:
    """Both settings over the kept clean rosters.

    Args:
        config: the file of the other settings, to be named.
        last: how many of the newest rosters; None: all.

    Raises:
        UsageError: no clean roster is kept.
        ConfigurationError: the settings do not fit the newest one.
    """
    kept = await kept_rosters(dep)
    if not kept:
        raise UsageError(
            "There is no clean roster yet, so there is nothing to simulate with.",
            remedy="Let a sync read the roster first: provisioner sync --wait",
        )
    chosen = kept if last is None else kept[-last:]
    shown = {target: await _last_shown(dep, target) for target in dep.targets}
    document = await asyncio.to_thread(simulated, dep.settings, other, chosen, shown)
    document["config"], document["kept"] = config, len(kept)
    document["notes"] = [*_few(dep.settings, len(kept), last), *document["notes"]]
    return document


def _few(settings: Settings, kept: int, last: int | None) -> list[str]:
    """What is said of too few rosters."""
    days = settings.retention.snapshots.days
    found = []
    if last is not None and last > kept:
        found.append(f"{last} clean rosters were asked for, and {kept} {'is' if kept == 1 else 'are'} kept.")
    if kept == 1:
        found.append(
            "Only one clean roster is kept: this is the change from one settings to the other, and no day after it. "
            f"The last one of each day is kept for retention.snapshots ({days} days)."
        )
    return found


async def _last_shown(dep: Deployment, target: str) -> pl.DataFrame:
    """By person what a target was last seen to hold."""
    observed = await dep.frames.observed(target)
    if observed is None:
        return pl.DataFrame(schema={PERSON: pl.String})
    ledger = await dep.ledger.frame(target, ())
    return ledger.select(PERSON, ACCOUNT).join(observed, on=ACCOUNT, how="inner").drop(ACCOUNT)


def simulated(
    running: Settings, other: Settings, kept: Sequence[Kept], shown: Mapping[str, pl.DataFrame]
) -> Simulation:
    """Both settings over some rosters, the oldest first.

    Args:
        shown: by target and person, what was last seen.

    Raises:
        ConfigurationError: the settings do not fit the newest one.
    """
    sides = _sides(running, other)
    notes = _unlike_readings(running, other)
    days: list[SimulatedDay] = []
    unlike_on: dict[str, dict[str, pl.DataFrame]] = {}
    begun = False
    for one in kept:
        try:
            ours = _judged(sides[0], one)
            if not begun:
                sides[1].baseline, sides[1].known = Baseline.of(ours.here), ours.people
            theirs = _judged(sides[1], one)
        except ConfigurationError as exc:
            if one is kept[-1]:
                raise
            notes.append(f"The roster of {one.day} is left out: {exc.message}")
            continue
        if not begun:
            _begin(sides, ours, one, shown)
            begun = True
        documents = [_day(side, found, one) for side, found in zip(sides, (ours, theirs), strict=True)]
        days.append({"day": one.day.isoformat(), "digest": one.digest, "running": documents[0], "other": documents[1]})
        unlike_on[one.day.isoformat()] = _unlike(sides)
    notes += _unlike_targets(*sides)
    return {
        "config": "",
        "kept": len(kept),
        "days": days,
        "people": _people(sides, unlike_on),
        "notes": notes,
        "exit_code": _exit_code(days),
    }


def _sides(running: Settings, other: Settings) -> tuple[_Side, _Side]:
    specs = [build_targets(settings)[1] for settings in (running, other)]
    names = dict.fromkeys((*specs[0], *specs[1]))
    worlds = {name: _empty(*(one[name] for one in specs if name in one)) for name in names}
    made = [
        _Side(settings, own, {name: worlds[name] for name in own})
        for settings, own in zip((running, other), specs, strict=True)
    ]
    return made[0], made[1]


def _empty(*specs: TargetSpec) -> World:
    """A target without accounts, with every attribute that either of its settings writes or asks for."""
    attributes = _attributes(*specs)
    asked: set[str] = set()
    for spec in specs:
        protect = compile_expression(spec.settings.protect, None, where="protect", predicate=True)
        asked |= protect.columns | {*spec.settings.match}
    blank = {
        name: "false"
        for spec in specs
        for name in asked
        if name in spec.attributes and spec.attributes[name].type is Type.BOOLEAN
    }
    return World.empty(attributes, sorted(asked.difference(attributes)), blank)


def _attributes(*specs: TargetSpec) -> dict[str, Attribute]:
    """The attributes that some settings of one target write."""
    found: dict[str, Attribute] = {}
    for spec in specs:
        names = (
            *spec.settings.attributes,
            *spec.settings.leaver,
            *([spec.ends_attribute] if spec.ends_attribute else ()),
        )
        found |= {name: spec.attributes[name] for name in names}
    return found


def _begin(sides: tuple[_Side, _Side], judged: _Judged, kept: Kept, shown: Mapping[str, pl.DataFrame]) -> None:
    """Accounts as the running settings would have made them; the other ones find the same."""
    running, other = sides
    for name in running.specs:
        spec, compiled = running.specs[name], judged.compiled[name]
        circumstances = _circumstances(running, name, judged, kept)
        running.worlds[name] = settled(running.worlds[name], spec, compiled, judged.people, circumstances)
        # What an account has besides: enrolments and records
        plan = _plan(running, name, judged, kept)
        world = carried_out(running.worlds[name], _taking_effect(plan), plan.links, 0.0)
        running.worlds[name] = with_shown(world, shown.get(name, pl.DataFrame(schema={PERSON: pl.String})))
        if name in other.worlds:
            other.worlds[name] = running.worlds[name]
    for side in sides:
        side.seen = statuses_of(kept.people, side.settings.roster)


def _judged(side: _Side, kept: Kept) -> _Judged:
    """A day's people by one of the settings, of which neither need be those that read the rows."""
    settings, zone = side.settings.roster, side.settings.zone
    rows = computed(kept.people, side.settings)
    today, today_utc = day_in(zone, kept.taken)
    absent = (pl.col("_verdict") == "absent") | (pl.col("_absent_snapshots") > 0)
    here = believed(side.specs, read_again(rows.filter(~absent)), settings, today, today_utc, zone)
    away = judge(read_again(rows.filter(absent)), settings, today=today, zone=zone).frame
    compiled = {name: compile_target(spec, here.columns) for name, spec in side.specs.items()}
    mapped = frozenset[str]().union(*(one.columns for one in compiled.values()))
    moment = datetime.fromtimestamp(kept.taken, UTC)
    verdict = gate(here, side.baseline, settings, mapped=mapped, modified=None, now=moment, known=side.known)
    return _Judged(here, pl.concat([here.frame, absent_of(away, rows, settings, moment)]), verdict, compiled)


def _day(side: _Side, judged: _Judged, kept: Kept) -> SimulatedSide:
    """Plan one day, and carry it out."""
    roster: SimulatedRoster = {
        "status": judged.verdict.status,
        "people": judged.here.frame.height,
        "rejected": len(judged.here.rejects),
        "reasons": list(judged.verdict.reasons),
    }
    parts: dict[str, SimulatedPart] = {}
    if judged.verdict.status != "rejected":
        for name in side.specs:
            side.worlds[name] = renamed(side.worlds[name], judged.here.renamed)
            plan = _plan(side, name, judged, kept)
            parts[name] = _part(plan)
            side.sent.setdefault(name, []).append((kept.taken, _unapproved(plan)))
            side.worlds[name] = carried_out(side.worlds[name], _taking_effect(plan), plan.links, kept.taken)
        side.baseline, side.known = Baseline.of(judged.here), judged.people
        for column, texts in statuses_of(judged.here.frame, side.settings.roster).items():
            side.seen[column] = side.seen.get(column, frozenset()) | texts
    return {"roster": roster, "targets": parts}


def _plan(side: _Side, target: str, judged: _Judged, kept: Kept) -> TargetPlan:
    world, spec = side.worlds[target], side.specs[target]
    return plan_target(
        replace(spec, settings=spec.settings.model_copy(update={"guards": side.settings.guards_of(target)})),
        judged.compiled[target],
        judged.people,
        world.observation(kept.taken),
        world.ledger,
        _circumstances(side, target, judged, kept),
    )


def _circumstances(side: _Side, target: str, judged: _Judged, kept: Kept) -> Planning:
    settings = side.settings
    guards = settings.guards_of(target)
    since = kept.taken - guards.window.total_seconds()
    sent: Counter[str] = Counter()
    for at, counted in side.sent.get(target, ()):
        sent += counted if at > since else Counter()
    waits = judged.verdict.status == "degraded"
    today = day_in(settings.zone, kept.taken)[0]
    return Planning(
        now=datetime.fromtimestamp(kept.taken, UTC),
        today=today,
        ends=settings.roster.ends is not None,
        snapshot=kept.digest,
        removals_wait=f"the roster is degraded: {' '.join(judged.verdict.reasons)}" if waits else None,
        sent={guard: sent[guard] for guard in COVERS} if guards.window else {},
        left=days_of_leaving(side.worlds[target].ledger, {}, settings.zone),
        unfamiliar=unfamiliar(judged.here.frame, settings.roster, side.seen, today=today),
    )


def _taking_effect(plan: TargetPlan) -> Iterator[Operation]:
    return (one for one in plan.operations if not one.fails)


def _unapproved(plan: TargetPlan) -> Counter[str]:
    """By guard, what counts in the window after it."""
    found: Counter[str] = Counter()
    for one in plan.operations:
        if one.counted and not one.hold and not one.fails:
            found.update(guard for guard, kinds in COVERS.items() if one.kind in kinds)
    return found


def _part(plan: TargetPlan) -> SimulatedPart:
    return {
        "planned": {kind.value: plan.planned[kind] for kind in Kind},
        "held": {kind.value: count for kind, count in plan.tally[Status.HELD].items()},
        "guards": [trip.sentence for trip in plan.guards],
        "conflicts": len(plan.conflicts),
        "todo": len(plan.todos),
    }


def _unlike(sides: tuple[_Side, _Side]) -> dict[str, pl.DataFrame]:
    """By target, who differs now, and in what."""
    found = {}
    for name, specs in _by_target(sides).items():
        empty = _empty(*specs)
        worlds = [side.worlds.get(name, empty) for side in sides]
        found[name] = unlike(worlds[0], worlds[1], _attributes(*specs))
    return found


def _by_target(sides: tuple[_Side, _Side]) -> dict[str, list[TargetSpec]]:
    names = dict.fromkeys((*sides[0].specs, *sides[1].specs))
    return {name: [side.specs[name] for side in sides if name in side.specs] for name in names}


def _people(sides: tuple[_Side, _Side], on: Mapping[str, Mapping[str, pl.DataFrame]]) -> list[SimulatedPerson]:
    """Everybody who differs on some day, as on the last one.

    Args:
        on: by day and target, see `unlike`.
    """
    found: list[SimulatedPerson] = []
    for name, specs in _by_target(sides).items():
        attributes = _attributes(*specs)
        days = [on[day][name].select(PERSON, pl.lit(day).alias("day")) for day in on]
        spans = pl.concat(days).group_by(PERSON).agg(first=pl.col("day").min(), last=pl.col("day").max())
        first = dict(spans.select(PERSON, "first").iter_rows())
        for day in on:
            ended = spans.filter(pl.col("last") == day)[PERSON]
            rows = differing(on[day][name].filter(pl.col(PERSON).is_in(ended.implode())), attributes)
            found += [_person(name, key, first[key], day, one, attributes) for key, one in rows.items()]
    return sorted(found, key=lambda one: (one["target"], one["person"]))


def _person(
    target: str, person: str, first: str, last: str, found: Unlike, attributes: Mapping[str, Attribute]
) -> SimulatedPerson:
    states = found.states
    return {
        "target": target,
        "person": person,
        "first": first,
        "last": last,
        "account": None if states is None else {"running": states[0], "other": states[1]},
        "attributes": {
            name: {"running": natural(pair[0], attributes[name].type), "other": natural(pair[1], attributes[name].type)}
            for name, pair in found.attributes.items()
        },
    }


def _unlike_readings(running: Settings, other: Settings) -> list[str]:
    """Settings that differ and of which kept rows can say nothing."""
    names = [name for name in _READING if getattr(running.roster, name) != getattr(other.roster, name)]
    if not names:
        return []
    listed = ", ".join(f"roster.{name}" for name in names)
    return [f"What differs here is not simulated, since kept rows were read by the running settings: {listed}."]


def _unlike_targets(running: _Side, other: _Side) -> list[str]:
    found = []
    for here, there, word in ((running, other, "the running settings"), (other, running, "the other settings")):
        names = [name for name in here.specs if name not in there.specs]
        if names:
            found.append(f"Only {word} have: {', '.join(names)}.")
    return found


def _exit_code(days: Sequence[SimulatedDay]) -> int:
    """As a sync by the other settings would have ended, on the worst of the days."""
    codes = []
    for day in days:
        side = day["other"]
        held = any(part["held"] for part in side["targets"].values())
        status = side["roster"]["status"]
        codes.append(3 if status == "rejected" else 4 if held or status == "degraded" else 0)
    return first_of(codes)


__all__ = ["Kept", "kept_rosters", "simulate", "simulated"]
