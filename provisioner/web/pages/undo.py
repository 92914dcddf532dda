"""The page of a run's undo: what would come back and what stays, a comparison with the targets, and the button."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from provisioner.admin.undo_outline import fingerprint, undo_outline
from provisioner.errors import UsageError
from provisioner.model.run_document import PlanDocument, RunDocument
from provisioner.runs.preview import preview
from provisioner.runs.undo import undo_request
from provisioner.runtime.context import Deployment
from provisioner.store.runs.documents import Request as RunAsked
from provisioner.web.auth.access import Acting, SignedIn
from provisioner.web.pages.forms import fields_of, first, sent_by
from provisioner.web.problems import ProblemError
from provisioner.web.rendering import render
from provisioner.web.run_requests import ask_for_run, known_run
from provisioner.web.web_context import Deployed, OnSite, Site
from provisioner.web.wording import for_people

router = APIRouter()
#: People whom the page lists.
_PEOPLE_SHOWN: Final = 100
#: Operations that succeeded, above which a page lists nothing: all of them would have to be read.
_MOST: Final = 20_000
#: Seconds for a comparison with the targets, which are asked at their rate limits.
_LOOKS_FOR: Final = 60.0
#: Seconds in which Redis has to answer one of its commands.
_REDIS_WITHIN: Final = 30.0


@router.get("/runs/{run}/undo")
async def outline(request: Request, run: str, session: SignedIn, dep: Deployed) -> Response:
    """What an undo would give back, by what is kept of the run."""
    del session
    document = await known_run(dep.runs, run)
    return await _shown(request, dep, document, _target(document, request.query_params.get("target", "")))


@router.post("/runs/{run}/undo/look")
async def look(request: Request, run: str, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """The same, and what a plan says of it now; the transport refuses any write."""
    fields = await fields_of(request, session)
    document = await known_run(dep.runs, run)
    target = _target(document, first(fields, "target"))
    return await _shown(request, dep, document, target, await _planned(site, run, target))


async def _planned(site: Site, run: str, target: str) -> PlanDocument:
    try:
        async with (
            asyncio.timeout(_LOOKS_FOR),
            Deployment.open(site.settings, within=_REDIS_WITHIN, reading=True) as reading,
        ):
            return await preview(reading, await _asked(reading, run, target))
    except TimeoutError:
        raise ProblemError(
            409,
            f"The targets did not show all these accounts within {_LOOKS_FOR:g} s, so nothing can be said of them yet.",
            code="too_slow",
            remedy=f"On a machine with the settings, `provisioner plan --undo {run}` takes the time that it needs. The "
            "undo itself compares as well, before it changes anything.",
        ) from None
    except UsageError as exc:
        raise ProblemError(409, exc.message, code="nothing_to_undo", remedy=for_people(exc.remedy)) from None


@router.post("/runs/{run}/undo")
async def undo(request: Request, run: str, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """Start the undo, if it is of what was shown."""
    fields = await fields_of(request, session)
    document = await known_run(dep.runs, run)
    target = _target(document, first(fields, "target"))
    too_many = _too_many(document, target)
    if too_many is not None:
        raise ProblemError(409, too_many.message, code="too_many", remedy=too_many.remedy)
    try:
        asked = await _asked(dep, run, target, force=first(fields, "force_drift") == "yes")
    except UsageError as exc:
        raise ProblemError(409, exc.message, code="nothing_to_undo", remedy=for_people(exc.remedy)) from None
    known = await undo_outline(dep, document, asked)
    if first(fields, "confirmed") != fingerprint(known["people"]):
        return await _shown(request, dep, document, target, changed=True)
    started = await ask_for_run(site, dep, asked, by=sent_by(session))
    return RedirectResponse(f"/runs/{started}", 303)


async def _asked(dep: Deployment, run: str, target: str, *, force: bool = False) -> RunAsked:
    return await undo_request(dep, run, [target] if target else None, None, force=force)


def _done(document: RunDocument, target: str) -> int:
    """How many operations of a run succeeded, in one target or all."""
    return sum(sum(part["succeeded"].values()) for name, part in document["targets"].items() if target in ("", name))


def _too_many(document: RunDocument, target: str) -> UsageError | None:
    """Why a run is too large for a page, if it is."""
    count = _done(document, target)
    if count <= _MOST:
        return None
    run = document["run"]
    return UsageError(
        f"Run {run} did {count} operations, too many to be listed on a page.",
        remedy=f"Take it back from a machine with the settings: `provisioner plan --undo {run}` shows what would come "
        f"back, `provisioner undo {run}` does it.",
    )


def _target(document: RunDocument, name: str) -> str:
    return name if name in document["targets"] else ""


async def _shown(
    request: Request,
    dep: Deployment,
    document: RunDocument,
    target: str,
    looked: PlanDocument | None = None,
    *,
    changed: bool = False,
) -> Response:
    try:
        if (too_many := _too_many(document, target)) is not None:
            raise too_many
        asked = await _asked(dep, document["run"], target)
    except UsageError as exc:
        return render(
            request, "undo.html", run=document, fault=exc.message, remedy=for_people(exc.remedy), changed=changed
        )
    found = await undo_outline(dep, document, asked)
    people = found["people"][:_PEOPLE_SHOWN]
    return render(
        request,
        "undo.html",
        run=document,
        fault=None,
        outline=found,
        target=target,
        looked=looked,
        people=people,
        more=len(found["people"]) - len(people),
        columns=[one for one in found["targets"] if any(one in person["operations"] for person in people)],
        confirmed=fingerprint(found["people"]),
        changed=changed,
    )
