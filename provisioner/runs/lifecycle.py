"""Runs are asked for, begun and carried through here; every step may be repeated and harms nothing."""

from __future__ import annotations

import json
from functools import partial
from typing import Final

import structlog

from provisioner.errors import (
    ConfigurationError,
    HoldLostError,
    ProvisionerError,
    RosterError,
    StoreError,
    UnexpectedError,
    UsageError,
)
from provisioner.progress.notifications import roster_read
from provisioner.progress.run_status import end_with_error, refresh, refresh_outdated
from provisioner.runs.enqueue import plan_and_install, to_be_planned
from provisioner.runs.known_snapshot import newest
from provisioner.runs.not_planned import not_planned
from provisioner.runs.orders import keep_left_out, orders_of, unknown_plan
from provisioner.runs.roster_snapshot import RejectedRosterError, keep, note_leavers, rejects_json, take
from provisioner.runtime import tracing
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import SEE_LOG
from provisioner.runtime.origins import foreign
from provisioner.settings import Settings
from provisioner.store.people.snapshots import Snapshot
from provisioner.store.runs.documents import Request, RunStore
from provisioner.store.runs.locks import FORGETTING, Hold, LockStore

log = structlog.get_logger(__name__)

#: Seconds for which a run's own copy of the people is kept, should it not end.
_KEPT: Final = 7 * 86400
#: How often a step is begun before it counts as what kills its process.
MOST_BEGINNINGS: Final = 20
#: Seconds after which the beginning of a run whose process died may be taken up by another.
_BEGINNING: Final = 20


async def request_run(
    dep: Deployment, request: Request, *, content: bytes | None = None, asked_by: str | None = None
) -> str:
    """Record a run that somebody or something asks for; its id.

    A run of the same targets that is still queued is joined instead, unless the request brings its own roster, names
    people or accepts a digest.

    Args:
        asked_by: the W3C `traceparent` of whoever asks.

    Raises:
        UsageError: an asked target does not exist.
    """
    dep.chosen(request.targets)
    plain = content is None and _plain(request)
    if plain:
        for run in reversed(await dep.runs.recent(20)):
            if await _untouched(dep.locks, dep.runs, run):
                other = await dep.runs.request(run)
                if other is not None and other.targets == request.targets and _plain(other) and _serves(other, request):
                    log.info("run_joined", run=run, trigger=request.trigger)
                    return run
    run = await dep.runs.create(request, content=content)
    targets = dep.chosen(request.targets)
    trace = tracing.begun(asked_by)
    await dep.runs.set(run, {"targets": json.dumps(targets), **({"trace": trace} if trace else {})})
    for target in targets:
        await dep.runs.set_target(run, target, {"status": "running", "stage": "queued"})
    log.info("run_requested", run=run, trigger=request.trigger, targets=list(targets))
    return run


async def _untouched(locks: LockStore, runs: RunStore, run: str) -> bool:
    """Whether a run is still to read the roster: what is asked for now is in what it reads."""
    if await runs.get(run, "stage") != "queued" or await locks.is_begun(run):
        return False
    # It may have been read between the two
    return await runs.get(run, "stage") == "queued"


def _serves(other: Request, request: Request) -> bool:
    """Whether a run reads at least as much as another request asks for."""
    return other.full or not request.full


def _plain(request: Request) -> bool:
    own = (request.people, request.accept, request.roster, request.pushed_at, request.plan, request.undo)
    return all(one is None for one in own)


async def begin(dep: Deployment, run: str) -> tuple[str, ...]:
    """Read the roster for a run; the targets to be planned now. Begun twice, the second time does nothing.

    Raises nothing for what is wrong with the roster or the request: the run then ends with that error.
    """
    request = await dep.runs.request(run)
    if request is None:
        return ()
    async with dep.locks.beginning(run, seconds=_BEGINNING) as hold:
        # The stage is looked at under the lock, or a beginner that was held up would begin it a second time
        if hold is None or await dep.runs.get(run, "stage") != "queued":
            return ()
        if await dep.locks.is_done(FORGETTING):
            # It would bring back whom it has read; the tick takes this run up again
            return ()
        times = await dep.lifecycle.count_beginning(run)
        if times > MOST_BEGINNINGS:
            message = f"Run {run} was begun {times - 1} times, and no process lived to finish that."
            await end_with_error(dep, run, UnexpectedError(message, remedy=SEE_LOG))
            return ()
        try:
            return await _begin(dep, run, request, hold)
        except HoldLostError:
            return ()


