"""Pages that go on by themselves: server-sent events with the parts that changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from provisioner.errors import StoreError
from provisioner.model.run_document import KINDS, OUTCOMES
from provisioner.web.auth.access import SignedIn
from provisioner.web.pages.overview import look
from provisioner.web.pages.reading import parts
from provisioner.web.rendering import fragment
from provisioner.web.run_requests import known_run
from provisioner.web.web_context import Deployed, OnSite, Site

router = APIRouter()
#: Seconds between looks, and until the browser has to ask again, so that nobody is forgotten who went away.
_RUN_EVERY: Final = 0.5
_OVERVIEW_EVERY: Final = 5.0
_LONGEST: Final = 600.0
_HEADERS: Final = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}

#: One look: the part as HTML, and whether nothing will change any more.
Look = Callable[[], Awaitable[tuple[str, bool]]]


async def _events(request: Request, site: Site, look_once: Look, every: float) -> AsyncIterator[str]:
    yield "retry: 3000\n\n"
    ends, last = time.monotonic() + _LONGEST, ""
    while not site.stopping and time.monotonic() < ends and not await request.is_disconnected():
        try:
            html, over = await look_once()
        except StoreError:
            # The page stays as it is; the browser asks again by itself
            return
        if html != last:
            last = html
            yield _event("part", html)
        if over:
            yield _event("over", "")
            return
        await asyncio.sleep(every)


def _event(name: str, text: str) -> str:
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"event: {name}\n{lines}\n"


@router.get("/runs/{run}/events")
async def run_events(request: Request, run: str, session: SignedIn, site: OnSite, dep: Deployed) -> Response:
    """A run's progress until it is over."""
    del session
    await known_run(dep.runs, run)

    async def once() -> tuple[str, bool]:
        document = await known_run(dep.runs, run)
        html = fragment(request, "_run.html", run=document, parts=parts(document), outcomes=OUTCOMES, kinds=KINDS)
        return html, document["status"] != "running"

    return StreamingResponse(_events(request, site, once, _RUN_EVERY), media_type="text/event-stream", headers=_HEADERS)


@router.get("/events")
async def overview_events(request: Request, session: SignedIn, site: OnSite, dep: Deployed) -> Response:
    """The overview as it changes."""
    del session

    async def once() -> tuple[str, bool]:
        return fragment(request, "_overview.html", view=await look(dep)), False

    return StreamingResponse(
        _events(request, site, once, _OVERVIEW_EVERY), media_type="text/event-stream", headers=_HEADERS
    )
