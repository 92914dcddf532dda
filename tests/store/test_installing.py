"""A large plan is installed part by part: what happens between two parts, and when its planner dies there."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from provisioner.model.operation import Kind
from provisioner.store.people.receipts import ReceiptStore
from provisioner.store.queue import plans as plans_module
from provisioner.store.queue.plans import Counted
from provisioner.store.redis import keys
from tests.store.bench import ALL, TARGET, Bench, DiedError, operation, patch

PEOPLE = tuple("ABCDEFGH")


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One person a part."""
    monkeypatch.setattr(plans_module, "_PART", 0)


def half_installed(
    bench: Bench, run: str, parts: int, *, began: float | None = None, counted: Counted | None = None
) -> None:
    bench.steps = parts
    with pytest.raises(DiedError):
        bench.install([operation(person) for person in PEOPLE], run=run, began=began, guard="updates", counted=counted)
    bench.steps = ALL


def test_all_parts_are_installed(bench: Bench) -> None:
    older, _ = bench.install([operation(person, value="old") for person in PEOPLE])
    run, dropped = bench.install([operation(person) for person in PEOPLE])
    assert dropped == 0
    assert {bench.status(run, operation(person)) for person in PEOPLE} == {"pending"}
    assert {bench.status(older, operation(person, value="old")) for person in PEOPLE} == {"superseded"}
    assert len(bench.ready()) == len(PEOPLE)
    assert bench.counters_are_right(older)
    assert bench.counters_are_right(run)


def test_nothing_of_the_installing_is_left_over(bench: Bench) -> None:
    bench.install([operation(person) for person in PEOPLE], run="run-1")
    for key in (keys.installing(TARGET), keys.fresh_slots(TARGET), keys.stage("run-1", TARGET)):
        assert not bench(bench.redis.exists(key)), key
    assert "installing" not in bench(bench.runs.target("run-1", TARGET))


def test_what_is_installed_goes_out_before_the_rest_is(bench: Bench) -> None:
    half_installed(bench, "run-1", 3)
    assert [one.operation.person for one in bench.claim(10)] == ["A", "B", "C"]


def test_whoever_comes_after_a_dead_planner_goes_on_with_its_plan(bench: Bench) -> None:
    half_installed(bench, "run-1", 3)
    sent = bench.claim(1)[0]
    assert bench(bench.queue.done(sent, patch(sent), sent.operation.account))
    assert bench(bench.plans.resume("run-2", TARGET)) is None
    assert bench(bench.plans.resume("run-1", TARGET)) == 0
    # Another plan of the same run: the first one stands
    assert bench.install([operation("Z")], run="run-1") == ("run-1", 0)
    assert bench.status("run-1", operation("A")) == "succeeded"
    assert {bench.status("run-1", operation(person)) for person in PEOPLE[1:]} == {"pending"}
    assert bench(bench.runs.operation("run-1", TARGET, operation("Z").id)) is None
    assert bench.counters_are_right("run-1")


def test_a_plan_that_is_gone_on_with_after_a_newer_one_drops_the_rest(bench: Bench) -> None:
    """Its planner died, and the next run did not wait for whoever goes on with it."""
    half_installed(bench, "run-1", 3)
    newer, _ = bench.install([operation("A", value="2"), operation("H", value="2")], run="run-2")
    assert bench(bench.plans.resume("run-1", TARGET)) == len(PEOPLE) - 3
    assert {bench.status("run-1", operation(person)) for person in PEOPLE} == {"superseded"}
    assert {bench.status(newer, operation(person, value="2")) for person in "AH"} == {"pending"}
    assert len(bench.ready()) == 2
    assert bench.counters_are_right("run-1")
    assert bench.counters_are_right("run-2")


def test_an_older_look_takes_nothing_from_a_newer_decision_about_one_person(bench: Bench) -> None:
    """A large listing takes minutes, and meanwhile somebody decides about one person."""
    began = bench.now()
    single, _ = bench.install([operation("B", value="2")], people=["B"], urgent=True)
    whole, dropped = bench.install([operation(person) for person in "ABC"], began=began)
    assert dropped == 1
    assert bench.error(whole, operation("B")) == "overtaken"
    assert bench.status(single, operation("B", value="2")) == "pending"
    newest, dropped = bench.install([operation(person, value="3") for person in "ABC"])
    assert dropped == 0
    assert bench.status(single, operation("B", value="2")) == "superseded"
    assert bench.status(newest, operation("B", value="3")) == "pending"


