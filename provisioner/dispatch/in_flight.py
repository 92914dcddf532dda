"""How many requests a process may have under way at one target: as many as it takes to wait for a slow vendor.

By Little's law, requests under way are the rate times the time that one takes. The rate that a process can reach is the
reciprocal of its own work on a request, so a vendor who answers after a hundred times as long is asked a hundred things
at once. The number begins low and grows by one with each good answer. It falls by half with each other answer: a vendor
that begins to fail is asked no more before its quarantine than it was when every delivery had a fixed number.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final

#: Requests under way before any was answered, and never fewer.
FIRST: Final = 8
#: Requests under way at most; the HTTP client has as many connections.
MOST: Final = 128
#: The newest answers, of which the quickest says how long the vendor takes; the others also waited for this process.
_NEWEST: Final = 64
#: Seconds for which what was learnt in one delivery holds for the next.
_SOON: Final = 5.0
#: More than the quickest answer needs, since answers vary.
_AMPLE: Final = 1.25
#: Seconds of own work on a request at least, so that a clock that stands still asks for nothing endless.
_LEAST_WORK: Final = 0.0002


def wanted(answer: float, work: float) -> int:
    """Requests under way that keep a process busy.

    Args:
        answer: seconds that the vendor takes over a request.
        work: seconds of this process's own work on a request.
    """
    return min(MOST, max(FIRST, math.ceil(_AMPLE * answer / max(work, _LEAST_WORK))))


class InFlight:
    """The number for one delivery of one process, learnt from its answers."""

    def __init__(
        self,
        first: int = FIRST,
        *,
        spent: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            first: requests under way at the beginning.
            spent: seconds of processor time that this process took so far.
            clock: seconds from any moment on.
        """
        self.width = first
        self._spent, self._clock = spent, clock
        #: Of the newest requests the seconds that each took, and the processor time up to each and before the first.
        self._answers: deque[float] = deque(maxlen=_NEWEST)
        self._marks: deque[float] = deque([spent()], maxlen=_NEWEST + 1)
        self._newest = clock()
        self._wanted = first

    @property
    def full(self) -> bool:
        """Whether more requests under way would bring nothing: the process is busy, or the bound is reached."""
        return len(self._answers) > FIRST and self.width >= self._wanted

    @property
    def later(self) -> int:
        """With how many requests under way another delivery may begin now: with half as many soon after, else with as
        many as any."""
        return max(FIRST, self.width // 2) if self._clock() - self._newest < _SOON else FIRST

    def answered(self, seconds: float, *, good: bool) -> None:
        """Learn from a request that took so many seconds, and whether it did all that was asked for."""
        self._newest = self._clock()
        self._answers.append(seconds)
        self._marks.append(self._spent())
        work = (self._marks[-1] - self._marks[0]) / len(self._answers)
        self._wanted = wanted(min(self._answers), work)
        self.width = min(self.width + 1, self._wanted) if good else max(FIRST, self.width // 2)


class Learnt:
    """What a process learnt about its targets, for its next deliveries."""

    def __init__(self) -> None:
        self._known: dict[str, InFlight] = {}

    def at(self, target: str) -> InFlight:
        """The number for one more delivery."""
        known = self._known.get(target)
        self._known[target] = new = InFlight() if known is None else InFlight(known.later)
        return new
