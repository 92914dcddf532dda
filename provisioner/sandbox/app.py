"""The ASGI application: every instance under its name, the switchboard under `/_sandbox`.

The way of a request: limit at arrival → fault → delay → work → record → latency → answer. Only the delays
await, so each request's work is atomic.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import format_datetime
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from provisioner.sandbox import faults, switchboard
from provisioner.sandbox.faults import Fault
from provisioner.sandbox.instance import Instance, Instances
from provisioner.sandbox.limits import SlidingWindow
from provisioner.sandbox.wire import JSON_TYPE, Answer, Call, Found

CLOSE_EXTENSION = "provisioner.sandbox.close"
"""Name of the ASGI extension (`extensions` of the scope): a function that closes the connection at once."""
#: Seconds between two looks whether a fault was taken back.
_POLL = 0.02
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


class Dropped(Response):
    """Closes the connection without an answer; a server without the extension answers 502 instead."""

    def __init__(self) -> None:
        super().__init__(status_code=502)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        close = scope.get("extensions", {}).get(CLOSE_EXTENSION)
        if close is None:
            await super().__call__(scope, receive, send)
            return
        close()
        while (await receive())["type"] != "http.disconnect":
            continue


@dataclass(slots=True)
class Sandbox:
    """The whole sandbox: the instances and the limiters, which instances of one `rate_group` share."""

    instances: Instances = field(default_factory=Instances)
    limiters: dict[str, SlidingWindow] = field(default_factory=dict)

    def reset(self, name: str | None = None) -> None:
        """Forgets one instance or all, and what was counted against the limits."""
        self.instances.reset(name)
        if name is None:
            self.limiters.clear()
        else:
            self.limiters.pop(name, None)

    async def serve(self, request: Request) -> Response:
        """Serves one request to a vendor."""
        arrived = time.monotonic()
        name, path = _split(request)
        instance = self.instances.get(name)
        if instance is None:
            return Response(b'{"error":"no such instance"}', 404, media_type=JSON_TYPE)
        source = request.client.host if request.client else ""
        waiting = self._wait(instance, source, arrived)
        call = await _call(request, instance, path)
        found = instance.find(call.method, path)
        if waiting is not None:
            answer: Answer | Fault = instance.too_many(waiting)
        else:
            answer = await _answer(instance, call, found)
            instance.tell()
        status = answer.status if isinstance(answer, Answer) else (0 if answer.drop else answer.status or 0)
        instance.record(call, found, at=arrived, source=source, query=request.url.query, status=status)
        await _delay(_latency(instance, call, found))
        response = _response(answer)
        response.headers["Date"] = format_datetime(call.now, usegmt=True)
        return response

    def _wait(self, instance: Instance, source: str, arrived: float) -> float | None:
        options = instance.vendor.options
        limiter = self.limiters.setdefault(options.rate_group or instance.name, SlidingWindow())
        return limiter.admit(
            source,
            arrived,
            limit=options.rate_limit,
            window=options.rate_window,
            block=options.block_seconds,
        )


def _split(request: Request) -> tuple[str, str]:
    # The raw path keeps an encoded slash inside a segment apart from a real one.
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    head, _, rest = raw.decode("latin-1").partition("?")[0].removeprefix("/").partition("/")
    return head, f"/{rest}"


async def _call(request: Request, instance: Instance, path: str) -> Call:
    body = await request.body()
    return Call(
        method=request.method,
        path=path,
        query=dict(parse_qsl(request.url.query, keep_blank_values=True)),
        headers=request.headers,
        body=body,
        base_url=f"{request.url.scheme}://{request.url.netloc}/{instance.name}",
        now=instance.now(),
    )


async def _answer(instance: Instance, call: Call, found: Found) -> Answer | Fault:
    """The vendor's answer, or the fault that takes its place."""
    fault = faults.choose(instance.faults, call.method, call.path, call.body)
    if fault is None:
        return instance.work(call, found)
    if fault.hold:
        await _held(instance, fault)
    else:
        await _delay(fault.delay_ms)
    replaced = fault.drop or fault.status is not None
    if replaced and not (fault.after or fault.drop == "after"):
        return fault
    answer = instance.work(call, found)
    return fault if replaced else answer


def _latency(instance: Instance, call: Call, found: Found) -> float:
    options = instance.vendor.options
    is_listing = call.method == "GET" and found.template in instance.vendor.listings
    return float(options.latency_ms + (options.listing_latency_ms if is_listing else 0))


async def _held(instance: Instance, fault: Fault) -> None:
    """Wait until the fault is taken back, or its delay is over."""
    end = asyncio.get_running_loop().time() + fault.delay_ms / 1000
    while any(one is fault for one in instance.faults) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - the fault may be withdrawn at any time
        await asyncio.sleep(_POLL)


async def _delay(milliseconds: float) -> None:
    if milliseconds > 0:
        await asyncio.sleep(milliseconds / 1000)


def _response(answer: Answer | Fault) -> Response:
    if isinstance(answer, Answer):
        return Response(answer.encoded(), answer.status, dict(answer.headers), media_type=JSON_TYPE)
    if answer.drop or answer.status is None:
        return Dropped()
    return Response(answer.body, answer.status, dict(answer.headers), media_type=answer.content_type)


def build_app() -> Starlette:
    """A sandbox with no state yet."""
    sandbox = Sandbox()
    board = switchboard.Board(sandbox.instances, sandbox.reset)
    endpoint: Callable[[Request], Awaitable[Response]] = sandbox.serve
    return Starlette(routes=[*board.routes(), Route("/{rest:path}", endpoint, methods=_METHODS)])
