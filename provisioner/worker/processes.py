"""The worker and beat as processes: what `provisioner worker` and `provisioner beat` run."""

from __future__ import annotations

from typing import Any, Final

from celery.schedules import crontab, schedule
from celery.signals import worker_process_init, worker_process_shutdown

from provisioner.settings import Settings
from provisioner.worker.app import URGENT, WORK, configure
from provisioner.worker.child import child

#: Seconds between ticks.
TICK: Final = 2.0
#: Children beside one per target, so that slow targets leave some free for everything else.
_SPARE: Final = 2


def run_worker(settings: Settings, *, concurrency: int | None = None) -> int:
    """Work until told to stop; the exit code.

    Args:
        concurrency: child processes; none: one per enabled target, which may all be slow at once, and two more.
    """
    enabled = sum(target.enabled for target in settings.targets.values())
    app = configure()
    worker = app.Worker(
        concurrency=concurrency or enabled + _SPARE,
        queues=[URGENT, WORK],
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        optimization="fair",
    )
    worker.start()
    return int(worker.exitcode or 0)


def run_beat(settings: Settings) -> int:
    """Send scheduled nudges until told to stop; several may run, one acts."""
    app = configure()
    app.conf.beat_schedule = entries(settings)
    beat = app.Beat(loglevel="WARNING", quiet=True)
    beat.run()
    return 0


def entries(settings: Settings) -> dict[str, Any]:
    """The schedule, as Celery writes it."""
    times = settings.schedule
    found: dict[str, Any] = {"tick": _entry("tick", schedule(TICK), expires=TICK * 5)}
    if times.sync:
        found["sync"] = _entry("scheduled", _cron(times.sync), "schedule")
    if times.full:
        found["full"] = _entry("scheduled", _cron(times.full), "full")
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


def _cron(text: str) -> crontab:
    minute, hour, day_of_month, month_of_year, day_of_week = text.split()
    return crontab(minute, hour, day_of_week, day_of_month, month_of_year)


@worker_process_init.connect
def _begin(**_: Any) -> None:
    child.watch_signals()


@worker_process_shutdown.connect
def _end(**_: Any) -> None:
    child.close()
