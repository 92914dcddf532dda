"""The rate limit that a stand-in enforces: a strict sliding window per source address, measured at arrival."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Source:
    arrivals: deque[float] = field(default_factory=deque)
    blocked_until: float = 0.0


class SlidingWindow:
    """Counts the admitted arrivals of each source address.

    A request is admitted if fewer than `limit` were admitted in the `window` seconds before it. The first one
    over the limit blocks its source for `block` seconds (Tribal Habits: "blocked for a period of 1 minute");
    with `block` 0 only that request is refused. Refused requests are not counted and do not prolong a block.
    """

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}

    def admit(self, source: str, at: float, *, limit: int, window: float, block: float) -> float | None:
        """Nothing if the request that arrived `at` (monotonic seconds) is admitted, else the seconds to wait."""
        seen = self._sources.setdefault(source, _Source())
        if at < seen.blocked_until:
            return seen.blocked_until - at
        arrivals = seen.arrivals
        while arrivals and arrivals[0] + window <= at:
            arrivals.popleft()
        if len(arrivals) < limit:
            arrivals.append(at)
            return None
        if block > 0:
            seen.blocked_until = at + block
            return block
        return arrivals[0] + window - at if arrivals else window
