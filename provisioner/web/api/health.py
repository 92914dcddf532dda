"""Whether this process is up, whether it can serve, and what Prometheus wants to know."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from provisioner.errors import StoreError, StoreRefusedError
from provisioner.logs import get_logger
from provisioner.progress.metrics import Snapshot, registry, take
from provisioner.progress.vitals import vitals
from provisioner.runs.pushed_roster import behind
from provisioner.web.auth.access import Reader
from provisioner.web.problems import problem
from provisioner.web.web_context import Deployed, OnSite

log = get_logger(__name__)

#: Seconds within which Redis has to answer; who asks for readiness asks again soon.
_READY_WITHIN: Final = 2.0

router = APIRouter()
#: Served only where there is a token.
metrics_router = APIRouter()


@router.get("/healthz", include_in_schema=False)
async def healthz() -> dict[str, str]:
    """This process is up."""
    return {"status": "up"}


@router.get("/readyz", include_in_schema=False)
async def readyz(site: OnSite, only: Literal["redis"] | None = None) -> JSONResponse:
    """Requests can be served, and what they ask for is carried out: Redis takes writes, beat ticks, a worker answers.
    Where people are pushed one by one, none of them may be missing either.

    Args:
        only: `redis` leaves beat and the workers out. Whoever takes traffic away from this process asks so, as the page
            is needed most while they are silent.
    """
    try:
        async with asyncio.timeout(_READY_WITHIN):
            if only == "redis":
                await site.stores.server.ping()
                return JSONResponse({"status": "ready"})
            await site.stores.server.takes_writes()
            found = await vitals(site.stores.heartbeats, site.settings)
            missing = await behind(site.stores) if site.settings.roster.pushed_people else None
    except (StoreError, TimeoutError) as exc:
        log.warning("not_ready", error=str(exc) or "Redis does not answer in time.")
        detail = f"Redis {exc.state}" if isinstance(exc, StoreRefusedError) else "Redis does not answer"
        return problem(503, "Not ready", f"{detail}; the log of this process says why.")
    states = {"beat": found.beat.state, "workers": found.worker.state}
    if found.silent:
        return problem(503, "Not ready", " ".join(one.sentence for one in found.silent), code="silent", **states)
    if missing is not None:
        return problem(503, "Not ready", missing, code="people_missing", **states)
    return JSONResponse({"status": "ready", **states})


@metrics_router.get("/metrics", include_in_schema=False)
async def metrics(user: Reader, dep: Deployed) -> Response:
    """Figures of the whole deployment, computed from Redis now."""
    del user
    found: Snapshot = await take(dep)
    return Response(generate_latest(registry(found)), media_type=CONTENT_TYPE_LATEST)
