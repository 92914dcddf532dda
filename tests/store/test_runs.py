"""Runs as they are asked for, counted and shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provisioner.model.operation import Kind
from provisioner.model.run_document import RejectedRow
from provisioner.store.runs.documents import Request, moment
from tests.store.bench import TARGET, Bench, operation, patch


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    made.close()


@pytest.mark.parametrize(
    "request_", [Request("manual"), Request("manual", ("a",), ("P1", "P2"), "sha256:1", "r.csv", full=True)]
)
def test_a_request_is_kept_as_it_was_made(bench: Bench, request_: Request) -> None:
    run = bench(bench.runs.create(request_))
    assert bench(bench.runs.request(run)) == request_
    assert bench(bench.runs.exists(run))
    assert bench(bench.runs.content(run)) is None


def test_an_unknown_run_is_nothing(bench: Bench) -> None:
    assert bench(bench.runs.document("no")) is None
    assert bench(bench.runs.request("no")) is None
    assert not bench(bench.runs.exists("no"))


def test_a_roster_that_was_handed_over_stays_with_its_run(bench: Bench) -> None:
    run = bench(bench.runs.create(Request("manual"), content=b"key\n\xff"))
    assert bench(bench.runs.content(run)) == b"key\n\xff"


def test_runs_are_listed_newest_first_and_the_unfinished_oldest_first(bench: Bench) -> None:
    first, second, third = (bench(bench.runs.create(Request("manual"))) for _ in range(3))
    bench(bench.runs.set(second, {"status": "succeeded"}))
    assert bench(bench.runs.recent(2)) == (third, second)
    assert bench(bench.runs.recent(2, offset=2)) == (first,)
    assert bench(bench.runs.unfinished()) == (first, third)


def installed(bench: Bench) -> str:
    run = bench(bench.runs.create(Request("manual", (TARGET,))))
    bench(bench.runs.set(run, {"targets": f'["{TARGET}"]'}))
    plan = [operation("A", Kind.LEAVE), operation("B"), operation("C", hold="a guard"), operation("D", refused=True)]
    bench.install(plan, run=run)
    figures: dict[str, str | float | int] = {"status": "running", "linked": 4, "planned:leave": 1, "planned:update": 3}
    bench(bench.runs.set_target(run, TARGET, figures))
    return run


def test_a_runs_document_counts_its_operations(bench: Bench) -> None:
    run = installed(bench)
    leave, update = bench.take(), bench.take()
    assert bench(bench.queue.done(leave, patch(leave), None))
    assert bench(bench.queue.fail(update, {"code": "refused", "message": "no"}))
    bench(bench.runs.add_requests(run, TARGET, 3))
    bench(bench.runs.add_requests(run, TARGET, 4))
    document = bench(bench.runs.document(run))
    assert document is not None
    target = document["targets"][TARGET]
    assert {kind: count for kind, count in target["planned"].items() if count} == {"leave": 1, "update": 3}
    assert (target["succeeded"], target["failed"], target["held"]) == ({"leave": 1}, {"update": 1}, {"update": 1})
    assert (target["waiting"], target["superseded"], target["rejected"]) == ({}, {}, {"update": 1})
    assert (target["linked"], target["requests"]) == (4, 7)


def test_what_is_left_of_a_stopped_target_waits(bench: Bench) -> None:
    run = installed(bench)
    bench.take()
    bench(bench.runs.set_target(run, TARGET, {"status": "paused"}))
    document = bench(bench.runs.document(run))
    assert document is not None
    assert document["targets"][TARGET]["waiting"] == {"leave": 1, "update": 1}


def test_operations_come_in_the_order_of_the_plan_and_can_be_filtered(bench: Bench) -> None:
    run = installed(bench)
    everything = bench(bench.runs.operations(run, [TARGET]))
    assert [(one["person"], one["status"]) for one in everything] == [
        ("A", "pending"),
        ("B", "pending"),
        ("C", "held"),
        ("D", "rejected"),
    ]
    held = bench(bench.runs.operations(run, [TARGET], statuses=["held"]))
    assert [(one["person"], one["error"]) for one in held] == [("C", {"code": "held", "message": "a guard"})]
    assert [one["person"] for one in bench(bench.runs.operations(run, [TARGET], offset=1, limit=2))] == ["B", "C"]


def test_a_part_that_joined_another_run_shows_that_one(bench: Bench) -> None:
    run = installed(bench)
    other = bench(bench.runs.create(Request("schedule")))
    bench(bench.runs.set(other, {"targets": f'["{TARGET}"]'}))
    bench(bench.runs.set_target(other, TARGET, {"joined": run}))
    assert bench(bench.runs.target(other, TARGET)) == bench(bench.runs.target(run, TARGET))
    assert len(bench(bench.runs.operations(other, [TARGET]))) == 4


def test_rejected_rows_are_kept(bench: Bench) -> None:
    row: RejectedRow = {"line": 2, "key": None, "column": None, "value": None, "reason": "zoë"}
    bench(bench.runs.keep_rejects("run", [row], 60))
    assert bench(bench.runs.rejects("run")) == [row]
    assert bench(bench.runs.rejects("other")) == []


def test_moments_are_utc() -> None:
    assert moment(0.5) == "1970-01-01T00:00:00.500Z"
    assert moment(None) is None
