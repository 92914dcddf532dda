"""Who observes and plans a target now: one task at a time, and that which died lets go by itself."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final

from provisioner.store.runs.locks import Hold, LockStore

#: Seconds after which the hold on a target ends if its holder died.
_HOLD: Final = 15


def held(locks: LockStore, target: str, run: str, *, urgent: bool = False) -> AbstractAsyncContextManager[Hold | None]:
    """Hold a target for one run's observation and plan; None if somebody has it.

    That may be another task of the same run: a broker that lost its connection hands a task out again while it still
    runs, and two who lay down one plan would take away each other's operations.

    Args:
        urgent: hold the run's own part of the target only, since a run about some people waits for no other run.
    """
    lock = locks.planning_part if urgent else locks.planning
    return lock(target, run, seconds=_HOLD)
