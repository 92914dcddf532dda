"""What the model of the queue knows: plans as they are drawn, decisions, plans laid down, and copies of Redis."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from provisioner.model.operation import Operation
from provisioner.store.queue.operations import Claim
from tests.store.bench import ALL, Bench

PEOPLE = ("A", "B", "C")
OPEN = {"pending", "sending", "waiting"}
OVER = {"succeeded", "failed", "superseded", "rejected", "held"}
SLOTS = ("account", "event:created")
STANDING = OPEN | {"held"}
ERROR = {"code": "server_error", "message": "no"}

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


class QueueInvariants(RuleBasedStateMachine):
    """What holds of the queue whatever happens.

    `live` are the claims that hold, `installed` what was put into the queue, `accepted` by person and slot the newest
    decision, and `unseen` since when the target waits for a run about everybody (0: it does not).
    """

    bench: Bench
    runs: list[str]
    installed: set[Name]
    live: dict[Name, Claim]
    accepted: dict[tuple[str, str], Decision]
    unseen: float

    @invariant()
    def everything_is_somewhere(self) -> None:
        """An open operation is in one place, the one of its status; any other is in none."""
        places = {"pending": self.bench.ready(), "waiting": self.bench.parked(), "sending": self.bench.leased()}
        everywhere = [member for members in places.values() for member in members]
        assert len(set(everywhere)) == len(everywhere)
        for run, one in self.installed:
            fields = self.bench.fields(run, one)
            status, member = fields["status"], f"{run}|{one}"
            assert status in OPEN | OVER
            if status in OVER:
                assert member not in everywhere
            elif status != "pending" or not fields["follows"]:
                assert member in places[status], (status, member)
            elif member not in everywhere:
                assert self.bench.status(run, fields["follows"]) not in ("succeeded", "superseded", "rejected")
        assert {f"{run}|{one}" for run, one in self.live} == set(places["sending"])

    @invariant()
    def what_may_go_out_is_the_newest_decision(self) -> None:
        """Each open operation is what was decided last about its person; else a request of it could be let out."""
        for name in self.installed if not self.unseen else ():
            fields = self.bench.fields(*name)
            if fields["status"] in OPEN:
                person, _, slot = fields["slot"].partition("\x1f")
                assert self.accepted[person, slot].name == name, (fields["status"], fields["began"])

    @invariant()
    def the_counters_are_right(self) -> None:
        """The figures of every run are those of its operations."""
        assert all(self.bench.counters_are_right(run) for run in self.runs)
