"""Which of two plans about a person is newer, where the one that looks later was made from the older roster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provisioner.model.operation import Kind
from provisioner.store.people.receipts import ReceiptStore
from provisioner.store.redis import keys
from tests.store.bench import ALL, TARGET, Bench, DiedError, operation, patch

LINKED = [{"person": "B", "account": "b", "state": "active"}]


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    made.close()


def unfinished(bench: Bench) -> set[str]:
    return set(bench(ReceiptStore(bench.redis).unfinished([TARGET])))


def noted(bench: Bench, *leavers: str, taken: float, digest: str) -> None:
    """A roster was accepted."""
    bench(ReceiptStore(bench.redis).note(TARGET, leavers, None, taken=taken, digest=digest))


def left_by_themselves(bench: Bench) -> tuple[float, float]:
    """Somebody leaves by a run about them alone; when the roster before it was read, and its own."""
    before, since = bench.now() - 60, bench.now() - 30
    bench.install([], links=LINKED)
    noted(bench, "B", taken=since, digest="newer")
    bench.install([operation("B", Kind.LEAVE)], people=["B"], leavers=["B"], roster=(since, "newer"))
    claim = bench.take()
    assert bench(bench.queue.done(claim, {**patch(claim), "state": "left"}, "b"))
    return before, since


@pytest.mark.parametrize("whole", [False, True], ids=["a run about some", "a run about everybody"])
def test_a_look_from_an_older_roster_sets_nobody_back(bench: Bench, whole: bool) -> None:
    """It waited, or plans overtaken people again, and knows only the rows of then."""
    before, _ = left_by_themselves(bench)
    people = None if whole else ["A", "B"]
    links = [{"person": "B", "account": "b", "state": "active"}]
    run, dropped = bench.install(
        [operation("A"), operation("B", Kind.REJOIN)], people=people, roster=(before, "older"), links=links
    )
    assert dropped == 1
    assert (bench.status(run, operation("A")), bench.error(run, operation("B", Kind.REJOIN))) == (
        "pending",
        "older_roster",
    )
    assert [one.operation.person for one in bench.claim()] == ["A"]
    entry = bench.entry("B")
    assert entry is not None
    assert entry.state == "left"
    # By its roster they would be set back again and again
    assert bench.again(run) == ()
    assert bench.counters_are_right(run)


@pytest.mark.parametrize(("later", "digest"), [(False, "newer"), (True, "newest")], ids=["read again", "a newer one"])
def test_the_same_roster_and_a_newer_one_decide(bench: Bench, later: bool, digest: str) -> None:
    before, since = left_by_themselves(bench)
    taken = since + 1 if later else before
    run, dropped = bench.install([operation("B", Kind.REJOIN)], people=["B"], roster=(taken, digest))
    assert (dropped, bench.status(run, operation("B", Kind.REJOIN))) == (0, "pending")


def test_a_run_about_somebody_takes_nothing_from_a_newer_roster_about_everybody(bench: Bench) -> None:
    before, since = bench.now() - 60, bench.now() - 30
    noted(bench, "B", taken=since, digest="newer")
    whole, _ = bench.install([operation("B", Kind.LEAVE)], links=LINKED, leavers=["B"], roster=(since, "newer"))
    single, dropped = bench.install([operation("B")], people=["B"], roster=(before, "older"))
    assert dropped == 1
    assert bench.status(whole, operation("B", Kind.LEAVE)) == "pending"
    assert bench.error(single, operation("B")) == "older_roster"
    assert unfinished(bench) == {"B"}


def test_what_a_newer_roster_put_there_while_an_older_one_is_installed_stays(bench: Bench) -> None:
    """The run about everybody looks later than the one about somebody, and has no part about them."""
    before, since, looked = bench.now() - 60, bench.now() - 30, bench.now()
    bench.steps = 0
    with pytest.raises(DiedError):
        bench.install([operation("A")], run="whole", began=looked + 0.5, roster=(before, "older"))
    bench.steps = ALL
    noted(bench, "B", taken=since, digest="newer")
    single, _ = bench.install([operation("B", Kind.LEAVE)], began=looked, people=["B"], roster=(since, "newer"))
    bench(bench.plans.resume("whole", TARGET))
    assert bench.status(single, operation("B", Kind.LEAVE)) == "pending"


def test_it_is_known_until_everybody_was_planned_from_a_later_one(bench: Bench) -> None:
    before, since = left_by_themselves(bench)
    bench.install([operation("A")], roster=(before, "older"))
    assert bench(bench.redis.zscore(keys.rostered(TARGET), "B")) == pytest.approx(since)
    bench.install([operation("A")], roster=(since + 1, "newest"))
    assert not bench(bench.redis.exists(keys.rostered(TARGET)))


@pytest.mark.parametrize("recorded", [False, True], ids=["being made", "made since the look"])
def test_an_account_that_is_made_for_a_leaver_is_unfinished(bench: Bench, recorded: bool) -> None:
    """The plan knows of no account; a worker that was suspended, or one that is done by now, does."""
    bench.install([operation("B", Kind.CREATE)])
    claim, began = bench.take(), bench.now()
    if recorded:
        assert bench(bench.queue.done(claim, patch(claim), "b"))
        noted(bench, "B", taken=bench.now(), digest="newer")
        assert unfinished(bench) == {"B"}
    run, _ = bench.install([], accountless=["B"], roster=(bench.now(), "newer"), began=began if recorded else None)
    assert unfinished(bench) == {"B"}
    assert bench.again(run) == ("B",)
    # Once nothing is on its way, and the plan still knows of none
    if not recorded:
        assert bench(bench.queue.fail(claim, {"code": "no", "message": "no"}))
        bench.install([], accountless=["B"], roster=(bench.now(), "newer"))
        assert unfinished(bench) == set()
