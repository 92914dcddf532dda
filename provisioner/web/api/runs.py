"""The HTTP API: what programs may ask, each with a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from provisioner.admin.decisions import Choice, Verdict, decide_about, take_back
from provisioner.admin.person_report import story
from provisioner.admin.worklists import to_do
from provisioner.errors import UsageError
from provisioner.logs import clean
from provisioner.model.decision_document import RunDecision
from provisioner.model.operation import Kind, Status
from provisioner.roster import check_allowed
from provisioner.runs.orders import with_left_out, with_plan
from provisioner.runs.roster_source import names_own
from provisioner.runs.undo import undo_request
from provisioner.runtime.audit import record
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.settings.place import shown
from provisioner.store.runs.documents import Request as RunAsked
from provisioner.store.runs.paging import Filter
from provisioner.web import request_bodies
from provisioner.web.api.schemas import (
    SCHEMAS,
    Accepted,
    AcceptedRoster,
    Decided,
    Decision,
    OperationPage,
    Problem,
    Rejection,
    RetryRequest,
    Run,
    RunPage,
    RunRequest,
    Story,
    ToDo,
    components,
)
from provisioner.web.auth.access import Actor, Reader, User, bearer
from provisioner.web.problems import MEDIA_TYPE, ProblemError, unusable
from provisioner.web.run_requests import ask_for_run, known_run
from provisioner.web.web_context import Deployed, OnSite, Site

_KEY_LENGTH: Final = 255
_FILE: Final = {"type": "string", "format": "binary", "minLength": 1}
_WHATS: Final[Mapping[int, str]] = {
    401: "No token, or one that opens nothing",
    403: "A viewer may not act",
    404: "There is no such thing",
    409: "It cannot be done in the present state",
    413: "The body is too large",
    415: "The body is not of the right type",
    422: "What was asked makes no sense",
    429: "Too many wrong tokens came from this address",
    503: "Redis does not answer; nothing was done",
}


def _answers(answer: type, *more: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]]
    found = {status: _carried("Successful Response", "application/json", answer.__name__)}
    for code in sorted({401, 429, 503, *more}):
        found[code] = _carried(_WHATS[code], MEDIA_TYPE, Problem.__name__)
    return found


def _carried(what: str, media_type: str, shape: str) -> dict[str, Any]:
    return {"description": what, "content": {media_type: {"schema": {"$ref": f"{SCHEMAS}{shape}"}}}}


def _carries(model: type[BaseModel], *, required: bool) -> dict[str, Any]:
    shape = model.model_json_schema(ref_template=f"{SCHEMAS}{{model}}")
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": shape}}}}


router = APIRouter(prefix="/api", dependencies=[Depends(bearer)])
Limit = Annotated[int, Query(ge=1, le=500, description="Rows at most.")]
Offset = Annotated[int, Query(ge=0, le=1_000_000, description="Rows to leave out.")]


@router.post(
    "/runs",
    status_code=202,
    responses=_answers(Accepted, 403, 409, 413, 415, 422, status=202),
    openapi_extra=_carries(RunRequest, required=False),
    summary="Ask for a run",
)
async def post_run(
    request: Request,
    user: Actor,
    site: OnSite,
    dep: Deployed,
    body: Annotated[RunRequest, Depends(request_bodies.json_body(RunRequest))],
    idempotency_key: Annotated[
        str | None, Header(description="The same key within 24 hours answers with the same run.")
    ] = None,
) -> JSONResponse:
    """Queue a run; a plain one that is queued already is joined."""
    by, asked_by = f"api:{user.name}", request.headers.get("traceparent")
    # Named before the key is taken, so that a request which makes no sense leaves none behind
    _known_targets(dep.settings, body.targets)
    asked = RunAsked("api", body.targets, body.people, roster=_allowed_roster(dep.settings, body.roster))
    if body.plan is not None or body.undo is not None:
        asked = await _ordered(dep, asked, body)
    if idempotency_key is None:
        return JSONResponse({"run": await ask_for_run(site, dep, asked, by=by, asked_by=asked_by)}, 202)
    if not 0 < len(idempotency_key) <= _KEY_LENGTH:
        raise unusable(f"Idempotency-Key: it has 1 to {_KEY_LENGTH} characters.")
    name, content = f"{user.mark}:{idempotency_key}", request.state.content
    known = await site.access.begin_once(name, content)
    if known is not None:
        if known.differs:
            raise unusable("This Idempotency-Key came with another request before.", "Take a new key for each request.")
        if known.run is None:
            raise ProblemError(409, "The first request with this Idempotency-Key is not done yet.", code="in_hand")
        return JSONResponse({"run": known.run}, 202)
    run = None
    try:
        run = await ask_for_run(site, dep, asked, by=by, asked_by=asked_by)
    finally:
        await site.access.end_once(name, content, run)
    return JSONResponse({"run": run}, 202)


async def _ordered(dep: Deployment, asked: RunAsked, body: RunRequest) -> RunAsked:
    """The request for a run that applies a reviewed plan, or takes a run back; 422 where that makes no sense."""
    try:
        if body.undo is not None:
            return await undo_request(dep, body.undo, body.targets, body.people, force=body.force_drift)
        return await with_plan(dep, asked, body.plan or "")
    except UsageError as exc:
        raise unusable(exc.message, exc.remedy, code="unknown_plan" if body.plan else "nothing_to_undo") from None


def _known_targets(settings: Settings, targets: tuple[str, ...] | None) -> None:
    unknown = [name for name in targets or () if name not in settings.targets]
    if unknown:
        raise unusable(f"There is no target {unknown[0]!r}.", f"Targets are: {', '.join(settings.targets) or 'none'}.")


def _allowed_roster(settings: Settings, address: str | None) -> str | None:
    """The roster that a request names, if it may name it.

    Raises:
        ProblemError: 422, it is neither roster.url nor under web.rosters.
    """
    if address is None or names_own(settings, address):
        return None if address is None else shown(address)
    try:
        check_allowed(address, settings.web.rosters)
    except UsageError as exc:
        raise unusable(clean(exc.message), exc.remedy, code="roster_not_allowed") from None
    return address


@router.get("/runs", responses=_answers(RunPage, 422), summary="List the runs, the newest first")
async def get_runs(dep: Deployed, limit: Limit = 20, offset: Offset = 0) -> JSONResponse:
    """Some runs, without their operations."""
    found = await dep.runs.recent(limit + 1, offset)
    documents = [await dep.runs.document(run) for run in found[:limit]]
    next_ = f"/api/runs?{urlencode({'limit': limit, 'offset': offset + limit})}" if len(found) > limit else None
    return JSONResponse({"runs": [one for one in documents if one is not None], "next": next_})


@router.get("/runs/{run}", responses=_answers(Run, 404), summary="One run")
async def get_run(run: str, dep: Deployed) -> JSONResponse:
    """What was asked, what was planned, what became of it; of a reviewed plan or an undo also what is left out."""
    return JSONResponse(await with_left_out(dep, await known_run(dep.runs, run)))


@router.get("/runs/{run}/operations", responses=_answers(OperationPage, 404, 422), summary="A run's operations")
async def get_operations(
    run: str,
    dep: Deployed,
    status: Annotated[list[Status] | None, Query(description="Only of these statuses.")] = None,
    kind: Annotated[Kind | None, Query(description="Only of this kind.")] = None,
    target: Annotated[str | None, Query(description="Only this target's.")] = None,
    after: Annotated[str | None, Query(description="Where the page before ended.")] = None,
    limit: Limit = 100,
) -> JSONResponse:
    """Some operations, in the order of the plan."""
    document = await known_run(dep.runs, run)
    _known_targets(dep.settings, (target,) if target else None)
    targets = [name for name in document["targets"] if target in (None, name)]
    statuses = tuple(dict.fromkeys(one.value for one in status)) if status else None
    wanted = Filter(statuses, kind.value if kind else None)
    page = await dep.operations.page(run, targets, wanted, after=after, limit=limit)
    next_ = None
    if page.next is not None:
        query = [("status", one) for one in statuses or ()]
        query += [("kind", kind.value)] if kind else []
        query += [("target", target)] if target else []
        query += [("limit", str(limit)), ("after", page.next)]
        next_ = f"/api/runs/{run}/operations?{urlencode(query)}"
    return JSONResponse({"operations": list(page.rows), "next": next_})


async def decide(
    site: Site, dep: Deployment, run: str, verdict: Verdict, choice: Choice, *, by: str, reason: str = ""
) -> RunDecision:
    """Approve, reject or retry, and tell the workers.

    Raises:
        ProblemError: 404 no such run, 409 nothing could be done, 422 no such target.
    """
    document = await known_run(dep.runs, run)
    if choice.target is not None:
        _known_targets(dep.settings, (choice.target,))
        if choice.target not in document["targets"]:
            raise unusable(f"Run {run} has no part for the target {choice.target!r}.")
    try:
        found = await decide_about(dep, run, verdict, choice, by=by, reason=reason)
    except UsageError as exc:
        raise ProblemError(409, exc.message, code="nothing_done", more={"refused": []}) from exc
    answer: RunDecision = {"run": run, **found.to_json()}
    if not found.done:
        what = "failed" if verdict == "retried" else "held"
        detail = (
            f"None of the {len(found.refused)} {what} operations could be {verdict}."
            if found.refused
            else f"Run {run} has no {what} operation of that choice."
        )
        raise ProblemError(409, detail, code="nothing_done", more={"refused": answer["refused"]})
    if verdict != "rejected":
        await site.nudge_targets(found.targets)
    return answer


async def _decided(
    site: Site, dep: Deployment, run: str, verdict: Verdict, asked: RetryRequest, user: User
) -> JSONResponse:
    reason = asked.reason if isinstance(asked, Decision) else ""
    choice = Choice(asked.target, asked.people)
    return JSONResponse(await decide(site, dep, run, verdict, choice, by=f"api:{user.name}", reason=reason))


_DECIDED: Final = _answers(Decided, 403, 404, 409, 413, 415, 422)


@router.post(
    "/runs/{run}/approve",
    responses=_DECIDED,
    openapi_extra=_carries(Decision, required=True),
    summary="Let held operations go out",
)
async def post_approve(
    run: str,
    user: Actor,
    site: OnSite,
    dep: Deployed,
    body: Annotated[Decision, Depends(request_bodies.json_body(Decision))],
) -> JSONResponse:
    """Of those that the newest plan still wants; the others are refused, each with its reason."""
    return await _decided(site, dep, run, "approved", body, user)


@router.post(
    "/runs/{run}/reject",
    responses=_DECIDED,
    openapi_extra=_carries(Rejection, required=True),
    summary="Drop held operations, or take that back",
)
async def post_reject(
    run: str,
    user: Actor,
    site: OnSite,
    dep: Deployed,
    body: Annotated[Rejection, Depends(request_bodies.json_body(Rejection))],
) -> JSONResponse:
    """Each stays silent until the person's row changes, for `guards.rejection` at most."""
    if body.undo:
        document = await known_run(dep.runs, run)
        if body.target is not None and body.target not in document["targets"]:
            raise unusable(f"Run {run} has no part for the target {body.target!r}.")
        choice = Choice(body.target, body.people)
        try:
            found = await take_back(dep, run, choice, by=f"api:{user.name}", reason=body.reason)
        except UsageError as exc:
            raise ProblemError(409, exc.message, code="nothing_done", more={"refused": []}) from exc
        return JSONResponse({"run": run, **found.to_json()})
    return await _decided(site, dep, run, "rejected", body, user)


