"""Plans as files, written and applied in this process."""

from __future__ import annotations

from typing import Any

from provisioner.model.plan_file import PlanFile, kept_of, plan_file
from provisioner.model.run_document import RunDocument, exit_code
from provisioner.runs.lifecycle import request_run
from provisioner.runs.orders import with_left_out, with_plan
from provisioner.runs.preview import previewed
from provisioner.runs.undo import undo_request
from provisioner.runtime.context import Deployment
from provisioner.store.runs.documents import Request
from tests.support.harness import carry_out

KEPT = 3600.0


async def written(dep: Deployment, **asked: Any) -> PlanFile:
    """The plan for review, kept as `plan --out` keeps it."""
    request = Request("manual", **asked)
    found = await previewed(dep, request)
    file = plan_file(found.document, found.links, request.people)
    await dep.reviewed.keep(file["digest"], kept_of(file), KEPT)
    return file


async def applied(dep: Deployment, file: PlanFile) -> tuple[RunDocument, int]:
    """What a run made of a reviewed plan, and the exit code of who waited for it."""
    run = await request_run(dep, await with_plan(dep, Request("manual"), file["digest"]))
    await carry_out(dep, run)
    document = await dep.runs.document(run)
    assert document is not None
    full = await with_left_out(dep, document)
    return full, exit_code(full)


async def undone(dep: Deployment, run: str, *, force: bool = False, **chosen: Any) -> tuple[RunDocument, int]:
    """What became of the undo of a run, and its exit code."""
    request = await undo_request(dep, run, chosen.get("targets"), chosen.get("people"), force=force)
    new = await request_run(dep, request)
    await carry_out(dep, new)
    document = await dep.runs.document(new)
    assert document is not None
    full = await with_left_out(dep, document)
    return full, exit_code(full)
