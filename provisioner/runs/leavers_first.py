"""Leavers do not wait until a target is read: where that takes long, a run about them alone goes before.

A vendor may show some of an account only one by one: 10,000 are 83 minutes at 120 requests a minute. Whoever is
linked is found by one request, so those who left are planned by themselves meanwhile, and the run about everybody
plans what is left. It may be reading, or wait for another run that does.

Not before: who is not linked, since only a listing tells whose account is whose; whose key changed, since their account
may go on under the new one; more than the guard of leavers lets through, since that holds all of them; more than 500;
and nobody where the roster is doubted, or the target is to be looked at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl
import structlog

from provisioner.errors import ConfigurationError
from provisioner.planning.desired import LEAVER, PERSON, STANDING, desired_accounts
from provisioner.planning.guards import limit_of
from provisioner.planning.spec import ACCOUNT
from provisioner.runs.enqueue import to_be_planned
from provisioner.runs.known_snapshot import document_of, newest, of_people
from provisioner.runs.planned import LOOKED_UP
from provisioner.runtime.clock import day_in
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import Snapshot
from provisioner.store.runs.documents import Request
from provisioner.store.runs.locks import FORGETTING, Hold
from provisioner.targets.capabilities import LooksUp

log = structlog.get_logger(__name__)

TRIGGER: Final = "leavers"
#: Seconds after which a run has waited long for a target.
PATIENCE: Final = 20.0
#: People who go before at most: each fifty are a run, and too many runs would hide the others.
_MOST: Final = 500
#: Runs that are looked at, the newest first.
_NEWEST: Final = 50
#: Seconds for which the copy of the people is kept, should the run not end.
_KEPT: Final = 7 * 86400
#: Seconds after which another process may ask for the runs, if this one died.
_HOLD: Final = 20


async def leavers_first(dep: Deployment) -> list[tuple[str, str]]:
    """Ask for the runs about leavers whose target is being read for long; these runs, each with its target.

    Raises:
        StoreError: Redis does not answer.
    """
    found = []
    for target, runs in (await _waiting(dep)).items():
        if await _asked(dep, runs, target):
            continue
        async with dep.locks.work(f"leavers:{target}", seconds=_HOLD) as hold:
            if hold is not None and not await _asked(dep, runs, target):
                found += [(run, target) for run in await _ask(dep, runs, target, hold)]
    return found


async def _waiting(dep: Deployment) -> dict[str, list[str]]:
    """By target, the runs about everybody that have waited long for it."""
    now = await dep.clock.now()
    found: dict[str, list[str]] = {}
    for run in await dep.runs.unfinished(_NEWEST):
        if await dep.runs.get(run, "stage") != "begun":
            continue
        if now - float(await dep.runs.get(run, "created") or now) < PATIENCE:
            continue
        request = await dep.runs.request(run)
        if request is None or request.people is not None or request.plan is not None or request.undo is not None:
            continue
        for target in await dep.runs.targets(run):
            looks_up = isinstance(dep.targets.get(target), LooksUp) and dep.enabled(target)
            if looks_up and await to_be_planned(dep.runs, run, target):
                found.setdefault(target, []).append(run)
    return found


async def _asked(dep: Deployment, runs: Sequence[str], target: str) -> bool:
    """Whether one of these runs has asked by the newest roster, or the target must not be asked for anything."""
    health = await dep.health.of(target)
    if health.blocked or health.unseen:
        return True
    digest, _ = await dep.frames.newest()
    return digest in [await dep.runs.part_field(run, target, "leavers_by") for run in runs]


async def _ask(dep: Deployment, runs: Sequence[str], target: str, hold: Hold) -> list[str]:
    """Ask by the newest roster, in the name of all these runs."""
    digest, _ = await dep.frames.newest()
    own = await dep.frames.for_run(max(runs))
    parts = [] if own is None else await _parts(dep, target, await newest(dep, own))
    # A copy of the people would bring back whom somebody forgets right now
    if await dep.locks.is_done(FORGETTING) or not await hold.still():
        return []
    asked = []
    for part in parts:
        first = dep.runs.id_of(await dep.clock.now())
        await dep.frames.keep_for_run(first, part, _KEPT)
        request = Request(TRIGGER, targets=(target,), people=part.keys)
        await dep.runs.create_begun(first, request, target, document_of(part))
        asked.append(first)
    for run in runs:
        await dep.runs.set_target(run, target, {"leavers_by": digest})
    if asked:
        log.info(
            "leavers_first", runs=runs, target=target, count=sum(part.people.height for part in parts), asked=asked
        )
    return asked


async def _parts(dep: Deployment, target: str, snapshot: Snapshot) -> list[Snapshot]:
    """Who leaves a target and can be planned without a listing of everybody, as many at once as are looked up."""
    leaving = await _leaving(dep, target, snapshot)
    return [of_people(snapshot, leaving[start : start + LOOKED_UP]) for start in range(0, len(leaving), LOOKED_UP)]


async def _leaving(dep: Deployment, target: str, snapshot: Snapshot) -> tuple[str, ...]:
    """Those people, sorted; nobody where they are more than the guard lets through, or than a few runs plan."""
    if snapshot.removals_wait is not None:
        return ()
    spec, settings = dep.specs[target], dep.settings
    try:
        compiled = dep.compiled(target, snapshot.columns)
    except ConfigurationError:
        # As the plan will say
        return ()
    ledger = await dep.ledger.frame(target, ())
    linked = ledger.filter(pl.col(ACCOUNT).is_not_null() & (pl.col("_state") != "left"))[PERSON]
    if linked.is_empty():
        return ()
    unsure = {*snapshot.renamed, *(old for old, *_ in snapshot.alike)}
    known = pl.col("_key").is_in(linked.implode()) & ~pl.col("_key").is_in(unsure)
    today, today_utc = day_in(settings.zone, await dep.clock.now())
    ends = settings.roster.ends is not None
    people = snapshot.people.filter(known)
    desired = desired_accounts(spec, compiled, people, today=today, today_utc=today_utc, ends=ends)
    leaving = desired.frame.filter(pl.col(STANDING) == LEAVER)[PERSON].to_list()
    if len(leaving) > _MOST or len(leaving) > await _room(dep, target, linked.len(), leaving):
        return ()
    return tuple(sorted(leaving))


async def _room(dep: Deployment, target: str, linked: int, leaving: Sequence[str]) -> int:
    """How many leavers may go out without approval, by what others sent and decided: a plan about everybody would hold
    all of them, where some of its parts would not."""
    guards = dep.settings.guards_of(target)
    window = guards.window.total_seconds()
    if not window:
        return limit_of(guards.leavers, linked)
    sent = await dep.health.sent(target, "leavers", await dep.clock.now() - window)
    return limit_of(guards.leavers, linked) - sent - await dep.health.unsent(target, "leavers", leaving)
