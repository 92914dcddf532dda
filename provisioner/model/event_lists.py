"""Events and outgoing webhooks that wait or died, and notices that wait, as their JSON."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class StoredEvent(TypedDict):
    """An event or an outgoing webhook as it lies in Redis; moments are epoch seconds."""

    id: str
    target: str
    event: str
    body: str
    at: NotRequired[float]
    since: NotRequired[float]
    tries: NotRequired[int]
    due: NotRequired[float]
    died: NotRequired[float]
    error: NotRequired[str]
    digest: NotRequired[str]
    route: NotRequired[str]


class EventRow(TypedDict):
    """One event or outgoing webhook without its body: `direction` is whether it came in or goes out."""

    id: str
    direction: Literal["in", "out"]
    target: str
    event: str
    at: str | None
    tries: int
    due: str | None
    died: str | None
    error: str | None


class DeadLetter(EventRow):
    """One that failed for good, with its body, which may hold personal data."""

    body: Any


class EventBacklog(TypedDict):
    """Counts: events in the stream, of these in progress, put off, dead; webhooks to be sent, undelivered."""

    waiting: int
    taken: int
    put_off: int
    dead: int
    outgoing: int
    undelivered: int


class EventLists(TypedDict):
    """What came, what waits, and what died; `counts` are events by target and name."""

    backlog: EventBacklog
    counts: dict[str, dict[str, int]]
    dead: list[EventRow]
    put_off: list[EventRow]
    outgoing: list[EventRow]
    unknown: list[EventRow]


class Notice(TypedDict):
    """A notice that waits to be sent: tries so far, when the next is due (epoch seconds), and digests of the addresses
    that have not got it. `people` are the first few whom it is about, where `roster.label` shows people."""

    state: str
    text: str
    people: NotRequired[list[str]]
    tries: int
    due: float
    left: NotRequired[list[str]]
