"""Beat's scheduler: redbeat, which keeps the schedule in Redis and lets one of several beats act, with a bound.

While no worker runs, nothing takes beat's nudges away. What they ask for is asked for again anyway, so beyond a handful
no more are put there.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from redbeat.schedulers import RedBeatScheduler, get_redis

from provisioner.errors import StoreError
from provisioner.progress.vitals import SILENT_AFTER
from provisioner.store.admin.heartbeats import HeartbeatWriter
from provisioner.worker.app import WORK

log = structlog.get_logger(__name__)

#: Messages in the queue above which beat adds none.
MOST: Final = 50


class BoundedScheduler(RedBeatScheduler):  # type: ignore[misc] # redbeat carries no types
    """Sends nothing while the queue is full, and restores a schedule that Redis lost."""

    _failed = False

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send an entry's nudge, unless nobody takes them."""
        try:
            if get_redis(self.app).llen(WORK) < MOST:
                return super().apply_async(entry, producer, advance, **options)
            return self.reserve(entry) if advance else None
        except Exception:
            # Whoever called logs it, and goes on
            self._failed = True
            raise

    def tick(self, *args: Any, **options: Any) -> float:
        """One look at the schedule; the seconds until the next. It is a sign of life if all that was due was sent."""
        if not get_redis(self.app).exists(self.app.redbeat_conf.schedule_key):
            self.setup_schedule()
        self._failed = False
        seconds = float(super().tick(*args, **options))
        if not self._failed:
            self._give_sign()
        return seconds

    def _give_sign(self) -> None:
        try:
            HeartbeatWriter(get_redis(self.app)).beat(SILENT_AFTER)
        except StoreError as exc:
            # A Redis that is full refuses it; beat goes on
            log.warning("heartbeat_not_noted", reason=exc.message)
