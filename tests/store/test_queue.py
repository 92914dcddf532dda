"""The queue's script: every change of state, and what must not be changed any more."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from provisioner.model.operation import Kind
from provisioner.store.redis import keys
from tests.store.bench import LATER, LEASE, TARGET, Bench, operation, patch

ERROR = {"code": "refused", "message": "no"}


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    made.close()


def test_a_plan_goes_out_in_the_order_of_urgency_then_of_the_plan(bench: Bench) -> None:
    plan = [
        operation("U", Kind.UPDATE),
        operation("C", Kind.CREATE),
        operation("L", Kind.LEAVE),
        operation("D", Kind.UPDATE),
    ]
    bench.install(plan)
    assert [bench.take().operation.person for _ in plan] == ["L", "C", "U", "D"]
    assert bench.claim() == []


def test_single_person_work_goes_before_everything_and_can_be_asked_for_alone(bench: Bench) -> None:
    bench.install([operation("L", Kind.LEAVE)])
    bench.install([operation("U")], people=["U"], urgent=True)
    assert bench.ready()[0].endswith(operation("U").id)
    assert [claim.operation.person for claim in bench.claim(urgent=True)] == ["U"]
    assert bench.claim(urgent=True) == []
    assert [claim.operation.person for claim in bench.claim()] == ["L"]


def test_a_claim_takes_one_group_up_to_its_limit(bench: Bench) -> None:
    saves = [operation(f"P{number}") for number in range(3)]
    bench.install([*saves, operation("E", Kind.EVENT)])
    first = bench(bench.queue.claim(TARGET, lease=LEASE, token="a", limits={"save": 2, "*": 1}))
    assert [claim.operation.person for claim in first] == ["P0", "P1"]
    second = bench(bench.queue.claim(TARGET, lease=LEASE, token="b", limits={"save": 2, "*": 1}))
    assert [claim.operation.person for claim in second] == ["P2"]
    assert [claim.group for claim in bench.claim()] == ["event"]


def test_a_claim_whose_answer_was_lost_is_asked_for_again(bench: Bench) -> None:
    bench.install([operation("A"), operation("B")])
    first = bench.claim(1, token="mine")
    assert bench.claim(1, token="mine") == first
    assert bench.claim(1, token="other")[0].operation.person == "B"
    assert bench(bench.queue.done(first[0], patch(first[0]), None))
    assert bench.claim(1, token="mine") == []


def test_success_is_recorded_once_and_teaches_the_ledger(bench: Bench) -> None:
    run, _ = bench.install([operation("A", Kind.CREATE)])
    claim = bench.take()
    assert (claim.attempts, claim.unclear, claim.operation.account) == (1, False, None)
    assert bench(bench.queue.done(claim, patch(claim, created=True, owe={"created": 12}), "account-A"))
    assert not bench(bench.queue.done(claim, patch(claim), "account-A"))
    entry = bench.entry("A")
    assert entry is not None
    assert (entry.account, entry.state, entry.values, entry.created, entry.version) == (
        "account-A",
        "active",
        {"n": "1"},
        True,
        1,
    )
    assert entry.owed == {"created": 12}
    assert entry.recorded >= claim.claimed
    assert bench.status(run, claim.operation) == "succeeded"
    assert (bench.ready(), bench.leased(), bench.parked()) == ([], [], [])
    assert bench(bench.redis.hgetall(keys.slots(TARGET))) == {}
    assert [row["id"] for row in bench(bench.runs.history("A"))] == [claim.operation.id]
    assert bench.counters_are_right(run)


def test_another_account_forgets_what_was_acknowledged_of_the_first(bench: Bench) -> None:
    for value, account in (("1", "first"), ("2", "second")):
        bench.install([operation("A", value=value)])
        claim = bench.take()
        learnt = {"account": account, "values": {f"only-{account}": "x"}, "created": account == "first"}
        assert bench(bench.queue.done(claim, learnt, account))
    entry = bench.entry("A")
    assert entry is not None
    assert (entry.account, entry.values, entry.created, entry.version) == ("second", {"only-second": "x"}, False, 2)


def test_what_failed_takes_its_followers_along_and_is_retried_with_them(bench: Bench) -> None:
    create = operation("A", Kind.CREATE)
    event = operation("A", Kind.EVENT, follows=create)
    run, _ = bench.install([create, event])
    assert bench.ready() == [f"{run}|{create.id}"]
    claim = bench.take()
    assert bench(bench.queue.fail(claim, ERROR))
    assert bench.status(run, create) == "failed"
    assert bench.status(run, event) == "failed"
    assert bench.error(run, event) == "leader_failed"
    assert bench.counters_are_right(run)
    assert bench(bench.queue.release(run, TARGET, create.id, {"by": "me"}))
    assert bench.status(run, event) == "pending"
    again = bench.take()
    assert again.attempts == 1
    assert bench(bench.queue.done(again, patch(again), "account-A"))
    follower = bench.take()
    assert follower.operation.kind is Kind.EVENT
    assert follower.operation.account == "account-A"
    assert bench.counters_are_right(run)


def test_a_follower_is_dropped_with_its_leader(bench: Bench) -> None:
    leave = operation("A", Kind.LEAVE)
    event = operation("A", Kind.EVENT, follows=leave)
    run, _ = bench.install([leave, event])
    assert bench(bench.queue.drop(bench.take(), ERROR))
    assert bench.status(run, leave) == bench.status(run, event) == "superseded"
    assert bench.claim() == []
    assert bench.counters_are_right(run)


@pytest.mark.parametrize(("spend", "attempts"), [(True, 2), (False, 1)])
def test_what_is_parked_comes_back_when_it_is_due(bench: Bench, spend: bool, attempts: int) -> None:
    run, _ = bench.install([operation("A")])
    first = bench.take()
    assert bench(bench.queue.park(first, LATER, ERROR, unclear=False, spend=spend))
    assert bench.status(run, first.operation) == "waiting"
    assert bench.claim() == []
    backlog = bench(bench.queue.backlog(TARGET))
    assert (backlog.ready, backlog.leased) == (0, 0)
    assert backlog.next_due is not None
    assert 0 < backlog.next_due <= LATER
    bench.ripen()
    second = bench.take()
    assert (second.attempts, second.unclear, second.since) == (attempts, False, first.since)
    assert bench.counters_are_right(run)


def test_an_unclear_one_stays_unclear(bench: Bench) -> None:
    bench.install([operation("A", Kind.CREATE)])
    assert bench(bench.queue.park(bench.take(), 0, ERROR, unclear=True))
    assert bench.take().unclear


def test_given_back_it_costs_no_try_and_may_change_its_group(bench: Bench) -> None:
    run, _ = bench.install([operation("A"), operation("B")])
    for claim, half in zip(bench.claim(2), "ab", strict=True):
        assert bench(bench.queue.give_back(claim, group=f"save#{half}"))
    assert [claim.group for claim in bench.claim(2)] == ["save#a"]
    (second,) = bench.claim(2)
    assert (second.group, second.attempts) == ("save#b", 1)
    assert bench.counters_are_right(run)


def test_the_halves_of_a_batch_keep_the_limit_of_their_kind(bench: Bench) -> None:
    bench.install([operation("A"), operation("B"), operation("C")], group="save#1a")
    claims = bench(bench.queue.claim(TARGET, lease=LEASE, token="t", limits={"save": 2, "*": 1}))
    assert len(claims) == 2


def test_a_lease_that_expired_makes_it_unclear_and_the_holder_powerless(bench: Bench) -> None:
    run, _ = bench.install([operation("A")])
    dead = bench.take(lease=0)
    assert bench.expire(dead) == 1
    assert bench.error(run, dead.operation) == "lease_expired"
    heir = bench.take()
    assert heir.unclear
    assert heir.attempts == 2
    assert bench(bench.queue.renew(TARGET, dead.token, LEASE, [dead])) == 0
    assert not bench(bench.queue.fail(dead, ERROR))
    assert not bench(bench.queue.park(dead, 1.0, ERROR, unclear=False))
    assert not bench(bench.queue.give_back(dead))
    assert not bench(bench.queue.drop(dead, ERROR))
    assert not bench(bench.queue.done(dead, patch(dead), None))
    assert bench.status(run, heir.operation) == "sending"
    assert bench(bench.queue.done(heir, patch(heir), None))
    assert bench.counters_are_right(run)


def test_a_lease_is_renewed_by_its_holder(bench: Bench) -> None:
    bench.install([operation("A")])
    claim = bench.take(lease=0)
    assert bench(bench.queue.renew(TARGET, claim.token, LEASE, [claim])) == 1
    assert bench(bench.queue.reap(TARGET)) == 0
    assert bench(bench.queue.backlog(TARGET)).leased == 1


def test_a_late_success_counts_if_nobody_has_taken_over(bench: Bench) -> None:
    run, _ = bench.install([operation("A")])
    dead = bench.take(lease=0)
    bench.expire(dead)
    assert bench(bench.queue.done(dead, patch(dead), None))
    assert bench.status(run, dead.operation) == "succeeded"
    assert bench.claim() == []
    assert bench.entry("A") is not None


def test_a_late_success_never_overwrites_a_newer_entry(bench: Bench) -> None:
    bench.install([operation("A", value="old")])
    dead = bench.take(lease=0)
    bench.expire(dead)
    link = {"person": "A", "account": "account-A", "state": "active", "matched": "email"}
    bench.install([operation("A", value="new")], links=[link])
    newer = bench.entry("A")
    bench(bench.queue.done(dead, patch(dead), None))
    assert bench.entry("A") == newer


def test_a_newer_plan_replaces_what_the_older_has_not_sent(bench: Bench) -> None:
    held = operation("H", hold="a guard")
    old, _ = bench.install([operation("A", value="old"), operation("B", value="old"), held])
    sending = bench.take()
    new, dropped = bench.install([operation("A", value="new"), operation("B", value="new"), operation("H", value="2")])
    assert sending.operation.person == "A"
    assert dropped == 1
    assert bench.status(old, sending.operation) == "sending"
    assert bench.status(old, operation("B", value="old")) == "superseded"
    assert bench.status(old, held) == "superseded"
    assert bench.status(new, operation("A", value="new")) == "superseded"
    assert bench.error(new, operation("A", value="new")) == "overtaken"
    assert [claim.operation.after["n"] for claim in bench.claim()] == ["new", "2"]
    assert bench(bench.queue.done(sending, patch(sending), None))
    assert bench.counters_are_right(old)
    assert bench.counters_are_right(new)


def test_a_plan_about_some_people_leaves_the_others_alone(bench: Bench) -> None:
    old, _ = bench.install([operation("A"), operation("B")])
    bench.install([operation("A", value="2")], people=["A", "C"])
    assert bench.status(old, operation("A")) == "superseded"
    assert bench.status(old, operation("B")) == "pending"


def test_what_was_recorded_after_a_plan_was_observed_drops_it(bench: Bench) -> None:
    began = bench.now()
    bench.install([operation("A", value="1")], people=["A"])
    claim = bench.take()
    assert bench(bench.queue.done(claim, patch(claim), None))
    stale = operation("A", value="2")
    event = operation("A", Kind.EVENT, follows=stale)
    run, dropped = bench.install([stale, event, operation("B")], began=began)
    assert dropped == 2
    assert [claim.operation.person for claim in bench.claim()] == ["B"]
    fields = bench(bench.runs.own_part(run, TARGET))
    assert fields["n:superseded:update"] == "1"
    assert fields["n:superseded:event"] == "1"
    assert bench.counters_are_right(run)


def test_a_link_is_recorded_unless_something_newer_is_known(bench: Bench) -> None:
    began = bench.now()
    link = {"person": "A", "account": "x", "state": "active", "matched": "email"}
    bench.install([], links=[link])
    entry = bench.entry("A")
    assert entry is not None
    assert (entry.account, entry.state, entry.matched, entry.created) == ("x", "active", "email", False)
    bench.install([], links=[{**link, "account": "y"}], began=began)
    assert bench.entry("A") == entry


def test_a_plan_is_installed_once_per_run(bench: Bench) -> None:
    run, _ = bench.install([operation("A"), operation("B")])
    sending = bench.take()
    assert bench.install([operation("A"), operation("B"), operation("C")], run=run) == (run, 0)
    assert bench.status(run, sending.operation) == "sending"
    assert bench.status(run, operation("B")) == "pending"
    assert len(bench.ready()) == 1
    assert bench.counters_are_right(run)


def test_what_a_dead_planner_staged_is_forgotten(bench: Bench) -> None:
    left = operation("X")
    bench(bench.redis.rpush(keys.stage("run-1", TARGET), left.id, left.id))
    bench(bench.redis.hset(keys.operation("run-1", TARGET, left.id), mapping={"person": "X", "doc": "{}"}))
    bench(bench.redis.zadd(keys.run_operations("run-1", TARGET), {left.id: 0}))
    bench.install([operation("A")], run="run-1")
    assert [row["person"] for row in bench(bench.runs.operations("run-1", [TARGET]))] == ["A"]
    assert bench.counters_are_right("run-1")


def test_a_change_planned_again_keeps_its_tries_and_its_waiting(bench: Bench) -> None:
    bench.install([operation("A")])
    first = bench.take()
    assert bench(bench.queue.park(first, LATER, ERROR, unclear=True))
    run, _ = bench.install([operation("A")])
    assert bench.status(run, first.operation) == "waiting"
    bench.ripen()
    second = bench.take()
    assert (second.run, second.attempts, second.unclear, second.since) == (run, 2, True, first.since)
    assert bench.counters_are_right(run)


def test_another_change_in_its_place_starts_anew_but_inherits_the_doubt(bench: Bench) -> None:
    bench.install([operation("A", Kind.CREATE, "1")])
    assert bench(bench.queue.park(bench.take(), LATER, ERROR, unclear=True))
    bench.install([operation("A", Kind.CREATE, "2")])
    claim = bench.take()
    assert (claim.attempts, claim.unclear) == (1, True)


def test_held_operations_wait_until_they_are_released(bench: Bench) -> None:
    leave = operation("A", Kind.LEAVE, hold="a guard")
    event = operation("A", Kind.EVENT, follows=leave, hold="a guard")
    run, _ = bench.install([leave, event], guard="leavers")
    assert bench.claim() == []
    assert bench(bench.queue.release(run, TARGET, leave.id, {"by": "me"}))
    assert bench(bench.queue.release(run, TARGET, event.id, {"by": "me"}))
    assert not bench(bench.queue.release(run, TARGET, event.id, {"by": "me"}))
    claim = bench.take()
    assert claim.operation.kind is Kind.LEAVE
    assert bench.claim() == []
    assert bench(bench.queue.done(claim, patch(claim), None))
    assert bench.take().operation.kind is Kind.EVENT
    assert bench(bench.health.sent(TARGET, "leavers", 0)) == 0
    assert bench.counters_are_right(run)


def test_what_goes_out_unasked_is_counted_for_its_guard(bench: Bench) -> None:
    bench.install([operation("A", Kind.LEAVE), operation("B", Kind.LEAVE)], guard="leavers")
    before = bench.now()
    bench.claim(1)
    assert bench(bench.health.sent(TARGET, "leavers", before)) == 1
    assert bench(bench.health.sent(TARGET, "leavers", before + LATER)) == 0


@pytest.mark.parametrize(
    ("refused", "unclear", "count"), [(True, False, 0), (True, True, 1), (False, False, 1)], ids=str
)
def test_what_was_refused_as_a_whole_counts_no_more(bench: Bench, refused: bool, unclear: bool, count: int) -> None:
    """It took no access away. What an earlier try without an answer did, nobody knows."""
    bench.install([operation("A", Kind.LEAVE)], guard="leavers")
    if unclear:
        bench(bench.queue.park(bench.take(), 0.0, ERROR, unclear=True))
        bench.ripen()
    assert bench(bench.queue.fail(bench.take(), ERROR, refused=refused))
    assert bench(bench.health.sent(TARGET, "leavers", 0)) == count


def test_what_goes_out_once_more_counts_once_also_where_it_is_dropped_before(bench: Bench) -> None:
    """A leave fails, nobody knows how far, and is planned again; then something newer takes its place."""
    leave = operation("A", Kind.LEAVE)
    bench.install([leave], guard="leavers")
    assert bench(bench.queue.fail(bench.take(), ERROR))
    assert bench(bench.health.sent_ids(TARGET, "leavers", 0, 10)) == (leave.id,)
    bench.install([leave], guard="leavers")
    counted = [bench(bench.health.sent(TARGET, "leavers", 0)), bench(bench.health.unsent(TARGET, "leavers"))]
    assert counted == [0, 1]
    bench.install([])
    counted = [bench(bench.health.sent(TARGET, "leavers", 0)), bench(bench.health.unsent(TARGET, "leavers"))]
    assert counted == [1, 0]


def test_a_failed_one_is_not_released_where_another_stands_in_its_place(bench: Bench) -> None:
    old, _ = bench.install([operation("A", value="1")])
    claim = bench.take()
    assert bench(bench.queue.fail(claim, ERROR))
    bench.install([operation("A", value="2")])
    assert not bench(bench.queue.release(old, TARGET, claim.operation.id, {"by": "me"}))
    assert bench.status(old, claim.operation) == "failed"


def test_a_held_one_can_be_refused_and_a_rejected_one_stands_in_nobodys_way(bench: Bench) -> None:
    run, _ = bench.install([operation("A", hold="a guard"), operation("B", refused=True)])
    assert bench(bench.queue.refuse(run, TARGET, operation("A").id, {"by": "me"}))
    assert not bench(bench.queue.refuse(run, TARGET, operation("A").id, {"by": "me"}))
    assert not bench(bench.queue.release(run, TARGET, operation("A").id, {"by": "me"}))
    assert bench.status(run, operation("A")) == bench.status(run, operation("B")) == "rejected"
    assert bench(bench.redis.hgetall(keys.slots(TARGET))) == {}
    assert bench.counters_are_right(run)


@pytest.mark.parametrize("stop", ["paused", "quarantined"])
def test_nothing_is_claimed_for_a_target_that_is_not_written_to(bench: Bench, stop: str) -> None:
    bench.install([operation("A")])
    bench(bench.redis.hset(keys.health(TARGET), stop, "1"))
    assert bench.claim() == []
    bench(bench.redis.hset(keys.health(TARGET), stop, "0"))
    assert len(bench.claim()) == 1


def test_a_success_is_remembered_though_redis_lost_the_operation(bench: Bench) -> None:
    run, _ = bench.install([operation("A")])
    claim = bench.take()
    bench(bench.redis.delete(keys.operation(run, TARGET, claim.operation.id)))
    assert bench(bench.queue.done(claim, patch(claim), None))
    assert bench.entry("A") is not None


def test_a_follower_is_not_released_without_what_it_follows(bench: Bench) -> None:
    leave = operation("A", Kind.LEAVE, hold="a guard")
    event = operation("A", Kind.EVENT, follows=leave, hold="a guard")
    run, _ = bench.install([leave, event])
    assert bench(bench.queue.refuse(run, TARGET, leave.id, {"by": "me"}))
    assert not bench(bench.queue.release(run, TARGET, event.id, {"by": "me"}))
    assert bench.status(run, event) == "held"


def test_a_claim_asks_for_the_size_of_a_group_that_it_was_not_given(bench: Bench) -> None:
    bench.install([*(operation(f"P{number}") for number in range(5)), operation("E", Kind.EVENT)])
    asked: list[str] = []

    def size(group: str) -> int:
        asked.append(group)
        return 3

    first = bench(bench.queue.claim(TARGET, lease=LEASE, token="a", limits={}, size=size))
    assert [claim.operation.person for claim in first] == ["P0", "P1", "P2"]
    second = bench(bench.queue.claim(TARGET, lease=LEASE, token="b", limits={"save": 1}, size=size))
    assert [claim.operation.person for claim in second] == ["P3"]
    assert asked == ["save"]


def _expire(bench: Bench) -> None:
    for member in bench(bench.redis.zrange(keys.leases(TARGET), 0, -1)):
        bench(bench.redis.zadd(keys.leases(TARGET), {member: 1}))
    assert bench(bench.queue.reap(TARGET))
    for member in bench(bench.redis.zrange(keys.parked(TARGET), 0, -1)):
        bench(bench.redis.zadd(keys.parked(TARGET), {member: 1}))


def test_what_ends_its_worker_is_sent_alone_and_then_fails(bench: Bench) -> None:
    run, _ = bench.install([operation(person) for person in "ABCD"])
    for number in range(3):
        assert [claim.operation.person for claim in bench.claim(3, token=f"first{number}")] == ["A", "B", "C"]
        _expire(bench)
    taken = []
    while claims := bench.claim(3):
        (claim,) = claims
        taken.append(claim.operation.person)
        assert bench.claim(3) == [], "neither goes out with it what is alone, nor does that with anything else"
        if claim.operation.person == "B":
            _expire(bench)
        else:
            assert bench(bench.queue.done(claim, patch(claim), None))
    assert sorted(taken) == ["A", *"B" * 7, "C", "D"]
    document = bench(bench.runs.operation(run, TARGET, operation("B").id)) or {}
    assert (document["status"], json.loads(document["error"])["code"]) == ("failed", "unexpected")
    assert [one["code"] for one in json.loads(document["tries"])] == ["lease_expired"] * 10


def test_other_failures_in_between_count_afresh(bench: Bench) -> None:
    bench.install([operation("A")])
    for _ in range(4):
        for _ in range(6):
            bench.take()
            _expire(bench)
        (claim,) = bench.claim()
        assert bench(bench.queue.park(claim, 0.0, ERROR, unclear=True))
    assert bench.take().operation.person == "A"
