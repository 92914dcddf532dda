"""The nudges as Celery tasks: begin a run, plan a target, deliver to a target, and the tick that forgets nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from provisioner.admin.retention import sweep
from provisioner.dispatch.outcome_spool import Spool
from provisioner.dispatch.pool import deliver
from provisioner.dispatch.redis_loss import remembers
from provisioner.errors import ProvisionerError
from provisioner.progress.notifications import send_waiting
from provisioner.progress.run_status import abandon_unplannable, end_with_error, give_up_planning, refresh
from provisioner.runs import lifecycle
from provisioner.runs.roster_watch import roster_changed, seen
from provisioner.runtime.context import Deployment
from provisioner.store.admin.heartbeats import HeartbeatStore
from provisioner.store.redis import keys
from provisioner.store.redis.connection import redis_errors
from provisioner.store.runs.documents import Request
from provisioner.worker.app import LONGEST_COUNTDOWN, URGENT, WORK, app
from provisioner.worker.person_run import carry_through
from provisioner.worker.single_flight import once
from provisioner.worker.wakeups import send
from provisioner.worker.worker_process import StoppedError, child

log = structlog.get_logger(__name__)

#: Seconds between looks at a target that is busy with another run.
_BUSY: Final = 1.0
#: Seconds that a nudge may take to arrive before it counts as lost.
_LOST_AFTER: Final = 5
#: Seconds after which a run that nobody goes on with is nudged again.
_PATIENCE: Final = 5.0
#: How often planning one target is begun before it counts as what kills its process.
_MOST_PLANNINGS: Final = 20
#: Runs that every tick looks at, and those that one tick in a minute does.
_NEWEST: Final = 50
_ALL: Final = 5000
_MINUTE: Final = 60

Work = Callable[[Deployment], Awaitable[None]]


@app.task(name="provisioner.begin")
def begin(run: str) -> None:
    """Begin a run: read the roster, then let each target be planned."""

    async def work(dep: Deployment) -> None:
        request = await dep.runs.request(run)
        if request is None:
            return
        urgent = request.people is not None
        async with once(dep, f"begin:{run}") as free:
            if not free:
                return
            await _arrived(dep, f"begin:{run}")
            quiet = (await remembers(dep)).quiet
            if quiet:
                await _promise(dep, "begin", run, queue=_queue(urgent=urgent), seconds=min(quiet, LONGEST_COUNTDOWN))
            elif urgent:
                await carry_through(dep, run, stopped=child.stopped)
                for target in await dep.runs.targets(run):
                    await _promise_delivery(dep, target, 0.0, urgent=True)
            else:
                for target in await _begin(dep, run):
                    await _promise(dep, "plan", run, target, queue=WORK)

    _safely(work, run=run)


@app.task(name="provisioner.plan")
def plan(run: str, target: str) -> None:
    """Observe and plan one target of a run, install the plan, and let it be delivered."""

    async def work(dep: Deployment) -> None:
        async with once(dep, f"plan:{run}:{target}") as free:
            if not free:
                return
            await _arrived(dep, f"plan:{run}:{target}")
            planned = not (await remembers(dep)).quiet and await _plan(dep, run, target)
        if planned:
            await _promise_delivery(dep, target, 0.0)
        else:
            await _promise(dep, "plan", run, target, queue=WORK, seconds=_BUSY)

    _safely(work, run=run, target=target)


async def _plan(dep: Deployment, run: str, target: str) -> bool:
    """Plan; what fails in a way that nobody thought of, or ends its process again and again, is given up."""
    part = keys.run_target(run, target)
    with redis_errors():
        times = int(await dep.redis.hincrby(part, "plannings", 1))
    if times > _MOST_PLANNINGS:
        await give_up_planning(dep, run, target, "unexpected", f"Planning was begun {times - 1} times and never ended.")
        await refresh(dep, run)
        return True
    try:
        planned = await lifecycle.plan(dep, run, target)
    except ProvisionerError:
        raise
    except Exception as exc:
        log.exception("planning_failed")
        await give_up_planning(
            dep, run, target, "unexpected", f"Planning ended with {type(exc).__name__}; see the log."
        )
        await refresh(dep, run)
        return True
    if not planned:
        # It waits for another run, which is no try
        with redis_errors():
            await dep.redis.hincrby(part, "plannings", -1)
    return planned


async def _begin(dep: Deployment, run: str) -> tuple[str, ...]:
    """Begin; what fails in a way that nobody thought of ends the run, for it would fail so again."""
    try:
        return await lifecycle.begin(dep, run)
    except ProvisionerError:
        raise
    except Exception as exc:
        log.exception("beginning_failed")
        error = ProvisionerError(f"Beginning the run ended with {type(exc).__name__}.", remedy="See the worker's log.")
        await end_with_error(dep, run, error)
        return ()


@app.task(name="provisioner.deliver")
def deliver_to(target: str, urgent: bool = False) -> None:
    """Deliver some of a target's work, and promise the next nudge."""

    async def work(dep: Deployment) -> None:
        if target not in dep.targets:
            return
        lane = _lane(urgent=urgent)
        # A second one would only keep a process from other targets: the pace is the same for both
        await _arrived(dep, f"deliver:{target}:{lane}")
        # If another one is at work: what this nudge was sent for may be too late for that one
        again: float | None = _BUSY
        async with once(dep, f"deliver:{target}:{lane}") as free:
            if free:
                again = (await deliver(dep, target, urgent=urgent, stopped=child.stopped)).seconds
        if again is not None:
            await _promise_delivery(dep, target, again, urgent=urgent and not free)

    _safely(work, target=target)


