"""One event loop, one HTTP client and one connection pool per child process, made after the fork."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from provisioner.delivery.deployment import Deployment
from provisioner.worker.app import settings

T = TypeVar("T")


class Child:
    """What a child process keeps between nudges."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._stack: AsyncExitStack | None = None
        self._dep: Deployment | None = None
        self._stopping = threading.Event()

    def stopped(self) -> bool:
        """Whether this process was asked to end: nothing new is begun then."""
        return self._stopping.is_set()

    def watch_signals(self) -> None:
        """Let SIGTERM finish what is in hand; Celery's own handler follows."""
        previous = signal.getsignal(signal.SIGTERM)

        def handler(number: int, frame: Any) -> None:
            self._stopping.set()
            if callable(previous):
                previous(number, frame)

        signal.signal(signal.SIGTERM, handler)

    def run(self, work: Callable[[Deployment], Awaitable[T]]) -> T:
        """Run one nudge's work on this process's loop.

        Raises:
            StoreError: Redis does not answer; the connection is made anew for the next nudge.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self._with(work))

    async def _with(self, work: Callable[[Deployment], Awaitable[T]]) -> T:
        if self._dep is None:
            stack = AsyncExitStack()
            self._dep = await stack.enter_async_context(Deployment.open(settings()))
            self._stack = stack
        return await work(self._dep)

    def close(self) -> None:
        """Close what is open; the process ends."""
        if self._runner is not None and self._stack is not None:
            self._runner.run(self._stack.aclose())
        if self._runner is not None:
            self._runner.close()
        self._runner = self._stack = self._dep = None


child = Child()