def test_a_newer_look_that_wanted_nothing_is_a_decision_too(bench: Bench) -> None:
    """A large listing takes minutes; meanwhile a change is taken back in the roster, and one person is synced."""
    began = bench.now()
    bench.install([], people=["B"], urgent=True)
    whole, dropped = bench.install([operation(person) for person in "ABC"], began=began)
    assert dropped == 1
    assert bench.error(whole, operation("B")) == "overtaken"
    assert bench.again(whole) == ("B",)
    newest, dropped = bench.install([operation("B")])
    assert dropped == 0
    assert not bench(bench.redis.exists(keys.looked(TARGET)))
    assert bench.again(newest) == ()


def test_a_decision_of_a_newer_look_that_failed_is_one_too(bench: Bench) -> None:
    began = bench.now()
    bench.install([operation("B", value="2")], people=["B"], urgent=True)
    assert bench(bench.queue.fail(bench.take(), {"code": "no", "message": "no"}))
    whole, _ = bench.install([operation("B")], began=began)
    assert bench.error(whole, operation("B")) == "overtaken"


def test_a_small_plan_of_an_older_look_takes_no_place_of_a_newer_plan_for_everybody(bench: Bench) -> None:
    """The large one wanted nothing for the person, so nothing stands for them."""
    began = bench.now()
    bench.install([operation("A")])
    single, dropped = bench.install([operation("B")], began=began, people=["B"], urgent=True)
    assert dropped == 1
    assert bench.again(single) == ("B",)
    assert len(bench.ready()) == 1


def test_an_older_look_says_nothing_of_who_leaves(bench: Bench) -> None:
    began = bench.now()
    linked = [{"person": "B", "account": "b", "state": "active"}]
    bench.install([operation("B", Kind.LEAVE)], links=linked, people=["B"], leavers=["B"])
    assert bench(bench.queue.fail(bench.take(), {"code": "no", "message": "no"}))
    bench.install([], people=["B"], began=began)
    assert bench(bench.redis.zscore(keys.leavers(TARGET), "B")) is not None


@pytest.mark.parametrize("by", ["a plan", "a roster"])
def test_an_older_roster_says_nothing_of_who_has_come_back(bench: Bench, by: str) -> None:
    """A run reads the roster, then somebody leaves and is synced by themselves; the run goes on with what it read."""
    bench.install([], links=[{"person": "B", "account": "b", "state": "active"}])
    receipts = ReceiptStore(bench.redis)
    before, since = bench.now() - 60, bench.now() - 30

    def left() -> bool:
        return "B" in bench(receipts.unfinished([TARGET]))

    def goes_on(taken: float, digest: str) -> None:
        if by == "a plan":
            bench.install([], roster=(taken, digest))
        else:
            bench(receipts.note(TARGET, [], (), taken=taken, digest=digest))

    bench(receipts.note(TARGET, ["B"], None, taken=since, digest="newer"))
    goes_on(before, "older")
    assert left()
    goes_on(since + 1, "newest")
    assert not left()


def test_nothing_of_an_older_decision_is_let_go(bench: Bench) -> None:
    """Somebody asks for what failed once more, and a newer run about the person wanted something else."""
    older, _ = bench.install([operation("A")], people=["A"])
    assert bench(bench.queue.fail(bench.take(), {"code": "no", "message": "no"}))
    assert bench(bench.queue.release(older, TARGET, operation("A").id, {"by": "me"}))
    assert bench(bench.queue.fail(bench.take(), {"code": "no", "message": "no"}))
    bench.install([], people=["A"])
    assert not bench(bench.queue.release(older, TARGET, operation("A").id, {"by": "me"}))
    assert bench.ready() == []


def test_what_an_older_look_put_there_while_a_newer_plan_was_installed_is_taken_away(bench: Bench) -> None:
    """The large plan wants nothing for Z, and when it was laid down nothing stood for Z."""
    before = bench.now()
    half_installed(bench, "run-1", 0)
    older, dropped = bench.install([operation("Z")], people=["Z"], began=before)
    newer, _ = bench.install([operation("Y")], people=["Y"])
    assert dropped == 0
    bench.install([], run="run-1")
    assert bench.status(older, operation("Z")) == "superseded"
    assert bench.status(newer, operation("Y")) == "pending"


