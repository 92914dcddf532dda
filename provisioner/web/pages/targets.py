"""The page of the targets: budget, queue with a forecast, and the workers that send."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from provisioner.admin.target_state import target_state, workers
from provisioner.progress.vitals import vitals
from provisioner.web.auth.access import SignedIn
from provisioner.web.rendering import render
from provisioner.web.web_context import Deployed

router = APIRouter()


@router.get("/targets")
async def targets(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """Every target now, and who sends."""
    del session
    found = await vitals(dep.heartbeats, dep.settings)
    return render(
        request,
        "targets.html",
        targets=[await target_state(dep, name) for name in dep.settings.targets],
        workers=workers(found),
        vitals=found,
        now=await dep.clock.now(),
    )
