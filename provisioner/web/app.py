"""The web application, and the server that serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from provisioner.settings import Settings
from provisioner.web.api import health, runs
from provisioner.web.api.roster_webhook import roster_webhook
from provisioner.web.api.webhooks import webhooks
from provisioner.web.auth import oidc, sign_in
from provisioner.web.auth.access import recognise
from provisioner.web.auth.provider import Provider
from provisioner.web.forwarded import ForwardedHeaders
from provisioner.web.pages import (
    actions,
    approval,
    events,
    live,
    playground,
    reading,
    roster,
    targets,
    trends,
    undo,
    worklists,
)
from provisioner.web.problems import add_handlers
from provisioner.web.scim.routes import scim
from provisioner.web.security_headers import SecureHeaders
from provisioner.web.web_context import Site

_STATIC: Final = Path(__file__).parent / "static"


def create_app(settings: Settings) -> FastAPI:
    """The application. Connects to Redis on the first request that needs it.

    Raises:
        ConfigurationError: `redis_url` is wrong.
    """
    site = Site(settings)
    provider = None if settings.web.oidc is None else Provider(settings.web.oidc)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        site.open()
        try:
            yield
        finally:
            if provider is not None:
                await provider.aclose()
            await site.close()

    app = FastAPI(
        title="provisioner",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.site = site
    app.state.provider = provider
    served = settings.web.has_page
    add_handlers(app, pages=served, recognise=recognise)
    app.add_middleware(SecureHeaders)
    # Added last, so that it is the outermost: all others read what it found
    note = site.note_ignored_proxy
    app.add_middleware(ForwardedHeaders, trusted=settings.web.trusted_proxies, note=note)
    app.include_router(health.router)
    app.include_router(webhooks(settings, lambda: site.stores))
    app.include_router(roster_webhook(settings, lambda: site.stores))
    app.include_router(scim(settings, lambda: site.stores))
    if served:
        app.include_router(health.metrics_router)
        app.include_router(runs.router)
        if provider is not None:
            app.include_router(oidc.router, include_in_schema=False)
        of_runs, others = (approval, undo, reading), (playground, roster, targets, trends, worklists, events)
        for part in (sign_in, *of_runs, *others, actions, live):
            app.include_router(part.router, include_in_schema=False)
        app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    return app


class _Server(uvicorn.Server):
    """Tells the site that it ends, so that pages which are followed live let go."""

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self._site = site

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._site.stopping = True
        super().handle_exit(sig, frame)


def run_web(settings: Settings) -> int:
    """Serve until asked to stop; the exit code.

    Raises:
        ConfigurationError: `redis_url` is wrong.
    """
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.web.host,
        port=settings.web.port,
        # Its lines hold whole paths, and so the secrets of webhooks
        access_log=False,
        log_config=None,
        server_header=False,
        # ForwardedHeaders does it, by the settings instead of a variable of uvicorn's
        proxy_headers=False,
        timeout_graceful_shutdown=10,
    )
    server = _Server(config, app.state.site)
    try:
        server.run()
    except KeyboardInterrupt:
        return 0
    return 0 if server.started else 1
