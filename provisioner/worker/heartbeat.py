"""Signs of life: a worker's parent process gives one every tick by its own event loop, so busy children stop none."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from celery import bootsteps

from provisioner.errors import StoreError
from provisioner.progress.vitals import TICK
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.admin.heartbeats import HeartbeatWriter
from provisioner.store.redis.address import RedisAddress

log = structlog.get_logger(__name__)

#: Seconds in which Redis has to take a sign, as the parent does nothing else meanwhile.
_WITHIN: Final = 2.0
#: Seconds without a try after one that failed.
_PAUSE: Final = 10.0


class WorkerHeartbeat(bootsteps.StartStopStep):  # type: ignore[misc] # Celery carries no types
    """The part of a worker's parent process that gives its signs. It starts over whenever the worker reconnects."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._entry: Any = None

    def start(self, consumer: Any) -> None:
        """Give a sign now, and one every tick."""
        _signs.open(consumer.controller.concurrency)
        _signs.give()
        self._entry = consumer.timer.call_repeatedly(TICK, _signs.give)

    def stop(self, consumer: Any) -> None:
        """Give none until the next start."""
        del consumer
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None

    shutdown = stop


class _Signs:
    """The signs of this worker, whatever becomes of its connections."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self._writer: HeartbeatWriter | None = None
        self._concurrency = 0
        self._not_before = 0.0

    def open(self, concurrency: int) -> None:
        """Make what they are given with, once."""
        self._concurrency = concurrency
        if self._writer is None and self.settings is not None:
            self._writer = HeartbeatWriter.opened(RedisAddress.of(self.settings), within=_WITHIN)

    def give(self) -> None:
        """Give one; a Redis that does not answer is left alone for a while."""
        if self._writer is None or time.monotonic() < self._not_before:
            return
        try:
            self._writer.worker(socket.gethostname(), os.getpid(), self._concurrency)
        except StoreError as exc:
            self._not_before = time.monotonic() + _PAUSE
            log.warning("heartbeat_not_noted", reason=exc.message)

    def close(self) -> None:
        """The worker ends."""
        if self._writer is None:
            return
        try:
            self._writer.gone()
        except StoreError as exc:
            log.warning("heartbeat_not_noted", reason=exc.message)
        finally:
            self._writer.close()


_signs = _Signs()


def give_signs(settings: Settings) -> None:
    """Let the worker of this process give signs, as soon as it is connected."""
    _signs.settings = settings


def end_signs() -> None:
    """Take this worker off the list."""
    _signs.close()


@asynccontextmanager
async def at_work(dep: Deployment) -> AsyncIterator[None]:
    """A child process gives a sign every tick for as long as the context lasts and its event loop runs."""

    async def give() -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                await dep.heartbeats.working()
            except StoreError as exc:
                # The work itself says what follows from it
                log.debug("heartbeat_not_noted", reason=exc.message)

    giving = asyncio.create_task(give())
    try:
        yield
    finally:
        giving.cancel()
        await asyncio.gather(giving, return_exceptions=True)
