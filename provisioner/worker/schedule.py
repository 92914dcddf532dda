"""Beat's scheduler: redbeat, which keeps the schedule in Redis and lets one of several beats act, with a bound.

While no worker runs, nothing takes beat's nudges away. What they ask for is asked for again anyway, so beyond a handful
no more are put there.

When each entry is due comes from this process's settings. Redis keeps when each was last sent, nothing else that is
read back: what another version or another configuration wrote there cannot stop beat.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

import structlog
from celery.schedules import schedstate, schedule
from redbeat.decoder import RedBeatJSONDecoder
from redbeat.schedulers import RedBeatScheduler, RedBeatSchedulerEntry, ensure_conf, get_redis

from provisioner.errors import StoreError
from provisioner.progress.vitals import SILENT_AFTER
from provisioner.settings import Cron
from provisioner.store.admin.heartbeats import HeartbeatWriter
from provisioner.store.queue.wakeups import BrokerStore
from provisioner.worker.app import WORK

log = structlog.get_logger(__name__)

#: Messages in the queue above which beat adds none.
MOST: Final = 50
#: How redbeat writes a cron expression into Redis: as an interval, which every version of it can read.
_AS_INTERVAL: Final = timedelta(days=1)
#: A last run further in the future than this was written by a wrong clock; it would keep its entry waiting until then.
_AHEAD: Final = timedelta(minutes=1)


class CronSchedule(schedule):  # type: ignore[misc] # celery carries no types
    """Due at the times of a cron expression in a time zone; a time that nobody was there to see is due at once."""

    def __init__(self, cron: Cron, zone: ZoneInfo, **options: Any) -> None:
        super().__init__(_AS_INTERVAL, **options)
        self.cron = cron
        self.zone = zone

    def remaining_estimate(self, last_run_at: datetime) -> timedelta | None:
        """The time until it is due after its last run, negative if that is over; None: never."""
        due = self.cron.next(last_run_at, self.zone)
        return None if due is None else due.astimezone(UTC) - self.now().astimezone(UTC)

    def is_due(self, last_run_at: datetime) -> Any:
        """Whether it is due, and the seconds until it is to be looked at again."""
        remaining = self.remaining_estimate(last_run_at)
        due = remaining is not None and remaining <= timedelta()
        following = self.remaining_estimate(self.now()) if due else remaining
        return schedstate(is_due=due, next=(following or _AS_INTERVAL).total_seconds())

    def __repr__(self) -> str:
        return f"<cron: {self.cron} {self.zone.key}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CronSchedule) and (self.cron, self.zone) == (other.cron, other.zone)

    def __hash__(self) -> int:
        return hash((self.cron, self.zone))

    def __reduce__(self) -> Any:
        return type(self), (self.cron, self.zone)


class Entry(RedBeatSchedulerEntry):  # type: ignore[misc] # redbeat carries no types
    """An entry of this process's schedule; its times are kept in UTC."""

    def default_now(self) -> datetime:
        """Now, in a form that is read from Redis without a time zone."""
        return datetime.now(UTC)

    _default_now = default_now

    @classmethod
    def from_key(cls, key: str, app: Any = None) -> Self:
        """The entry of this process's schedule that has this key, with what Redis knows of its last run.

        Raises:
            KeyError: the schedule has no such entry, or Redis does not say when it was last sent.
        """
        name = key.removeprefix(ensure_conf(app).key_prefix)
        own = app.conf.beat_schedule[name]
        broker = BrokerStore(get_redis(app))
        meta = broker.last_run(key)
        if meta is None:
            raise KeyError(key)
        try:
            known = json.loads(meta, cls=RedBeatJSONDecoder)
            last, count = known["last_run_at"].astimezone(UTC), int(known.get("total_run_count") or 0)
            if last > datetime.now(UTC) + _AHEAD:
                raise ValueError("a clock was ahead")
        except Exception as exc:  # noqa: BLE001 - redbeat's reader raises whatever a stored value makes it call raise
            log.warning("schedule_entry_unreadable", entry=name, reason=type(exc).__name__)
            broker.forget_entry(key)
            raise KeyError(key) from None
        return cls(name=name, app=app, last_run_at=last, total_run_count=count, **own)

    @property
    def due_at(self) -> datetime | None:
        """The moment from which redbeat looks at it, in UTC; None: never.

        Redbeat adds the remaining time to the local time of the last run, which is an hour late once the clocks are
        put back between them.
        """
        remaining = self.schedule.remaining_estimate(self.last_run_at)
        return None if remaining is None else self.default_now() + max(remaining, timedelta())


class BoundedScheduler(RedBeatScheduler):  # type: ignore[misc] # redbeat carries no types
    """Sends nothing while the queue is full, and restores a schedule that Redis lost or another beat wrote over."""

    Entry = Entry
    _acting = False
    _failed = False

    def install_default_entries(self, data: Any) -> None:
        """None: Celery's own would tidy up results, which are not kept."""

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send an entry's nudge, unless nobody takes them."""
        try:
            if BrokerStore(get_redis(self.app)).messages(WORK) < MOST:
                return super().apply_async(entry, producer, advance, **options)
            return self.reserve(entry) if advance else None
        except Exception:
            # Whoever called logs it, and goes on
            self._failed = True
            raise

    def tick(self, *args: Any, **options: Any) -> float:
        """One look at the schedule; the seconds until the next. It is a sign of life if all that was due was sent."""
        if not self._acting or not self._whole():
            # Whoever acted before may have had other settings
            self.setup_schedule()
            self._acting = True
        self._failed = False
        seconds = float(super().tick(*args, **options))
        if not self._failed:
            self._give_sign()
        return seconds

    def _whole(self) -> bool:
        """Whether each entry has its place in Redis."""
        conf = self.app.redbeat_conf
        own = [Entry.generate_key(self.app, name) for name in conf.schedule]
        return BrokerStore(get_redis(self.app)).has_all(conf.schedule_key, own)

    def _give_sign(self) -> None:
        try:
            HeartbeatWriter(get_redis(self.app)).beat(SILENT_AFTER)
        except StoreError as exc:
            # A Redis that is full refuses it; beat goes on
            log.warning("heartbeat_not_noted", reason=exc.message)