@app.task(name="provisioner.tick")
def tick() -> None:
    """Find what was forgotten: expired leases, runs nobody goes on with, targets with work and no nudge."""

    async def work(dep: Deployment) -> None:
        await remembers(dep)
        await Spool(dep.settings.data_dir).replay(dep)
        for target in dep.targets:
            await _look_at(dep, target)
        now = await dep.runs.now()
        with redis_errors():
            all_of_them = await dep.redis.set(keys.nudged("minute"), "1", nx=True, ex=_MINUTE)
        for run in await dep.runs.unfinished(_ALL if all_of_them else _NEWEST):
            await _go_on(dep, run, now)
        await sweep(dep)
        await send_waiting(dep)
        await HeartbeatStore(dep.redis).ticked()

    _safely(work)


async def _look_at(dep: Deployment, target: str) -> None:
    """Return what dead workers had in hand, and nudge for work that nobody was nudged for."""
    reaped = await dep.queue.reap(target)
    if reaped:
        log.warning("leases_expired", target=target, count=reaped)
    health = await dep.health.of(target)
    if health.paused:
        return
    backlog = await dep.queue.backlog(target)
    if health.quarantined:
        # The look that ends it is part of a delivery
        if await dep.runs.now() >= health.probe_at:
            await _promise_delivery(dep, target, 0.0)
    elif backlog.ready:
        await _promise_delivery(dep, target, 0.0)
    elif backlog.next_due is not None and backlog.next_due <= _LOST_AFTER:
        await _promise_delivery(dep, target, backlog.next_due)


async def _go_on(dep: Deployment, run: str, now: float) -> None:
    """Nudge whatever step of a run was lost with its message or its worker."""
    stage = await dep.runs.get(run, "stage")
    patient = now - float(await dep.runs.get(run, "created") or now) <= _PATIENCE
    if stage == "queued" and not patient and not await _doing(dep, f"begin:{run}"):
        request = await dep.runs.request(run)
        await _promise(dep, "begin", run, queue=_queue(urgent=request is not None and request.people is not None))
    elif stage == "begun":
        if not patient and not await abandon_unplannable(dep, run):
            for target in await dep.runs.targets(run):
                fields = await dep.runs.target(run, target)
                waits = fields.get("stage") in ("queued", "planning") and target in dep.targets
                if waits and not await _doing(dep, f"plan:{run}:{target}"):
                    await _promise(dep, "plan", run, target, queue=WORK)
        await refresh(dep, run)


@app.task(name="provisioner.scheduled")
def scheduled(trigger: str) -> None:
    """Ask for a run because its time has come."""

    async def work(dep: Deployment) -> None:
        await _arrived(dep, f"scheduled:{trigger}")
        run = await lifecycle.request_run(dep, Request(trigger=trigger, full=trigger == "full"))
        await _promise(dep, "begin", run, queue=WORK)

    _safely(work, trigger=trigger)


@app.task(name="provisioner.watch")
def watch() -> None:
    """Ask for a run because the roster was written anew."""

    async def work(dep: Deployment) -> None:
        async with once(dep, "watch") as free:
            written = await roster_changed(dep) if free else None
            if written is not None:
                run = await lifecycle.request_run(dep, Request(trigger="roster"))
                await seen(dep, written)
                await _promise(dep, "begin", run, queue=WORK)

    _safely(work)


def _queue(*, urgent: bool) -> str:
    return URGENT if urgent else WORK


def _lane(*, urgent: bool) -> str:
    return "urgent" if urgent else "bulk"


async def _doing(dep: Deployment, name: str) -> bool:
    with redis_errors():
        return bool(await dep.redis.exists(keys.doing(name)))


async def _arrived(dep: Deployment, name: str) -> None:
    """The nudge for some work is there, so the next one may be sent."""
    with redis_errors():
        await dep.redis.delete(keys.nudged(name))


async def _promise_delivery(dep: Deployment, target: str, seconds: float, *, urgent: bool = False) -> None:
    await _promise(
        dep,
        "deliver",
        target,
        urgent,
        queue=_queue(urgent=urgent),
        seconds=seconds,
        name=f"deliver:{target}:{_lane(urgent=urgent)}",
    )


async def _promise(
    dep: Deployment, task: str, *args: Any, queue: str, seconds: float = 0.0, name: str | None = None
) -> None:
    """See that a nudge comes in `seconds`. One that is under way and due by then serves for all who ask.

    So there is at most one for each piece of work, and the queues stay short however long nobody takes from them. One
    that was lost stands in the way for a few seconds only.
    """
    if seconds > LONGEST_COUNTDOWN:
        return
    key = keys.nudged(name or ":".join((task, *args)))
    due = await dep.runs.now() + seconds
    with redis_errors():
        standing = await dep.redis.get(key)
        if standing is not None and float(standing) <= due:
            return
        await dep.redis.set(key, due, ex=int(seconds) + _LOST_AFTER)
    send(app, task, *args, queue=queue, countdown=seconds or None)


def _safely(work: Work, **context: str) -> None:
    """Run a nudge's work; what goes wrong is told, and the tick comes back to what is left."""
    with structlog.contextvars.bound_contextvars(**context):
        try:
            with redis_errors():
                child.run(work)
        except StoppedError:
            log.info("nudge_left_to_others")
        except ProvisionerError as exc:
            log.error("nudge_failed", code=exc.code, reason=exc.message)
