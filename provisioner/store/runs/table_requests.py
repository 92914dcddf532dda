"""That the write-back table is to be written, because a run ended."""

from __future__ import annotations

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Scripts


class TableRequestStore:
    """The one request there is at a time: it names the run that ended last."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._release = scripts.load("release")

    async def ask(self, run: str) -> None:
        """Ask for the table after a run; a later run takes its place."""
        with redis_errors():
            await self._redis.set(keys.WRITEBACK_DUE, run)

    async def ask_again(self, run: str) -> None:
        """Ask for the table after a run, unless a run asks for it by now."""
        with redis_errors():
            await self._redis.set(keys.WRITEBACK_DUE, run, nx=True)

    async def asked_by(self) -> str | None:
        """The run that asks for the table; None if none does."""
        with redis_errors():
            run = await self._redis.get(keys.WRITEBACK_DUE)
        return None if run is None else str(run.decode())

    async def done(self, run: str) -> None:
        """The table was written for a run; what another run asked for meanwhile is kept."""
        await self._release([keys.WRITEBACK_DUE], [run])
