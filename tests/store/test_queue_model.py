"""The queue against a model: whatever happens in whatever order, nothing is lost, doubled or set back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from provisioner.dispatch import leases
from provisioner.dispatch.leases import LEASE, Lease
from provisioner.dispatch.redis_loss import QUIET
from provisioner.errors import ClaimLostError
from provisioner.model.operation import Kind, Operation
from provisioner.store.queue.operations import Claim
from tests.store.bench import LATER, TARGET, Bench, operation, patch

PEOPLE = ("A", "B", "C")
OPEN = {"pending", "sending", "waiting"}
OVER = {"succeeded", "failed", "superseded", "rejected", "held"}
STANDING = OPEN | {"held"}
ERROR = {"code": "server_error", "message": "no"}

values = st.sampled_from(["1", "2"])
plans = st.dictionaries(st.sampled_from(PEOPLE), st.tuples(values, st.booleans(), st.booleans()), min_size=1)
#: Seconds: little, more than the first request may wait, more than a lease.
spans = st.sampled_from([1.0, 31.0, 61.0])

Name = tuple[str, str]


@dataclass(frozen=True)
class Decision:
    """What the queue accepted about a person's slot: an operation, or none; `began` is when its plan's look began."""

    name: Name | None
    began: float


@dataclass(frozen=True)
class Copy:
    """Redis as it was, and what the model knew of it."""

    dumps: dict[bytes, bytes]
    position: int
    runs: tuple[str, ...]
    installed: frozenset[Name]


class QueueMachine(RuleBasedStateMachine):
    """Planners, workers that die or are suspended, people who decide, and a Redis that is put back."""

    url: ClassVar[str]
    #: Seconds, by the clock that goes on while a process is suspended.
    time: ClassVar[float] = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(self.url)
        self.bench(self.bench.redis.flushall())
        self.runs: list[str] = []
        self.installed: set[Name] = set()
        self.live: dict[Name, Claim] = {}
        self.claims: list[tuple[Claim, Lease]] = []
        self.ends: dict[Name, float] = {}
        #: Claims whose worker has said what became of them, and so sends nothing more.
        self.over: list[Claim] = []
        self.moments = [self.bench.now()]
        #: By person and slot, the newest decision that the queue accepted.
        self.accepted: dict[tuple[str, str], Decision] = {}
        self.copied: Copy | None = None
        #: Since when the target waits for a run about everybody, by Redis's clock; 0: it does not.
        self.unseen = 0.0

    def teardown(self) -> None:
        self.bench.close()

    @initialize()
    def begin(self) -> None:
        self.copy()

    # What planners do

    @rule(plan=plans, alone=st.booleans(), ago=st.integers(0, 3))
    def install(self, plan: dict[str, tuple[str, bool, bool]], alone: bool, ago: int) -> None:
        """A plan that was observed a while ago."""
        operations: list[Operation] = []
        for person, (value, held, tells) in plan.items():
            first = operation(person, Kind.CREATE, value, hold="a guard" if held else None)
            operations.append(first)
            if tells:
                operations.append(operation(person, Kind.EVENT, value, follows=first, hold=first.hold))
        began = [*self.moments, self.bench.now()][-1 - min(ago, len(self.moments))]
        standing = {place for place, made in self.accepted.items() if made.name and self._status(made.name) in STANDING}
        run, _ = self.bench.install(operations, began=began, people=list(plan) if alone else None)
        self.runs.append(run)
        self.installed |= {(run, one.id) for one in operations}
        taken = {(one.person, one.slot): (run, one.id) for one in operations if self.bench.status(run, one) in STANDING}
        for place in self.accepted.keys() | taken.keys():
            before, new = self.accepted.get(place), taken.get(place)
            if before and place in standing and (new or self._status(before.name) not in STANDING):
                assert before.began <= began, "an older plan took the place of a newer decision"
            if new or ((not alone or place[0] in plan) and before and self._status(before.name) not in STANDING):
                self.accepted[place] = Decision(new, began)
        if self.unseen and not alone and began > self.unseen:
            # A run about everybody that read the target since
            assert self.bench(self.bench.health.seen(TARGET, self.unseen))
            self.unseen = 0.0
        self.moments.append(self.bench.now())

    def _status(self, name: Name | None) -> str:
        row = self.bench(self.bench.runs.operation(name[0], TARGET, name[1])) if name else None
        return row["status"] if row else "forgotten"

    # What workers do

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        """A worker takes some."""
        asked = QueueMachine.time
        found = self.bench.claim(limit, lease=LEASE)
        assert not (found and self.unseen), "what is from before Redis was put back is sent"
        for claim in found:
            name = (claim.run, claim.operation.id)
            assert name not in self.live, "two live claims of one operation"
            for other in self.live.values():
                same = (other.operation.person, other.operation.slot) == (claim.operation.person, claim.operation.slot)
                assert not same, "two live claims for one slot of a person"
            self.live[name], self.ends[name] = claim, asked + LEASE
            self.claims.append((claim, Lease(self.bench.queue, TARGET, [claim], asked)))

    @rule(data=st.data(), first=st.booleans())
    def send(self, data: st.DataObject, first: bool) -> None:
        """Whoever ever claimed some goes on, perhaps after a long suspension, and wants to send a request."""
        at_work = [pair for pair in self.claims if pair[0] not in self.over]
        if at_work:
            self.send_for(*data.draw(st.sampled_from(at_work)), first=first)

    def send_for(self, claim: Claim, lease: Lease, *, first: bool) -> None:
        """Send a request as a delivery does: a later one takes a slot, and each asks its lease before it leaves."""
        name, asked = (claim.run, claim.operation.id), QueueMachine.time
        live = self.live.get(name) == claim
        out = True
        if not first:
            out = self.bench.let_out(lease.claims)
            assert out == live, "a slot is granted for a claim exactly while it is held"
            if out:
                lease.confirm(asked)
            else:
                lease.lose()
        try:
            self.bench(lease.ensure())
        except ClaimLostError:
            out = False
        if live and (not first or lease._confirmed == asked):
            self.ends[name] = max(self.ends[name], asked + LEASE)
        if out:
            assert live, "a request is let out for a claim that is lost"
            newest = self.accepted[claim.operation.person, claim.operation.slot]
            assert newest.name == name, "a request is let out that is older than the newest accepted decision"

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """A worker dies, or is suspended for longer than its lease, with one in its hand."""
        if self.live:
            self.expire(data.draw(st.sampled_from(sorted(self.live))))

    def expire(self, name: Name) -> None:
        """Let the time of a lease pass, while all others are renewed."""
        self.pass_time(31.0)
        for claim, lease in self.claims:
            other = (claim.run, claim.operation.id)
            if other != name and self.live.get(other) == claim:
                self.bench(lease.renew())
                self.ends[other] = QueueMachine.time + LEASE
        self.pass_time(31.0)
        self.reap()

    @rule()
    def reap(self) -> None:
        """Somebody looks for expired leases."""
        expired = [name for name in self.live if self.ends[name] <= QueueMachine.time]
        assert self.bench(self.bench.queue.reap(TARGET)) == len(expired)
        for name in expired:
            del self.live[name]

    @rule(data=st.data(), first=st.booleans())
    def take_over(self, data: st.DataObject, first: bool) -> None:
        """A worker is suspended with one in its hand, another claims it, and the first goes on."""
        if not self.live:
            return
        name = data.draw(st.sampled_from(sorted(self.live)))
        frozen = next(pair for pair in self.claims if pair[0] == self.live[name] and pair[0] not in self.over)
        self.expire(name)
        self.claim(3)
        self.send_for(*frozen, first=first)

    @rule(data=st.data(), end=st.sampled_from(["done", "done", "fail", "park", "unclear", "give", "drop", "renew"]))
    def conclude(self, data: st.DataObject, end: str) -> None:
        """Somebody says what became of a claim, perhaps long after it was taken away from them."""
        if not self.claims:
            return
        claim, _ = data.draw(st.sampled_from(self.claims))
        name = (claim.run, claim.operation.id)
        mine = self.live.get(name) == claim
        before = self.bench.entry(claim.operation.person)
        queue = self.bench.queue
        if end == "done":
            taken = self.bench(queue.done(claim, patch(claim), "account"))
        elif end == "fail":
            taken = self.bench(queue.fail(claim, ERROR))
        elif end in ("park", "unclear"):
            taken = self.bench(queue.park(claim, LATER, ERROR, unclear=end == "unclear"))
        elif end == "give":
            taken = self.bench(queue.give_back(claim))
        elif end == "drop":
            taken = self.bench(queue.drop(claim, ERROR))
        else:
            assert self.bench(queue.renew(TARGET, claim.token, LEASE, [claim])) == int(mine)
            if mine:
                self.ends[name] = QueueMachine.time + LEASE
            return
        self.over.append(claim)
        after = self.bench.entry(claim.operation.person)
        if mine:
            assert taken
            del self.live[name]
        elif end != "done":
            assert not taken
        if before is not None and before.recorded > claim.claimed and not mine:
            assert after is not None
            assert (after.values, after.version) == (before.values, before.version), "a late outcome over a newer entry"
        if before is not None:
            assert after is not None
            assert after.version >= before.version
        self.moments.append(self.bench.now())

    # What time and people do

    @rule(seconds=spans)
    def pass_time(self, seconds: float) -> None:
        """Time passes, also for whoever is suspended."""
        QueueMachine.time += seconds
        self.bench.pass_time(seconds)

    @rule()
    def ripen(self) -> None:
        """The time of what waits has come."""
        self.bench.ripen()

    @rule(data=st.data(), verdict=st.booleans())
    def decide(self, data: st.DataObject, verdict: bool) -> None:
        """Somebody releases or refuses something, at any time."""
        if self.installed:
            run, one = data.draw(st.sampled_from(sorted(self.installed)))
            call = self.bench.queue.release if verdict else self.bench.queue.refuse
            if self.bench(call(run, TARGET, one, {"by": "me"})) and verdict:
                fields = self.bench.fields(run, one)
                person, slot = fields["slot"].split("\x1f")
                self.accepted[person, slot] = Decision((run, one), float(fields["began"]))

    # What a server's volume does

    @rule()
    def copy(self) -> None:
        """Somebody copies what lies in Redis."""
        position = self.bench(self.bench.position.read()).number
        self.copied = Copy(self.bench.copy(), position, tuple(self.runs), frozenset(self.installed))

    @precondition(lambda self: self.live and not self.unseen)
    @rule(data=st.data(), end=st.booleans(), first=st.booleans())
    def put_back_to_a_claim(self, data: st.DataObject, end: bool, first: bool) -> None:
        """Redis is copied while somebody sends; that ends, one way or the other, and is forgotten."""
        self.copy()
        name = data.draw(st.sampled_from(sorted(self.live)))
        if end:
            self.bench(self.bench.queue.done(self.live[name], patch(self.live[name]), "account"))
            self.over.append(self.live.pop(name))
        else:
            self.expire(name)
        self.put_back(data, first)

    @precondition(lambda self: not self.unseen)
    @rule(data=st.data(), first=st.booleans())
    def put_back(self, data: st.DataObject, first: bool) -> None:
        """Redis is put back to the copy; a process that knows of more notes it, and no run begins for a while."""
        known, queue = self.bench(self.bench.position.read()).number, self.bench.queue
        assert self.copied is not None
        if known == self.copied.position:
            return
        queue.position = known
        self.bench.put_back(self.copied.dumps)
        self.runs, self.installed = list(self.copied.runs), set(self.copied.installed)
        self.live.clear()
        # Nobody has noted it yet
        assert not any(self.bench.let_out(lease.claims) for _, lease in self.claims)
        now = self.bench.now()
        assert self.bench(self.bench.position.went_back(known, [TARGET], now=now, quiet=QUIET))
        assert not self.bench(self.bench.position.went_back(known, [TARGET], now=now, quiet=QUIET))
        queue.position = 0
        # By now it holds for a process that knows of nothing, too
        assert not any(self.bench.let_out(lease.claims) for _, lease in self.claims)
        self.unseen = now
        self.pass_time(QUIET)
        self.bench(queue.reap(TARGET))
        self.send(data, first)

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
    def the_counters_are_right(self) -> None:
        """The figures of every run are those of its operations."""
        assert all(self.bench.counters_are_right(run) for run in self.runs)


@pytest.mark.timeout(180)
def test_the_queue_against_its_model(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    QueueMachine.url = redis_url
    monkeypatch.setattr(leases, "since_boot", lambda: QueueMachine.time)
    run_state_machine_as_test(
        QueueMachine, settings=settings(deadline=None, max_examples=40, stateful_step_count=30, print_blob=True)
    )
