"""Nudges about what comes from outside and what goes out again: events, reading back, the write-back table."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Literal

import structlog
from celery import Celery

from provisioner.events.process import ALARM, work
from provisioner.events.pull import carry_out_pull, request_pull
from provisioner.events.routes import send_out
from provisioner.progress.writeback import write_due
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.worker.app import URGENT, WORK, app
from provisioner.worker.guard import safely
from provisioner.worker.run_steps import take_steps
from provisioner.worker.single_flight import once
from provisioner.worker.wakeups import client_of, send
from provisioner.worker.worker_process import child

log = structlog.get_logger(__name__)

#: Seconds between two warnings that events pile up, and between two sweeps of what was seen.
_RARELY = 3600


class EventNudge:
    """Tells the workers that an event came; keeps its connection, since events come by the thousand."""

    def __init__(self, settings: Settings, task: Literal["inbound", "changed"] = "inbound") -> None:
        """
        Args:
            task: what is to be done about it.
        """
        self._settings = settings
        self._task = task
        self._client: Celery | None = None
        self._lock = threading.Lock()

    def send(self) -> None:
        """Send one nudge.

        Raises:
            WorkerError: it could not be handed over.
        """
        with self._lock:
            if self._client is None:
                self._client = client_of(self._settings)
            send(self._client, self._task, queue=URGENT)


@app.task(name="provisioner.inbound")
def inbound() -> None:
    """Handle events, send what goes out, and write the table if a run asked for it."""

    async def todo(dep: Deployment) -> None:
        await dep.wakeups.arrived("inbound")
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "events": lambda: _handle(dep),
            "outbox": lambda: _send_out(dep),
            "backlog": lambda: _watch(dep),
            "writeback": lambda: _write(dep),
        }
        await take_steps(dep, "inbound", steps, stopped=child.stopped)

    safely(child, "inbound", todo)


async def _handle(dep: Deployment) -> None:
    done = await work(dep, stopped=child.stopped)
    for run in done.runs:
        send(app, "begin", run, queue=URGENT)
    for target in done.targets:
        send(app, "deliver", target, False, queue=WORK)
    if done.more:
        send(app, "inbound", queue=URGENT)


async def _send_out(dep: Deployment) -> None:
    # One at a time, or slow receivers could keep every worker from everything else
    async with once(dep.locks, "outbox") as free:
        if free:
            await send_out(dep, stopped=child.stopped)


async def _write(dep: Deployment) -> None:
    async with once(dep.locks, "writeback") as free:
        if free:
            await write_due(dep, free)


@app.task(name="provisioner.pull")
def pull(run: str = "") -> None:
    """Read back what targets know of people, for a run that was asked for; without one, its time has come."""

    async def todo(dep: Deployment) -> None:
        asked = run or await request_pull(dep)
        async with once(dep.locks, "readback") as free:
            if free:
                await carry_out_pull(dep, asked)
            # Else the tick takes it up

    safely(child, "pull", todo)


async def _watch(dep: Deployment) -> None:
    """Say when events pile up or die, and forget in time which were seen."""
    backlog = await dep.inbound.backlog()
    if backlog.waiting > ALARM and await dep.wakeups.first_in("inbound-alarm", _RARELY):
        log.error("events_pile_up", waiting=backlog.waiting, dead=backlog.dead)
    if await dep.wakeups.first_in("inbound-sweep", _RARELY):
        before = await dep.clock.now() - dep.settings.retention.operations.total_seconds()
        await dep.inbound.forget_seen(before)
        await dep.outbox.forget_seen(before)
        await dep.changed_people.forget_heard(before)
        for target in dep.targets:
            await dep.plans.forget_added(target, before)
