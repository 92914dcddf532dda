"""The page of the roster: which were read, with the gate's verdicts, and what the last clean one holds."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from provisioner.admin.roster_facts import roster_facts
from provisioner.progress.metrics import verdict_on
from provisioner.settings.place import shown
from provisioner.store.runs.documents import moment
from provisioner.web.auth.access import SignedIn
from provisioner.web.pages.worklists import labels_of
from provisioner.web.rendering import render
from provisioner.web.web_context import Deployed

router = APIRouter()
_ROSTERS: Final = 100


@router.get("/roster")
async def roster(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """The rosters that runs read, with the gate's verdicts, the newest first."""
    del session
    rows = []
    for read in await dep.figures.rosters(await dep.runs.recent(_ROSTERS)):
        if read.people or not (read.read or read.status == "rejected"):
            continue
        rows.append(
            {
                "run": read.run,
                "at": moment(read.started),
                "trigger": read.trigger,
                "verdict": verdict_on(read.document, read.status),
                "reasons": read.document.get("degraded") or ([read.error] if read.error else []),
                **{name: read.document.get(name) for name in ("rows", "people", "rejected", "digest")},
            }
        )
    known = await dep.frames.roster()
    facts = await roster_facts(dep, request.query_params.get("day", ""))
    examples = {cell["person"] for one in facts["columns"] for cell in one["examples"]} if facts else set()
    return render(
        request,
        "roster.html",
        rows=rows,
        name=known.get("name", b"").decode(),
        digest=known.get("digest", b"").decode(),
        taken=float(known["taken"]) if "taken" in known else None,
        pushed=await dep.frames.pushed_since(dep.settings.roster.url),
        url=shown(dep.settings.roster.url),
        facts=facts,
        labels=await labels_of(dep.frames, dep.settings, examples),
    )
