"""The nudges as Celery tasks: begin a run, plan a target, deliver to a target, and the tick that forgets nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import structlog

from provisioner.admin.retention import sweep
from provisioner.dispatch.outcome_spool import Spool
from provisioner.dispatch.pool import Place
from provisioner.dispatch.redis_loss import remembers
from provisioner.events.pull import PULLING
from provisioner.progress.notifications import send_waiting
from provisioner.progress.run_status import abandon_unplannable, refresh, refresh_outdated, run_fault
from provisioner.runs.changed_people import ask_for_changed
from provisioner.runs.enqueue import to_be_planned
from provisioner.runs.follow_up import follow_up
from provisioner.runs.leavers_first import leavers_first
from provisioner.runs.pushed_roster import nobody_yet
from provisioner.runs.roster_watch import roster_changed, seen
from provisioner.runtime.clock import Clock
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import is_fault
from provisioner.store.queue.rate_limit import Lane
from provisioner.store.queue.seats import FIRST
from provisioner.store.queue.wakeups import WakeupStore
from provisioner.store.runs.documents import Request
from provisioner.worker.app import ASSIST, LONGEST_COUNTDOWN, URGENT, WORK, app
from provisioner.worker.guard import Mend, Work, safely
from provisioner.worker.run_steps import (
    begin_or_end,
    carry_through,
    deliver_or_note,
    note_target,
    plan_or_give_up,
    requested_or_failed,
    take_steps,
)
from provisioner.worker.single_flight import once
from provisioner.worker.wakeups import send
from provisioner.worker.worker_process import child

log = structlog.get_logger(__name__)

#: Seconds between looks at a target that is busy with another run.
_BUSY: Final = 1.0
#: Seconds that a nudge may take to arrive before it counts as lost.
_LOST_AFTER: Final = 5
#: Seconds after which a run that nobody goes on with is nudged again.
_PATIENCE: Final = 5.0
#: Runs that every tick looks at, and those that one tick in a minute does.
_NEWEST: Final = 50
_ALL: Final = 5000
_MINUTE: Final = 60
#: Seconds after which a run is asked for again that has to read targets after Redis was put back.
_UNSEEN: Final = 3600


@app.task(name="provisioner.begin")
def begin(run: str) -> None:
    """Begin a run: read the roster, then let each target be planned."""

    async def work(dep: Deployment) -> None:
        request = await dep.runs.request(run)
        if request is None:
            return
        urgent = request.urgent
        async with once(dep.locks, f"begin:{run}") as free:
            if not free:
                return
            await dep.wakeups.arrived(f"begin:{run}")
            quiet = (await remembers(dep)).quiet
            if quiet:
                await _promise(
                    dep.wakeups,
                    dep.clock,
                    "begin",
                    run,
                    queue=_queue(urgent=urgent),
                    seconds=min(quiet, LONGEST_COUNTDOWN),
                )
            elif urgent:
                await carry_through(dep, run, stopped=child.stopped)
                for target in await dep.runs.targets(run):
                    await _promise_delivery(dep.wakeups, dep.clock, target, 0.0, urgent=True)
            else:
                for target in await begin_or_end(dep, run):
                    await _promise(dep.wakeups, dep.clock, "plan", run, target, queue=WORK)

    _safely("begin", work, fault=partial(_run_fault, run), run=run)


@app.task(name="provisioner.plan")
def plan(run: str, target: str) -> None:
    """Observe and plan one target of a run, install the plan, and let it be delivered."""

    async def work(dep: Deployment) -> None:
        async with once(dep.locks, f"plan:{run}:{target}") as free:
            if not free:
                return
            await dep.wakeups.arrived(f"plan:{run}:{target}")
            planned = not (await remembers(dep)).quiet and await plan_or_give_up(dep, run, target)
        if planned:
            request = await dep.runs.request(run)
            urgent = request is not None and request.urgent
            await _promise_delivery(dep.wakeups, dep.clock, target, 0.0, urgent=urgent)
        else:
            await _promise(dep.wakeups, dep.clock, "plan", run, target, queue=WORK, seconds=_BUSY)

    _safely("plan", work, fault=partial(_run_fault, run), run=run, target=target)


@app.task(name="provisioner.deliver")
def deliver_to(target: str, urgent: bool = False) -> None:
    """Deliver some of a target's work, and promise the next nudge."""

    async def work(dep: Deployment) -> None:
        if target not in dep.targets:
            return
        lane = _lane(urgent=urgent)
        await dep.wakeups.arrived(f"deliver:{target}:{lane}")
        call = partial(_call_for_help, dep, target, FIRST) if lane == "bulk" else None
        place = Place(child.stopped, child.give_way, learnt=child.learnt, call=call)
        # If another one is at work: what this nudge was sent for may be too late for that one
        again: float | None = _BUSY
        async with dep.seats.first(target, lane) as free:
            if free:
                again = (await deliver_or_note(dep, target, place, urgent=urgent)).seconds
        if again is not None:
            await _promise_delivery(dep.wakeups, dep.clock, target, again, urgent=urgent and not free)
        if free:
            await _plan_again(dep)

    _safely("deliver", work, fault=partial(_target_fault, target), target=target)


