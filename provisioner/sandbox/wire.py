"""What every stand-in shares about a request and its answer: values, refusals, route tables, checks of a body.

No state and no I/O here. A vendor's handler is a plain function from a `Call` to an `Answer`; whatever it
does happens between two awaits of the one event loop, so it is atomic.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a vendor sees it.

    `path` is the path below the instance's name, still percent-encoded; `base_url` is the address of the
    instance without a slash at the end; `now` is the vendor's clock (aware, UTC).
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base_url: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: status, a JSON value as body, and headers besides the content type."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The body as UTF-8 JSON; None is no body at all."""
        if self.body is None:
            return b""
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()


class RefusedError(Exception):
    """The vendor refuses the request: the status it answers and the reason, in its own words."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


Handler = Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: method, path template such as `/papi/users/{user_name}`, and what serves it.

    The handler takes the call and then the template's variables, decoded, in their order.
    """

    method: str
    template: str
    handler: Handler


@dataclass(frozen=True, slots=True)
class Found:
    """What a path leads to: the template for the record, and either a route or the methods that it has."""

    template: str
    route: Route | None = None
    variables: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()


class Router:
    """Finds the route of a method and path; a template given earlier wins over a later one."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_length: dict[int, list[tuple[tuple[str, ...], Route]]] = {}
        for route in routes:
            parts = tuple(route.template.strip("/").split("/"))
            self._by_length.setdefault(len(parts), []).append((parts, route))

    def find(self, method: str, path: str) -> Found:
        """The route; with `allowed` filled if only the method is wrong; with neither if the path is unknown."""
        segments = [unquote(part) for part in path.strip("/").split("/")]
        allowed: list[str] = []
        template = ""
        for parts, route in self._by_length.get(len(segments), ()):
            variables = _variables(parts, segments)
            if variables is None:
                continue
            if route.method == method:
                return Found(route.template, route, variables)
            if not template or template == route.template:
                template = route.template
                allowed.append(route.method)
        return Found(template or "(unknown)", allowed=tuple(allowed))


def _variables(parts: Sequence[str], segments: Sequence[str]) -> tuple[str, ...] | None:
    variables: list[str] = []
    for part, segment in zip(parts, segments, strict=True):
        if part.startswith("{"):
            if not segment:
                return None
            variables.append(segment)
        elif part != segment:
            return None
    return tuple(variables)


def says_json(call: Call) -> bool:
    """Whether the Content-Type header names JSON, whatever its parameters."""
    return call.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON_TYPE


def body_says_json(call: Call) -> bool:
    """The same for a method that carries a body; true for any other."""
    return call.method not in {"POST", "PUT", "PATCH"} or says_json(call)


def accepts_json(value: str) -> bool:
    """Whether an Accept header (empty: anything) takes JSON."""
    if not value.strip():
        return True
    for part in value.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name in {"*/*", "application/*", JSON_TYPE} and "q=0" not in parameters:
            return True
    return False


def json_value(call: Call) -> Any:
    """The body as a JSON value.

    Raises `RefusedError` 400 where the body is no JSON.
    """
    try:
        return json.loads(call.body)
    except ValueError as error:
        raise RefusedError(400, "The body is not valid JSON") from error


def json_object(call: Call) -> dict[str, Any]:
    """The body as a JSON object.

    Raises `RefusedError` 400 where the body is no JSON object.
    """
    value = json_value(call)
    if not isinstance(value, dict):
        raise RefusedError(400, "The body is not a JSON object")
    return value


def allow_query(call: Call, *names: str) -> None:
    """Raises `RefusedError` 400 for a query parameter that the page does not name."""
    unknown = sorted(set(call.query) - set(names))
    if unknown:
        raise RefusedError(400, f"Unknown query parameter: {', '.join(unknown)}")


def query_number(call: Call, name: str, default: int) -> int:
    """A query parameter that counts from 1.

    Raises `RefusedError` 400 for anything else.
    """
    text = call.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise RefusedError(400, f"{name} must be a whole number from 1")
    return int(text)


def is_whole(value: object) -> bool:
    """Whether a JSON value is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a JSON value is a number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