async def _begin(dep: Deployment, run: str, request: Request, hold: Hold) -> tuple[str, ...]:
    """Read the roster for a run.

    Raises:
        HoldLostError: another process begins this run.
        StoreError: Redis does not answer; says nothing about the roster, so the tick takes this run up again.
    """
    if (error := await foreign(dep)) is not None:
        # Its people would be taken for ours that are new, and ours for gone
        await hold.ensure()
        await end_with_error(dep, run, error)
        return ()
    try:
        if request.plan is not None and await dep.reviewed.plan(request.plan) is None:
            raise unknown_plan(dep, request.plan)
        taken = await take(dep, request, await dep.runs.content(run))
    except StoreError:
        raise
    except ProvisionerError as exc:
        await hold.ensure()
        if isinstance(exc, RejectedRosterError):
            await dep.runs.set(run, {"roster": json.dumps(exc.document)})
            await dep.runs.keep_rejects(run, rejects_json(exc.rejects), _retention(dep.settings))
        await end_with_error(dep, run, exc, status="rejected" if isinstance(exc, RosterError) else "failed")
        return ()
    await hold.ensure()
    await dep.runs.set(run, {"roster": json.dumps(taken.document)})
    if taken.snapshot.alike:
        await dep.runs.set(run, {"same": json.dumps(taken.snapshot.alike)})
    await dep.runs.keep_rejects(run, rejects_json(taken.rejects), _retention(dep.settings))
    await keep(dep, taken, hold)
    await dep.frames.keep_for_run(run, taken.snapshot, _KEPT, hold)
    await note_leavers(dep, taken.snapshot, await dep.runs.targets(run))
    targets = await dep.runs.targets(run)
    for target in targets:
        if not dep.enabled(target):
            await dep.runs.set_target(run, target, {"stage": "skipped", "status": "skipped"})
            orders = await orders_of(dep, request, target)
            await keep_left_out(
                dep, run, target, orders.all_left_out(target, f"{target} is switched off in the settings")
            )
    reasons = [] if taken.document["accepted"] else taken.document["degraded"]
    await roster_read(dep, run, reasons, everybody=request.people is None)
    await dep.lifecycle.begun(run, hold)
    await refresh(dep, run)
    return tuple(target for target in targets if dep.enabled(target))


def _retention(settings: Settings) -> int:
    return int(settings.retention.runs.total_seconds())


async def plan(dep: Deployment, run: str, target: str) -> bool:
    """Plan one target of a begun run and install the plan; False if the target is busy with another run."""
    planned = await plan_part(dep, run, target)
    if planned:
        await refresh(dep, run)
        await refresh_outdated(dep)
    return planned


async def plan_part(dep: Deployment, run: str, target: str) -> bool:
    request = await dep.runs.request(run)
    if request is None or not await to_be_planned(dep.runs, run, target):
        return True
    urgent = request.urgent
    if not urgent and request.plan is None and request.undo is None and await _joins(dep, run, target):
        return True
    try:
        orders = await orders_of(dep, request, target)
    except UsageError as exc:
        await not_planned(dep.runs, run, target, exc, "failed")
        return True
    read = partial(_newest, dep, run, target)
    if not await plan_and_install(dep, run, target, read, urgent=urgent, full=request.full, orders=orders):
        return False
    # Whoever waited is not waited for any longer, whichever run it is
    await dep.lifecycle.wait_no_more(target)
    return True


async def _joins(dep: Deployment, run: str, target: str) -> bool:
    """A second run of a busy target waits; a further one joins the waiting one."""
    if await dep.locks.planner_of(target) in (None, run):
        return False
    if await dep.lifecycle.wait(run, target):
        return False
    waiting = await dep.lifecycle.waiting(target)
    if waiting is None or waiting == run:
        return False
    fields = await dep.runs.own_part(waiting, target)
    if fields.get("stage") != "queued" or "joined" in fields:
        # It plans already, perhaps from an older roster, or was planned by a worker that died before it could say so.
        # One that joined another itself is planned by nobody; two that joined each other would wait for ever.
        await dep.lifecycle.wait_instead(run, target)
        return False
    await dep.runs.set_target(run, target, {"joined": waiting})
    return True


async def _newest(dep: Deployment, run: str, target: str) -> Snapshot | None:
    """What a run plans a target from: its own roster, or a clean one that was read since, while it waited."""
    own = await dep.frames.for_run(run, _columns(dep, target))
    return None if own is None else await newest(dep, own)


def _columns(dep: Deployment, target: str) -> frozenset[str] | None:
    """The roster's columns that a target's mapping names; None (all) where it cannot be read, as the plan will tell."""
    try:
        return dep.compiled(target, None).columns
    except ConfigurationError:
        return None
