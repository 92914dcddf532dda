"""The pages of the overview, of runs and of one person: what is looked at."""

from __future__ import annotations

from typing import Any, Final, cast
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from provisioner.admin.person_report import story
from provisioner.admin.person_search import MOST, search
from provisioner.errors import UsageError
from provisioner.model.operation import Kind, Status
from provisioner.model.operation_document import OperationDocument
from provisioner.model.run_document import KINDS, OUTCOMES, RunDocument, RunPart
from provisioner.runs.orders import with_left_out
from provisioner.store.runs.paging import Filter
from provisioner.web import request_bodies
from provisioner.web.auth.access import SignedIn, check_form
from provisioner.web.pages.overview import look
from provisioner.web.pages.run_view import Progress, causes, in_run, progress
from provisioner.web.pages.worklists import labels_of, offset_of
from provisioner.web.rendering import render
from provisioner.web.run_requests import known_run
from provisioner.web.web_context import Deployed


class PartView(RunPart):
    """A run's part for one target, as a page shows it."""

    name: str
    progress: Progress


router = APIRouter()
_RUNS: Final = 30
_OPERATIONS: Final = 50
#: Characters of what people are looked for by.
_LONGEST_SEARCH: Final = 200


@router.get("/")
async def overview(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """How everything is."""
    del session
    return render(request, "overview.html", view=await look(dep))


@router.get("/runs")
async def runs(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """All runs, the newest first."""
    del session
    offset = offset_of(request)
    found = await dep.runs.recent(_RUNS + 1, offset)
    documents = [await dep.runs.document(run) for run in found[:_RUNS]]
    return render(
        request,
        "runs.html",
        runs=[one for one in documents if one is not None],
        targets=list(dep.settings.targets),
        older=offset + _RUNS if len(found) > _RUNS else None,
        newer=max(0, offset - _RUNS) if offset else None,
    )


@router.get("/runs/{run}")
async def run(request: Request, run: str, session: SignedIn, dep: Deployed) -> Response:
    """One run: its progress, why something was not done, and its operations."""
    del session
    document = await with_left_out(dep, await known_run(dep.runs, run))
    targets = list(document["targets"])
    asked = {name: request.query_params.get(name, "") for name in ("status", "kind", "target", "person")}
    chosen = [name for name in targets if asked["target"] in ("", name)]
    status = asked["status"] if asked["status"] in set(Status) else ""
    kind = asked["kind"] if asked["kind"] in set(Kind) else ""
    after = request.query_params.get("after") or None
    next_ = None
    rows: list[OperationDocument]
    if asked["person"]:
        rows = [
            row
            for row in await in_run(dep, run, asked["person"], chosen)
            if status in ("", row["status"]) and kind in ("", row["kind"])
        ]
    else:
        wanted = Filter((status,) if status else None, kind or None)
        page = await dep.operations.page(run, chosen, wanted, after=after, limit=_OPERATIONS)
        rows, next_ = list(page.rows), page.next
    found, partly = await causes(dep.operations, dep.settings, run, document)
    return render(
        request,
        "run.html",
        run=document,
        parts=parts(document),
        outcomes=OUTCOMES,
        kinds=KINDS,
        statuses=[one.value for one in Status],
        causes=found,
        partly=partly,
        rows=rows,
        next=next_,
        after=after,
        asked=asked | {"status": status, "kind": kind},
        rejects=(await dep.runs.rejects(run))[:10],
        people=people_of(await dep.runs.request(run)),
        labels=await labels_of(dep.frames, dep.settings, (row["person"] for row in rows)),
    )


def people_of(request: Any) -> tuple[str, ...]:
    """The persons that a run is about; none: everybody."""
    return request.people if request is not None and request.people else ()


def parts(document: RunDocument) -> list[PartView]:
    """The run's targets with their progress."""
    return [
        cast("PartView", {"name": name, "progress": progress(part), **part})
        for name, part in document["targets"].items()
    ]


@router.get("/people")
async def person(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """One person's story; without a key, a place to ask for one."""
    del session
    key = request.query_params.get("key", "").strip()
    if not key:
        return render(request, "person.html", key="", story=None, fault=None)
    try:
        document = await story(dep, key)
    except UsageError as exc:
        return render(request, "person.html", 404, key=key, story=None, fault=str(exc))
    return render(request, "person.html", key=key, story=document, fault=None)


@router.get("/search")
async def search_page(request: Request, session: SignedIn) -> Response:
    """Where to find a person; the field is on top of every page."""
    del session
    return render(request, "search.html", text="", found=[], more=False)


@router.post("/search")
async def find_person(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """Whom a text fits; if it is one person, their page. By POST, so that no address has an email or a name in it."""
    fields = dict(await request_bodies.form(request))
    check_form(request, session, fields.get("csrf", ""))
    text = fields.get("text", "").strip()[:_LONGEST_SEARCH]
    found = await search(dep, text)
    if len(found) == 1:
        return RedirectResponse(f"/people?{urlencode({'key': found[0].person})}", 303)
    return render(request, "search.html", text=text, found=found[:MOST], more=len(found) > MOST)


@router.get("/people/{key:path}")
async def person_by_path(key: str, session: SignedIn) -> Response:
    """The same by a shorter address."""
    del session
    return RedirectResponse(f"/people?{urlencode({'key': key})}", 303)
