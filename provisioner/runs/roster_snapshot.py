"""The roster's part of a run: read, judged, gated, and kept if it is clean."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, astuple, dataclass, replace
from datetime import UTC, datetime

import polars as pl

from provisioner.errors import RosterError, UsageError
from provisioner.logs import without_secrets
from provisioner.model.run_document import RejectedRow, RosterDocument
from provisioner.planning.leavers import leaving
from provisioner.roster import (
    Baseline,
    People,
    Reject,
    Source,
    Verdict,
    advance_absence,
)
from provisioner.roster.lookups import fetch_tables
from provisioner.roster.statuses import statuses_of
from provisioner.runs.judged_roster import judged
from provisioner.runs.known_as import known_as
from provisioner.runs.known_snapshot import known_snapshot, of_people
from provisioner.runs.roster_source import DROP, Origin, origin_of, way_out, with_writing, writings
from provisioner.runtime.clock import day_in
from provisioner.runtime.context import Deployment
from provisioner.store.people.past_snapshots import Keeping
from provisioner.store.people.snapshots import Pushed, Snapshot
from provisioner.store.runs.documents import Request
from provisioner.store.runs.locks import Hold


@dataclass(frozen=True, slots=True)
class Taken:
    """What a run made of the roster: the snapshot to plan from, its figures as JSON, and the rejected rows.

    `facts` is what the store has to remember of a clean one with everybody, `whole`, None where nothing may be
    remembered; `push` the pushed roster to be kept. `settles`: somebody said that nobody is missing among people who
    are pushed one by one.
    """

    snapshot: Snapshot
    document: RosterDocument
    rejects: tuple[Reject, ...]
    facts: Mapping[str, str | bytes | float] | None
    whole: pl.DataFrame | None = None
    push: Pushed | None = None
    settles: bool = False


class RejectedRosterError(RosterError):
    """A roster that was read but is not believed; carries its figures."""

    def __init__(
        self, reasons: tuple[str, ...], document: RosterDocument, rejects: tuple[Reject, ...], *, remedy: str | None
    ) -> None:
        name = document["source"]["name"]
        super().__init__(
            f"The roster is rejected, nothing is sent: {' '.join(reasons)} It was read from {name}.",
            remedy=remedy or "Fix the export, then sync again.",
        )
        self.document = document
        self.rejects = rejects


async def take(dep: Deployment, request: Request, content: bytes | None) -> Taken:
    """Read and gate the roster for a run.

    Args:
        content: the roster's bytes, where they were handed over with the request.

    Raises:
        RosterError: it cannot be read, or it is rejected (`RejectedRosterError`).
        UsageError: an asked person is neither in it nor known.
        ConfigurationError: an expression does not fit its columns.
    """
    settings = dep.settings.roster
    facts = await dep.frames.roster()
    # Before the roster is read, so that of two runs the later reading also has the later time
    began = await dep.clock.now()
    origin = await origin_of(dep, dep.settings, request, content)
    source = origin.source
    tables = await asyncio.to_thread(fetch_tables, settings, dep.settings.web.rosters)
    now = await dep.clock.now()
    # Of people who are pushed, somebody may be missing without a change
    unchanged = source.doubt is None and source.written == facts.get("written", b"").decode() and not request.accept
    unchanged &= _digests_of(facts) == {name: table.digest for name, table in tables.items()}
    # Else a person would be planned by what the settings of then made of the row
    unchanged &= facts.get("read_by", b"").decode() == dep.settings.reading_digest
    if request.people is not None and unchanged:
        known = await dep.frames.known()
        if known is not None:
            snapshot = await known_snapshot(dep, known, facts["digest"].decode(), began, keys=request.people)
            document = _document(
                known.height, known.height, 0, facts["digest"].decode(), origin, accepted=True, reasons=()
            )
            only = await _only(dep, snapshot, lenient=request.named_from_outside)
            return Taken(only, document, (), None)
    try:
        found = await judged(dep, source, facts, now, tables)
    except RosterError as exc:
        raise RosterError(exc.message, remedy=_joined(exc.remedy, way_out(origin, dep.settings))) from None
    people, previous, pairs, verdict = found.people, found.previous, found.pairs, found.verdict
    accepted = verdict.status == "clean" or (verdict.status == "degraded" and request.accept == source.digest)
    document = _document(
        people.rows,
        people.frame.height,
        len(people.rejects),
        source.digest,
        origin,
        accepted=accepted,
        reasons=() if verdict.status == "clean" else verdict.reasons,
    )
    if people.advice:
        document["advice"] = list(people.advice)
    if people.notes:
        document["notes"] = [without_secrets(str(note)) for note in people.notes]
    if request.accept and request.accept != source.digest:
        document["not_accepted"] = (
            f"Nothing was accepted: {request.accept} was asked for, but the roster that was read is {source.digest}."
        )
    if verdict.status == "rejected":
        remedy = _joined(*people.advice, way_out(origin, dep.settings))
        raise RejectedRosterError(verdict.reasons, document, people.rejects, remedy=remedy)
    last_written = facts.get("written", b"").decode() or None
    counts = accepted and request.people is None and source.written not in writings(facts)
    # Nobody leaves by silence where people are pushed one by one
    counts = counts and not settings.pushed_people
    known = advance_absence(
        previous,
        people,
        clean=True,
        # A degraded roster, a look at one person, or a writing that was read before, advances nobody's absence
        written=source.written if counts else (last_written or ""),
        last_written=last_written if last_written is not None else "",
        now=datetime.fromtimestamp(now, UTC),
        settings=settings.absence,
        perhaps={pair.old for pair in pairs if pair.vanished},
    )
    planned = _unchanged(known, people.present)
    snapshot = Snapshot(
        planned,
        source.digest,
        None if accepted else _wait(verdict, origin),
        began,
        renamed=people.renamed,
        keys=request.people,
        alike=tuple(astuple(pair) for pair in pairs),
        unfamiliar=found.unfamiliar,
    )
    everybody = request.people is None
    kept: dict[str, str | bytes | float] | None = None
    if accepted and (everybody or origin.one_by_one):
        kept = {
            **_facts(source, people, began, found.baseline, tables),
            "writings": with_writing(facts, source.written),
            "read_by": dep.settings.reading_digest,
        }
        if not everybody:
            # Else each change would be compared with the one before, and many small ones would never be too many
            kept = {name: value for name, value in kept.items() if not name.startswith("baseline")}
    return Taken(
        snapshot if everybody else await _only(dep, snapshot, lenient=request.named_from_outside),
        document,
        (*people.rejects, *people.unknown),
        kept,
        planned,
        _push_to_keep(origin, accepted=accepted) if everybody else None,
        settles=origin.one_by_one and everybody and request.accept == source.digest,
    )


def _push_to_keep(origin: Origin, *, accepted: bool) -> Pushed | None:
    """The pushed roster, if it is new or has become believed."""
    push = origin.push
    if push is None or not (origin.fresh or (accepted and not push.believed)):
        return None
    return replace(push, believed=accepted)


def _joined(*sentences: str | None) -> str | None:
    return " ".join(one for one in sentences if one) or None


async def keep(dep: Deployment, taken: Taken, hold: Hold | None = None) -> None:
    """Make a clean snapshot the last clean one, unless a run that read the roster later has done so.

    Raises:
        HoldLostError: the lock is lost.
    """
    if taken.facts is not None and taken.whole is not None:
        zone, seconds = dep.settings.zone, int(dep.settings.retention.snapshots.total_seconds())
        keeping = Keeping(lambda moment: day_in(zone, moment)[0].isoformat(), seconds)
        await dep.frames.keep_clean(_restored(taken.whole), taken.facts, hold, keeping)
        familiar = taken.whole.filter(~pl.col("_key").is_in(list(taken.snapshot.unfamiliar)))
        await dep.frames.add_statuses(statuses_of(familiar, dep.settings.roster))
    if taken.push is not None:
        await dep.frames.keep_pushed(taken.push, hold)
    if taken.settles:
        await dep.pushed_people.settle(await dep.clock.now())


async def note_leavers(dep: Deployment, snapshot: Snapshot, asked: Collection[str]) -> None:
    """Give everybody who leaves by an accepted roster their receipt, whatever becomes of any target or run.

    Of a degraded one nobody is a leaver yet: what it would remove waits, and is noted as held.

    Args:
        asked: the run's targets. What nobody has asked for so far, nobody expects to be read.
    """
    # Before anybody is noted, and of a degraded one too: a run that goes on may bring a leave to its end
    await dep.health.note_unread(dep.targets, asked)
    if snapshot.removals_wait is not None:
        return
    for target in dep.targets:
        leavers, unsettled = await asyncio.to_thread(leaving, dep.compiled(target, snapshot.columns), snapshot.people)
        others = unsettled if snapshot.keys is None else None
        await dep.receipts.note(target, sorted(leavers), others, taken=snapshot.taken, digest=snapshot.digest)


def _unchanged(known: pl.DataFrame, present: frozenset[str]) -> pl.DataFrame:
    """People whose row is rejected or unknown are there, unchanged."""
    if not present:
        return known
    return known.with_columns(
        pl.when(pl.col("_key").is_in(list(present)))
        .then(pl.lit("unchanged"))
        .otherwise(pl.col("_verdict"))
        .alias("_verdict")
    )


def _restored(people: pl.DataFrame) -> pl.DataFrame:
    """What is remembered of people whose row was rejected is what their last clean row said."""
    return people.with_columns(
        pl.when(pl.col("_verdict") == "unchanged")
        .then(pl.col("_row_verdict"))
        .otherwise(pl.col("_verdict"))
        .alias("_verdict")
    )


async def _only(dep: Deployment, snapshot: Snapshot, *, lenient: bool) -> Snapshot:
    """The snapshot with the asked people only.

    Args:
        lenient: somebody who is asked for may be unknown.
    """
    asked = [await known_as(dep, key, snapshot.people) for key in snapshot.keys or ()]
    only = of_people(snapshot, tuple(dict.fromkeys(asked)))
    there = set(only.people["_key"].to_list())
    for key in asked:
        if not lenient and key not in there and not await _linked(dep, key):
            raise UsageError(
                f"There is no person {key!r}: neither in the roster nor in the ledger.",
                remedy=f"Use a value of the column {dep.settings.roster.key_name!r}.",
            )
    return only


async def _linked(dep: Deployment, key: str) -> bool:
    for target in dep.targets:
        if await dep.ledger.entry(target, key) is not None:
            return True
    return False


def _wait(verdict: Verdict, origin: Origin) -> str:
    drop = f", or go back to the roster before it with `{DROP}`" if origin.kind == "push" else ""
    return (
        f"the roster is degraded, so removals wait: {' '.join(verdict.reasons)} Fix the export, or let it pass with "
        f"`provisioner sync --accept {origin.source.digest}`{drop}."
    )


def _document(
    rows: int, people: int, rejected: int, digest: str, origin: Origin, *, accepted: bool, reasons: tuple[str, ...]
) -> RosterDocument:
    return {
        "rows": rows,
        "people": people,
        "rejected": rejected,
        "digest": digest,
        "source": origin.to_json(),
        "accepted": accepted,
        "degraded": [without_secrets(reason) for reason in reasons],
    }


def _facts(
    source: Source, people: People, now: float, last: Baseline | None, tables: Mapping[str, Source]
) -> dict[str, str | bytes | float]:
    baseline = Baseline.of(people)
    # A text that is all ASCII does not show its encoding; the next may be compared with the last that did
    encoding = baseline.encoding or (last.encoding if last is not None else None)
    return {
        "digest": source.digest,
        "written": source.written,
        "taken": now,
        "name": source.name,
        "modified": source.modified.timestamp() if source.modified else 0.0,
        "baseline": baseline.to_bytes(),
        "baseline_people": baseline.people,
        "encoding": encoding or "",
        "tables": json.dumps(
            {name: {**asdict(table), "written": tables[name].written} for name, table in people.tables.items()}
        ),
    }


def _digests_of(facts: Mapping[str, bytes]) -> dict[str, str]:
    """The digests of the look-ups' files in the last clean snapshot."""
    return {name: str(one["digest"]) for name, one in json.loads(facts.get("tables", b"{}")).items()}


def rejects_json(rejects: tuple[Reject, ...]) -> list[RejectedRow]:
    """Rejected rows as JSON."""
    return [
        {
            "line": one.line,
            "key": _clean(one.key),
            "column": _clean(one.column),
            "value": _clean(one.value),
            "reason": without_secrets(one.reason),
        }
        for one in rejects
    ]


def _clean(text: str | None) -> str | None:
    return None if text is None else without_secrets(text)
