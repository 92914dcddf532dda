"""Turns at a target: what one process reads there and writes back changed, no other one does at the same time."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from provisioner.store.runs.locks import Hold, LockStore
from provisioner.targets.http import DEADLINE

#: Seconds after which a turn is over whose process died: longer than the lease of its work lasts, so that nobody has
#: the turn while a request of the dead may still be carried out.
LASTS: Final = DEADLINE * 3
#: Seconds for which a turn is waited for, and between two looks.
_PATIENCE: Final = 5.0
_LOOK: Final = 0.1


class TargetTurns:
    """The turns at one target; see `provisioner.targets.turns.Turns`."""

    def __init__(self, locks: LockStore, target: str) -> None:
        self._locks, self._target = locks, target

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[Hold | None]:
        """A turn for as long as the context lasts; None if others have it for too long.

        Raises:
            StoreError: Redis does not answer.
        """
        work = turn_of(self._target, name)
        ends = time.monotonic() + _PATIENCE
        while True:
            async with self._locks.work(work, seconds=LASTS) as hold:
                if hold is not None or time.monotonic() >= ends:
                    yield hold
                    return
            await asyncio.sleep(_LOOK)


def turn_of(target: str, name: str) -> str:
    """The piece of work that a turn is, as `LockStore.work` names it."""
    return f"turn:{target}:{hashlib.sha256(name.encode()).hexdigest()[:16]}"
