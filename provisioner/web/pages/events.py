"""The page of events and outgoing webhooks: what waits, what died and why, and putting dead letters back to work."""

from __future__ import annotations

import asyncio
import json

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from provisioner.errors import UsageError, WorkerError
from provisioner.events.dead_letters import letter, replay, waiting
from provisioner.logs import get_logger
from provisioner.web import request_bodies
from provisioner.web.auth.access import Acting, SignedIn, check_form
from provisioner.web.problems import ProblemError, unusable
from provisioner.web.rendering import render
from provisioner.web.web_context import Deployed, OnSite
from provisioner.worker.event_tasks import EventNudge

log = get_logger(__name__)
router = APIRouter()


@router.get("/inbound")
async def overview(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """Everything at once."""
    del session
    return render(request, "inbound.html", view=await waiting(dep))


@router.get("/inbound/{name}")
async def one(request: Request, name: str, session: SignedIn, dep: Deployed) -> Response:
    """One dead letter, with what it says."""
    del session
    try:
        found = await letter(dep, name)
    except UsageError as exc:
        raise ProblemError(404, exc.message, code="not_found", remedy=exc.remedy) from exc
    text = json.dumps(found["body"], indent=2, ensure_ascii=False)
    return render(request, "letter.html", letter=found, text=text)


@router.post("/inbound/replay")
async def again(request: Request, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """Put dead letters back to work: those that were chosen, or all."""
    fields = await request_bodies.form(request)
    check_form(request, session, next((text for name, text in fields if name == "csrf"), ""))
    chosen = [text for name, text in fields if name == "letter"]
    everything = ("all", "yes") in fields
    if not (chosen or everything):
        raise unusable("Nothing was chosen.", "Go back, and tick some dead letters, or use the button for all.")
    assert session.user is not None  # noqa: S101 - `Acting` saw to it
    try:
        await replay(dep, None if everything else chosen, by=f"web:{session.user.name}")
    except UsageError as exc:
        raise ProblemError(409, exc.message, code="nothing_done", remedy=exc.remedy) from exc
    try:
        await asyncio.to_thread(EventNudge(site.settings).send)
    except WorkerError as exc:
        # Beat nudges every other second besides
        log.warning("not_nudged", error=exc.message)
    return RedirectResponse("/inbound", 303)
