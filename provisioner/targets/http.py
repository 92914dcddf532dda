"""The one way by which requests leave for a target: paced, bounded in time and size, classified.

Two verbs: `Http.read` for what observe needs (it tries again by itself, and raises), and `Http.send` for writes (one
try; whatever went wrong comes back as an outcome, because only the caller knows which people it concerns).
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.util import find_spec
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import httpx

from provisioner import installed_version
from provisioner.errors import MalformedAnswerError, ReadOnlyError
from provisioner.model.outcome import Permanent, Temporary, Unclear
from provisioner.targets.paths import shown_path
from provisioner.targets.responses import (
    NOT_JSON,
    Answer,
    Failure,
    as_error,
    classify,
    parsed,
    parsed_row_by_row,
    retry_after_seconds,
)
from provisioner.targets.turns import Alone, Turn, Turns

#: Seconds from the first byte sent to the last byte read; httpx's own timeouts count between chunks only.
DEADLINE = 30.0
READ_DEADLINE = 60.0
READ_TRIES = 4
#: Bytes of an answer to a write, and to a read: a vendor may list everybody in one answer, at some 300 bytes each.
MAX_ANSWER = 64 * 1024 * 1024
MAX_LISTING = 512 * 1024 * 1024
#: Bytes from which on an answer is parsed in a thread.
_LONG = 4 * 1024 * 1024
_TIMEOUTS = httpx.Timeout(connect=10.0, read=30.0, write=30.0, pool=30.0)

T = TypeVar("T")
#: The HTTP client that `new_client` makes, for those who only hand it on.
Client: TypeAlias = httpx.AsyncClient


class Slot(Protocol):
    """A permission to send one request, to be given back when the answer has arrived."""

    async def answered(self, *, limited: bool = False, retry_after: float | None = None) -> None:
        """Say that the answer is there; `limited` if it was a 429, with its Retry-After in seconds."""


class Pace(Protocol):
    """Where slots come from."""

    async def slot(self, deadline: float) -> Slot:
        """Wait for a permission to send one request that is over after `deadline` seconds."""


class Tokens(Protocol):
    """Where the credentials of a request come from, if they end and are renewed."""

    async def headers(self, client: httpx.AsyncClient) -> Mapping[str, str] | Failure:
        """The headers of a request that is sent now; else why there are none."""

    def refused(self, headers: Mapping[str, str]) -> None:
        """The vendor refused a request with these headers."""


class Fence(Protocol):
    """What requests are sent for: work that another process takes over if this one is suspended for long."""

    async def ensure(self) -> None:
        """Return only if it is ours still, and for longer than a request takes.

        Raises:
            ClaimLostError: it is not.
            StoreError: nobody can say.
        """


#: Ends the watch over a request: the status of its answer, or the code of what went wrong.
Over: TypeAlias = Callable[[int | None, str | None], None]


class Watch(Protocol):
    """Who watches requests."""

    def __call__(self, method: str, path: str, attempt: int, /) -> Over | None:
        """A request leaves; `path` is without the parts that may name a person. None: nobody watches this one."""


def user_agent() -> str:
    """How we introduce ourselves to vendors."""
    number = installed_version()
    return f"provisioner/{number}" if number else "provisioner"


def _spare_lookups() -> None:
    """httpcore asks at every step of a request whether there is a `sniffio`; where it is not installed, each time the
    whole path is searched for it, which costs more than the step itself. This remembers the answer."""
    if "sniffio" not in sys.modules and find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]  # how Python notes that a module is not there


def new_client(tls: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    """A client as every process makes one, after its fork: no redirects, no cookies, TLS verified, bounded connections.

    Cookies are refused because targets share the client: one target's session must not speak for another's key.

    Args:
        tls: how TLS is verified, if several clients share that: it takes longer to make than all the rest.
    """
    _spare_lookups()
    return httpx.AsyncClient(
        timeout=_TIMEOUTS,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        trust_env=True,
        verify=tls or httpx.create_ssl_context(),
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=40),
        headers={"User-Agent": user_agent(), "Accept": "application/json"},
    )


#: Takes an answer: its path, its query, and itself.
Heard = Callable[[str, Mapping[str, str | int], "Answer"], None]


class Http:
    """The transport of one target, for one purpose (an observation, a delivery, a probe).

    `requests` and `writes` count what was sent. `run` is the id of the run that writes, for vendors that keep a remark.
    """

    def __init__(
        self,
        target: str,
        client: httpx.AsyncClient,
        origin: str,
        headers: Mapping[str, str],
        pace: Pace,
        *,
        read_only: bool = False,
        fence: Fence | None = None,
        run: str = "",
        heard: Heard | None = None,
        page_size: int = 100,
        first_contact: bool = False,
        watch: Watch | None = None,
        attempt: int = 1,
        tokens: Tokens | None = None,
        turns: Turns | None = None,
    ) -> None:
        """
        Args:
            turns: gives out turns; None where no other process works at the same target.
            tokens: gives each request its credentials, where `headers` hold none; None where they do.
            first_contact: no listing of the target was read before, so that what it assumes is worth a request.
            watch: gets each request as it leaves.
            attempt: which try of the same change the next write is, counted from 1.
            page_size: of the target's settings, for every list that it reads.
            fence: asked right before each write leaves; None where nobody else may take the work over.
            heard: gets each answer, with its path and query.
        """
        self.target = target
        self.run = run
        self.page_size = page_size
        self.first_contact = first_contact
        self.requests = 0
        self.writes = 0
        self._client = client
        self._origin = origin
        own_type = any(name.lower() == "content-type" for name in headers)
        self._headers = {**headers} if own_type else {**headers, "Content-Type": "application/json"}
        self._pace = pace
        self._read_only = read_only
        self._fence = fence
        self._heard = heard
        self._watch = watch
        self._attempt = attempt
        self._tokens = tokens
        self._turns = turns or Alone()
        self._kept: dict[type[Any], Any] = {}

    def kept(self, kind: type[T], make: Callable[[], T]) -> T:
        """What a target knows for as long as this transport is used: made when it is first asked for."""
        if kind not in self._kept:
            self._kept[kind] = make()
        found: T = self._kept[kind]
        return found

    def turn(self, name: str) -> AbstractAsyncContextManager[Turn | None]:
        """The turn to change what has this name at the target; see `Turns`."""
        return self._turns.turn(name)

    async def read(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        accept: Collection[int] = (),
        unauthorised: Collection[int] = (401,),
    ) -> Answer:
        """GET, with patience: temporary failures are tried `READ_TRIES` times.

        Args:
            path: from the target's base address on, already quoted.
            params: the query.
            accept: statuses besides 2xx that the caller understands.
            unauthorised: statuses by which this vendor refuses credentials.

        Raises:
            UnauthorisedError, UnreachableError, MalformedAnswerError, TargetError: see the tree of errors.
        """
        for attempt in range(1, READ_TRIES + 1):
            result = await self._exchange(_Request("GET", path, params or {}, None, READ_DEADLINE, attempt, {}))
            if isinstance(result, Answer):
                if self._heard is not None:
                    self._heard(path, params or {}, result)
                if result.status in accept:
                    return result
                failure = classify(result, unauthorised=unauthorised)
                if failure is None:
                    if result.json is NOT_JSON:
                        raise MalformedAnswerError(self.target, f"GET {shown_path(path)} answered no JSON.")
                    return result
            else:
                failure = result
            # A GET changes nothing, so an unclear one is simply asked again
            again = isinstance(failure, (Temporary, Unclear))
            if not again or attempt == READ_TRIES:
                raise as_error(self.target, shown_path(path), failure)
            delay = failure.delay if isinstance(failure, Temporary) else None
            if delay is None or delay > READ_DEADLINE:
                delay = min(8.0, 0.25 * 2**attempt) * (0.5 + random.random() / 2)  # noqa: S311 (jitter)
            await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
        unauthorised: Collection[int] = (401,),
    ) -> Answer | Failure:
        """Send one write, once.

        Args:
            headers: of this request only, such as `If-Match`.

        Returns the answer if its status is 2xx or among `accept`, else what the failure means. A dropped connection
        after sending is `Unclear`; one that was never made is `Temporary`.

        Raises:
            ReadOnlyError: this transport was made for reading only.
            ClaimLostError: what it was to be sent for is no longer ours; nothing was sent.
        """
        result = await self._exchange(
            _Request(method, path, params or {}, body, DEADLINE, self._attempt, headers or {})
        )
        if not isinstance(result, Answer) or result.status in accept:
            return result
        failure = classify(result, unauthorised=unauthorised)
        return result if failure is None else failure

    async def _exchange(self, request: _Request) -> Answer | Failure:
        if request.method != "GET" and self._read_only:
            raise ReadOnlyError(
                f"{self.target}: {request.method} {shown_path(request.path)} was stopped: this is a plan, not a sync."
            )
        if self._tokens is None:
            return await self._once(request)
        for again in (True, False):
            mine = await self._tokens.headers(self._client)
            if not isinstance(mine, Mapping):
                return mine
            result = await self._once(replace(request, headers={**request.headers, **mine}))
            if not again or not isinstance(result, Answer) or result.status != 401:
                return result
            # Nothing was done; the token may have been withdrawn before its time
            self._tokens.refused(mine)
        raise AssertionError("unreachable")

    async def _once(self, request: _Request) -> Answer | Failure:
        slot = await self._pace.slot(request.deadline)
        over = None if self._watch is None else self._watch(request.method, shown_path(request.path), request.attempt)
        limited, retry_after = False, None
        found: _Received | Failure | None = None
        try:
            found = await self._received(request)
            if isinstance(found, _Received) and found.status == 429:
                limited, retry_after = True, retry_after_seconds(found.headers)
        finally:
            if over is not None:
                over(*_status_and_code(found))
            await slot.answered(limited=limited, retry_after=retry_after)
        return await _answer(found) if isinstance(found, _Received) else found

    async def _received(self, request: _Request) -> _Received | Failure:
        """What came back within the deadline, or what it means that nothing did."""
        try:
            async with asyncio.timeout(request.deadline):
                return await self._stream(request)
        except TimeoutError:
            return Unclear("deadline", f"no answer within {request.deadline:.0f} s")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as exc:
            return Temporary("unreachable", f"no connection: {_cause(exc)}", unreached=True)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError, UnicodeEncodeError):
            # Their texts repeat the header or address at fault, credentials included
            return Permanent("bad_request", "the request cannot be sent: base_url or a credential holds bad characters")
        except httpx.HTTPError as exc:
            return Unclear("connection_lost", f"the connection broke before the answer: {_cause(exc)}")

    async def _stream(self, wanted: _Request) -> _Received | Failure:
        content = None if wanted.body is None else json.dumps(wanted.body, separators=(",", ":")).encode()
        method, headers = wanted.method, wanted.headers
        request = self._client.build_request(
            method,
            self._origin + wanted.path,
            params=dict(wanted.params),
            content=content,
            headers={**self._headers, **headers} if headers else self._headers,
        )
        if self._fence is not None and method != "GET":
            await self._fence.ensure()
            request.extensions["trace"] = partial(_let_out, self._fence)
        self.requests += 1
        self.writes += method != "GET"
        response = await self._client.send(request, stream=True)
        reading = method == "GET"
        limit = MAX_LISTING if reading else MAX_ANSWER
        received = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > limit:
                    # To ask once more would bring as much; but what was to be written may have been
                    kind = Permanent if reading else Unclear
                    return kind("answer_too_large", f"the answer is larger than {limit >> 20} MiB")
        finally:
            await response.aclose()
        return _Received(response.status_code, {k.lower(): v for k, v in response.headers.items()}, received)


#: Steps of a request, by httpcore's names, before which nothing, or not the whole, has left.
_LEAVING: Final = frozenset({"http11.send_request_headers.started", "http11.send_request_body.started"})


async def _let_out(fence: Fence, step: str, _: Mapping[str, Any]) -> None:
    """Ask a fence as late as possible: a connection may have been waited for, or made, since the last time."""
    if step in _LEAVING:
        await fence.ensure()


@dataclass(frozen=True, slots=True)
class _Request:
    """A request as it is to leave. `deadline` is in seconds, `attempt` counts from 1, `headers` are its own."""

    method: str
    path: str
    params: Mapping[str, str | int]
    body: Any
    deadline: float
    attempt: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Received:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    content: bytearray = field(repr=False)


async def _answer(received: _Received) -> Answer:
    if len(received.content) < _LONG:
        return Answer(received.status, received.headers, parsed(received.content))
    return Answer(received.status, received.headers, await asyncio.to_thread(parsed_row_by_row, received.content))


def _status_and_code(found: _Received | Failure | None) -> tuple[int | None, str | None]:
    """What a watch hears of an answer, or of what came instead."""
    if isinstance(found, _Received):
        return found.status, None
    return None, "broken_off" if found is None else found.code


def _cause(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
