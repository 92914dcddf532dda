"""The leases of what is being sent, renewed for as long as somebody works on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog

from provisioner.errors import StoreError
from provisioner.runtime.context import Deployment
from provisioner.store.queue.operations import Claim
from provisioner.targets.http import DEADLINE

log = structlog.get_logger(__name__)

#: Seconds of a lease: longer than any request may take, renewed while work is in hand.
LEASE: Final = DEADLINE * 2


@asynccontextmanager
async def renewed(dep: Deployment, target: str, claims: Sequence[Claim]) -> AsyncIterator[None]:
    """Renew the leases of some claims while the context lasts."""
    over = False

    async def renew() -> None:
        while not over:
            await asyncio.sleep(LEASE / 6)
            try:
                await dep.queue.renew(target, claims[0].token, LEASE, claims)
            except StoreError as exc:
                log.warning("lease_not_renewed", target=target, reason=exc.message)

    renewal = asyncio.create_task(renew())
    try:
        yield
    finally:
        # A client that is cancelled while its time runs out tells of the latter only, so the word is given twice
        over = True
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
