"""What the model of the queue knows: plans as they are drawn, decisions, plans laid down, and copies of Redis."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from provisioner.model.operation import Operation

PEOPLE = ("A", "B", "C")
OPEN = {"pending", "sending", "waiting"}
OVER = {"succeeded", "failed", "superseded", "rejected", "held"}
SLOTS = ("account", "event:created")
STANDING = OPEN | {"held"}
ERROR = {"code": "server_error", "message": "no"}

#: More steps than any plan of the model takes.
ALL = 1000

values = st.sampled_from(["1", "2"])
#: What a plan wants for a person: a value, whether it is held, and whether an event follows; None: nothing.
Wanted = tuple[str, bool, bool] | None
wants = st.none() | st.tuples(values, st.booleans(), st.booleans())
Plans = dict[str, Wanted]
plans = st.dictionaries(st.sampled_from(PEOPLE), wants, min_size=1)
#: How many changes ago a plan's look began.
agos = st.integers(0, 3)
#: Steps of installing after which the planner dies; mostly it does not.
dies = st.sampled_from([ALL, ALL, ALL, 0, 1, 2])
#: What becomes of what a worker takes at once; empty: that comes later.
ends = st.sampled_from(["", "done", "fail"])
#: Seconds: little, more than the first request may wait, more than a lease.
spans = st.sampled_from([1.0, 31.0, 61.0])

Name = tuple[str, str]


@dataclass(frozen=True)
class Decision:
    """What the queue accepted about a person's slot: an operation, or none; `began` is when its plan's look began."""

    name: Name | None
    began: float


@dataclass(frozen=True)
class Laid:
    """A plan that lies in Redis and is installed part by part.

    `people` are those about whom it still is to decide; of these, `parted` have a part of their own.
    """

    run: str
    began: float
    alone: bool
    operations: tuple[Operation, ...]
    people: frozenset[str]
    parted: frozenset[str]


@dataclass(frozen=True)
class Copy:
    """Redis as it was, and what the model knew of it."""

    dumps: dict[bytes, bytes]
    position: int
    runs: tuple[str, ...]
    installed: frozenset[Name]
    laid: tuple[Laid, ...]


class DiedError(Exception):
    """The planner's process was killed."""
