"""The budget of each rate-limited resource, one for the whole deployment, kept in Redis and by Redis's clock.

A slot is taken before a request is sent and is free again one window after its *answer* arrived. The vendor counted the
request at some moment in between, so it can see no more than the limit in any window, wherever its clock starts. A slot
whose answer never comes stays taken for the request's deadline and a window, and is then swept.

Nothing is reserved ahead: who finds no slot learns how long to wait, and asks again. An idle resource leaves no key.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

from redis.asyncio import Redis

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis as Client
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Argument, Scripts

Lane = Literal["bulk", "urgent"]

#: (requests, seconds): at most so many requests in any so many seconds.
Window = tuple[int, float]

#: Clocks of two machines differ by up to 0.05 % while one of them is being set right; the vendor's may be the faster.
_CLOCK_MARGIN: Final = 1.001


@dataclass(frozen=True, slots=True)
class Granted:
    """A slot is taken; `token` gives it back."""

    token: str


@dataclass(frozen=True, slots=True)
class Wait:
    """No slot is free; the earliest moment for one is in `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """No slot is granted: a claim that the request was to be sent for is no longer ours."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Claimed operations, by the names that they have in the queue of `target`.

    `lease` is in seconds from now; `position` is the newest one of Redis that the caller knows of.
    """

    target: str
    token: str
    members: tuple[str, ...]
    lease: float
    position: int = 0


@dataclass(frozen=True, slots=True)
class WindowStatus:
    """One window of a resource: slots `used`, the `limit` in force (lowered after 429s), the `reserve` within it.

    `configured` is the limit of the settings, 0 where nobody asked for it.
    """

    seconds: float
    used: int
    limit: int
    reserve: int
    configured: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class PaceStatus:
    """How busy a resource is; `blocked` is in seconds, 0 if it is not."""

    blocked: float
    windows: tuple[WindowStatus, ...]

    @property
    def lowered(self) -> tuple[WindowStatus, ...]:
        """The windows whose limit in force is below the configured one, since the vendor answered with 429."""
        return tuple(one for one in self.windows if one.limit < one.configured)

    def finish_estimate(self, requests: int) -> float:
        """Seconds until this many more bulk requests have been sent, if nobody else sends any."""
        longest = 0.0
        for window in self.windows:
            usable = window.limit - window.reserve
            later = max(0, requests - max(0, usable - window.used))
            longest = max(longest, math.ceil(later / usable) * window.seconds)
        return self.blocked + longest


class PaceStore:
    """The limiter. Every method raises StoreError when Redis does not answer."""

    def __init__(self, redis: Redis, scripts: Scripts | None = None) -> None:
        self._redis: Client = redis
        scripts = scripts or Scripts(redis)
        self._acquire = scripts.load("pace_acquire")
        self._answered = scripts.load("pace_answered")
        self._unused = scripts.load("pace_unused")
        self._status = scripts.load("pace_status")

    async def acquire(
        self,
        resource: str,
        windows: Sequence[Window],
        *,
        lane: Lane = "bulk",
        deadline: float,
        claims: Claims | None = None,
    ) -> Granted | Wait | Lost:
        """Take one slot, or learn how long to wait. Never waits itself.

        Args:
            resource: what is limited; see `delivery.pace.resource_of`.
            windows: all limits that hold for it; at least one.
            lane: `urgent` (single-person work) may use the slots that are kept in reserve.
            deadline: seconds from now until the request is over even if nothing more is heard of it.
            claims: what the request is sent for. Their leases are renewed; once one is lost, no slot is granted.
        """
        slot = secrets.token_hex(8)
        held = "" if claims is None else json.dumps(asdict(claims))
        arguments = (slot, int(lane == "urgent"), _micros(deadline), held, *_pairs(windows))
        granted, number = await self._acquire(_keys(resource, windows), arguments)
        if granted < 0:
            return Lost()
        return Granted(f"{int(number)}-{slot}") if granted else Wait(int(number) / 1_000_000)

    async def answered(
        self,
        resource: str,
        token: str,
        windows: Sequence[Window],
        *,
        limited: bool = False,
        retry_after: float | None = None,
        adaptive: bool = False,
        least_block: float = 0.0,
    ) -> None:
        """Say that the answer to a slot's request is there; may be said twice.

        Args:
            limited: it was a 429, so everyone on the resource waits for `retry_after` seconds, or where the vendor did
                not say, for the longest window and at least `least_block` seconds.
            adaptive: no limit is published, so each 429 halves the one in force; it comes back by 5 % of the
                configured one in each window without a 429. A published limit is halved by a 429 that comes within ten
                windows of another, and comes back likewise, but for the last 5 % below the one at which the vendor
                refused: these it stays away from for thirty windows, an hour at most.
        """
        block = 0.0
        if limited:
            longest = max(seconds for _, seconds in windows)
            block = max(longest, least_block) if retry_after is None else max(retry_after, 0.001)
        granted, slot = token.split("-")
        arguments = (slot, granted, _micros(block), int(adaptive), *_pairs(windows))
        await self._answered(_keys(resource, windows), arguments)

    async def count_limited(self, target: str) -> None:
        """Count an answer of 429 from a target."""
        with redis_errors():
            await self._redis.hincrby(keys.TOTALS, f"{target}|limited", 1)

    async def unused(self, resource: str, token: str, windows: Sequence[Window]) -> None:
        """Give back a slot for which no request was sent; it is free at once."""
        await self._unused(_keys(resource, windows)[2:], (token.split("-")[1],))

    async def status(self, resource: str, windows: Sequence[Window]) -> PaceStatus:
        """How busy a resource is."""
        blocked, *figures = map(int, await self._status(_keys(resource, windows), _pairs(windows)))
        found = []
        for number, (configured, seconds) in enumerate(windows):
            used, limit, reserve = figures[3 * number : 3 * number + 3]
            found.append(WindowStatus(seconds, used, limit, reserve, configured))
        return PaceStatus(blocked / 1_000_000, tuple(found))


def _keys(resource: str, windows: Sequence[Window]) -> list[str]:
    # By length, not by place: processes whose settings differ for a while still count together
    place = keys.pace(resource)
    return [f"{place}:blocked", f"{place}:share", *(f"{place}:{seconds:g}" for _, seconds in windows)]


def _pairs(windows: Sequence[Window]) -> list[Argument]:
    return [number for limit, seconds in windows for number in (limit, _micros(seconds * _CLOCK_MARGIN))]


def _micros(seconds: float) -> int:
    return math.ceil(seconds * 1_000_000)
