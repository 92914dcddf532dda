"""What waits for a person waits for them under their new key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provisioner.model.operation import Kind
from provisioner.store.queue.overtaken import PutOff
from provisioner.store.redis import keys
from tests.store.bench import TARGET, Bench, operation, patch

LINKED = [{"person": "old", "account": "account-old", "state": "active"}]


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    made.close()


def rekey(bench: Bench) -> str:
    verdict = bench(bench.rekeys.link(TARGET, "old", "new")).verdict
    if verdict == "done":
        bench(bench.rekeys.person("old", "new"))
    return verdict


def left(bench: Bench, *runs: str) -> PutOff:
    return bench(bench.overtaken.put_off(runs, TARGET))


def test_a_run_whose_leave_was_dropped_by_the_new_key_goes_on_waiting_for_it(bench: Bench) -> None:
    run, _ = bench.install([operation("old", Kind.LEAVE)], links=LINKED, leavers=["old"])
    assert rekey(bench) == "done"
    assert bench.status(run, operation("old", Kind.LEAVE)) == "superseded"
    assert left(bench, run) == PutOff(unfinished=1, way=0)
    newer, _ = bench.install([operation("new", Kind.LEAVE)], leavers=["new"])
    assert left(bench, run) == PutOff(unfinished=1, way=1)
    claim = bench.take()
    assert bench(bench.queue.done(claim, patch(claim, account="account-old", state="left"), None))
    assert left(bench, run) == PutOff(unfinished=0, way=0)
    assert bench.status(newer, operation("new", Kind.LEAVE)) == "succeeded"


def test_a_run_whose_leave_something_newer_took_before_does_so_too(bench: Bench) -> None:
    first, _ = bench.install([operation("old", Kind.LEAVE)], links=LINKED, leavers=["old"])
    bench.install([operation("old", Kind.LEAVE, "2")], leavers=["old"])
    assert left(bench, first).unfinished == 1
    assert rekey(bench) == "done"
    assert left(bench, first).unfinished == 1
    bench(bench.redis.delete(keys.OUTDATED))
    bench.install([], links=[{"person": "new", "account": "account-old", "state": "left"}])
    assert left(bench, first).unfinished == 0
    # The run is looked at again, so that it can end
    assert first.encode() in bench(bench.redis.smembers(keys.OUTDATED))


def test_whoever_is_to_be_planned_again_is_under_the_new_key(bench: Bench) -> None:
    began = bench.now()
    bench.install([operation("old", value="2")], people=["old"])
    overtaken, _ = bench.install([operation("old")], began=began)
    assert bench.again(overtaken) == ("old",)
    assert rekey(bench) == "done"
    assert bench.again(overtaken) == ("new",)


def test_nothing_moves_while_something_is_being_sent_and_its_end_is_theirs(bench: Bench) -> None:
    run, _ = bench.install([operation("old", value="2")], links=LINKED)
    claim = bench.take()
    assert rekey(bench) == "sending"
    assert bench.entry("new") is None
    assert bench(bench.queue.done(claim, patch(claim), None))
    assert rekey(bench) == "done"
    entry = bench.entry("new")
    assert entry is not None
    assert (entry.account, entry.values["n"], bench.entry("old")) == ("account-old", "2", None)
    assert bench.status(run, operation("old", value="2")) == "succeeded"


def test_what_was_perhaps_done_for_the_old_key_is_unknown_of_the_new_one(bench: Bench) -> None:
    """Its worker was suspended for longer than its lease, and says afterwards that it was done."""
    known = [{"person": "old", "account": "account-old", "state": "active"}]
    bench.install([operation("old", value="1")], links=known)
    first = bench.take()
    assert bench(bench.queue.done(first, patch(first), None))
    bench.install([operation("old", value="2")], stake={"n": []})
    claim = bench.take()
    assert bench.expire(claim) == 1
    assert rekey(bench) == "done"
    assert not bench(bench.queue.done(claim, patch(claim), None))
    entry = bench.entry("new")
    assert entry is not None
    assert "n" not in entry.values