@router.post(
    "/runs/{run}/retry",
    responses=_DECIDED,
    openapi_extra=_carries(RetryRequest, required=False),
    summary="Send failed operations again",
)
async def post_retry(
    run: str,
    user: Actor,
    site: OnSite,
    dep: Deployed,
    body: Annotated[RetryRequest, Depends(request_bodies.json_body(RetryRequest))],
) -> JSONResponse:
    """Those that the newest plan still wants."""
    return await _decided(site, dep, run, "retried", body, user)


@router.get("/people/{key:path}", responses=_answers(Story, 404), summary="One person's story")
async def get_person(key: str, dep: Deployed) -> JSONResponse:
    """Roster row, scope, link, desired and observed account per target, operations and outcomes, newest first."""
    return JSONResponse(await story(dep, key))


@router.get("/todos", responses=_answers(ToDo, 422), summary="What waits for a person")
async def get_todos(
    dep: Deployed, target: Annotated[str | None, Query(description="Only this target's.")] = None
) -> JSONResponse:
    """Everything that needs a person: leavers who still have an account, valid rejections, conflicts and the like."""
    _known_targets(dep.settings, (target,) if target else None)
    return JSONResponse(await to_do(dep, dep.chosen((target,) if target else None)))


@router.put(
    "/roster",
    status_code=202,
    responses=_answers(AcceptedRoster, 403, 413, 422, status=202),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": _FILE} for kind in ("text/csv", "application/octet-stream")},
        }
    },
    summary="Push a roster",
)
async def put_roster(request: Request, user: Actor, site: OnSite, dep: Deployed) -> JSONResponse:
    """The raw file, in any form that roster.url may have. A run reads it at once. Unless that run rejects it, it is
    read until roster.url changes, another one comes, or `provisioner roster --drop-push` drops it."""
    if dep.settings.roster.pushed_people:
        raise unusable(
            "roster.url is scim:, so people are pushed one by one.", "Push them to /scim/v2/Users.", code="one_by_one"
        )
    content, digest = await request_bodies.file(request)
    by = f"api:{user.name}"
    await record(dep.audit, by, "roster pushed", facts={"digest": digest, "bytes": len(content)})
    asked = RunAsked("push", pushed_at=await dep.clock.now())
    run = await ask_for_run(site, dep, asked, by=by, content=content, asked_by=request.headers.get("traceparent"))
    return JSONResponse({"run": run, "digest": digest}, 202)


@router.get("/openapi.json", include_in_schema=False)
async def get_openapi_document(user: Reader) -> JSONResponse:
    """This API's description."""
    del user
    document = get_openapi(
        title="provisioner",
        version="1",
        description="Runs, operations and people. Every path under /api needs `Authorization: Bearer <token>`.",
        routes=router.routes,
    )
    parts = document.setdefault("components", {})
    parts.setdefault("schemas", {}).update(components())
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, methods in document["paths"].items():
        for method in methods.values():
            if path.startswith("/api/"):
                method["security"] = [{"token": []}]
            # FastAPI's own form of a refusal is not ours
            if "application/json" in method["responses"].get("422", {}).get("content", {}):
                method["responses"]["422"]["content"] = {
                    MEDIA_TYPE: {"schema": {"$ref": f"{SCHEMAS}{Problem.__name__}"}}
                }
    for name in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(name, None)
    return JSONResponse(document)
