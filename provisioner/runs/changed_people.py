"""Whoever was pushed, or named by a webhook, gets their run: one for several people, or one for everybody if there are
many, so that a first load of ten thousand people is few runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from provisioner.runs.lifecycle import request_run
from provisioner.runtime.context import Deployment
from provisioner.store.people.changed_people import EVERYBODY, ChangedPeopleStore
from provisioner.store.runs.documents import PUSHES, WEBHOOKS, Request, RunStore

#: People up to whom a run is about them alone, and goes before everything else.
MOST: Final = 50
#: A part of a run that has not been planned yet.
_UNPLANNED: Final = frozenset({"queued", "planning"})


@dataclass(frozen=True, slots=True)
class Asked:
    """The run that was asked for, if one was; `urgent` if it is about some people; `more`: somebody waits still."""

    run: str | None
    urgent: bool = False
    more: bool = False


async def ask_for_changed(dep: Deployment) -> Asked:
    """Ask for a run about those who wait for one, unless the one before is still to begin.

    Raises:
        StoreError: Redis does not answer.
    """
    changes = await dep.changed_people.first(MOST + 1)
    if not changes:
        return Asked(None)
    everybody = EVERYBODY in changes or len(changes) > MOST
    if await _waits(dep.changed_people, dep.runs, everybody=everybody):
        return Asked(None, more=True)
    trigger = PUSHES if dep.settings.roster.pushed_people else WEBHOOKS
    if everybody:
        newest = await dep.changed_people.newest()
        run = await request_run(dep, Request(trigger=trigger))
        # What changes later has a greater number, and goes on waiting
        await dep.changed_people.all_taken(newest, run)
    else:
        run = await request_run(dep, Request(trigger=trigger, people=tuple(sorted(changes))))
        await dep.changed_people.taken(changes, run)
    return Asked(run, urgent=not everybody, more=await dep.changed_people.count() > 0)


async def _waits(changed_people: ChangedPeopleStore, runs: RunStore, *, everybody: bool) -> bool:
    """Whether the run that was asked for last comes first: it has not begun, or not planned everybody's part yet."""
    last = await changed_people.run()
    if last is None or not await runs.exists(last):
        return False
    stage = await runs.get(last, "stage")
    if stage == "queued":
        return True
    request = await runs.request(last)
    if not everybody or stage != "begun" or request is None or request.people is not None:
        return False
    parts = [await runs.target(last, target) for target in await runs.targets(last)]
    return any(part.get("stage") in _UNPLANNED and part.get("status") == "running" for part in parts)