@app.task(name=ASSIST)
def assist(target: str, number: int) -> None:
    """Deliver beside whoever delivers to a target already, while nobody else wants this process.

    Args:
        number: the seat of whoever called.
    """

    async def work(dep: Deployment) -> None:
        await dep.wakeups.arrived(f"assist:{target}:{number}")
        if target not in dep.targets or child.give_way():
            return
        async with dep.seats.further(target) as seat:
            if seat is None:
                return
            call = partial(_call_for_help, dep, target, seat)
            place = Place(child.stopped, child.give_way, helping=True, learnt=child.learnt, call=call)
            again = (await deliver_or_note(dep, target, place)).seconds
        if again == 0.0:
            # Behind whatever waits by now
            await call()

    _safely("assist", work, fault=partial(_target_fault, target), target=target)


async def _call_for_help(dep: Deployment, target: str, number: int) -> None:
    """Call for one more process to deliver to a target; one call of each seat is under way at a time."""
    name = f"assist:{target}:{number}"
    await _promise(dep.wakeups, dep.clock, "assist", target, number, queue=WORK, name=name)


@app.task(name="provisioner.tick")
def tick() -> None:
    """Find what was forgotten: expired leases, runs nobody goes on with, targets with work and no nudge."""

    async def work(dep: Deployment) -> None:
        now = await dep.clock.now()
        # Whatever fails of these must not keep the others from being looked at
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "memory": lambda: _look_at_redis(dep),
            "spool": lambda: Spool(dep.settings.data_dir).replay(dep.queue),
            **{f"target:{target}": partial(_look_at, dep, target) for target in dep.targets},
            "overtaken": lambda: _plan_again(dep),
            "leavers": lambda: _plan_leavers(dep),
            "changed": lambda: _look_at_changed(dep),
            "outdated": lambda: refresh_outdated(dep),
            "runs": lambda: _look_at_runs(dep, now),
            "sweep": lambda: sweep(dep),
            "notices": lambda: send_waiting(dep),
        }
        await take_steps(dep, "tick", steps, stopped=child.stopped)
        await dep.heartbeats.ticked()

    _safely("tick", work)


async def _look_at_redis(dep: Deployment) -> None:
    """Check whether Redis has its data. If it was put back and runs are scheduled, a full run begins now."""
    await remembers(dep)
    schedule = dep.settings.schedule
    unseen = max([(await dep.health.of(target)).unseen for target in dep.targets], default=0.0)
    if not unseen or not (schedule.sync or schedule.full):
        return
    first = await dep.wakeups.first_in(f"unseen:{unseen}", _UNSEEN)
    run = await requested_or_failed(dep, Request(trigger="full", full=True)) if first else None
    if run is not None:
        await _promise(dep.wakeups, dep.clock, "begin", run, queue=WORK)


