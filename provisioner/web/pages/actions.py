"""What people do on the pages: start runs, decide, retry, pause and resume; each by an operator, and a form of ours."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from provisioner.admin import decisions
from provisioner.admin.decisions import Choice, Decided, Verdict, decide_about
from provisioner.admin.person_report import story
from provisioner.errors import UsageError
from provisioner.model.operation_document import RunOperation
from provisioner.model.run_document import RunDocument
from provisioner.runtime.context import Deployment
from provisioner.store.runs.documents import Request as RunAsked
from provisioner.web import request_bodies
from provisioner.web.api.runs import ask_for_run, known_run
from provisioner.web.auth.access import Acting, Session, check_form
from provisioner.web.pages.reading import HeldGroup, held
from provisioner.web.pages.worklists import labels_of
from provisioner.web.problems import ProblemError, unusable
from provisioner.web.rendering import render
from provisioner.web.web_context import Deployed, OnSite, Site

router = APIRouter()
_LONGEST_REASON: Final = 2000
_VERDICTS: Final[dict[str, Verdict]] = {"approve": "approved", "reject": "rejected"}

Fields = list[tuple[str, str]]


async def _fields(request: Request, session: Session) -> Fields:
    found = await request_bodies.form(request)
    check_form(request, session, _one(found, "csrf"))
    return found


def _one(fields: Fields, name: str) -> str:
    return next((text for other, text in fields if other == name), "")


def _all(fields: Fields, name: str) -> list[str]:
    return [text for other, text in fields if other == name]


def _by(session: Session) -> str:
    assert session.user is not None  # noqa: S101 - `Acting` saw to it
    return f"web:{session.user.name}"


@router.post("/runs")
async def start(request: Request, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """Start a run about everybody, on some targets or all."""
    fields = await _fields(request, session)
    targets = tuple(dict.fromkeys(_all(fields, "target"))) or None
    asked = RunAsked("web", targets, accept=_one(fields, "accept") or None)
    run = await ask_for_run(site, dep, asked, by=_by(session))
    return RedirectResponse(f"/runs/{run}", 303)


@router.post("/people/resync")
async def resync(request: Request, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """Sync one person now, before everything else."""
    key = _one(await _fields(request, session), "key")
    await story(dep, key)
    run = await ask_for_run(site, dep, RunAsked("web", people=(key,)), by=_by(session))
    return RedirectResponse(f"/runs/{run}", 303)


@router.post("/runs/{run}/approval")
async def decide(request: Request, run: str, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """Approve or reject: what was chosen is shown once more, and done when that is confirmed."""
    fields = await _fields(request, session)
    document = await known_run(dep, run)
    act, reason = _one(fields, "act"), _one(fields, "reason").strip()[:_LONGEST_REASON]
    if act not in _VERDICTS:
        raise unusable("Say whether to approve or to reject.", "Go back, and use one of the two buttons.")
    choice = _chosen(fields, document)
    found = await held(dep, run, document)
    count = _count(choice, found)
    if not count:
        raise ProblemError(
            409, "Nothing that is held was chosen.", code="nothing_chosen", remedy="Go back, and tick somebody."
        )
    if _one(fields, "confirmed") != str(count):
        rows = [
            row
            for group in found
            for person, of_person in group["people"].items()
            if group["target"] in choice and (choice[group["target"]] is None or person in _who(choice, group))
            for row in of_person
        ]
        return render(
            request,
            "confirm.html",
            run=document,
            act=act,
            reason=reason,
            fields=[(name, text) for name, text in fields if name in ("who", "all")],
            count=count,
            rows=rows,
            labels=await labels_of(dep, (row["person"] for row in rows)),
            changed=bool(_one(fields, "confirmed")),
        )
    decided = await _decide(site, dep, run, _VERDICTS[act], choice, by=_by(session), reason=reason)
    if not decided.done:
        why = "; ".join(sorted({one.reason for one in decided.refused}))
        raise ProblemError(409, f"Nothing could be {_VERDICTS[act]}: {why}.", code="nothing_done")
    return render(request, "decided.html", run=document, act=_VERDICTS[act], decided=decided)


def _chosen(fields: Fields, document: RunDocument) -> dict[str, tuple[str, ...] | None]:
    """The chosen people by target; None: all of that target."""
    chosen: dict[str, tuple[str, ...] | None] = {}
    for text in _all(fields, "who"):
        target, _, person = text.partition(":")
        if target in document["targets"] and person:
            chosen[target] = (*(chosen.get(target) or ()), person)
    for target in _all(fields, "all"):
        if target in document["targets"]:
            chosen[target] = None
    return chosen


def _who(choice: dict[str, tuple[str, ...] | None], group: HeldGroup) -> tuple[str, ...]:
    return choice[group["target"]] or ()


def _count(choice: dict[str, tuple[str, ...] | None], found: list[HeldGroup]) -> int:
    """How many held operations a choice means now."""
    count = 0
    for group in found:
        if group["target"] in choice:
            people = choice[group["target"]]
            count += (
                group["count"]
                if people is None
                else sum(len(rows) for person, rows in group["people"].items() if person in people)
            )
    return count


async def _decide(
    site: Site,
    dep: Deployment,
    run: str,
    verdict: Verdict,
    choice: dict[str, tuple[str, ...] | None],
    *,
    by: str,
    reason: str,
) -> Decided:
    done: list[RunOperation] = []
    refused: list[decisions.Refused] = []
    for target, people in choice.items():
        try:
            part = await decide_about(dep, run, verdict, Choice(target, people), by=by, reason=reason)
        except UsageError as exc:
            raise ProblemError(409, str(exc), code="nothing_done") from exc
        done += part.done
        refused += part.refused
    decided = Decided(tuple(done), tuple(refused))
    if verdict != "rejected":
        await site.nudge_targets(decided.targets)
    return decided


@router.post("/runs/{run}/retry")
async def retry(request: Request, run: str, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """Send what failed again."""
    await _fields(request, session)
    document = await known_run(dep, run)
    decided = await decide_about(dep, run, "retried", Choice(), by=_by(session))
    if not decided.done:
        why = "; ".join(sorted({one.reason for one in decided.refused})) or "nothing failed"
        raise ProblemError(409, f"Nothing is sent again: {why}.", code="nothing_done")
    await site.nudge_targets(decided.targets)
    return render(request, "decided.html", run=document, act="retried", decided=decided)


@router.post("/targets/{target}/pause")
async def pause(request: Request, target: str, session: Acting, dep: Deployed) -> Response:
    """Stop writing to a target."""
    fields = await _fields(request, session)
    await decisions.pause(dep, target, by=_by(session), reason=_one(fields, "reason"))
    return RedirectResponse(f"/#{quote(target)}", 303)


@router.post("/targets/{target}/resume")
async def resume(request: Request, target: str, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """Write to a target again."""
    await _fields(request, session)
    await decisions.resume(dep, target, by=_by(session))
    await site.nudge_targets((target,))
    return RedirectResponse(f"/#{quote(target)}", 303)
