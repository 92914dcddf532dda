"""Snapshots of people as they are known, without reading the roster: the last clean rows, and those of some people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace
from datetime import date

import polars as pl

from provisioner.errors import ConfigurationError
from provisioner.roster.classify import renamed_in
from provisioner.roster.statuses import statuses_of, unfamiliar
from provisioner.runs.same_person import pairs_of
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import Snapshot


async def known_snapshot(
    dep: Deployment, known: pl.DataFrame, digest: str, taken: float, keys: tuple[str, ...] | None = None
) -> Snapshot:
    """A snapshot of the people as they are known, without reading the roster."""
    today, _ = await dep.clock.today()
    try:
        pairs = await pairs_of(dep, known)
    except ConfigurationError:
        # An expression does not fit the columns of then, as the plan will tell
        pairs = ()
    return Snapshot(
        known,
        digest,
        None,
        taken,
        renamed=renamed_in(known, dep.settings.roster),
        keys=keys,
        unfamiliar=await unfamiliar_leavers(dep, known.filter(pl.col("_absent_snapshots") == 0), known, today),
        alike=tuple(astuple(pair) for pair in pairs),
    )


async def newest(dep: Deployment, own: Snapshot) -> Snapshot:
    """A run's snapshot, or one of the same people from a clean roster that was read since.

    An older row would undo what the newer one decided.
    """
    digest, taken = await dep.frames.newest()
    if taken <= own.taken or digest == own.digest:
        return own
    known = await dep.frames.known()
    if known is None:
        return own
    newer = await known_snapshot(dep, known, digest, taken, own.keys)
    return newer if own.keys is None else of_people(newer, own.keys)


def of_people(snapshot: Snapshot, keys: Sequence[str]) -> Snapshot:
    """The part of a snapshot that is about some people."""
    return replace(snapshot, people=snapshot.people.filter(pl.col("_key").is_in(list(keys))), keys=tuple(keys))


def document_of(snapshot: Snapshot) -> dict[str, object]:
    """What a run's document says of the roster, where it stands on these people and reads none."""
    count = snapshot.people.height
    waits = [] if snapshot.removals_wait is None else [snapshot.removals_wait]
    return {
        "rows": count,
        "people": count,
        "rejected": 0,
        "digest": snapshot.digest,
        "accepted": not waits,
        "degraded": waits,
    }


async def unfamiliar_leavers(
    dep: Deployment, people: pl.DataFrame, previous: pl.DataFrame | None, today: date
) -> dict[str, str]:
    """Leavers by a status that no clean roster held yet; see `provisioner.roster.statuses`."""
    settings = dep.settings.roster
    seen = await dep.frames.statuses()
    if not seen and previous is not None:
        # The last clean roster is of a version that did not remember them yet
        seen = statuses_of(previous, settings)
    return unfamiliar(people, settings, seen, today=today)
