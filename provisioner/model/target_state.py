"""One target as an operator watches it: its budget, its queue with a forecast, and whether it may be written to."""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta


class BudgetWindow(TypedDict):
    """One window of a rate limit, over all processes: how many requests fit into so many seconds, and how many do now.

    `configured` is what the settings say, `limit` what is in force after answers of 429.
    """

    seconds: float
    configured: int
    limit: int
    used: int
    free: int
    reserve: Annotated[int, Meta(description="Of these so many are kept for work about single people.")]


class Budget(TypedDict):
    """A target's rate limit. `blocked` is in seconds, 0 if requests may go on; `shared_with` names the other targets
    that count against the same one."""

    blocked: float
    shared_with: list[str]
    windows: list[BudgetWindow]


class QueuedKind(TypedDict):
    """Operations of one urgency that wait for their turn. `empty_in`: seconds until the last of them and of all more
    urgent ones could be sent at the rate limit; null while nothing may be written."""

    kinds: list[str]
    count: int
    empty_in: float | None


class TargetState(TypedDict):
    """The state of one target now; moments are in epoch seconds.

    `sending` counts the operations that a worker has claimed, `parked` those that wait for a later try; the first of
    these is due in `next_due` seconds.
    """

    target: str
    kind: str
    status: str
    reason: str
    since: float | None
    probe_at: float | None
    budget: Budget | None
    queue: list[QueuedKind]
    sending: int
    parked: int
    next_due: float | None
    linked: int
    run: str | None


class WorkerState(TypedDict):
    """One worker: `processes` are its senders, `seen` and `started` seconds ago."""

    host: str
    pid: int
    processes: int
    seen: float
    started: float
    alive: bool
