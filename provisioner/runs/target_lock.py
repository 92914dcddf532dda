"""Who observes and plans a target now: one task at a time, and that which died lets go by itself."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final

from provisioner.runtime.context import Deployment
from provisioner.store.redis import keys
from provisioner.store.redis.lock import Hold, holding

#: Seconds after which the hold on a target ends if its holder died.
_HOLD: Final = 15
#: Work during which no run may begin.
FORGETTING: Final = "forget"


def held(dep: Deployment, target: str, run: str, *, urgent: bool = False) -> AbstractAsyncContextManager[Hold | None]:
    """Hold a target for one run's observation and plan; None if somebody has it.

    That may be another task of the same run: a broker that lost its connection hands a task out again while it still
    runs, and two who lay down one plan would take away each other's operations.

    Args:
        urgent: hold the run's own part of the target only, since a run about some people waits for no other run.
    """
    key = keys.doing(f"install:{run}:{target}") if urgent else keys.busy(target)
    return holding(dep.redis, key, seconds=_HOLD, holder=run)
