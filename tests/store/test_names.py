"""What a create chose for somebody, such as a user name, is nobody else's from the plan on until the ledger has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provisioner.model.operation import Kind, Operation
from provisioner.store.admin.erase import EraseStore
from provisioner.store.redis import keys
from tests.store.bench import TARGET, Bench, operation, patch

ANA = {"username\x1fana": "Ana"}


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    made.close()


def create(person: str, value: str = "1", *, hold: str | None = None, refused: bool = False) -> Operation:
    return operation(person, Kind.CREATE, value, hold=hold, refused=refused)


def promised(bench: Bench) -> dict[str, dict[str, str]]:
    return bench(bench.names.of(TARGET))


def test_what_waits_keeps_its_name(bench: Bench) -> None:
    bench.install([create("A"), create("B", hold="a guard")], names={"A": ANA, "B": {"username\x1feva": "eva"}})
    assert promised(bench) == {"username": {"A": "Ana", "B": "eva"}}


def test_a_plan_that_chose_it_too_is_overtaken_and_its_person_planned_again(bench: Bench) -> None:
    """Two plans at once: neither saw what the other chose."""
    began = bench.now()
    bench.install([create("A")], people=("A",), names={"A": ANA})
    run, dropped = bench.install([create("B")], began=began, people=("B",), names={"B": ANA})
    assert dropped == 1
    assert bench.status(run, create("B")) == "superseded"
    assert bench.error(run, create("B")) == "overtaken"
    assert bench.again(run) == ("B",)
    assert promised(bench) == {"username": {"A": "Ana"}}


def test_a_newer_plan_for_the_same_person_takes_its_own_name_again_or_another(bench: Bench) -> None:
    bench.install([create("A")], names={"A": ANA})
    _, dropped = bench.install([create("A", "2")], names={"A": ANA})
    assert dropped == 0
    assert promised(bench) == {"username": {"A": "Ana"}}
    bench.install([create("A", "3")], names={"A": {"username\x1feva": "eva"}})
    assert promised(bench) == {"username": {"A": "eva"}}
    bench.install([])
    assert promised(bench) == {}


def test_what_was_made_keeps_its_name_until_a_plan_that_began_later(bench: Bench) -> None:
    """A plan that read the ledger before it was made must not choose it."""
    began = bench.now()
    bench.install([create("A")], names={"A": ANA})
    claim = bench.take()
    assert bench(bench.queue.done(claim, patch(claim), "account-A"))
    bench(bench.names.forget_made(TARGET, began))
    _, dropped = bench.install([create("B")], names={"B": ANA})
    assert dropped == 1
    bench(bench.names.forget_made(TARGET, bench.now()))
    assert promised(bench) == {}


def test_what_failed_or_was_rejected_is_free_and_goes_again_only_while_it_is(bench: Bench) -> None:
    run, _ = bench.install([create("A"), create("B", hold="a guard")], names={"A": ANA, "B": {"n\x1feva": "eva"}})
    claim = bench.take()
    assert bench(bench.queue.fail(claim, {"code": "refused", "message": ""}))
    assert bench(bench.queue.refuse(run, TARGET, create("B").id, {"by": "somebody"}))
    assert promised(bench) == {}
    bench.install([create("C")], people=("C",), names={"C": ANA})
    assert not bench(bench.queue.release(run, TARGET, create("A").id, {"by": "somebody"}))
    assert bench(bench.queue.hold_again(run, TARGET, create("B").id, {"code": "held", "message": ""}))
    assert promised(bench) == {"username": {"C": "Ana"}, "n": {"B": "eva"}}


def test_a_released_create_keeps_its_name_again(bench: Bench) -> None:
    run, _ = bench.install([create("A")], names={"A": ANA})
    claim = bench.take()
    assert bench(bench.queue.fail(claim, {"code": "refused", "message": ""}))
    assert bench(bench.queue.release(run, TARGET, create("A").id, {"by": "somebody"}))
    assert promised(bench) == {"username": {"A": "Ana"}}


def test_what_was_rejected_before_keeps_nothing(bench: Bench) -> None:
    bench.install([create("A", refused=True)], names={"A": ANA})
    assert promised(bench) == {}


def test_whoever_is_forgotten_keeps_nothing(bench: Bench) -> None:
    bench.install([create("A"), create("B")], names={"A": ANA, "B": {"username\x1feva": "eva"}})
    assert bench(EraseStore(bench.redis).of("A").standing(TARGET)) == 1
    assert promised(bench) == {"username": {"B": "eva"}}
    assert not [one for one in bench(bench.redis.hvals(keys.names(TARGET))) if b"Ana" in one]


def test_a_promise_of_an_operation_that_is_no_longer_kept_ends(bench: Bench) -> None:
    run, _ = bench.install([create("A")], names={"A": ANA})
    bench(bench.redis.delete(keys.operation(run, TARGET, create("A").id)))
    bench(bench.names.forget_made(TARGET, 0.0))
    assert promised(bench) == {}
