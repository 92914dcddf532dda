"""Slots for one target's requests, as the transport takes them, from the budget that all processes share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol

import structlog

from provisioner.errors import ClaimLostError, StoreError, TargetError
from provisioner.runtime.clock import since_boot
from provisioner.settings import Rate, TargetSettings
from provisioner.store.queue.rate_limit import Claims, Lane, Lost, PaceStatus, PaceStore, Wait, Window
from provisioner.targets.base import Target
from provisioner.targets.capabilities import SharesBudget
from provisioner.targets.http import Pace, Slot

log = structlog.get_logger(__name__)

#: Seconds that may pass between the grant of a slot and the moment at which its request's own deadline begins.
_MARGIN: Final = 5.0
#: Seconds after which a sleeper looks again, since a slot may have been given back unused.
_LONGEST_SLEEP: Final = 15.0


def resource_of(name: str, settings: TargetSettings, shared_by_address: bool) -> str:
    """What a target's requests are counted against.

    Args:
        name: the target's.
        settings: its kind and, where targets share a budget or are separated, its `rate_group`.
        shared_by_address: whether this kind of vendor counts by source address, so that all its targets share.
    """
    if settings.rate_group is not None:
        return f"{settings.kind}:group:{settings.rate_group}"
    return f"{settings.kind}:shared" if shared_by_address else name


def budget_of(made: Target[Any]) -> str:
    """What the requests of a target are counted against; see `resource_of`."""
    return resource_of(made.name, made.settings, isinstance(made, SharesBudget) and made.shared_by_address)


class Held(Protocol):
    """Claims that requests are sent for, for as long as they are ours."""

    @property
    def claims(self) -> Claims:
        """The claims."""

    def confirm(self, asked: float) -> None:
        """Note that they are ours and were renewed, as Redis says that was asked at a moment (`since_boot`)."""

    def lose(self) -> ClaimLostError:
        """Note that one of them is lost."""


class TargetSlot:
    """One slot; say `answered` once its request is over, or `unused` if none was sent. The second word is ignored."""

    def __init__(self, pace: TargetPace, token: str) -> None:
        self._pace = pace
        self._token = token
        self._over = False

    async def answered(self, *, limited: bool = False, retry_after: float | None = None) -> None:
        """Give the slot back; it is free again in a window. Completes even if the caller is cancelled meanwhile.

        If Redis does not answer, the slot is swept when its time is over; whoever has an answer must not lose
        it for that.
        """
        if not self._over:
            self._over = True
            await _to_the_end(self._pace.give_back(self._token, limited=limited, retry_after=retry_after))

    async def unused(self) -> None:
        """Give the slot back at once, if Redis answers. Completes even if the caller is cancelled meanwhile."""
        if not self._over:
            self._over = True
            await _to_the_end(self._pace.give_back_unused(self._token))


class TargetPace:
    """Where one target's slots come from, for one lane and one event loop.

    However many wait for a slot here, only one of them asks; the others queue behind it in their order.
    """

    def __init__(
        self,
        store: PaceStore,
        target: str,
        resource: str,
        rates: Sequence[Rate],
        *,
        lane: Lane = "bulk",
        adaptive: bool = False,
        least_block: float = 0.0,
        patience: float | None = None,
    ) -> None:
        """
        Args:
            target: its name, for errors.
            resource: what its requests count against, by `resource_of`.
            rates: its limits.
            lane: `urgent` for single-person work.
            adaptive: whether a 429 lowers the limit, because the vendor publishes none.
            least_block: seconds for which a 429 without Retry-After stops everyone, if no window is longer.
            patience: `slot` raises instead of waiting, if the vendor keeps us waiting longer than so many seconds.
        """
        self._store = store
        self._target = target
        self._resource = resource
        self._windows: tuple[Window, ...] = tuple((rate.limit, rate.window) for rate in rates)
        self._lane: Lane = lane
        self._adaptive = adaptive
        self._least_block = least_block
        self._patience = patience
        self._asking = asyncio.Lock()

    @property
    def resource(self) -> str:
        """What its requests count against."""
        return self._resource

    async def slot(self, deadline: float, held: Held | None = None) -> TargetSlot:
        """Wait for a permission to send one request that is over after `deadline` seconds.

        Args:
            held: what the request is sent for; there is no permission once it is lost.

        Raises:
            ClaimLostError: it is lost.
            TargetError: it would take longer than `patience`.
            StoreError: Redis does not answer.
        """
        async with self._asking:
            while True:
                answer = await self.try_slot(deadline, held)
                if isinstance(answer, TargetSlot):
                    return answer
                if self._patience is not None and answer > self._patience:
                    raise TargetError(
                        self._target,
                        f"it takes no more requests for {answer:.0f} s (429 or its rate limit).",
                        remedy="Later runs go on by themselves; compare rate_limit with what the vendor allows.",
                    )
                spread = random.uniform(0.0, min(0.01, 0.02 * answer))  # noqa: S311 - jitter, no secret
                await asyncio.sleep(min(answer + spread, _LONGEST_SLEEP))

    async def try_slot(self, deadline: float, held: Held | None = None) -> TargetSlot | float:
        """A slot, or the seconds until the earliest moment for one; never waits.

        Raises:
            ClaimLostError: what the request was to be sent for is lost.
            StoreError: Redis does not answer.
        """
        asked = since_boot()
        answer = await self._store.acquire(
            self._resource,
            self._windows,
            lane=self._lane,
            deadline=deadline + _MARGIN,
            claims=held.claims if held else None,
        )
        if held and isinstance(answer, Lost):
            raise held.lose()
        if held:
            held.confirm(asked)
        if isinstance(answer, Lost):
            raise AssertionError("nothing was held that could be lost")
        return answer.seconds if isinstance(answer, Wait) else TargetSlot(self, answer.token)

    def prepaid(self, slot: Slot, held: Held | None = None) -> Pace:
        """A pace whose first slot is the given one, while later ones are waited for.

        Args:
            held: what all these requests are sent for: each later slot is granted only while it is ours.
        """
        return _Prepaid(slot, self, held)

    async def status(self) -> PaceStatus:
        """How busy the resource is, for everyone together."""
        return await self._store.status(self._resource, self._windows)

    async def give_back(self, token: str, *, limited: bool, retry_after: float | None) -> None:
        """What `TargetSlot.answered` does, for a token."""
        if limited:
            await self._store.count_limited(self._target)
        await self._store.answered(
            self._resource,
            token,
            self._windows,
            limited=limited,
            retry_after=retry_after,
            adaptive=self._adaptive,
            least_block=self._least_block,
        )

    async def give_back_unused(self, token: str) -> None:
        """What `TargetSlot.unused` does, for a token."""
        await self._store.unused(self._resource, token, self._windows)


class _Prepaid:
    """A slot that is there already, then the pace's own."""

    def __init__(self, slot: Slot, pace: TargetPace, held: Held | None) -> None:
        self._first: Slot | None = slot
        self._pace, self._held = pace, held

    async def slot(self, deadline: float) -> Slot:
        first, self._first = self._first, None
        return await self._pace.slot(deadline, self._held) if first is None else first


#: asyncio itself holds tasks by weak references only.
_running: set[asyncio.Task[None]] = set()


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for work that goes on if the waiter is cancelled."""
    task = asyncio.ensure_future(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
    try:
        await asyncio.shield(task)
    except StoreError as exc:
        log.warning("slot_not_given_back", reason=exc.message)


class Unpaced:
    """A rate limit that grants every slot at once, for use without a limit or without Redis."""

    async def slot(self, deadline: float) -> Slot:  # noqa: ARG002 - the protocol's name
        """A permission, at once."""
        return self

    async def answered(self, *, limited: bool = False, retry_after: float | None = None) -> None:
        """No count is kept, so nothing is recorded."""
