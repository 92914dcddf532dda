"""One worker at a time for one piece of work, so that doubled nudges cost a look into Redis and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from provisioner.runtime.context import Deployment
from provisioner.store.redis import keys
from provisioner.store.redis.lock import holding

#: Seconds after which the work of a worker that died may be taken up by another.
HOLD: Final = 20


@asynccontextmanager
async def once(dep: Deployment, name: str) -> AsyncIterator[bool]:
    """Whether nobody else does this now; renewed while it lasts, and given up by itself if this process dies.

    Raises:
        StoreError: Redis does not answer.
    """
    async with holding(dep.redis, keys.doing(name), seconds=HOLD) as hold:
        yield hold is not None
