"""Receives webhooks of vendors: ``POST /webhooks/{target}/{webhook_secret}``.

An event is judged, put into Redis once, and answered with 202; workers do the rest. The secret is in the path,
since none of the vendors signs; so the path is never logged. A wrong secret, an unknown target, one without a secret
and an address that may not send all get the same 404, before anything of the body is read.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.background import BackgroundTask

from provisioner.errors import StoreError, WorkerError
from provisioner.logs import get_logger
from provisioner.model.event import InvalidEventError, NotJsonError, canonical_json, read_json
from provisioner.runtime.context import build_targets
from provisioner.settings import Settings, TargetSettings
from provisioner.store.events.inbound import InboundStore
from provisioner.store.stores import Stores
from provisioner.targets.base import Target
from provisioner.targets.capabilities import read_event, single_events
from provisioner.web.problems import problem
from provisioner.web.request_bodies import limited
from provisioner.worker.event_tasks import EventNudge

log = get_logger(__name__)

#: Bytes of a body; the vendors' samples have three thousand.
LARGEST: Final = 256 * 1024
#: Seconds in which an event has to be in Redis; vendors wait hardly longer for an answer.
_KEPT_WITHIN: Final = 4.0
#: Seconds for which one nudge serves all events that come meanwhile.
_NUDGED_FOR: Final = 5


def webhooks(settings: Settings, stores: Callable[[], Stores]) -> APIRouter:
    """The routes of webhooks.

    Args:
        stores: gives what this process keeps in Redis.

    Raises:
        ConfigurationError: a target's settings do not fit what its vendor offers.
    """
    targets, _ = build_targets(settings)
    gate = _Gate({name: settings.targets[name] for name in targets})
    nudge = EventNudge(settings)
    router = APIRouter()

    async def nudged() -> None:
        try:
            if not await stores().wakeups.first_in("inbound", _NUDGED_FOR):
                return
            await asyncio.to_thread(nudge.send)
        except (StoreError, WorkerError) as exc:
            # Beat nudges every other second besides
            log.warning("not_nudged", error=exc.message)

    @router.post("/webhooks/{target}/{secret}", status_code=202, include_in_schema=False)
    async def receive(target: str, secret: str, request: Request) -> Response:
        """Take one delivery, mostly one event."""
        if not gate.opens(target, secret, request.client.host if request.client else ""):
            return nothing_there()
        try:
            content = await body_of(request)
            if content is None:
                return _refused(target, 413, "too_large", f"An event is at most {LARGEST // 1024} KiB.")
            async with asyncio.timeout(_KEPT_WITHIN):
                return await _take(targets[target], content, stores().inbound, nudged)
        except (StoreError, TimeoutError) as exc:
            error = exc if isinstance(exc, StoreError) else StoreError("Redis does not answer in time.")
            log.error("event_not_accepted", target=target, code=error.code, error=error.message)
            answer = problem(503, "Service Unavailable", "Nothing was kept. Send it again.", code=error.code)
            answer.headers["Retry-After"] = "5"
            return answer

    return router


async def _take(made: Target[Any], content: bytes, store: InboundStore, nudged: Callable[[], Any]) -> Response:
    try:
        body = read_json(content)
        if not isinstance(body, dict):
            raise InvalidEventError("it is no JSON object")
        events = [(one, read_event(made, one)) for one in single_events(made, body)]
    except NotJsonError:
        return _refused(made.name, 400, "not_json", "The body is no JSON.")
    except InvalidEventError as exc:
        return _refused(made.name, 422, "invalid", f"This is no event of {made.kind}: {exc}.")
    fresh = False
    for one, event in events:
        # What came before is not taken again, should the delivery be repeated because this ended half way
        taken = await store.accept(
            made.name, digest=event.digest, event=event.name, known=event.known, body=canonical_json(one)
        )
        fresh = fresh or taken
    status = "accepted" if fresh else "known"
    return JSONResponse({"status": status}, 202, background=BackgroundTask(nudged) if fresh else None)


def _refused(target: str, status: int, code: str, detail: str) -> Response:
    log.warning("event_refused", target=target, status=status, code=code)
    titles = {400: "Bad Request", 413: "Content Too Large", 422: "Unprocessable Content"}
    return problem(status, titles[status], detail, code=code)


def nothing_there() -> Response:
    """What whoever has no right to send gets, whatever the reason."""
    return problem(404, "Not Found", "There is nothing at this path.", code="not_found")


async def body_of(request: Request) -> bytes | None:
    """The body; None if it is too large, of which no more is read than it takes to know that."""
    try:
        return b"".join([piece async for piece in limited(request, LARGEST, _TooLargeError())])
    except _TooLargeError:
        return None


class _TooLargeError(Exception):
    """A delivery has more bytes than are read."""


class _Gate:
    """Authenticates the sender of a webhook, in the same time whether or not the target exists."""

    def __init__(self, settings: Mapping[str, TargetSettings]) -> None:
        self._settings = settings
        self._digests = {
            name: _digest(own.webhook_secret.get_secret_value())
            for name, own in settings.items()
            if own.webhook_secret and own.webhook_secret.get_secret_value()
        }
        self._nobody = secrets.token_bytes(32)

    def opens(self, target: str, secret: str, host: str) -> bool:
        same = hmac.compare_digest(self._digests.get(target, self._nobody), _digest(secret))
        return same and target in self._digests and self._from(target, host)

    def _from(self, target: str, host: str) -> bool:
        networks = self._settings[target].webhook_sources
        if not networks:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in networks)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
