"""Waiting for a worker: one that is just starting is given time, and silence while a run is followed is said."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

from provisioner.errors import StoreError, WorkerError
from provisioner.settings import Settings
from provisioner.store.admin.heartbeats import HeartbeatStore

#: Seconds between looks whether beat and workers are silent while a run is followed.
_LOOK_EVERY: Final = 2.0


async def worker_answers(settings: Settings, *, otherwise: str, ends: float | None = None) -> None:
    """Return once a worker answers. One that is just starting is waited for.

    Args:
        otherwise: what is so if none answers, as the end of a sentence.
        ends: the moment by the monotonic clock at which nobody waits any longer; None: the usual time for a start.

    Raises:
        WorkerError: none answers in time.
    """
    # Celery takes a while to import, which --help and --version need not wait for
    from provisioner.progress.vitals import STARTING
    from provisioner.worker.wakeups import workers

    limit = STARTING if ends is None else min(STARTING, max(0.0, ends - time.monotonic()))
    ends = time.monotonic() + limit
    said = False
    while not await asyncio.to_thread(workers, settings, timeout=1.0):
        if time.monotonic() >= ends:
            raise WorkerError(
                f"No worker answers; {otherwise}.",
                remedy="Start `provisioner up`, or a worker; if one runs, look at its log.",
            )
        if not said:
            said = True
            sys.stderr.write(f"No worker answers yet; waiting up to {limit:.0f} s for one that is just starting.\n")
            sys.stderr.flush()


async def say_silence(heartbeats: HeartbeatStore, settings: Settings) -> None:
    """Say on standard error when the workers or beat fall silent, and when they work again; ends by being cancelled."""
    from provisioner.progress.vitals import vitals

    said: dict[str, str] = {}
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        try:
            found = await vitals(heartbeats, settings)
        except StoreError:
            # Whoever follows the run says so if it lasts
            continue
        now = {one.process for one in found.silent}
        for one in found.silent:
            if said.get(one.process) != one.state:
                said[one.process] = one.state
                sys.stderr.write(f"{one.sentence}\n")
        for one in (found.beat, found.worker):
            if one.process in said and one.process not in now:
                del said[one.process]
                sys.stderr.write(f"{one.message}\n")
        sys.stderr.flush()
