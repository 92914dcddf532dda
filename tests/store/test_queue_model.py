"""The queue against a model: whatever happens in whatever order, nothing is lost, doubled or set back."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from provisioner.model.operation import Kind, Operation
from provisioner.store.queue.operations import Claim
from tests.store.bench import LATER, TARGET, Bench, operation, patch

PEOPLE = ("A", "B", "C")
OPEN = {"pending", "sending", "waiting"}
OVER = {"succeeded", "failed", "superseded", "rejected", "held"}
ERROR = {"code": "server_error", "message": "no"}

values = st.sampled_from(["1", "2"])
plans = st.dictionaries(st.sampled_from(PEOPLE), st.tuples(values, st.booleans(), st.booleans()), min_size=1)


class QueueMachine(RuleBasedStateMachine):
    """Planners, workers that die, and people who decide."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(self.url)
        self.bench(self.bench.redis.flushall())
        self.runs: list[str] = []
        self.installed: set[tuple[str, str]] = set()
        self.live: dict[tuple[str, str], Claim] = {}
        self.claims: list[Claim] = []
        self.moments = [self.bench.now()]
        #: By person and slot, the newest decision that the queue accepted.
        self.accepted: dict[tuple[str, str], tuple[str, str]] = {}

    def teardown(self) -> None:
        self.bench.close()

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
        run, _ = self.bench.install(operations, began=began, people=list(plan) if alone else None)
        self.runs.append(run)
        self.installed |= {(run, one.id) for one in operations}
        for one in operations:
            if self.bench.status(run, one) != "superseded":
                self.accepted[one.person, one.slot] = (run, one.id)
        self.moments.append(self.bench.now())

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        """A worker takes some."""
        for claim in self.bench.claim(limit):
            name = (claim.run, claim.operation.id)
            assert name not in self.live, "two live claims of one operation"
            for other in self.live.values():
                same = (other.operation.person, other.operation.slot) == (claim.operation.person, claim.operation.slot)
                assert not same, "two live claims for one slot of a person"
            self.live[name] = claim
            self.claims.append(claim)

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """A worker dies with one in its hand."""
        if self.live:
            self.die_with(data.draw(st.sampled_from(sorted(self.live))))

    def die_with(self, name: tuple[str, str]) -> None:
        assert self.bench.expire(self.live.pop(name)) == 1

    @rule(data=st.data(), end=st.sampled_from(["done", "done", "fail", "park", "unclear", "give", "drop", "renew"]))
    def conclude(self, data: st.DataObject, end: str) -> None:
        """Somebody says what became of a claim, perhaps long after it was taken away from them."""
        if not self.claims:
            return
        claim = data.draw(st.sampled_from(self.claims))
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
            assert self.bench(queue.renew(TARGET, claim.token, 600.0, [claim])) == int(mine)
            return
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

    @rule(data=st.data())
    def thaw(self, data: st.DataObject) -> None:
        """Whoever ever claimed some goes on after a suspension, long or short, and asks to let a request out."""
        if not self.claims:
            return
        claim = data.draw(st.sampled_from(self.claims))
        name = (claim.run, claim.operation.id)
        out = self.bench.let_out(claim)
        assert out == (self.live.get(name) == claim), "a request is let out for a claim exactly while it is held"
        if out:
            newest = self.accepted[claim.operation.person, claim.operation.slot]
            assert newest == name, "a request is let out that is older than the newest accepted decision"

    @rule(data=st.data())
    def take_over(self, data: st.DataObject) -> None:
        """A worker is suspended with one in its hand, another claims it, and the first goes on."""
        if not self.live:
            return
        name = data.draw(st.sampled_from(sorted(self.live)))
        frozen = self.live[name]
        self.die_with(name)
        self.claim(3)
        assert not self.bench.let_out(frozen), "two may send for one operation"

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
                self.accepted[person, slot] = (run, one)

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
def test_the_queue_against_its_model(redis_url: str) -> None:
    QueueMachine.url = redis_url
    run_state_machine_as_test(
        QueueMachine, settings=settings(deadline=None, max_examples=40, stateful_step_count=30, print_blob=True)
    )
