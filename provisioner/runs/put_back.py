"""What a run does about a target after Redis was put back to an earlier state: it looks before anything is sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import polars as pl

from provisioner.model.operation import Kind, digest
from provisioner.planning.desired import LEAVER, PERSON, STANDING, standings
from provisioner.planning.guards import COVERS
from provisioner.planning.target_plan import TargetPlan
from provisioner.planning.unlisted import unlisted
from provisioner.progress.quarantine import looked
from provisioner.runtime.clock import Clock, day_in
from provisioner.runtime.context import Deployment
from provisioner.store.admin.position import WENT_BACK_WAY_OUT
from provisioner.store.people.snapshots import Snapshot
from provisioner.store.queue.entries import guard_of
from provisioner.store.runs.target_health import HealthStore

_LEAVERS: Final = guard_of(Kind.LEAVE, COVERS)


@dataclass(frozen=True, slots=True)
class PutBack:
    """`unseen`: since when the target waits for a look (epoch seconds), 0 if it does not; `ends`: whether this run's
    plan is the look; `waits`: whether this run is planned only once there was one; `first`: whether its plan is the
    first about everybody."""

    unseen: float
    ends: bool
    waits: bool
    first: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What is said of a plan, where the target waits for a look."""
        return (WENT_BACK_WAY_OUT,) if self.unseen else ()


async def put_back(dep: Deployment, target: str, snapshot: Snapshot, *, narrow: bool) -> PutBack:
    """Whether a target waits for a look, and whether a plan from these people is one.

    Only a plan about everybody is, from a roster that was read since. One about some people would be made without what
    Redis forgot, leaves that count and boards that people are on, and would outlast a look at an older roster.

    Args:
        narrow: whether the plan has only what was asked for, and so takes the place of nothing else.
    """
    health = await dep.health.of(target)
    unseen = health.unseen
    some = snapshot.keys is not None or narrow
    ends = bool(unseen) and not some and snapshot.taken > unseen
    if ends:
        # What was claimed before would be spared by the plan, and sent again after it
        await dep.queue.reap(target)
    return PutBack(unseen, ends, waits=bool(unseen) and some, first=not some and not health.read)


async def forgotten(
    dep: Deployment, target: str, snapshot: Snapshot, plan: TargetPlan, ledger: pl.DataFrame, *, first: bool
) -> bool:
    """Whether the plan that is the look has to be made again, because more is known now of what Redis forgot.

    Args:
        ledger: by which it was planned.
        first: whether it is the first one of this look.
    """
    return (first and await _unconfirm(dep, target, snapshot, plan, ledger)) or await _count(
        dep.health, dep.clock, target, plan, ledger
    )


async def _unconfirm(dep: Deployment, target: str, snapshot: Snapshot, plan: TargetPlan, ledger: pl.DataFrame) -> bool:
    """Mark what only the ledger knows of accounts as unconfirmed; whether there is any such thing.

    Each linked account, those that the plan adopts included, then perhaps holds whatever the mapping can yield. So the
    next plan says of each member whether it is in. A leaver that it adopts has not left before.
    """
    if plan.unbelieved is not None:
        return False
    spec, settings = dep.specs[target], dep.settings
    now = await dep.clock.now()
    today, today_utc = day_in(settings.zone, now)
    compiled, ends_known = dep.compiled(target, snapshot.columns), settings.roster.ends is not None
    holds = await asyncio.to_thread(
        unlisted, spec, compiled, snapshot.people, ledger, today=today, today_utc=today_utc, ends=ends_known
    )
    if not holds:
        return False
    standing = await asyncio.to_thread(standings, compiled, snapshot.people)
    leaving = set(standing.filter(pl.col(STANDING) == LEAVER)[PERSON].to_list())
    people: dict[str, dict[str, str]] = {person: {} for person in await dep.ledger.people(target)}
    for link in plan.links:
        if link.matched != "link":
            state = "active" if link.person in leaving else link.state
            people[link.person] = {"account": link.account, "state": state, "matched": link.matched}
    await dep.ledger.unconfirm(target, holds, people)
    return True


async def _count(health: HealthStore, clock: Clock, target: str, plan: TargetPlan, ledger: pl.DataFrame) -> bool:
    """Let the guard of leavers count the leaves that Redis forgot; whether there were any that it had not counted.

    They were sent after the state to which it was put back, and so may be followed by only so many others unapproved.
    Where a listing does not show all of a leave, it is sent once more, and was sent all the same.
    """
    decisions = await health.decisions(target)
    asked = {name for name, made in decisions.items() if made["verdict"] == "approved"}
    known = set(ledger.filter(pl.col("_state") == "left")[PERSON].to_list())
    people = [link.person for link in plan.links if link.state == "left" and link.person not in known]
    people += [
        one.person for one in plan.operations if one.kind is Kind.LEAVE and not one.counted and one.id not in asked
    ]
    gone = [digest((target, person, Kind.LEAVE.value), size=12) for person in dict.fromkeys(people)]
    return await health.note_sent(target, _LEAVERS, gone, await clock.now())


async def ends(dep: Deployment, target: str, found: PutBack, plan: TargetPlan) -> None:
    """Note that the target was looked at, if this plan is believed and was the look, or the first one."""
    if plan.unbelieved is not None:
        return
    if found.ends:
        await looked(dep, target, found.unseen)
    if found.first:
        await dep.health.note_read(target)
