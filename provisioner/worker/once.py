"""One worker at a time for one piece of work, so that doubled nudges cost a look into Redis and nothing else."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from provisioner.delivery.deployment import Deployment
from provisioner.errors import StoreError
from provisioner.store import keys
from provisioner.store.connection import redis_errors

log = structlog.get_logger(__name__)

#: Seconds after which the work of a worker that died may be taken up by another.
HOLD: Final = 20


@asynccontextmanager
async def once(dep: Deployment, name: str) -> AsyncIterator[bool]:
    """Whether nobody else does this now; renewed while it lasts, and given up by itself if this process dies.

    Raises:
        StoreError: Redis does not answer.
    """
    key, token = keys.doing(name), secrets.token_hex(8).encode()
    with redis_errors():
        # The second look is for a client whose first answer was lost
        free = bool(await dep.redis.set(key, token, nx=True, ex=HOLD)) or await dep.redis.get(key) == token
    if not free:
        yield False
        return

    over = False

    async def renew() -> None:
        while not over:
            await asyncio.sleep(HOLD / 4)
            try:
                with redis_errors():
                    await dep.redis.expire(key, HOLD)
            except StoreError as exc:
                log.warning("hold_not_renewed", work=name, reason=exc.message)

    renewal = asyncio.create_task(renew())
    try:
        yield True
    finally:
        # A client that is cancelled while its time runs out tells of the latter only, so the word is given twice
        over = True
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        with redis_errors():
            if await dep.redis.get(key) == token:
                await dep.redis.delete(key)
