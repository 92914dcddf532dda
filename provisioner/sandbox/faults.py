"""Faults that a test orders: wrong answers, delays and dropped connections, for chosen requests."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_NAMES = {
    "match", "times", "share", "seed", "status", "body", "content_type", "headers", "delay_ms", "hold", "drop", "after",
    "skip",
}  # fmt: skip
_MATCHES = {"method", "path_prefix", "contains"}


@dataclass(slots=True)
class Fault:
    """One ordered fault.

    It meets requests of `method` whose path below the instance begins with `path_prefix` and whose body has
    `contains` in it (each empty: any), `times` times (None: for ever), each with the probability `share`.
    `status` answers that instead, with `body` as `content_type`; with `after` the work is done first.
    `delay_ms` waits before the request is looked at, with `hold` no longer than the fault is there. `drop` closes the
    connection without an answer: `before`
    or `after` the work. With neither status nor drop the request is only delayed. `skip` requests pass before the first
    one is struck.
    """

    method: str = ""
    path_prefix: str = ""
    contains: str = ""
    times: int | None = 1
    share: float = 1.0
    status: int | None = None
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    delay_ms: float = 0.0
    hold: bool = False
    drop: str = ""
    after: bool = False
    skip: int = 0
    dice: random.Random = field(default_factory=random.Random)
    fired: int = 0

    def meets(self, method: str, path: str, body: bytes) -> bool:
        """Whether this fault strikes the request; counts it if so."""
        if self.times is not None and self.fired >= self.times:
            return False
        if self.method and self.method != method:
            return False
        if not path.startswith(self.path_prefix) or self.contains.encode() not in body:
            return False
        if self.share < 1.0 and self.dice.random() >= self.share:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.fired += 1
        return True


def parse(value: Any) -> list[Fault]:
    """The faults of a switchboard request: one object or a list of them.

    Raises `ValueError` with the reason.
    """
    return [_parse_one(item) for item in (value if isinstance(value, list) else [value])]


def _parse_one(value: Any) -> Fault:
    if not isinstance(value, Mapping):
        raise ValueError("a fault is an object")
    match = value.get("match", {})
    unknown = (set(value) - _NAMES) | (set(match) - _MATCHES)
    if unknown:
        raise ValueError(f"unknown in a fault: {', '.join(sorted(unknown))}")
    drop = value.get("drop") or ""
    if drop not in {"", "before", "after"}:
        raise ValueError("drop is 'before' or 'after'")
    body = value.get("body", "")
    return Fault(
        method=str(match.get("method", "")).upper(),
        path_prefix=str(match.get("path_prefix", "")),
        contains=str(match.get("contains", "")),
        times=value.get("times", 1),
        share=float(value.get("share", 1.0)),
        status=value.get("status"),
        body=(body if isinstance(body, str) else json.dumps(body)).encode(),
        content_type=str(value.get("content_type", "application/json")),
        headers={str(name): str(text) for name, text in dict(value.get("headers", {})).items()},
        delay_ms=float(value.get("delay_ms", 0.0)),
        hold=bool(value.get("hold", False)),
        drop=drop,
        after=bool(value.get("after", False)),
        skip=int(value.get("skip", 0)),
        dice=random.Random(value.get("seed", 0)),  # noqa: S311 - repeatable faults, no secrets
    )


def choose(faults: Sequence[Fault], method: str, path: str, body: bytes) -> Fault | None:
    """The first fault that strikes the request."""
    return next((fault for fault in faults if fault.meets(method, path, body)), None)
