"""Beat as a process: what `provisioner beat` runs. It sends nudges by name, so it imports no task and no polars."""

from __future__ import annotations

from typing import Any

from celery.schedules import schedule

from provisioner.progress.vitals import TICK
from provisioner.settings import Settings
from provisioner.worker.app import WORK, configure
from provisioner.worker.schedule import CronSchedule


def run_beat(settings: Settings) -> int:
    """Send scheduled nudges until told to stop; several may run, one acts."""
    app = configure()
    app.conf.include = ()
    app.conf.beat_schedule = entries(settings)
    beat = app.Beat(loglevel="WARNING", quiet=True)
    beat.run()
    return 0


def entries(settings: Settings) -> dict[str, Any]:
    """The schedule, as Celery writes it."""
    times = settings.schedule
    found: dict[str, Any] = {"tick": _entry("tick", schedule(TICK), expires=TICK * 5)}
    found["inbound"] = _entry("inbound", schedule(TICK), expires=TICK * 5)
    if times.sync:
        found["sync"] = _entry("scheduled", CronSchedule(times.sync, settings.zone), "schedule")
    if times.full:
        full = CronSchedule(times.full, settings.zone)
        found["full"] = _entry("scheduled", full, "full")
    if times.pull:
        found["pull"] = _entry("pull", CronSchedule(times.pull, settings.zone))
    if times.watch_roster:
        seconds = times.watch_roster.total_seconds()
        found["watch"] = _entry("watch", schedule(seconds), expires=max(5.0, seconds))
    return found


def _entry(name: str, when: Any, *args: str, expires: float = 300.0) -> dict[str, Any]:
    return {
        "task": f"provisioner.{name}",
        "schedule": when,
        "args": args,
        "options": {"queue": WORK, "expires": expires},
    }
