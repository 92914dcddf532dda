"""The drift list: what changed in a target since we last wrote, since when that is seen, and what is done about it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from provisioner.model.attributes import natural
from provisioner.model.worklists import DriftedAttribute, DriftRow
from provisioner.planning.drift import Change, Drifted, drifted
from provisioner.planning.leaver_steps import days_of_leaving
from provisioner.planning.spec import Observation, TargetSpec
from provisioner.planning.target_plan import TargetPlan
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import Snapshot
from provisioner.store.runs.documents import moment

#: Means the whole account where it is gone.
_ALL = ""


async def drift_list(
    dep: Deployment,
    run: str,
    snapshot: Snapshot,
    observation: Observation,
    ledger: pl.DataFrame,
    plan: TargetPlan,
) -> list[DriftRow]:
    """The list of one target, to be kept with the others of a plan.

    Each row has ``person``, ``account``, ``message``, ``then`` (``correct``, ``held``, ``report`` or ``leave``: what
    is done about it), ``because``, ``attributes``, and ``first_seen`` and ``last_seen`` with the runs that saw it
    (``first_run``, ``last_run``). An attribute has ``attribute``, ``written`` (what we last wrote), ``observed``,
    ``wanted`` (by the roster), ``then``, ``because``, and its own ``first_seen`` and ``first_run``.

    Raises:
        StoreError: Redis does not answer.
    """
    spec = dep.specs[plan.target]
    today, today_utc = await dep.clock.today()
    found = await asyncio.to_thread(
        drifted,
        spec,
        dep.compiled(plan.target, snapshot.columns),
        snapshot.people,
        observation,
        ledger,
        plan,
        today=today,
        today_utc=today_utc,
        ends=dep.settings.roster.ends is not None,
        left=days_of_leaving(ledger, {}, dep.settings.zone),
    )
    known = _since(await dep.health.list(plan.target, "drift"))
    now = (moment(observation.began) or "", run)
    return [_row(spec, one, known, now) for one in found]


def _since(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, Any], tuple[str, str]]:
    """When each change of the last list was first seen, and by which run: by person, attribute and what was seen."""
    found: dict[tuple[str, str, Any], tuple[str, str]] = {}
    for row in rows:
        for one in row.get("attributes", ()):
            found[row["person"], one["attribute"], one["observed"]] = (one["first_seen"], one["first_run"])
        if "first_seen" in row and not row["attributes"]:
            found[row["person"], _ALL, None] = (row["first_seen"], row["first_run"])
    return found


def _row(
    spec: TargetSpec,
    one: Drifted,
    known: Mapping[tuple[str, str, Any], tuple[str, str]],
    now: tuple[str, str],
) -> DriftRow:
    attributes = [_attribute(spec, one.person, change, known, now) for change in one.changes]
    first = min(
        ((row["first_seen"], row["first_run"]) for row in attributes),
        default=known.get((one.person, _ALL, None), now),
    )
    return {
        "person": one.person,
        "account": one.account,
        "message": one.sentence,
        "then": one.then,
        "because": one.because,
        "attributes": attributes,
        "first_seen": first[0],
        "first_run": first[1],
        "last_seen": now[0],
        "last_run": now[1],
    }


def _attribute(
    spec: TargetSpec,
    person: str,
    change: Change,
    known: Mapping[tuple[str, str, Any], tuple[str, str]],
    now: tuple[str, str],
) -> DriftedAttribute:
    type_ = spec.attributes[change.attribute].type
    observed = natural(change.observed, type_)
    first = known.get((person, change.attribute, observed), now)
    return {
        "attribute": change.attribute,
        "written": natural(change.written, type_),
        "observed": observed,
        "wanted": natural(change.wanted, type_),
        "then": change.then,
        "because": change.because,
        "first_seen": first[0],
        "first_run": first[1],
    }
