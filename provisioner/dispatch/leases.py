"""The leases of what is being sent: renewed while somebody works on it, and asked before each request leaves.

A process may be suspended for longer than its leases last (SIGSTOP, a frozen container, a machine that sleeps). Another
one takes its work over, and newer decisions about the same people are carried out. When the first goes on, none of its
remaining requests may leave. So Redis grants each slot after the first only while the claims are ours, in one call. The
first request needs no question if it leaves soon after the claim, by a clock that goes on during a suspension.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog

from provisioner.errors import ClaimLostError, StoreError
from provisioner.runtime.clock import since_boot
from provisioner.runtime.context import Deployment
from provisioner.store.queue.operations import Claim, QueueStore
from provisioner.store.queue.rate_limit import Claims
from provisioner.store.runs.locks import RENEWAL
from provisioner.targets.http import DEADLINE

log = structlog.get_logger(__name__)

#: Seconds of a lease: longer than any request may take, renewed while work is in progress.
LEASE: Final = DEADLINE * 2
#: Seconds after Redis was asked in which a request may leave: its deadline is over before the lease is.
FRESH: Final = LEASE - DEADLINE
#: Seconds for which what was in progress with a lost claim is put off.
_PUT_OFF: Final = 1.0


class Lease:
    """The claims that one request was made for, and whether they are ours; the `Fence` of their transport."""

    def __init__(self, queue: QueueStore, target: str, claims: Sequence[Claim], asked: float) -> None:
        """
        Args:
            asked: when the claims were asked for (`since_boot`).
        """
        self._queue, self._target = queue, target
        self._claims = tuple(claims)
        self._confirmed = asked
        self._lost = False
        self._ending = False

    @property
    def claims(self) -> Claims:
        """The claims as Redis names them."""
        members = tuple(claim.member for claim in self._claims)
        return Claims(self._target, self._claims[0].token, members, LEASE, self._queue.position)

    @property
    def lost(self) -> bool:
        """Whether one of them is known to be lost."""
        return self._lost

    def narrow(self, claims: Sequence[Claim]) -> None:
        """Ask for these only from now on; the others were given back or ended."""
        self._claims = tuple(claims)

    def ending(self) -> None:
        """The outcome is being recorded, which takes the claims away: no request is to come."""
        self._ending = True

    def confirm(self, asked: float) -> None:
        """Note that they are ours and were renewed, as Redis says that was asked at a moment."""
        self._confirmed = max(self._confirmed, asked)

    def lose(self) -> ClaimLostError:
        """Note that one of them is lost."""
        if not self._lost:
            self._lost = True
            log.warning("claim_lost", target=self._target, person=self._claims[0].operation.person)
        return ClaimLostError(
            f"{self._target}: this process was suspended for so long that others took over the work about "
            f"{self._claims[0].operation.person}; it sends nothing more for it.",
            remedy="Nothing needs to be done: whoever has the work goes on with it.",
        )

    async def ensure(self) -> None:
        """Go on only if all claims are ours for as long as a request may take.

        Raises:
            ClaimLostError: one is not.
            StoreError: Redis does not answer.
        """
        if self._lost:
            raise self.lose()
        if since_boot() - self._confirmed >= FRESH:
            await self.renew()

    async def renew(self) -> None:
        """Let the leases start over.

        Raises:
            ClaimLostError: one is not ours any more.
            StoreError: Redis does not answer.
        """
        claims, asked = self._claims, since_boot()
        renewed = await self._queue.renew(self._target, claims[0].token, LEASE, claims)
        if renewed == len(claims):
            self.confirm(asked)
        elif claims is self._claims and not self._ending:
            raise self.lose()

    async def put_off(self, *, sent: bool) -> None:
        """Put off the claims that are still ours after one of them was lost. The lost one's new owner looks up what
        was sent.

        Args:
            sent: whether a request left that was perhaps about all of them.

        Raises:
            StoreError: Redis does not answer.
        """
        error = {"code": ClaimLostError.code, "message": "this was sent together with what another worker took over"}
        for claim in self._claims:
            await self._queue.park(claim, _PUT_OFF, error, unclear=sent, spend=False)


@asynccontextmanager
async def renewed(dep: Deployment, target: str, claims: Sequence[Claim], asked: float) -> AsyncIterator[Lease]:
    """Renew the leases of some claims while the context lasts.

    Args:
        asked: the moment at which they were asked for (`since_boot`).
    """
    lease = Lease(dep.queue, target, claims, asked)
    over = False

    async def renew() -> None:
        while not over and not lease.lost:
            await asyncio.sleep(LEASE / 6)
            try:
                await lease.renew()
            except ClaimLostError:
                # Known from now on: the next request does not leave
                return
            except StoreError as exc:
                log.warning("lease_not_renewed", target=target, reason=exc.message)

    renewal = asyncio.create_task(renew(), name=f"{RENEWAL} of the leases of {target}")
    try:
        yield lease
    finally:
        # A client that is cancelled while its time runs out tells of the latter only, so the word is given twice
        over = True
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
