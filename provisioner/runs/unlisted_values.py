"""What a plan has to know of leavers where a target does not list all of an account."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from provisioner.planning.desired import LEAVER, PERSON, STANDING, standings
from provisioner.planning.unlisted import telling, unlisted, unlisted_names
from provisioner.runs.roster_snapshot import take
from provisioner.runtime.clock import day_in
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import Snapshot
from provisioner.store.runs.documents import Request


async def unlisted_values(
    dep: Deployment, target: str, snapshot: Snapshot, ledger: pl.DataFrame, now: float
) -> tuple[frozenset[str], Mapping[str, Sequence[str]]]:
    """By what a leaver's account is recognised, and what it may hold unseen; see `Planning.telling` and `perhaps`.

    Args:
        ledger: the entries of at least the snapshot's people.
        now: epoch seconds by Redis's clock.
    """
    spec, settings = dep.specs[target], dep.settings
    if not unlisted_names(spec, spec.settings.leaver):
        return frozenset(), {}
    compiled = dep.compiled(target, snapshot.columns)
    standing = await asyncio.to_thread(standings, compiled, snapshot.people)
    over = ledger.filter(pl.col("_state") == "left").select(PERSON)
    leavers = standing.filter(pl.col(STANDING) == LEAVER).join(over, on=PERSON, how="anti")
    if not leavers.height:
        return frozenset(), {}
    today, today_utc = day_in(settings.zone, now)
    days: dict[str, Any] = {"today": today, "today_utc": today_utc, "ends": settings.roster.ends is not None}
    found = await asyncio.to_thread(partial(telling, spec, compiled, snapshot.people, **days))
    mark = await dep.mark.read()
    created = ledger.filter("_created").select(PERSON)
    if mark is None or not mark.lost or not leavers.join(created, on=PERSON, how="anti").height:
        return found, {}
    people, entries = snapshot.people, ledger
    if snapshot.keys is not None:
        known = await dep.frames.known()
        # Before the first run about everybody nobody else knows what the mapping can yield
        people = (await take(dep, Request("manual"), None)).snapshot.people if known is None else known
        entries = await dep.ledger.frame(target, [*spec.settings.attributes, *spec.settings.leaver])
    return found, await asyncio.to_thread(partial(unlisted, spec, compiled, people, entries, **days))
