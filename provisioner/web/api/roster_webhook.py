"""Where an HR system says whose row changed: ``POST /webhooks/roster``, signed as Standard Webhooks has it.

What is taken is in Redis before it is answered; workers read `roster.url` for these people. Whoever cannot sign gets
the 404 of a path that is not there, and nothing of their body is parsed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.background import BackgroundTask

from provisioner.errors import StoreError, WorkerError
from provisioner.logs import get_logger
from provisioner.model.event import InvalidEventError, NotJsonError, read_json
from provisioner.model.standard_webhook import NotSignedError, checked_id
from provisioner.roster.values import clean_name
from provisioner.settings import Settings
from provisioner.settings.pushed_people import webhook_key
from provisioner.store.people.changed_people import EVERYBODY
from provisioner.store.stores import Stores
from provisioner.web.api.webhooks import body_of, nothing_there
from provisioner.web.problems import problem
from provisioner.worker.event_tasks import EventNudge

log = get_logger(__name__)

#: Seconds in which an event has to be in Redis.
_KEPT_WITHIN: Final = 4.0
#: Seconds for which one nudge serves all events that come meanwhile.
_NUDGED_FOR: Final = 5
#: People of one event from whom on it is taken to be about everybody.
_MANY: Final = 1000


def roster_webhook(settings: Settings, stores: Callable[[], Stores]) -> APIRouter:
    """The route of the roster's webhook; none where there is no `roster.webhook`.

    Args:
        stores: gives what this process keeps in Redis.
    """
    router = APIRouter()
    own = settings.roster.webhook
    if own is None:
        return router
    keys = [webhook_key(secret) for secret in own.secret]
    nudge = EventNudge(settings, "changed")

    async def nudged() -> None:
        try:
            if await stores().wakeups.first_in("changed", _NUDGED_FOR):
                await asyncio.to_thread(nudge.send)
        except (StoreError, WorkerError) as exc:
            # Beat's tick finds it besides
            log.warning("not_nudged", error=exc.message)

    @router.post("/webhooks/roster", status_code=202, include_in_schema=False)
    async def receive(request: Request) -> Response:
        """Take one delivery."""
        body = await body_of(request)
        try:
            if body is None:
                raise NotSignedError("the body is too large")
            identifier = checked_id(keys, request.headers, body, now=time.time())
        except NotSignedError as exc:
            log.warning("roster_webhook_refused", reason=str(exc))
            return nothing_there()
        try:
            people = {EVERYBODY} if own.keys is None else people_in(read_json(body), own.keys)
        except (NotJsonError, InvalidEventError):
            log.warning("roster_webhook_refused", reason="the body is no JSON")
            return problem(400, "Bad Request", "The body is no JSON.", code="not_json")
        if not people:
            # Other events of the same sender are none of ours
            log.info("roster_webhook_ignored", path=own.keys)
            return JSONResponse({"status": "ignored"}, 202)
        try:
            async with asyncio.timeout(_KEPT_WITHIN):
                fresh = await stores().changed_people.hear(identifier, sorted(people))
        except (StoreError, TimeoutError) as exc:
            error = exc if isinstance(exc, StoreError) else StoreError("Redis does not answer in time.")
            log.error("roster_webhook_not_accepted", code=error.code, error=error.message)
            answer = problem(503, "Service Unavailable", "Nothing was kept. Send it again.", code=error.code)
            answer.headers["Retry-After"] = "5"
            return answer
        background = BackgroundTask(nudged) if fresh else None
        return JSONResponse({"status": "accepted" if fresh else "known"}, 202, background=background)

    return router


def people_in(body: Any, path: str) -> set[str]:
    """The keys of people at a path of an event, through lists too; `EVERYBODY` where they are very many."""
    found = [body]
    for name in path.split("."):
        within = [inner for one in found for inner in (one if isinstance(one, list) else [one])]
        found = [one[name] for one in within if isinstance(one, dict) and name in one]
    values = [inner for one in found for inner in (one if isinstance(one, list) else [one])]
    texts = {str(one) for one in values if isinstance(one, (str, int, float)) and not isinstance(one, bool)}
    keys = {clean_name(text) for text in texts} - {""}
    return {EVERYBODY} if len(keys) > _MANY else keys
