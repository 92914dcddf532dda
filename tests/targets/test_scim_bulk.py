"""Users who are made many at once: each has an outcome of their own, and nobody is made twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from provisioner.sandbox import SandboxServer
from provisioner.sdk import Done, Operation, Outcome, Permanent, Temporary, Unclear
from provisioner.targets import http as transport
from provisioner.testing.bench import Bench
from tests.targets.test_scim import IMAGE, Case, create, image

MANY: Final = 12
BULK: Final = {"path_prefix": "/Bulk"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def case(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(transport, "READ_TRIES", 1)
    made = Case(sandbox)
    made.options(bulk=100)
    return made


def people(*, count: int = MANY) -> list[Operation]:
    return [create(image(number), f"P{number}") for number in range(1, count + 1)]


def bench(case: Case, **changes: Any) -> Bench:
    """One that knows what the service offers, as after its listing."""
    made = case.bench(batch_size=100, rate_limit="120/minute", **changes)
    made.observe()
    return made


def confirmed(made: Bench, operation: Operation) -> Outcome | None:
    target: Any = made.target
    found: Outcome | None = made.run(lambda http: target.confirm(http, operation))
    return found


def writes(case: Case) -> dict[str, int]:
    return {name: count for name, count in case.counts().items() if not name.startswith("GET")}


@pytest.mark.parametrize("silent", [False, True])
def test_many_users_take_one_request(case: Case, silent: bool) -> None:
    case.options(bulk_silent=silent)
    made = bench(case)
    outcomes = made.write(*people())
    assert all(isinstance(one, Done) and one.note is None for one in outcomes), outcomes
    assert writes(case) == {"POST /Bulk": 1, "PATCH /Groups/{id}": 2}
    held = made.accounts()
    for number, outcome in enumerate(outcomes, start=1):
        assert isinstance(outcome, Done)
        assert {name: held[outcome.account or ""].values[name] for name in IMAGE} == image(number)


@pytest.mark.parametrize(("options", "requests"), [({"bulk": 5}, 3), ({"bulk_bytes": 2_000}, 4)])
def test_no_request_is_larger_than_the_service_says(case: Case, options: dict[str, int], requests: int) -> None:
    case.options(**options)
    outcomes = bench(case).write(*people())
    assert all(isinstance(one, Done) for one in outcomes), outcomes
    assert case.board.counts(case.name)["by_status"].get("413") is None
    assert writes(case)["POST /Bulk"] == requests
    assert "POST /Users" not in writes(case)


def test_a_user_who_is_refused_keeps_nobody_back(case: Case) -> None:
    case.board.seed(case.name, [{"id": "there", "userName": "e2"}])
    operations = people(count=4)
    operations[2] = create({**image(3), 'emails[type eq "work"].value': "none"}, "P3")
    first, second, third, fourth = bench(case).write(*operations)
    assert isinstance(first, Done)
    assert isinstance(fourth, Done)
    assert isinstance(second, Done)
    assert second.adopted
    assert isinstance(third, Permanent)
    assert third.code == "invalid"
    assert writes(case)["POST /Bulk"] == 1


def test_what_the_answer_leaves_out_is_looked_up(case: Case) -> None:
    case.options(bulk_cut=2)
    made = bench(case)
    operations = people(count=4)
    outcomes = made.write(*operations)
    assert [type(one) for one in outcomes] == [Done, Done, Unclear, Unclear]
    assert all(isinstance(confirmed(made, one), Done) for one in operations[2:])
    assert len(case.users()) == 4


@pytest.mark.parametrize("drop", ["before", "after"])
def test_after_a_lost_answer_everybody_is_looked_up(case: Case, drop: str) -> None:
    made = bench(case)
    case.board.fault(case.name, match=BULK, drop=drop, times=1)
    operations = people(count=4)
    outcomes = made.write(*operations)
    assert all(isinstance(one, Unclear) for one in outcomes), outcomes
    found = [confirmed(made, one) for one in operations]
    assert [isinstance(one, Done) for one in found] == [drop == "after"] * 4
    if drop == "before":
        made.write(*operations)
    assert len(case.users()) == 4


@pytest.mark.parametrize(("status", "bulks"), [(404, 1), (400, 1), (413, 7)])
def test_a_request_that_is_refused_as_such_is_made_smaller(case: Case, status: int, bulks: int) -> None:
    made = bench(case)
    case.board.fault(case.name, match=BULK, status=status, times=None)
    outcomes = made.write(*people(count=4))
    assert all(isinstance(one, Done) for one in outcomes), outcomes
    assert (writes(case)["POST /Bulk"], writes(case)["POST /Users"]) == (bulks, 4)
    assert len(case.users()) == 4


def test_a_limit_stops_all_of_it_and_nobody_who_was_made_is_forgotten(case: Case) -> None:
    case.options(bulk=2)
    made = bench(case)
    later = {**BULK, "contains": '"userName":"e3"'}
    case.board.fault(case.name, match=later, status=429, headers={"Retry-After": "7"}, times=1)
    outcomes = made.write(*people(count=6))
    # Whoever was made is looked up again, since their groups are still to come
    assert [type(one) for one in outcomes] == [Unclear] * 2 + [Temporary] * 4, outcomes
    assert all(isinstance(one, Temporary) and one.delay == 7 for one in outcomes[2:])
    assert writes(case) == {"POST /Bulk": 2}
    assert len(case.users()) == 2


def test_a_setting_switches_it_off(case: Case) -> None:
    bench(case, dialect={"bulk": "no"}).write(*people(count=3))
    assert "POST /Bulk" not in writes(case)
