"""`check`: is everything in place for a sync? One line each, with what to do where something is not."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from typing import Any, Final

import polars as pl

from provisioner.admin.preflight.durations import durations
from provisioner.admin.preflight.first_contact import fragment_of, totals
from provisioner.admin.preflight.pushed_people import pushed_people
from provisioner.admin.preflight.recording import Recorder
from provisioner.admin.preflight.redis import ANSWERS_WITHIN, Store, disk, store
from provisioner.admin.preflight.standing import spool
from provisioner.admin.preflight.targets import reach
from provisioner.admin.preflight.web import web
from provisioner.errors import ConfigurationError, ProvisionerError, RosterError
from provisioner.logs import without_secrets
from provisioner.model.check_result import Fragment, Line, failure
from provisioner.model.run_document import WAITS
from provisioner.model.wording import counted
from provisioner.planning.compiled import compile_target, faults_of, wrong_ones
from provisioner.planning.desired import MEMBER, STANDING, desired_accounts
from provisioner.planning.spec import TargetSpec
from provisioner.progress.writeback import check_columns
from provisioner.roster import Baseline, Note, People, Source, fetch, gate
from provisioner.roster.columns_read import read_by_events
from provisioner.roster.lookups import TableError, fetch_tables
from provisioner.roster.lost_zeros import lost_zeros
from provisioner.runs.judged_roster import Judged, judged, people_of
from provisioner.runs.mapping_tests import run_tests
from provisioner.runs.pushed_roster import NAME, pushed_roster
from provisioner.runs.roster_source import DROP, source_of
from provisioner.runtime.clock import day_in
from provisioner.runtime.context import Deployment, build_targets, routes_of
from provisioner.settings import Settings
from provisioner.settings.place import shown
from provisioner.targets.base import Target

#: Rows that are mapped to show what the expressions make of them.
_SAMPLED: Final = 10
#: Findings of one sort that are listed one by one; examples where one sentence explains them all.
_TOLD: Final = 10
_EXAMPLES: Final = 3


async def check(
    settings: Settings,
    *,
    connect: bool,
    missing: ConfigurationError | None = None,
    say: Callable[[str], None] = lambda _: None,
    recorder: Recorder | None = None,
) -> list[Line]:
    """Look at settings, mapping, Redis, disk and roster; with `connect` at each target too, by a few harmless reads.

    Args:
        missing: says that there is no settings file, where that is why nothing is configured.
        say: takes a sentence for somebody who waits.
        recorder: notes the shapes of the targets' answers.
    """
    mapped, lines = _mapping(settings) if missing is None else (None, [failure("settings", missing, "Write one.")])
    lines += web(settings)
    redis = await store(settings, needed=connect)
    lines += [*redis.lines, await disk(settings), *await spool(settings.data_dir)]
    if mapped is not None:
        lines += await _roster(settings, *mapped, redis)
        lines += await asyncio.to_thread(_tests, settings)
        if connect:
            lines += await reach(settings, redis=redis.usable, say=say, recorder=recorder)
    return [_cleaned(line) for line in lines]


def _tests(settings: Settings) -> list[Line]:
    """The mapping's own tests, if there are any."""
    if not settings.tests:
        return []
    try:
        found = run_tests(settings, settings.tests)
    except ProvisionerError as exc:
        return [failure("tests", exc, "Correct the test.")]
    lines = [
        Line(
            "tests",
            "fail",
            f"{one['test']}: {'.'.join(filter(None, (one['target'], one['attribute'])))}: expected "
            f"{one['expected'] or 'nothing'}, found {one['found'] or 'nothing'}.",
            "Fix the mapping or the test.",
            2,
        )
        for one in found[:_TOLD]
    ]
    return lines or [Line("tests", "ok", f"{len(settings.tests)} tests of the mapping passed.")]


