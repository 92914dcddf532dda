"""The one way by which requests leave for a target: paced, bounded in time and size, classified.

Two verbs: `Http.read` for what observe needs (it tries again by itself, and raises), and `Http.send` for writes (one
try; whatever went wrong comes back as an outcome, because only the caller knows which people it concerns).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Protocol, TypeAlias, TypeVar
from urllib.parse import quote

import httpx

from provisioner.errors import (
    ListingError,
    MalformedAnswerError,
    ReadOnlyError,
    TargetError,
    UnauthorisedError,
    UnreachableError,
)
from provisioner.logs import clean
from provisioner.model.outcome import Permanent, Temporary, Unauthorised, Unclear

#: Seconds from the first byte sent to the last byte read; httpx's own timeouts count between chunks only.
DEADLINE = 30.0
READ_DEADLINE = 60.0
READ_TRIES = 4
MAX_ANSWER = 64 * 1024 * 1024
_EXCERPT = 300
_LOOKED_AT = 50 * _EXCERPT
_TIMEOUTS = httpx.Timeout(connect=10.0, read=30.0, write=30.0, pool=30.0)

T = TypeVar("T")
Failure = Permanent | Temporary | Unauthorised | Unclear
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


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that arrived whole: status, headers (names in lower case), parsed JSON."""

    status: int
    headers: Mapping[str, str]
    json: Any


class _NotJson:
    """Marks a body that is no JSON; an answer may still be good without one."""


NOT_JSON = _NotJson()


class _Path(str):
    """A path that knows how it may be shown: without the parts that may name a person."""

    __slots__ = ("shown",)
    shown: str


def at(template: str, *parts: str) -> str:
    """The path of a template such as ``/papi/users/{}``, its parts quoted; messages show the template only.

    Raises:
        ValueError: a part is empty, which would make it the path of something else.
    """
    if not all(parts):
        raise ValueError(f"a part of {template} is empty")
    path = _Path(template.format(*map(_quoted, parts)))
    path.shown = template.replace("{}", "…")
    return path


def _quoted(part: str) -> str:
    # A bare dot segment would be resolved away, and the request would go elsewhere
    return part.replace(".", "%2E") if part in (".", "..") else quote(part, safe="", errors="replace")


def user_agent() -> str:
    """How we introduce ourselves to vendors."""
    try:
        return f"provisioner/{version('provisioner')}"
    except PackageNotFoundError:
        return "provisioner"


def _spare_lookups() -> None:
    """httpcore asks at every step of a request whether there is a `sniffio`; where it is not installed, each time the
    whole path is searched for it, which costs more than the step itself. This remembers the answer."""
    if "sniffio" not in sys.modules and find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]  # how Python notes that a module is not there


def new_client() -> httpx.AsyncClient:
    """A client as every process makes one, after its fork: no redirects, no cookies, TLS verified, bounded connections.

    Cookies are refused because targets share the client: one target's session must not speak for another's key.
    """
    _spare_lookups()
    return httpx.AsyncClient(
        timeout=_TIMEOUTS,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        trust_env=True,
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=40),
        headers={"User-Agent": user_agent(), "Accept": "application/json"},
    )


class Http:
    """The transport of one target, for one purpose (an observation, a delivery, a probe).

    `requests` and `writes` count what was sent.
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
    ) -> None:
        self.target = target
        self.requests = 0
        self.writes = 0
        self._client = client
        self._origin = origin
        self._headers = dict(headers)
        self._pace = pace
        self._read_only = read_only
        self._kept: dict[type[Any], Any] = {}

    def kept(self, kind: type[T], make: Callable[[], T]) -> T:
        """What a target knows for as long as this transport is used: made when it is first asked for."""
        if kind not in self._kept:
            self._kept[kind] = make()
        found: T = self._kept[kind]
        return found

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
            accept: statuses beside 2xx that the caller understands.
            unauthorised: statuses by which this vendor refuses credentials.

        Raises:
            UnauthorisedError, UnreachableError, MalformedAnswerError, TargetError: see the tree of errors.
        """
        for attempt in range(1, READ_TRIES + 1):
            result = await self._exchange("GET", path, params, None, READ_DEADLINE)
            if isinstance(result, Answer):
                if result.status in accept:
                    return result
                failure = classify(result, unauthorised=unauthorised)
                if failure is None:
                    if result.json is NOT_JSON:
                        raise MalformedAnswerError(self.target, f"GET {_shown(path)} answered no JSON.")
                    return result
            else:
                failure = result
            # A GET changes nothing, so an unclear one is simply asked again
            again = isinstance(failure, (Temporary, Unclear))
            if not again or attempt == READ_TRIES:
                raise _as_error(self.target, path, failure)
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
        accept: Collection[int] = (),
        unauthorised: Collection[int] = (401,),
    ) -> Answer | Failure:
        """Send one write, once.

        Returns the answer if its status is 2xx or among `accept`, else what the failure means. A dropped connection
        after sending is `Unclear`; one that was never made is `Temporary`.

        Raises:
            ReadOnlyError: this transport was made for reading only.
        """
        result = await self._exchange(method, path, params, body, DEADLINE)
        if not isinstance(result, Answer) or result.status in accept:
            return result
        failure = classify(result, unauthorised=unauthorised)
        return result if failure is None else failure

    async def _exchange(
        self, method: str, path: str, params: Mapping[str, str | int] | None, body: Any, deadline: float
    ) -> Answer | Failure:
        if method != "GET" and self._read_only:
            raise ReadOnlyError(f"{self.target}: {method} {_shown(path)} was stopped: this is a plan, not a sync.")
        slot = await self._pace.slot(deadline)
        limited, retry_after = False, None
        try:
            async with asyncio.timeout(deadline):
                result = await self._stream(method, path, params, body)
            if isinstance(result, Answer) and result.status == 429:
                limited, retry_after = True, retry_after_seconds(result.headers)
            return result
        except TimeoutError:
            return Unclear("deadline", f"no answer within {deadline:.0f} s")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as exc:
            return Temporary("unreachable", f"no connection: {_cause(exc)}", unreached=True)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError, UnicodeEncodeError):
            # Their texts repeat the header or address at fault, credentials included
            return Permanent("bad_request", "the request cannot be sent: base_url or a credential holds bad characters")
        except httpx.HTTPError as exc:
            return Unclear("connection_lost", f"the connection broke before the answer: {_cause(exc)}")
        finally:
            await slot.answered(limited=limited, retry_after=retry_after)

    async def _stream(
        self, method: str, path: str, params: Mapping[str, str | int] | None, body: Any
    ) -> Answer | Failure:
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {**self._headers, "Content-Type": "application/json"}
        request = self._client.build_request(
            method, self._origin + path, params=dict(params or {}), content=content, headers=headers
        )
        self.requests += 1
        self.writes += method != "GET"
        response = await self._client.send(request, stream=True)
        try:
            chunks, size = [], 0
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > MAX_ANSWER:
                    return Unclear("answer_too_large", f"the answer is larger than {MAX_ANSWER >> 20} MiB")
                chunks.append(chunk)
        finally:
            await response.aclose()
        return Answer(
            response.status_code, {k.lower(): v for k, v in response.headers.items()}, _parse(b"".join(chunks))
        )


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return NOT_JSON


