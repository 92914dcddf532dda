"""``/scim/v2``: Users and what a client discovers the service by, as RFC 7644 has it.

Served only where `roster.url` is ``scim:``. Whoever pushes has a token of its own, which opens nothing else. A change
is answered when it is in Redis; workers do the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from provisioner.errors import StoreError, WorkerError
from provisioner.logs import get_logger
from provisioner.runtime.context import build_targets
from provisioner.settings import Settings
from provisioner.store.stores import Stores
from provisioner.web.request_bodies import limited
from provisioner.web.scim import discovery
from provisioner.web.scim.errors import Document, ScimError, invalid
from provisioner.web.scim.filters import read_filter
from provisioner.web.scim.people import Found, People
from provisioner.web.scim.resource import etag, projected
from provisioner.worker.event_tasks import EventNudge

log = get_logger(__name__)

PREFIX: Final = "/scim/v2"
MEDIA_TYPE: Final = "application/scim+json"
SEARCH: Final = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
LIST: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
#: Bytes of a body; a User of many attributes has a few thousand.
LARGEST: Final = 256 * 1024
#: Seconds in which a change has to be in Redis.
_KEPT_WITHIN: Final = 10.0
#: Seconds for which one nudge serves all changes that come meanwhile.
_NUDGED_FOR: Final = 5
_TYPES: Final = frozenset({"application/scim+json", "application/json", ""})
_DEFAULT_COUNT: Final = 100
_VERSION: Final = re.compile(r'(?:W/)?"(\d{1,15})"')

Handler = Callable[[Request], Awaitable[Response]]


def scim(settings: Settings, stores: Callable[[], Stores]) -> APIRouter:
    """The routes of pushed people; none where `roster.url` is something else.

    Args:
        stores: gives what this process keeps in Redis.

    Raises:
        ConfigurationError: a target's settings do not fit what its vendor offers.
    """
    router = APIRouter(prefix=PREFIX, include_in_schema=False)
    token = settings.roster.scim.token
    if not settings.roster.pushed_people or token is None:
        return router
    _, specs = build_targets(settings)
    service = _Service(People(settings, specs, stores), settings, stores)
    digest = hashlib.sha256(token.get_secret_value().encode()).digest()

    def add(path: str, methods: list[str], handler: Handler) -> None:
        router.add_api_route(path, _guarded(handler, digest), methods=methods)

    add("/Users", ["GET"], service.search)
    add("/Users", ["POST"], service.create)
    add("/Users/.search", ["POST"], service.search_by_body)
    # People are all that there is, so who looks everywhere looks among them
    add("", ["GET"], service.search)
    add("/.search", ["POST"], service.search_by_body)
    add("/Users/{id}", ["GET"], service.read)
    add("/Users/{id}", ["PUT"], service.replace)
    add("/Users/{id}", ["PATCH"], service.patch)
    add("/Users/{id}", ["DELETE"], service.delete)
    add("/ServiceProviderConfig", ["GET"], service.provider)
    for kind in ("ResourceTypes", "Schemas"):
        add(f"/{kind}", ["GET"], service.discover(kind))
        add(f"/{kind}/{{id}}", ["GET"], service.discover(kind))
    everything = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    add("/{path:path}", everything, _nothing)
    add("", everything, _nothing)
    return router


def _guarded(handler: Handler, digest: bytes) -> Handler:
    """A handler that wants the token, and whose errors are answered as SCIM has them."""

    async def handle(request: Request) -> Response:
        try:
            _check_token(request, digest)
            async with asyncio.timeout(_KEPT_WITHIN):
                return await handler(request)
        except ScimError as exc:
            if exc.status >= 400 and exc.status != 404:
                log.info("push_refused", status=exc.status, scim_type=exc.scim_type)
            return _answer(exc.to_json(), exc.status, exc.headers)
        except (StoreError, TimeoutError) as exc:
            error = exc if isinstance(exc, StoreError) else StoreError("Redis does not answer in time.")
            log.error("push_not_accepted", code=error.code, error=error.message)
            body = ScimError(503, "Nothing was kept. Send it again.").to_json()
            return _answer(body, 503, {"Retry-After": "5"})
        except ClientDisconnect:
            raise
        except Exception as exc:  # noqa: BLE001 (a client of SCIM reads no other form of error)
            log.error("push_broke", error=type(exc).__name__)
            return _answer(ScimError(500, "Something went wrong that nobody foresaw.").to_json(), 500)

    return handle


def _check_token(request: Request, digest: bytes) -> None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = hashlib.sha256(token.strip().encode(errors="surrogateescape")).digest()
    # Compared in any case, so that it takes equally long
    same = hmac.compare_digest(given, digest)
    if scheme.lower() != "bearer" or not same:
        raise ScimError(401, "This needs the token roster.scim.token.", headers={"WWW-Authenticate": "Bearer"})


async def _nothing(request: Request) -> Response:
    path = request.url.path.removeprefix(PREFIX)
    kind = path.strip("/").split("/")[0]
    if kind in ("Users", "ServiceProviderConfig", "ResourceTypes", "Schemas"):
        raise ScimError(405, f"{request.method} is not possible here.")
    if kind in ("Me", "Bulk"):
        raise ScimError(501, f"/{kind} is not offered; ServiceProviderConfig says what is.")
    raise ScimError(404, "There is nothing at this path: only people are taken, at /Users.")


class _Service:
    """The handlers."""

    def __init__(self, people: People, settings: Settings, stores: Callable[[], Stores]) -> None:
        self._people, self._stores = people, stores
        self._nudge = EventNudge(settings, "changed")

    async def search(self, request: Request) -> Response:
        """Users by a filter, page by page."""
        asked = dict(request.query_params)
        lists = {name: asked[name].split(",") for name in ("attributes", "excludedAttributes") if asked.get(name)}
        return await self._search(request, {**asked, **lists})

    async def search_by_body(self, request: Request) -> Response:
        """The same, asked for by POST."""
        body = await _body(request)
        if SEARCH not in (body.get("schemas") or ()):
            raise invalid(f"`schemas` does not name {SEARCH}.", "invalidSyntax")
        return await self._search(request, body)

    async def _search(self, request: Request, asked: Mapping[str, Any]) -> Response:
        text = asked.get("filter")
        wanted = read_filter(str(text), self._people.schema) if text else None
        start = max(1, _number(asked.get("startIndex"), 1, "startIndex"))
        count = min(discovery.MOST, max(0, _number(asked.get("count"), _DEFAULT_COUNT, "count")))
        found: Found = await self._people.find(wanted, start, count)
        chosen = _chosen(asked)
        base = _base(request)
        shown = [projected(self._people.shown(one, base), self._people.schema, *chosen) for one in found.people]
        return _answer(
            {
                "schemas": [LIST],
                "totalResults": found.total,
                "startIndex": found.start,
                "itemsPerPage": len(shown),
                "Resources": shown,
            }
        )

    async def read(self, request: Request) -> Response:
        """One User."""
        person = await self._people.get(_id(request))
        if person.version in (_versions(request, "if-none-match") or ()):
            return Response(status_code=304, headers={"ETag": etag(person.version)})
        return self._one(request, person)

    async def create(self, request: Request) -> Response:
        """A new User."""
        person = await self._people.create(await _body(request))
        return self._one(request, person, 201, nudged=True)

    async def replace(self, request: Request) -> Response:
        """Another resource in place of the one there."""
        body = await _body(request)
        person = await self._people.replace(_id(request), body, _versions(request, "if-match"))
        return self._one(request, person, nudged=True)

    async def patch(self, request: Request) -> Response:
        """Some changes of a User."""
        body = await _body(request)
        person = await self._people.patch(_id(request), body, _versions(request, "if-match"))
        return self._one(request, person, nudged=True)

    async def delete(self, request: Request) -> Response:
        """A User who left."""
        await self._people.delete(_id(request), _versions(request, "if-match"))
        return Response(status_code=204, background=BackgroundTask(self._nudged))

    async def provider(self, request: Request) -> Response:
        """What this service can do."""
        return _answer(discovery.provider(_base(request)))

    def discover(self, kind: str) -> Handler:
        """Resource types or schemas, all or one."""

        async def handle(request: Request) -> Response:
            if "filter" in request.query_params:
                # RFC 7644 (4): what a client discovers the service by takes no filter
                raise ScimError(403, f"/{kind} takes no filter.")
            found = discovery.documents(kind, self._people.schema, _base(request))
            wanted = request.path_params.get("id")
            if wanted is None:
                total = len(found)
                return _answer(
                    {
                        "schemas": [LIST],
                        "totalResults": total,
                        "startIndex": 1,
                        "itemsPerPage": total,
                        "Resources": found,
                    }
                )
            one = next((document for document in found if document["id"].lower() == wanted.lower()), None)
            if one is None:
                raise ScimError(404, f"There is no {wanted[:200]!r} among {kind}.")
            return _answer(one)

        return handle

    def _one(self, request: Request, person: Any, status: int = 200, *, nudged: bool = False) -> Response:
        shown = self._people.shown(person, _base(request))
        asked = request.query_params
        lists = {name: asked[name].split(",") for name in ("attributes", "excludedAttributes") if asked.get(name)}
        headers = {"ETag": etag(person.version), "Location": shown["meta"]["location"]}
        answer = _answer(projected(shown, self._people.schema, *_chosen(lists)), status, headers)
        if nudged:
            answer.background = BackgroundTask(self._nudged)
        return answer

    async def _nudged(self) -> None:
        try:
            if await self._stores().wakeups.first_in("changed", _NUDGED_FOR):
                await asyncio.to_thread(self._nudge.send)
        except (StoreError, WorkerError) as exc:
            # Beat's tick finds it besides
            log.warning("not_nudged", error=exc.message)


def _answer(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(body, status, dict(headers or {}), media_type=MEDIA_TYPE)


def _base(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}{PREFIX}"


def _id(request: Request) -> str:
    return str(request.path_params["id"])


def _number(value: Any, default: int, name: str) -> int:
    if value is None or value == "":
        return default
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[+-]?\d{1,9}", text):
        raise invalid(f"{name} is no whole number.")
    return int(text)


def _chosen(asked: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The attributes that are wanted, and those that are not."""
    found = []
    for name in ("attributes", "excludedAttributes"):
        value = asked.get(name) or []
        if not isinstance(value, list):
            raise invalid(f"{name} is no list.")
        found.append([str(one).strip() for one in value])
    return found[0], found[1]


def _versions(request: Request, header: str) -> tuple[int, ...] | None:
    """The versions of a condition; None where there is none, or any will do."""
    text = request.headers.get(header)
    if text is None or text.strip() == "*":
        return None
    return tuple(int(one) for one in _VERSION.findall(text))


async def _body(request: Request) -> Document:
    """The JSON object that a request carries.

    Raises:
        ScimError: it is too large, or none.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _TYPES:
        raise ScimError(415, f"The body has to be {MEDIA_TYPE}.")
    too_large = ScimError(413, f"The body is larger than {LARGEST // 1024} KiB; nothing of it was kept.")
    content = b"".join([piece async for piece in limited(request, LARGEST, too_large)])
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise invalid("The body is no JSON.", "invalidSyntax") from None
    if not isinstance(found, dict):
        raise invalid("The body is no JSON object.", "invalidSyntax")
    return found
