"""The queue against a model: whatever happens in whatever order, nothing is lost, doubled or set back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from provisioner.dispatch import leases
from provisioner.dispatch.leases import LEASE, Lease
from provisioner.dispatch.redis_loss import QUIET
from provisioner.errors import ClaimLostError
from provisioner.model.operation import Kind, Operation
from provisioner.store.queue import plans as plans_module
from provisioner.store.queue import seats as seats_module
from provisioner.store.queue.operations import Claim
from tests.store.bench import ALL, LATER, TARGET, Bench, DiedError, operation, patch
from tests.store.queue_model import (
    ERROR,
    PEOPLE,
    SLOTS,
    STANDING,
    Copy,
    Decision,
    Laid,
    Name,
    Plans,
    QueueInvariants,
    Wanted,
    agos,
    dies,
    ends,
    plans,
    spans,
    wants,
)
from tests.store.seat_model import SeatRules, Seats


class QueueMachine(SeatRules, QueueInvariants):
    """Planners, workers that die or are suspended, people who decide, and a Redis that is put back."""

    url: ClassVar[str]
    #: Seconds, by the clock that goes on while a process is suspended.
    time: ClassVar[float] = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(self.url)
        self.bench(self.bench.redis.flushall())
        self.seats = Seats()
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
        #: Plans whose planner died while they were installed.
        self.laid: list[Laid] = []
        self.copied: Copy | None = None
        #: Since when the target waits for a run about everybody, by Redis's clock; 0: it does not.
        self.unseen = 0.0

    def teardown(self) -> None:
        self.leave_all()
        self.bench.close()

    @initialize()
    def begin(self) -> None:
        self.copy()

    @rule(plan=plans, ago=agos, steps=dies, taken=st.integers(0, 3), end=ends)
    def install_for_everybody(self, plan: Plans, ago: int, steps: int, taken: int, end: str) -> None:
        """A plan about everybody that was observed a while ago; its planner may die after some parts, one a person."""
        self.install(plan, ago, steps, alone=False)
        self.work(taken, end)

    @rule(plan=plans, ago=agos, steps=dies, taken=st.integers(0, 3), end=ends)
    def install_for_some(self, plan: Plans, ago: int, steps: int, taken: int, end: str) -> None:
        """The same about some people."""
        self.install(plan, ago, steps, alone=True)
        self.work(taken, end)

    @rule(person=st.sampled_from(PEOPLE), first=wants, then=wants, end=ends, whole=st.booleans())
    def install_late(self, person: str, first: Wanted, then: Wanted, end: str, whole: bool) -> None:
        """Two plans about one person, or one of them about everybody; that of the later look is installed first."""
        began = self.bench.now()
        self.install({person: first}, 0, ALL, alone=not whole)
        self.work(1, end)
        self.install({person: then}, 0, ALL, alone=whole, began=began)

    def work(self, taken: int, end: str) -> None:
        """A worker takes some of what is ready, and may bring it to an end."""
        before = len(self.claims)
        if taken:
            self.claim(taken)
        for claim, _ in self.claims[before:] if end else ():
            self.conclude_one(claim, end)

    def install(self, plan: Plans, ago: int, steps: int, *, alone: bool, began: float | None = None) -> None:
        """Install a plan that was observed `began`, or as many changes `ago`."""
        operations: list[Operation] = []
        for person, wanted in plan.items():
            if wanted is not None:
                value, held, tells = wanted
                first = operation(person, Kind.CREATE, value, hold="a guard" if held else None)
                operations.append(first)
                if tells:
                    operations.append(operation(person, Kind.EVENT, value, follows=first, hold=first.hold))
        began = began or [*self.moments, self.bench.now()][-1 - min(ago, len(self.moments))]
        run = self.bench.name_run()
        parted = set(plan) if alone else {one.person for one in operations}
        parted |= set() if alone else {person for person, _ in self.bench.standing()}
        laid = Laid(run, began, alone, tuple(operations), frozenset(plan if alone else PEOPLE), frozenset(parted))
        self.runs.append(run)
        people = list(plan) if alone else None
        self.advance(laid, steps, lambda: self.bench.install(operations, run=run, began=began, people=people))

    @precondition(lambda self: self.laid)
    @rule(data=st.data(), steps=st.sampled_from([1, ALL, ALL]))
    def go_on(self, data: st.DataObject, steps: int) -> None:
        """Somebody goes on with a plan whose planner died."""
        self.resume(data.draw(st.integers(0, len(self.laid) - 1)), steps)

    def resume(self, place: int, steps: int) -> None:
        """Go on with one of them."""
        laid = self.laid.pop(place)
        self.advance(laid, steps, lambda: self.bench(self.bench.plans.resume(laid.run, TARGET)))

    @rule(person=st.sampled_from(PEOPLE), plan=plans, then=wants)
    def install_between(self, person: str, plan: Plans, then: Wanted) -> None:
        """A planner dies once a plan about everybody is laid down, and an older look at somebody comes first."""
        began = self.bench.now()
        self.install(plan, 0, 0, alone=False)
        place = len(self.laid) - 1
        self.install({person: then}, 0, ALL, alone=True, began=began)
        self.resume(place, ALL)

    def advance(self, laid: Laid, steps: int, do: Callable[[], object]) -> None:
        """Install some parts of a plan, and note what the queue accepted by it."""
        self.bench.steps = steps
        with suppress(DiedError):
            do()
        self.bench.steps = ALL
        over = self.bench(self.bench.runs.part_field(laid.run, TARGET, "installed")) is not None
        # Whoever has no part of their own is decided about with the last one
        left = frozenset() if over else laid.people - (laid.parted - self.bench.staged(laid.run))
        for person in sorted(laid.people - left):
            self.settle(laid, person)
        if not over:
            self.laid.append(replace(laid, people=left))
        elif self.unseen and not laid.alone and laid.began > self.unseen:
            # A run about everybody that read the target since
            assert self.bench(self.bench.health.seen(TARGET, self.unseen))
            self.unseen = 0.0
        self.moments.append(self.bench.now())

    def settle(self, laid: Laid, person: str) -> None:
        """Note what the queue accepted of a plan about one person."""
        mine = {one.slot: (laid.run, one.id) for one in laid.operations if one.person == person}
        self.installed |= set(mine.values())
        rows = [self.bench.fields(*name) for name in mine.values()]
        if any(row["status"] == "superseded" and row.get("error") for row in rows):
            assert person in self.bench.again(laid.run), "somebody was overtaken and is not planned again"
        entry = self.bench.entry(person)
        recorded = entry is not None and entry.recorded > laid.began
        for slot in SLOTS:
            before, name = self.accepted.get((person, slot)), mine.get(slot)
            older = before is not None and before.began > laid.began
            if name and self._status(name) in STANDING:
                # A Redis that was put back does not know of the newer one, and nothing is sent before a run looked
                assert not older or self.unseen, "an older plan took the place of a newer decision"
                assert not recorded, "a plan goes out that has not seen what was recorded since"
            elif name or (person, slot) in self.bench.standing() or recorded:
                # Something newer is on its way, or was recorded: nothing was decided
                continue
            if not older:
                self.accepted[person, slot] = Decision(name, laid.began)

    def _status(self, name: Name | None) -> str:
        row = self.bench(self.bench.runs.operation(name[0], TARGET, name[1])) if name else None
        return row["status"] if row else "forgotten"

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
        self.conclude_one(data.draw(st.sampled_from(self.claims))[0], end)

    def conclude_one(self, claim: Claim, end: str) -> None:
        """Say what became of a claim."""
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
        self.copied = Copy(self.bench.copy(), position, tuple(self.runs), frozenset(self.installed), tuple(self.laid))

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
        self.laid = list(self.copied.laid)
        self.live.clear()
        self.forget_seats()
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


@pytest.mark.timeout(180)
def test_the_queue_against_its_model(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    QueueMachine.url = redis_url
    monkeypatch.setattr(leases, "since_boot", lambda: QueueMachine.time)
    # So few that they run out
    monkeypatch.setattr(seats_module, "MOST", 4)
    # One person a part
    monkeypatch.setattr(plans_module, "_PART", 0)
    run_state_machine_as_test(
        QueueMachine, settings=settings(deadline=None, max_examples=40, stateful_step_count=40, print_blob=True)
    )