def _cleaned(line: Line) -> Line:
    """A finding without secrets: it may quote a file."""
    remedy = None if line.remedy is None else without_secrets(line.remedy)
    fragment = None if line.fragment is None else Fragment(**_without_secrets(asdict(line.fragment)))
    return replace(line, message=without_secrets(line.message), remedy=remedy, fragment=fragment)


def _without_secrets(value: Any) -> Any:
    """The same with every text cleaned, however deep."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {_without_secrets(name): _without_secrets(one) for name, one in value.items()}
    return [_without_secrets(one) for one in value] if isinstance(value, (list, tuple)) else value


def _mapping(
    settings: Settings,
) -> tuple[tuple[Mapping[str, Target[Any]], Mapping[str, TargetSpec]] | None, list[Line]]:
    """What there is to map to, None if nothing can be mapped at all."""
    if not settings.targets:
        message = "No target is configured, so a sync would do nothing."
        return None, [Line("settings", "fail", message, "Add one under `targets`.", ConfigurationError.exit_code)]
    try:
        targets, specs = build_targets(settings)
    except ConfigurationError as exc:
        return None, [failure("mapping", exc, "Correct it in the settings.")]
    faults = [fault for spec in specs.values() for fault in faults_of(spec)]
    roster = settings.roster
    own = [(roster.employed, "roster.employed", True), (roster.exclude, "roster.exclude", True)]
    own += [(roster.skip, "roster.skip", True), *([(roster.label, "roster.label", False)] if roster.label else [])]
    own += [(text, f"roster.columns.{name}", False) for name, text in roster.columns.items()]
    faults += wrong_ones(own, zone=settings.zone)
    for look in (lambda: routes_of(settings, targets), lambda: check_columns(settings)):
        try:
            look()
        except ConfigurationError as exc:
            faults.append(exc)
    if faults:
        # All of them, so that nobody looks once for each
        return None, [failure("mapping", fault, "Correct it in the settings.") for fault in faults]
    lines = [Line("settings", "ok", f"{counted(len(settings.targets), 'target')}, {len(targets)} of them enabled.")]
    attributes = sum(len(spec.settings.attributes) for spec in specs.values())
    lines.append(Line("mapping", "ok", f"{counted(attributes, 'expression')} over {counted(len(specs), 'target')}."))
    for name, spec in specs.items():
        if spec.activity in spec.settings.leaver and spec.activity not in spec.settings.attributes:
            message = f"targets.{name}.leaver.{spec.activity} deactivates leavers, but nothing reactivates who returns."
            lines.append(Line("mapping", "warn", message, f'Add {spec.activity}: "TRUE" to its attributes.'))
    return (targets, specs), lines


async def _roster(
    settings: Settings, targets: Mapping[str, Target[Any]], specs: Mapping[str, TargetSpec], redis: Store
) -> list[Line]:
    today, today_utc = day_in(settings.zone, datetime.now(UTC).timestamp())
    push = redis.pushed
    own = f"roster.url ({shown(settings.roster.url)})"
    lines: list[Line] = []
    source: Source | None = None
    try:
        if settings.roster.pushed_people:
            if not redis.usable:
                message = f"Runs read {NAME}, which lie in Redis; they are not looked at."
                return [Line("roster source", "warn", message, "Look at Redis.")]
            lines += await pushed_people(settings)
            source = await _pushed(settings)
        elif push is not None:
            source = source_of(push)
            drop = f"`{DROP}` goes back to it."
            sentence = f"Runs read {source.name}; {own} is not read since then."
            if push.believed:
                lines.append(Line("roster source", "ok", f"{sentence} {drop}"))
            else:
                lines.append(Line("roster source", "warn", f"{sentence} It is degraded, and nobody accepted it.", drop))
        else:
            source = await asyncio.to_thread(fetch, settings.roster, prefixes=settings.web.rosters)
            lines.append(Line("roster source", "ok", f"Runs read {own}; nothing was pushed."))
        found, held = await _judged(settings, specs, source, usable=redis.usable)
    except ProvisionerError as exc:
        # Of a table that cannot be read the roster says nothing
        helps = source is not None and not isinstance(exc, TableError)
        fragment = await _fragment(source, settings) if source is not None and helps else None
        return [*lines, replace(failure("roster", exc, "Fix the export."), fragment=fragment)]
    people, verdict = found.people, found.verdict
    lines += [*(_noted(note) for note in people.notes), *totals(people, settings.roster.key)]
    if found.baseline is not None and (line := _zeros(found.baseline, people)) is not None:
        lines.append(line)
    size = f"{counted(people.rows, 'row')}, {counted(people.frame.height, 'person', 'people')}"
    facts = f"{source.name}: {size}, {len(people.rejects)} rejected."
    if verdict.status == "rejected":
        message, remedy = f"{facts} {' '.join(verdict.reasons)}", " ".join(people.advice) or "Fix the export."
        # The advice explains the rows, of which the reasons name the first
        rows = [] if people.advice else _rejects(people)
        fragment = await _fragment(source, settings)
        return [*lines, *rows, Line("roster", "fail", message, remedy, RosterError.exit_code, fragment)]
    lines += _rejects(people)
    if verdict.status == "degraded":
        remedy = f"Fix the export, or let it pass with `provisioner sync --accept {source.digest}`."
        message = f"{facts} It is degraded, so removals wait: {' '.join(verdict.reasons)}"
        lines.append(Line("roster", "warn", message, remedy, WAITS))
    else:
        lines.append(Line("roster", "ok", facts))
    if held is not None:
        lines.append(held)
    some = people.frame.filter(pl.col("_verdict") == "employed").head(_SAMPLED)
    ends = settings.roster.ends is not None
    for spec in specs.values():
        lines += _sampled(spec, some, today, today_utc, ends=ends)
    lines += await asyncio.to_thread(durations, settings, specs, targets, people.frame)
    return lines


async def _pushed(settings: Settings) -> Source:
    async with Deployment.open(settings, reading=True, within=ANSWERS_WITHIN) as dep:
        return await pushed_roster(dep, settings)


async def _fragment(source: Source, settings: Settings) -> Fragment | None:
    return await asyncio.to_thread(fragment_of, source, settings.roster, settings.zone)


def _noted(note: Note) -> Line:
    example = f" It reads {note.example}." if note.example else ""
    return Line("roster", "warn" if note.remedy else "ok", f"{note.message}{example}", note.remedy)


def _rejects(people: People) -> list[Line]:
    """Rejected rows. What is wrong with a whole column is said once, and is no fault of its rows."""
    advice = [tuple(one.rsplit(". ", 1)) for one in people.advice]
    shown_ = people.rejects[: _EXAMPLES if advice else _TOLD]
    remedy = " ".join(dict.fromkeys(what for _, what in advice)) or "Fix the row in the export."
    lines = [Line("roster", "warn", f"rejected row: {reject}", remedy) for reject in shown_]
    if more := len(people.rejects) - len(shown_):
        lines.append(Line("roster", "warn", f"{more} more rows are rejected.", "`provisioner plan` lists them all."))
    return lines + [Line("roster", "warn", f"{advised}.", what) for advised, what in advice]


async def _judged(
    settings: Settings, specs: Mapping[str, TargetSpec], source: Source, *, usable: bool
) -> tuple[Judged, Line | None]:
    """The verdict of the next run on the roster, and the leavers that it would hold for a new status.

    Without Redis there is nothing to compare it with.

    Raises:
        RosterError: it cannot be read.
        ConfigurationError: an expression does not fit its columns.
        StoreError: Redis does not answer any more.
    """
    tables = await asyncio.to_thread(fetch_tables, settings.roster, settings.web.rosters)
    if usable:
        async with Deployment.open(settings, reading=True, within=ANSWERS_WITHIN) as dep:
            found = await judged(dep, source, await dep.frames.roster(), await dep.clock.now(), tables)
            return found, await _unfamiliar(dep, found)
    now = datetime.now(UTC)
    today, today_utc = day_in(settings.zone, now.timestamp())
    people, mapped = await asyncio.to_thread(
        people_of,
        specs,
        source,
        settings.roster,
        today,
        today_utc,
        settings.zone,
        tables=tables,
        also=read_by_events(settings),
    )
    verdict = gate(people, None, settings.roster, mapped=mapped, modified=source.modified, now=now)
    return Judged(people, None, None, (), {}, verdict), None


async def _unfamiliar(dep: Deployment, found: Judged) -> Line | None:
    """Leavers with an account whose leave would be held, since no clean roster held their status before."""
    people = list(found.unfamiliar)
    linked: set[str] = set()
    for target in dep.targets if people else ():
        entries = await dep.ledger.entries(target, people)
        linked |= {person for person, entry in entries.items() if entry.state != "left"}
    if not linked:
        return None
    named = ", ".join(sorted(linked)[:_EXAMPLES])
    count = counted(len(linked), "person leaves", "people leave")
    message = f"{count} by a status that is new, so that would be held: {named}."
    return Line("roster", "warn", message, "See which: provisioner plan. Correct roster.employed, or approve.", WAITS)


def _zeros(baseline: Baseline, people: People) -> Line | None:
    """Keys of the last clean roster that are here without their leading zeros."""
    known, here = baseline.employed["_key"], people.frame["_key"]
    gone = known.filter(~known.is_in(pl.concat([here, pl.Series([*people.present, *people.renamed], dtype=pl.String)])))
    pairs = lost_zeros(gone, here.filter(~here.is_in(known.implode())))
    if not pairs:
        return None
    named = ", ".join(f"{old} is {new}" for old, new in pairs[:3]) + (
        f" and {len(pairs) - 3} more" if pairs[3:] else ""
    )
    old, new = (shlex.quote(one) for one in pairs[0])
    lost = counted(len(pairs), "key lost its", "keys lost their")
    message = f"{lost} leading zeros ({named}); a sync holds these people."
    return Line(
        "roster", "warn", message, f"Export the key as text; or, if it is their new one: provisioner rekey {old} {new}."
    )


def _sampled(spec: TargetSpec, people: pl.DataFrame, today: date, today_utc: date, *, ends: bool) -> list[Line]:
    """What a target's expressions make of some people; names of attributes and keys of people only, never a value."""
    desired = desired_accounts(spec, compile_target(spec, None), people, today=today, today_utc=today_utc, ends=ends)
    members = desired.frame.filter(pl.col(STANDING) == MEMBER)
    lines = [
        Line("mapping", "warn", f"{fault.person}: {fault.where}: {fault.reason}", "Fix the row or the expression.")
        for fault in desired.faults[:_TOLD]
    ]
    rows = f"{spec.name}, tried on {counted(people.height, 'row')}"
    if members.is_empty():
        return [*lines, Line("mapping", "ok", f"{rows}: none of them should have an account there.")]
    good: list[str] = []
    empty: list[str] = []
    missed: list[str] = []
    for name, rule in spec.settings.attributes.items():
        if rule.authority == "target":
            continue
        nulls = int((members[f"w:{name}"].fill_null("") == "").sum())
        (empty if nulls else good).append(f"{name} in {nulls} of {members.height}" if nulls else name)
        if nulls == members.height or (nulls and (spec.attributes[name].required or name in spec.settings.match)):
            missed.append(name)
    parts = ([f"ok: {', '.join(good)}"] if good else []) + ([f"NULL: {', '.join(empty)}"] if empty else [])
    message = f"{rows}, {members.height} of them members: {'; '.join(parts)}."
    if not missed:
        return [*lines, Line("mapping", "ok", message)]
    remedy = f"Look at the expressions of {', '.join(missed)}, and at the columns that they read."
    return [*lines, Line("mapping", "warn", message, remedy)]