async def _plan_again(dep: Deployment) -> None:
    """Nudge for the runs that plan overtaken people again."""
    for run, target in await follow_up(dep):
        await _promise(dep.wakeups, dep.clock, "plan", run, target, queue=URGENT)


async def _plan_leavers(dep: Deployment) -> None:
    """Nudge for the runs about leavers whose target is being read for long."""
    for run, target in await leavers_first(dep):
        await _promise(dep.wakeups, dep.clock, "plan", run, target, queue=URGENT)


async def _look_at_runs(dep: Deployment, now: float) -> None:
    all_of_them = await dep.wakeups.first_in("minute", _MINUTE)
    for run in await dep.runs.unfinished(_ALL if all_of_them else _NEWEST):
        try:
            await _go_on(dep, run, now)
        except BaseException as exc:
            if not is_fault(exc, stopping=child.stopped()):
                raise
            await run_fault(dep, run, exc)


async def _look_at(dep: Deployment, target: str) -> None:
    """Return what dead workers had claimed, and nudge for work that nobody was nudged for."""
    health = await dep.health.of(target)
    waits = health.fault.count and health.fault.due > await dep.clock.now()
    try:
        # A paused target's work is returned all the same
        reaped = 0 if waits else await dep.queue.reap(target)
    except BaseException as exc:
        if not is_fault(exc, stopping=child.stopped()):
            raise
        await note_target(dep, target, exc)
        return
    if reaped:
        log.warning("leases_expired", target=target, count=reaped)
    if health.paused or waits:
        return
    backlog = await dep.queue.backlog(target)
    if health.unseen:
        # A run about everybody ends it
        return
    if health.quarantined:
        # The look that ends it is part of a delivery
        if await dep.clock.now() >= health.probe_at:
            await _promise_delivery(dep.wakeups, dep.clock, target, 0.0)
    elif backlog.ready:
        await _promise_delivery(dep.wakeups, dep.clock, target, 0.0)
    elif backlog.next_due is not None and backlog.next_due <= _LOST_AFTER:
        await _promise_delivery(dep.wakeups, dep.clock, target, backlog.next_due)


async def _go_on(dep: Deployment, run: str, now: float) -> None:
    """Nudge whatever step of a run was lost with its message or its worker."""
    stage = await dep.runs.get(run, "stage")
    patient = now - float(await dep.runs.get(run, "created") or now) <= _PATIENCE
    if stage == "queued" and not patient and not await dep.locks.is_done(f"begin:{run}"):
        request = await dep.runs.request(run)
        await _promise(
            dep.wakeups,
            dep.clock,
            "begin",
            run,
            queue=_queue(urgent=request is not None and request.people is not None),
        )
    elif stage == "begun":
        parts = {target: await dep.runs.target(run, target) for target in await dep.runs.targets(run)}
        if any(fields.get("stage") == PULLING for fields in parts.values()):
            if not patient and not await dep.locks.is_done("readback"):
                await _promise(dep.wakeups, dep.clock, "pull", run, queue=WORK)
            return
        if not patient and not await abandon_unplannable(dep.frames, dep.runs, run):
            for target, fields in parts.items():
                waits = fields.get("stage") in ("queued", "planning") and target in dep.targets
                if not waits or not await to_be_planned(dep.runs, run, target):
                    continue
                if not await dep.locks.is_done(f"plan:{run}:{target}"):
                    await _promise(dep.wakeups, dep.clock, "plan", run, target, queue=WORK)
        await refresh(dep, run)


