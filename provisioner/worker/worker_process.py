"""One event loop, one HTTP client and one connection pool per child process, made after the fork."""

from __future__ import annotations

import asyncio
import contextvars
import mmap
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

from provisioner.dispatch.in_flight import Learnt
from provisioner.errors import UnexpectedError
from provisioner.runtime import tracing
from provisioner.runtime.context import Deployment
from provisioner.worker.app import settings
from provisioner.worker.heartbeat import at_work

#: Seconds for what a nudge's work left running, such as giving back a slot.
_TIDYING: Final = 2.0
#: The bytes that parent and children share: whether to end, how many nudges wait for a child, and from then on by a
#: child's number whether it is about to come free. Two children with the same byte count as one, which harms nobody.
_STOP, _WAITING, _GIVING_WAY, _PLACES = 0, 1, 2, 61
#: Seconds between looks whether the process is to end.
_LOOK: Final = 0.2


class StoppedError(Exception):
    """Work was broken off because the process is to end; whoever looks next takes it up again."""


class Child:
    """What a child process keeps between nudges. What the parent says is shared with all
    that are forked from here."""

    def __init__(self) -> None:
        #: What deliveries learnt about the targets.
        self.learnt = Learnt()
        self._runner: asyncio.Runner | None = None
        self._stack: AsyncExitStack | None = None
        self._dep: Deployment | None = None
        # Anonymous shared memory, as the parent writes it from a signal handler, too
        self._word = mmap.mmap(-1, _GIVING_WAY + _PLACES)

    def stop(self) -> None:
        """Let the children end: nothing new is begun, and what takes long is broken off where that harms nothing."""
        self._word[_STOP] = 1

    def stopped(self) -> bool:
        """Whether this process was asked to end."""
        return self._word[_STOP] == 1

    def say_waiting(self, nudges: int) -> None:
        """Say how many nudges wait for one of the children, all of which are busy."""
        self._word[_WAITING] = min(nudges, 255)
        if not nudges:
            # Who died meanwhile has said for ever that it comes free
            self._word[_GIVING_WAY:] = bytes(_PLACES)

    def give_way(self) -> bool:
        """Whether this child has to come free for a nudge that waits. After a yes, it counts as one that does."""
        place = _GIVING_WAY + os.getpid() % _PLACES
        if not self._word[place] and self._word[_WAITING] > sum(self._word[_GIVING_WAY:]):
            self._word[place] = 1
        return self._word[place] == 1

    def watch_signals(self) -> None:
        """Finish the work in progress at a SIGTERM that reaches this process itself; a second one ends it at once."""

        def handler(number: int, frame: Any) -> None:  # noqa: ARG001 - the signature is signal's
            self.stop()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

        signal.signal(signal.SIGTERM, handler)

    def run(self, work: Callable[[Deployment], Awaitable[None]]) -> None:
        """Run one nudge's work on this process's loop.

        Raises:
            StoppedError: it was cancelled, because the process is to end.
            UnexpectedError: it was cancelled for no such reason.
            StoreError: Redis does not answer; the connection is made again for the next nudge.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        # A context of its own: the runner's would go on to name the first nudge's run in every line that is logged
        try:
            self._runner.run(self._with(work), context=contextvars.copy_context())
        finally:
            self._word[_GIVING_WAY + os.getpid() % _PLACES] = 0
            tracing.flush()

    async def _with(self, work: Callable[[Deployment], Awaitable[None]]) -> None:
        if self._dep is None:
            stack = AsyncExitStack()
            self._dep = await stack.enter_async_context(Deployment.open(settings()))
            self._stack = stack
        task = asyncio.ensure_future(work(self._dep))
        async with at_work(self._dep):
            while not (await asyncio.wait({task}, timeout=_LOOK))[0]:
                if self.stopped():
                    task.cancel()
                    await asyncio.wait({task})
        await _nothing_left()
        if task.cancelled():
            if not self.stopped():
                raise UnexpectedError("A nudge's work was cancelled, though nobody asked for it.")
            raise StoppedError
        task.result()

    def close(self) -> None:
        """Close what is open; the process ends."""
        if self._runner is not None and self._stack is not None:
            self._runner.run(self._stack.aclose())
        if self._runner is not None:
            self._runner.close()
        self._runner = self._stack = self._dep = None
        tracing.close()


async def _nothing_left() -> None:
    """End what the work left running. The loop stops until the next nudge: whatever went on then, with a lease
    that is long over, would do harm."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, late = await asyncio.wait(left, timeout=_TIDYING)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)


child = Child()