def _cause(exc: Exception) -> str:
    return str(exc) or type(exc).__name__


def _shown(path: str) -> str:
    """A path without the part that may name a person."""
    if isinstance(path, _Path):
        return path.shown
    parts = path.split("?")[0].split("/")
    return "/".join(
        part if part.replace("_", "").replace(".", "").isalnum() and len(part) < 24 else "…" for part in parts
    )


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Read Retry-After, which is either seconds or a date (RFC 9110, 10.2.3); None if absent or nonsense."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
        return seconds if 0 <= seconds < 86_400 * 7 else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def sentence(body: Any) -> str:
    """What an error body says, as one line; the common shapes of the four vendors and of most others."""
    if isinstance(body, dict):
        for key in ("message", "error", "errors", "error_reason", "detail", "reason"):
            if body.get(key):
                return _clip(body[key])
        return _clip(body) if body else ""
    return _clip(body) if isinstance(body, (str, list)) and body else ""


def _clip(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # What is far beyond the excerpt is not looked at: an answer may be as long as a listing
    text = text[:_LOOKED_AT]
    # It is kept with the operation and shown for weeks; some vendors repeat what they were sent, credentials included
    text = clean(" ".join(text.split()))
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"


#: Status → what it means, where no vendor says otherwise; ranges are handled below.
_MEANING: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "the request was refused as incomplete"),
    403: ("forbidden", "the request was forbidden"),
    404: ("not_found", "nothing is there"),
    405: ("method_not_allowed", "the method is not allowed there"),
    406: ("not_acceptable", "the format was refused"),
    409: ("conflict", "it conflicts with what is there"),
    410: ("gone", "it is gone"),
    413: ("too_large", "the request was too large"),
    415: ("unsupported_type", "the content type was refused"),
    418: ("refused", "the request was refused"),
    422: ("invalid", "the record was refused as invalid"),
}


def classify(answer: Answer, *, unauthorised: Collection[int] = (401,)) -> Failure | None:
    """What an answer's status means; None for success. The one table by which everything is judged.

    408, 425, 429 and 503 were not carried out, so they are temporary; any other 5xx may have been, at least in part,
    so it is unclear; a redirect is permanent, since following it could carry credentials elsewhere.
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    said = sentence(answer.json)
    tail = f": {said}" if said else ""
    if status in unauthorised:
        return Unauthorised(f"credentials refused ({status}){tail}")
    if status == 429:
        return Temporary(
            "rate_limited", f"too many requests (429){tail}", retry_after_seconds(answer.headers), limited=True
        )
    if status in (408, 425, 503):
        return Temporary(
            "unavailable", f"temporarily unavailable ({status}){tail}", retry_after_seconds(answer.headers)
        )
    if status >= 500:
        return Unclear("server_error", f"the target failed ({status}){tail}")
    if 300 <= status < 400:
        return Permanent("redirected", f"it answers with a redirect ({status}), which is never followed")
    code, meaning = _MEANING.get(status, ("refused", "the request was refused"))
    return Permanent(code, f"{meaning} ({status}){tail}")


def _as_error(target: str, path: str, failure: Failure) -> TargetError:
    text = f"GET {_shown(path)}: {failure.message}."
    if isinstance(failure, Unauthorised):
        return UnauthorisedError(target, text, remedy="Check the target's credentials.")
    if isinstance(failure, Temporary) and failure.unreached:
        return UnreachableError(target, text, remedy="Check base_url and the network.")
    if isinstance(failure, (Temporary, Unclear)):
        return UnreachableError(target, text, remedy="The next run tries again.")
    return TargetError(target, text)


def as_outcome(error: TargetError) -> Failure:
    """What a failed read means for an operation of which nothing has been sent yet."""
    if isinstance(error, UnauthorisedError):
        return Unauthorised(error.message)
    if isinstance(error, (UnreachableError, MalformedAnswerError, ListingError)):
        return Temporary(error.code, error.message, unreached=isinstance(error, UnreachableError), whole=False)
    return Permanent(error.code, error.message)
