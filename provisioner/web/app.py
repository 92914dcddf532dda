"""The web application, and the server that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from provisioner.errors import StoreError
from provisioner.logs import get_logger
from provisioner.settings import Settings
from provisioner.store.address import RedisAddress
from provisioner.store.connection import connect, ping

log = get_logger(__name__)

#: Seconds within which Redis has to answer; who asks for readiness asks again soon.
_READY_WITHIN: Final = 2.0


def create_app(settings: Settings) -> FastAPI:
    """The application. Connects to Redis on the first request that needs it.

    Raises:
        ConfigurationError: `redis_url` is wrong.
    """
    address = RedisAddress.of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.redis = connect(address)
        try:
            yield
        finally:
            await app.state.redis.aclose()

    app = FastAPI(title="provisioner", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.add_exception_handler(HTTPException, _http_problem)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """This process is up."""
        return {"status": "up"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Redis answers, so that requests can be served."""
        try:
            async with asyncio.timeout(_READY_WITHIN):
                await ping(app.state.redis, address)
        except (StoreError, TimeoutError) as exc:
            log.warning("not_ready", error=str(exc) or "Redis does not answer in time.")
            return problem(503, "Not ready", "Redis does not answer; the log of this process says why.")
        return JSONResponse({"status": "ready"})

    return app


def problem(status: int, title: str, detail: str) -> JSONResponse:
    """An error as RFC 9457 writes it."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


async def _http_problem(request: Request, exc: Exception) -> JSONResponse:
    if not isinstance(exc, HTTPException):
        raise exc
    if exc.status_code == 404:
        return problem(404, "Not found", "There is nothing at this path. There are /healthz and /readyz.")
    answer = problem(exc.status_code, str(exc.detail), f"{request.method} is not possible here.")
    answer.headers.update(exc.headers or {})
    return answer


def run_web(settings: Settings) -> int:
    """Serve until asked to stop; the exit code.

    Raises:
        ConfigurationError: `redis_url` is wrong.
    """
    config = uvicorn.Config(
        create_app(settings),
        host=settings.web.host,
        port=settings.web.port,
        # Its lines hold whole paths, and so the secrets of webhooks
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)
    try:
        server.run()
    except KeyboardInterrupt:
        return 0
    return 0 if server.started else 1
