"""One worker at a time for one piece of work, so that a duplicate wake-up costs one read of Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from provisioner.store.runs.locks import Hold, LockStore

#: Seconds after which the work of a worker that died may be taken up by another.
HOLD: Final = 20


@asynccontextmanager
async def once(locks: LockStore, name: str) -> AsyncIterator[Hold | None]:
    """The lock for a piece of work, None if another process has it. It is released when this process dies.

    It saves work and guards nothing: whatever two must not do at once needs a fence of its own in the store.

    Raises:
        StoreError: Redis does not answer.
    """
    async with locks.work(name, seconds=HOLD) as hold:
        yield hold
