"""What all requests of one web process share: the settings, and one hold on the deployment, made when first needed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Annotated, Any, Final, cast

from fastapi import Depends, Request

from provisioner.errors import WorkerError
from provisioner.logs import get_logger
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.admin.web_sessions import WebSessionStore
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.connection import connect
from provisioner.store.stores import Stores
from provisioner.worker.wakeups import nudge, nudge_target

log = get_logger(__name__)

#: Seconds in which Redis has to answer what every request asks first, and what a request asks then.
_ANSWERS_WITHIN: Final = 3.0
_LONGEST: Final = 30.0


class Site:
    """One web process. `stopping`: it was asked to end, so nothing that lasts may go on."""

    def __init__(self, settings: Settings) -> None:
        """
        Raises:
            ConfigurationError: `redis_url` is wrong.
        """
        self.settings = settings
        self.address = RedisAddress.of(settings)
        self._redis: Any = None
        self._stores: Stores | None = None
        self.stopping = False
        self._deployment: Deployment | None = None
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()

    def open(self) -> None:
        """Make the client of Redis, which connects by itself."""
        self._redis = connect(self.address, within=_ANSWERS_WITHIN)
        self._stores = Stores.on(self._redis, self.address)

    async def close(self) -> None:
        """Close what is open."""
        await self._stack.aclose()
        await self._redis.aclose()

    @property
    def stores(self) -> Stores:
        """What is kept in Redis, whether or not it answers now."""
        if self._stores is None:
            raise RuntimeError("the site is not open")
        return self._stores

    @property
    def access(self) -> WebSessionStore:
        """What is remembered of visitors."""
        return self.stores.web_sessions

    async def note_ignored_proxy(self, address: str) -> None:
        """Note a reverse proxy that `web.trusted_proxies` does not name.

        Raises:
            StoreError: Redis does not answer.
        """
        await self.access.note_ignored_proxy(address)

    async def deployment(self) -> Deployment:
        """The deployment.

        Raises:
            StoreError: Redis does not answer.
            ConfigurationError: a target's settings do not fit what its vendor offers.
        """
        # A server that hangs is said in seconds, though a large roster may take longer than that
        await self.stores.server.ping()
        async with self._opening:
            if self._deployment is None:
                opened = Deployment.open(self.settings, within=_LONGEST)
                self._deployment = await self._stack.enter_async_context(opened)
        return self._deployment

    async def nudge(self, run: str, *, urgent: bool = False) -> None:
        """Tell the workers of a run; if they cannot be reached, beat's tick finds it soon."""
        try:
            await asyncio.to_thread(nudge, self.settings, run, urgent=urgent)
        except WorkerError as exc:
            log.warning("not_nudged", run=run, error=exc.message)

    async def nudge_targets(self, targets: tuple[str, ...]) -> None:
        """Tell the workers that targets have work; if they cannot be reached, beat's tick finds it soon."""
        for target in targets:
            try:
                await asyncio.to_thread(nudge_target, self.settings, target)
            except WorkerError as exc:
                log.warning("not_nudged", target=target, error=exc.message)


def site_of(request: Request) -> Site:
    """The site that a request came to."""
    return cast("Site", request.app.state.site)


async def deployment_of(request: Request) -> Deployment:
    """The deployment behind it."""
    return await site_of(request).deployment()


OnSite = Annotated[Site, Depends(site_of)]
Deployed = Annotated[Deployment, Depends(deployment_of)]