def test_a_small_plan_between_two_parts_counts_what_the_large_one_still_brings(bench: Bench) -> None:
    """Of ten that may go out unapproved the large plan takes eight; three parts of it are installed."""
    began = bench.now()
    half_installed(bench, "run-1", 3, began=began, counted=Counted(began, 2))

    def single(person: str, known: int) -> int:
        counted = Counted(0.0, known)
        return bench.install([operation(person, value="2")], people=[person], guard="updates", counted=counted)[1]

    unsent = bench(bench.health.unsent(TARGET, "updates", ["Z"]))
    assert unsent == len(PEOPLE)
    assert single("Z", len(PEOPLE) - 1) == -1, "planned when fewer had been decided"
    assert single("Z", unsent) == 0
    # Whoever the large plan is about as well counts once
    assert bench(bench.health.unsent(TARGET, "updates", ["H"])) == len(PEOPLE)
    assert single("H", len(PEOPLE)) == 0
    bench.install([], run="run-1")
    assert not bench(bench.redis.exists(keys.coming("run-1", TARGET, "updates")))
    assert bench(bench.health.unsent(TARGET, "updates", [])) == len(PEOPLE) + 1


def test_a_clock_that_was_set_back_does_not_keep_newer_plans_out(bench: Bench) -> None:
    older, _ = bench.install([operation("A")], began=bench.now() + 86400)
    newer, dropped = bench.install([operation("A", value="2")])
    assert dropped == 0
    assert (bench.status(older, operation("A")), bench.status(newer, operation("A", value="2"))) == (
        "superseded",
        "pending",
    )


def test_what_was_recorded_between_two_parts_wins(bench: Bench) -> None:
    bench.install([operation("H", value="old")], run="older")
    claim = bench.take()
    began = bench.now()
    half_installed(bench, "run-1", 3, began=began)
    assert bench(bench.queue.done(claim, patch(claim), claim.operation.account))
    assert bench.install([], run="run-1")[1] == 1
    assert bench.error("run-1", operation("H")) == "overtaken"
    assert bench.counters_are_right("run-1")


def test_what_came_to_stand_between_two_parts_is_seen(bench: Bench) -> None:
    half_installed(bench, "run-1", 3)
    urgent, _ = bench.install([operation("H", Kind.EVENT, slot="event:told")], run="urgent", people=["H"], urgent=True)
    assert bench(bench.redis.smembers(keys.fresh_slots(TARGET))) == {b"H\x1fevent:told"}
    claim = bench.claim(1, urgent=True)[0]
    assert claim.operation.person == "H"
    bench.install([], run="run-1")
    # It is in flight, so it stands
    assert bench.status(urgent, claim.operation) == "sending"
    assert not bench(bench.redis.exists(keys.fresh_slots(TARGET)))


def test_a_part_that_was_put_there_twice_is_installed_once(bench: Bench) -> None:
    half_installed(bench, "run-1", 0)
    parts = bench(bench.redis.lrange(keys.stage("run-1", TARGET), 0, -1))
    bench(bench.redis.rpush(keys.stage("run-1", TARGET), *parts))
    bench.install([], run="run-1")
    assert [json.loads(part)["n"] for part in parts] == list(range(1, len(PEOPLE) + 1))
    assert len(bench.ready()) == len(PEOPLE)
    assert bench.counters_are_right("run-1")


def test_a_plan_about_many_named_people_leaves_the_others_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans_module, "_NAMED", 1)
    older, _ = bench.install([operation(person, value="old") for person in PEOPLE])
    bench.install([operation("A"), operation("B")], people=["A", "B", "C"])
    statuses = {person: bench.status(older, operation(person, value="old")) for person in PEOPLE}
    assert statuses == dict.fromkeys("ABC", "superseded") | dict.fromkeys("DEFGH", "pending")


def test_a_person_whose_key_is_a_pattern_is_only_themselves(bench: Bench) -> None:
    odd = "[A-Z]*?\\"
    older, _ = bench.install([operation("A"), operation(odd)])
    run, _ = bench.install([operation(odd, value="2")], people=[odd])
    assert bench.status(older, operation("A")) == "pending"
    assert bench.status(older, operation(odd)) == "superseded"
    assert bench.status(run, operation(odd, value="2")) == "pending"


def test_a_claim_finds_its_group_behind_many_others(bench: Bench) -> None:
    bench.install([operation("A")], group="one")
    bench.install([operation(f"B{number:03}") for number in range(150)], group="two", people=["B"])
    bench.install([operation("C")], group="one", people=["C"])
    assert {one.operation.person for one in bench.claim(2)} == {"A", "C"}
