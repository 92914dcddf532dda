"""What people do on the pages: start runs, retry, pause and resume; each by an operator, and a form of ours."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from provisioner.admin import decisions
from provisioner.admin.decisions import Choice, decide_about
from provisioner.admin.person_report import story
from provisioner.store.runs.documents import Request as RunAsked
from provisioner.web.auth.access import Acting
from provisioner.web.pages.forms import every, fields_of, first, sent_by
from provisioner.web.problems import ProblemError
from provisioner.web.rendering import render
from provisioner.web.run_requests import ask_for_run, known_run
from provisioner.web.web_context import Deployed, OnSite

router = APIRouter()


@router.post("/runs")
async def start(request: Request, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """Start a run about everybody, on some targets or all."""
    fields = await fields_of(request, session)
    targets = tuple(dict.fromkeys(every(fields, "target"))) or None
    asked = RunAsked("web", targets, accept=first(fields, "accept") or None)
    run = await ask_for_run(site, dep, asked, by=sent_by(session))
    return RedirectResponse(f"/runs/{run}", 303)


@router.post("/people/resync")
async def resync(request: Request, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """Sync one person now, before everything else."""
    key = first(await fields_of(request, session), "key")
    await story(dep, key)
    run = await ask_for_run(site, dep, RunAsked("web", people=(key,)), by=sent_by(session))
    return RedirectResponse(f"/runs/{run}", 303)


@router.post("/runs/{run}/retry")
async def retry(request: Request, run: str, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """Send what failed again."""
    await fields_of(request, session)
    document = await known_run(dep.runs, run)
    decided = await decide_about(dep, run, "retried", Choice(), by=sent_by(session))
    if not decided.done:
        why = "; ".join(sorted({one.reason for one in decided.refused})) or "nothing failed"
        raise ProblemError(409, f"Nothing is sent again: {why}.", code="nothing_done")
    await site.nudge_targets(decided.targets)
    return render(request, "decided.html", run=document, act="retried", decided=decided)


@router.post("/targets/{target}/pause")
async def pause(request: Request, target: str, session: Acting, dep: Deployed) -> Response:
    """Stop writing to a target."""
    fields = await fields_of(request, session)
    await decisions.pause(dep, target, by=sent_by(session), reason=first(fields, "reason"))
    return RedirectResponse(f"/#{quote(target)}", 303)


@router.post("/targets/{target}/resume")
async def resume(request: Request, target: str, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """Write to a target again."""
    await fields_of(request, session)
    await decisions.resume(dep, target, by=sent_by(session))
    await site.nudge_targets((target,))
    return RedirectResponse(f"/#{quote(target)}", 303)
