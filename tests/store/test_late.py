"""What comes late: an answer, a renewal, a plan of an older look, and what came to stand while a plan was installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec import structs

from provisioner.model.operation import EventTag, Kind
from provisioner.store.queue import plans as plans_module
from provisioner.store.queue.entries import Entry
from provisioner.store.redis import keys
from tests.store.bench import ALL, LEASE, TARGET, Bench, DiedError, operation, patch

ERROR = {"code": "connection_lost", "message": "no answer"}

LINKED = [{"person": "A", "account": "account-A", "state": "active"}]


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One person a part."""
    monkeypatch.setattr(plans_module, "_PART", 0)


def add_tag(bench: Bench, person: str) -> None:
    """An event from outside gives somebody a tag, which is part of their account and which no plan asks for."""
    tag = EventTag(id=f"tag-{person}", target=TARGET, person=person, account=f"account-{person}", slot="tag:x", tag="x")
    assert bench(bench.plans.add(bench.name_run(), TARGET, {f"token-{person}": Entry(tag, "tag")})) == 1


def test_a_late_answer_does_not_overwrite_what_was_recorded_since(bench: Bench) -> None:
    """Its lease expired, nobody has taken the operation over, and something else about the account was recorded."""
    bench.install([operation("A", value="late")], links=LINKED)
    dead = bench.take()
    add_tag(bench, "A")
    tag = bench.take()
    assert bench.expire(dead) == 1
    assert bench(bench.queue.done(tag, {"values": {"n": "newer"}}, None))
    before = bench.entry("A")
    assert before is not None
    assert bench.status(dead.run, dead.operation) == "pending"
    bench(bench.queue.done(dead, patch(dead), None))
    after = bench.entry("A")
    assert after is not None
    assert (after.values["n"], after.version) == ("newer", before.version)
    assert bench.status(dead.run, dead.operation) == "succeeded"


@pytest.mark.parametrize(("kind", "state", "fact"), [(Kind.CREATE, "active", "created"), (Kind.LEAVE, "left", "left")])
def test_a_fact_is_not_lost_though_a_plan_saw_it_before_its_worker_was_killed(
    bench: Bench, kind: Kind, state: str, fact: str
) -> None:
    """Else the next plan finds an account of before in the ledger, and takes what nobody has told for settled."""
    owing = structs.replace(operation("A", kind), owes={fact: 7})
    bench.install([owing, operation("A", Kind.EVENT, follows=owing)])
    dead = bench.take()
    seen = [{"person": "A", "account": "account-A", "state": state, "matched": "key"}]
    saw, _ = bench.install([], links=seen)
    assert bench.again(saw) == ("A",)
    assert bench.expire(dead) == 1
    bench.install([], links=[] if bench.entry("A") else seen)
    known = bench.entry("A")
    assert known is not None
    assert (known.state, known.owed, known.created) == (state, {fact: 7}, kind is Kind.CREATE)
    assert bench.status(dead.run, dead.operation) == "succeeded"
    assert [claim.operation.kind for claim in bench.claim()] == [Kind.EVENT]


def test_a_late_answer_says_what_came_about_whatever_was_recorded_since(bench: Bench) -> None:
    owing = structs.replace(operation("A"), owes={"role_changed": 7})
    bench.install([owing, operation("A", Kind.EVENT, follows=owing)], links=LINKED)
    dead = bench.take()
    add_tag(bench, "A")
    tag = bench.take()
    assert bench.expire(dead) == 1
    assert bench(bench.queue.done(tag, {"values": {"n": "newer"}}, None))
    bench(bench.queue.done(dead, patch(dead, owe={"role_changed": 7}), None))
    # Before it is sent, a plan that knows nothing of it takes its event away
    bench.install([], people=["A"])
    known = bench.entry("A")
    assert known is not None
    assert (known.owed, known.values["n"]) == ({"role_changed": 7}, "newer")


def test_a_late_answer_of_an_operation_that_is_gone_does_not_either(bench: Bench) -> None:
    bench.install([operation("A", value="late")])
    claim = bench.take()
    bench(bench.redis.delete(keys.operation(claim.run, TARGET, claim.operation.id)))
    bench(bench.redis.delete(keys.slots(TARGET)))
    bench.install([], links=LINKED)
    before = bench.entry("A")
    assert not bench(bench.queue.done(claim, patch(claim), "another"))
    assert bench.entry("A") == before


def test_a_lease_that_is_gone_is_not_brought_back(bench: Bench) -> None:
    """Whoever took it away may not have said so on the operation."""
    bench.install([operation("A"), operation("B")])
    one, other = bench.claim(2)
    bench(bench.redis.zrem(keys.leases(TARGET), one.member))
    assert bench(bench.queue.renew(TARGET, one.token, LEASE, [one, other])) == 1
    assert bench.leased() == [other.member]


def test_what_a_later_look_decided_stands_though_it_was_overtaken_in_part(bench: Bench) -> None:
    """They are planned again, so it is no decision about the whole person; what was installed of it is newer still."""
    event = operation("A", Kind.EVENT)
    bench.install([event], people=["A"])
    sending = bench.take()
    began = bench.now()
    later, dropped = bench.install([operation("A", value="2"), event], people=["A"])
    assert (dropped, bench.again(later)) == (1, ("A",))
    older, dropped = bench.install([operation("A")], began=began)
    assert dropped == 1
    assert bench.status(later, operation("A", value="2")) == "pending"
    assert bench.error(older, operation("A")) == "overtaken"
    assert bench(bench.queue.done(sending, patch(sending), None))


def test_what_came_to_stand_between_two_parts_may_be_part_of_the_account(bench: Bench) -> None:
    """Tags on their way are part of it: a plan that has not seen them would take them away."""
    bench.steps = 1
    with pytest.raises(DiedError):
        bench.install([operation("A"), operation("B")], run="run-1")
    bench.steps = ALL
    add_tag(bench, "B")
    assert [one.operation.slot for one in (bench.take(), bench.take())] == ["account", "tag:x"]
    bench(bench.plans.resume("run-1", TARGET))
    assert bench.error("run-1", operation("B")) == "overtaken"
    assert bench.again("run-1") == ("B",)


def test_a_fact_that_was_perhaps_sent_outlives_a_plan_that_looked_before_its_cause(bench: Bench) -> None:
    """Else the one that is planned again for what is owed would be sent without looking first."""
    update = operation("A")
    event = operation("A", Kind.EVENT, follows=update)
    urgent, _ = bench.install([update, event], people=["A"], urgent=True)
    claim = bench.claim(1, urgent=True)[0]
    began = bench.now()
    bench.pass_time(1.0)
    assert bench(bench.queue.done(claim, patch(claim, owe={"created": 7}), None))
    told = bench.claim(1, urgent=True)[0]
    assert told.operation.kind is Kind.EVENT
    assert bench(bench.queue.park(told, 0.0, ERROR, unclear=True))
    whole, dropped = bench.install([update, event], began=began)
    assert (dropped, bench.again(whole)) == (2, ("A",))
    assert bench.status(urgent, event) == "waiting"
    follow, dropped = bench.install([operation("A", Kind.EVENT, slot="event:created:7")], people=["A"], urgent=True)
    assert dropped == 0
    again = bench.claim(1, urgent=True)[0]
    assert (again.run, again.unclear) == (follow, True)
    assert bench.counters_are_right(urgent)
    assert bench.counters_are_right(whole)
