"""The nudges as Celery tasks: begin a run, plan a target, deliver to a target, and the tick that forgets nothing."""

from __future__ import annotations

from typing import Any, Final

import structlog

from provisioner.delivery import requests
from provisioner.delivery.deployment import Deployment
from provisioner.delivery.finishing import refresh
from provisioner.delivery.sending import Again, deliver
from provisioner.delivery.watching import roster_changed
from provisioner.errors import ProvisionerError
from provisioner.store.runs import Request
from provisioner.worker.app import URGENT, WORK, app
from provisioner.worker.child import child
from provisioner.worker.nudging import send

log = structlog.get_logger(__name__)

#: Seconds between looks at a target that is busy with another run.
_BUSY: Final = 1.0
#: Seconds for which a promised delivery nudge stands for all others of its target.
_PROMISE: Final = 70


def _queue(*, urgent: bool) -> str:
    return URGENT if urgent else WORK


@app.task(name="provisioner.begin")
def begin(run: str) -> None:
    """Begin a run: read the roster, then let each target be planned."""

    async def work(dep: Deployment) -> None:
        request = await dep.runs.request(run)
        if request is None:
            return
        if request.people is not None:
            await requests.carry_through(dep, run, stopped=child.stopped)
            for target in await dep.runs.targets(run):
                await _promise(dep, target, 0.0, urgent=True)
            return
        for target in await requests.begin(dep, run):
            send(app, "plan", run, target, queue=WORK)

    _safely(work, run=run)


@app.task(name="provisioner.plan")
def plan(run: str, target: str) -> None:
    """Observe and plan one target of a run, install the plan, and let it be delivered."""

    async def work(dep: Deployment) -> None:
        if await requests.plan(dep, run, target):
            await _promise(dep, target, 0.0, urgent=False)
        else:
            send(app, "plan", run, target, queue=WORK, countdown=_BUSY)

    _safely(work, run=run, target=target)


@app.task(name="provisioner.deliver")
def deliver_to(target: str, urgent: bool = False) -> None:
    """Deliver some of a target's work, and promise the next nudge."""

    async def work(dep: Deployment) -> None:
        if target not in dep.targets:
            return
        await dep.redis.delete(_promised(target, urgent=urgent))
        again: Again = await deliver(dep, target, urgent=urgent, stopped=child.stopped)
        if again.seconds is not None:
            await _promise(dep, target, again.seconds, urgent=False)

    _safely(work, target=target)


@app.task(name="provisioner.tick")
def tick() -> None:
    """Find what was forgotten: expired leases, runs nobody goes on with, targets with work and no nudge."""

    async def work(dep: Deployment) -> None:
        for target in dep.targets:
            reaped = await dep.queue.reap(target)
            if reaped:
                log.warning("leases_expired", target=target, count=reaped)
            backlog = await dep.queue.backlog(target)
            if backlog.ready or (backlog.next_due is not None and backlog.next_due <= _PROMISE / 10):
                await _promise(dep, target, backlog.next_due if not backlog.ready and backlog.next_due else 0.0)
        now = await dep.runs.now()
        for run in await dep.runs.unfinished():
            await _go_on(dep, run, now)

    _safely(work)


async def _go_on(dep: Deployment, run: str, now: float) -> None:
    """Nudge whatever step of a run was lost with its message or its worker."""
    stage = await dep.runs.get(run, "stage")
    created = float(await dep.runs.get(run, "created") or now)
    if stage == "queued" and now - created > 5:
        send(app, "begin", run, queue=WORK)
    elif stage == "begun":
        for target in await dep.runs.targets(run):
            fields = await dep.runs.target(run, target)
            waits = fields.get("stage") in ("queued", "planning") and dep.enabled(target)
            busy = await dep.redis.get(f"provisioner:busy:{target}")
            if waits and busy is None and now - created > 5:
                send(app, "plan", run, target, queue=WORK)
        await refresh(dep, run)


@app.task(name="provisioner.scheduled")
def scheduled(trigger: str) -> None:
    """Ask for a run because its time has come."""

    async def work(dep: Deployment) -> None:
        run = await requests.request_run(dep, Request(trigger=trigger, full=trigger == "full"))
        send(app, "begin", run, queue=WORK)

    _safely(work, trigger=trigger)


@app.task(name="provisioner.watch")
def watch() -> None:
    """Ask for a run because the roster was written anew."""

    async def work(dep: Deployment) -> None:
        if await roster_changed(dep):
            run = await requests.request_run(dep, Request(trigger="roster"))
            send(app, "begin", run, queue=WORK)

    _safely(work)


def _promised(target: str, *, urgent: bool) -> str:
    return f"provisioner:nudged:{target}:{'urgent' if urgent else 'bulk'}"


async def _promise(dep: Deployment, target: str, seconds: float, *, urgent: bool = False) -> None:
    """See that a delivery nudge comes in `seconds`; one that is promised for sooner serves for all."""
    due = await dep.runs.now() + seconds
    standing = await dep.redis.get(_promised(target, urgent=urgent))
    if standing is not None and float(standing) <= due:
        return
    await dep.redis.set(_promised(target, urgent=urgent), due, ex=max(1, min(_PROMISE, int(seconds) + 5)))
    send(app, "deliver", target, urgent, queue=_queue(urgent=urgent), countdown=seconds)


def _safely(work: Any, **context: str) -> None:
    """Run a nudge's work; what goes wrong is told, and the tick comes back to what is left."""
    with structlog.contextvars.bound_contextvars(**context):
        try:
            child.run(work)
        except ProvisionerError as exc:
            log.error("nudge_failed", code=exc.code, reason=exc.message)