@app.task(name="provisioner.changed")
def changed() -> None:
    """Ask for the run of people who were pushed, or whom a webhook named."""

    async def work(dep: Deployment) -> None:
        await dep.wakeups.arrived("changed")
        async with once(dep.locks, "changed") as free:
            if free:
                steps = {"changed": lambda: _ask_for_changed(dep)}
                await take_steps(dep, "changed", steps, stopped=child.stopped, trigger="changed")

    _safely("changed", work)


async def _ask_for_changed(dep: Deployment) -> None:
    asked = await ask_for_changed(dep)
    if asked.run is not None:
        await _promise(dep.wakeups, dep.clock, "begin", asked.run, queue=_queue(urgent=asked.urgent))
    if asked.more:
        await _promise(dep.wakeups, dep.clock, "changed", queue=URGENT, seconds=_BUSY)


async def _look_at_changed(dep: Deployment) -> None:
    if await dep.changed_people.count():
        await _promise(dep.wakeups, dep.clock, "changed", queue=URGENT)


@app.task(name="provisioner.scheduled")
def scheduled(trigger: str) -> None:
    """Ask for a run because its time has come."""

    async def work(dep: Deployment) -> None:
        await dep.wakeups.arrived(f"scheduled:{trigger}")
        if dep.settings.roster.pushed_people and await nobody_yet(dep):
            # Before the identity provider is set up there is nothing that could be wrong with its people
            return
        run = await requested_or_failed(dep, Request(trigger=trigger, full=trigger == "full"))
        if run is not None:
            await _promise(dep.wakeups, dep.clock, "begin", run, queue=WORK)

    _safely("scheduled", work, trigger=trigger)


@app.task(name="provisioner.watch")
def watch() -> None:
    """Ask for a run because the roster was rewritten."""

    async def work(dep: Deployment) -> None:
        async with once(dep.locks, "watch") as free:
            if free:
                steps = {"roster": lambda: _look_at_roster(dep)}
                await take_steps(dep, "watch", steps, stopped=child.stopped, trigger="roster")

    _safely("watch", work)


async def _look_at_roster(dep: Deployment) -> None:
    written = await roster_changed(dep)
    if written is not None:
        run = await requested_or_failed(dep, Request(trigger="roster"))
        await seen(dep.frames, written)
        if run is not None:
            await _promise(dep.wakeups, dep.clock, "begin", run, queue=WORK)


def _queue(*, urgent: bool) -> str:
    return URGENT if urgent else WORK


def _lane(*, urgent: bool) -> Lane:
    return "urgent" if urgent else "bulk"


async def _promise_delivery(
    wakeups: WakeupStore, clock: Clock, target: str, seconds: float, *, urgent: bool = False
) -> None:
    await _promise(
        wakeups,
        clock,
        "deliver",
        target,
        urgent,
        queue=_queue(urgent=urgent),
        seconds=seconds,
        name=f"deliver:{target}:{_lane(urgent=urgent)}",
    )


async def _promise(
    wakeups: WakeupStore, clock: Clock, task: str, *args: Any, queue: str, seconds: float = 0.0, name: str | None = None
) -> None:
    """Schedule a wake-up in `seconds`. One that is already queued and due by then serves all callers.

    So there is at most one for each piece of work, and the queues stay short however long nobody takes from them. One
    that was lost is in the way for a few seconds only.
    """
    if seconds > LONGEST_COUNTDOWN:
        return
    due = await clock.now() + seconds
    if await wakeups.promise(name or ":".join((task, *args)), due, seconds=int(seconds) + _LOST_AFTER):
        send(app, task, *args, queue=queue, countdown=seconds or None)


async def _run_fault(run: str, dep: Deployment, exc: BaseException) -> None:
    await run_fault(dep, run, exc)


async def _target_fault(target: str, dep: Deployment, exc: BaseException) -> None:
    await note_target(dep, target, exc)


def _safely(task: str, work: Work, *, fault: Mend | None = None, **context: str) -> None:
    safely(child, task, work, fault=fault, **context)
