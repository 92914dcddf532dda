"""Overtaken people are planned again as soon as what overtook them is over, by a run that belongs to the overtaken one.

A plan drops what it wants for somebody about whom something was sent or recorded after it looked. Nothing else would
plan them before the next scheduled run. So a run follows, about these people only, from the same people's rows or newer
ones; the overtaken run goes on until that one is over, and shows what becomes of them as its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import structlog

from provisioner.progress.run_status import refresh
from provisioner.runs.known_snapshot import document_of, known_snapshot, newest, of_people
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import Snapshot
from provisioner.store.runs.documents import Request
from provisioner.store.runs.locks import FORGETTING

log = structlog.get_logger(__name__)

#: Seconds for which the copy of the people is kept, should the run not end.
_KEPT: Final = 7 * 86400
#: Seconds after which another process may ask for the run, if this one died.
_HOLD: Final = 20
TRIGGER: Final = "overtaken"


async def follow_up(dep: Deployment) -> list[tuple[str, str]]:
    """Ask for a run for whoever was overtaken and can be planned again now; these runs, each with its target.

    Raises:
        StoreError: Redis does not answer.
    """
    found = []
    for run, target in await dep.overtaken.parts():
        if target not in dep.targets or not await dep.runs.exists(run):
            await dep.overtaken.over(run, target)
            await refresh(dep, run)
            continue
        if not await _may_follow(dep, run, target):
            continue
        async with dep.locks.work(f"again:{run}:{target}", seconds=_HOLD) as hold:
            if hold is None or await dep.runs.part_field(run, target, "follow"):
                continue
            follow = await _ask(dep, run, target)
        if follow is not None:
            found.append((follow, target))
        await refresh(dep, run)
    return found


async def _may_follow(dep: Deployment, run: str, target: str) -> bool:
    """Whether the whole plan is installed, the target can be read, and nothing that overtook it is being sent."""
    if await dep.runs.part_field(run, target, "installed") is None or (await dep.health.of(target)).quarantined:
        return False
    # A copy of the people would bring back whom somebody forgets right now
    if await dep.locks.is_done(FORGETTING):
        return False
    return not await dep.overtaken.behind(run, target)


async def _ask(dep: Deployment, run: str, target: str) -> str | None:
    people = await dep.overtaken.people(run, target)
    snapshot = await _snapshot(dep, run, people) if people else None
    if snapshot is None:
        await dep.overtaken.over(run, target)
        return None
    asked = await dep.runs.request(run)
    follow = dep.runs.id_of(await dep.clock.now())
    await dep.frames.keep_for_run(follow, snapshot, _KEPT)
    # A new listing, since what overtook the plan came after the last one, in which others may have changed the account
    await dep.overtaken.follow(run, target, follow, _request(asked, target, people), roster=document_of(snapshot))
    log.info("planned_again", run=run, target=target, follow=follow, count=len(people))
    return follow


async def _snapshot(dep: Deployment, run: str, people: tuple[str, ...]) -> Snapshot | None:
    """The rows of these people: those that the run planned from, or of a clean roster that came since."""
    own = await dep.frames.for_run(run)
    if own is None:
        known = await dep.frames.known()
        if known is None:
            return None
        own = await known_snapshot(dep, known, *await dep.frames.newest())
    return of_people(await newest(dep, own), people)


def _request(asked: Request | None, target: str, people: tuple[str, ...]) -> Request:
    """About these people, with the orders of the run that was overtaken."""
    plain = Request(TRIGGER, targets=(target,), people=people, full=True)
    return plain if asked is None else replace(plain, plan=asked.plan, undo=asked.undo, force=asked.force)
