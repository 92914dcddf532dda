"""What waits for an approval: by how much, of what, and nothing besides."""

from __future__ import annotations

import pytest

from provisioner.model.operation import Kind, Status
from provisioner.planning.guards import COVERS, limit_of, measured, tripped
from provisioner.settings import GuardLimit, GuardSettings
from tests.planning.support import World, held_by, linked, person, spec_of


@pytest.mark.parametrize(
    ("percent", "absolute", "base", "limit"),
    [
        (10, 100, 0, 1),
        (10, 100, 9, 1),
        (10, 100, 10, 1),
        (10, 100, 19, 1),
        (10, 100, 20, 2),
        (10, 100, 999, 99),
        (10, 100, 1000, 100),
        (10, 100, 1_000_000, 100),
        (10, None, 1_000_000, 100_000),
        (7, None, 100, 7),
        (29, None, 100, 29),
        (0, None, 100, 1),
        (10, 0, 1000, 0),
        (100, 1, 1000, 1),
    ],
)
def test_the_limit(percent: float, absolute: int | None, base: int, limit: int) -> None:
    assert limit_of(GuardLimit(percent=percent, absolute=absolute), base) == limit


def test_only_more_than_the_limit_trips() -> None:
    settings = GuardSettings.model_validate({"leavers": {"percent": 10}})
    assert tripped(measured(settings, {Kind.LEAVE: 2}, {}, 20)) == {}
    trip = tripped(measured(settings, {Kind.LEAVE: 3}, {}, 20))[Kind.LEAVE]
    assert (trip.count, trip.sent, trip.limit, trip.base) == (3, 0, 2, 20)
    assert "3 leavers are more than the limit of 2" in trip.sentence


def test_what_went_out_within_the_window_counts() -> None:
    settings = GuardSettings.model_validate({"leavers": {"percent": 10}})
    assert tripped(measured(settings, {Kind.LEAVE: 1}, {"leavers": 1}, 20)) == {}
    trip = tripped(measured(settings, {Kind.LEAVE: 1}, {"leavers": 2}, 20))[Kind.LEAVE]
    assert trip.sentence == (
        "1 leavers and 2 sent or decided without approval in the window make 3, more than the limit of 2 "
        "(of 20 linked accounts): held until approved."
    )
    assert tripped(measured(settings, {}, {"leavers": 50}, 20)) == {}


def test_updates_and_roles_share_a_guard_and_creates_have_none_unless_set() -> None:
    settings = GuardSettings.model_validate({"updates": {"percent": 10}})
    assert set(
        tripped(measured(settings, {Kind.UPDATE: 1, Kind.ROLE: 1, Kind.CREATE: 900, Kind.REJOIN: 900}, {}, 10))
    ) == {
        Kind.UPDATE,
        Kind.ROLE,
    }
    settings = GuardSettings.model_validate({"creates": {"percent": 10}, "rejoins": {"percent": 10}})
    assert set(tripped(measured(settings, {Kind.CREATE: 2, Kind.REJOIN: 2}, {}, 10))) == {Kind.CREATE, Kind.REJOIN}
    assert {kind for kinds in COVERS.values() for kind in kinds}.isdisjoint({Kind.ENROL, Kind.EVENT})


def leaving(count: int, *, staying: int) -> World:
    keys = [f"L{number:02}" for number in range(count)]
    stay = [f"S{number:02}" for number in range(staying)]
    return World(
        spec_of(guards={"leavers": {"percent": 10}}),
        [*(person(key, "leaver") for key in keys), *(person(key) for key in stay), person("JOIN")],
        [held_by(key) for key in (*keys, *stay)],
        [linked(key) for key in (*keys, *stay)],
    )


def test_what_counts_as_sent_already_is_not_counted_twice() -> None:
    """A leave failed half-way and is planned again; it is one person."""
    world = leaving(2, staying=18)
    first = world.plan().operations[0].id
    assert world.plan(sent={"leavers": 1}).tally[Status.HELD][Kind.LEAVE] == 2
    assert not world.plan(sent={"leavers": 1}, gone_out=frozenset({first})).tally[Status.HELD]
    assert world.plan(sent={"leavers": 2}, gone_out=frozenset({first})).tally[Status.HELD][Kind.LEAVE] == 2


def test_the_exceeding_kind_is_held_whole_and_everything_else_goes_on() -> None:
    plan = leaving(3, staying=17).plan()
    assert plan.base == 20
    assert {operation.kind for operation in plan.operations if operation.hold} == {Kind.LEAVE}
    assert {operation.kind for operation in plan.operations if not operation.hold} == {Kind.CREATE}
    assert plan.guards[0].finding.startswith("3 leavers are more than the limit of 2 ")
    assert not any(operation.hold for operation in leaving(2, staying=18).plan().operations)


def test_the_base_has_adoptions_and_not_those_who_left() -> None:
    world = leaving(2, staying=18)
    world.ledger = [entry for entry in world.ledger if entry.person != "S00"]
    assert world.plan().base == 20
    world.ledger[2] = linked(world.ledger[2].person, state="left")
    assert world.plan().base == 19
    assert sum(bool(operation.hold) for operation in world.plan().operations) == 2


def test_the_approved_and_the_rejected_do_not_count() -> None:
    world = leaving(3, staying=17)
    first, *rest = [operation for operation in world.plan().operations if operation.kind is Kind.LEAVE]
    approved = world.plan(approved=frozenset({first.id}))
    assert [operation.hold for operation in approved.operations] == [None] * 4
    rejected = world.plan(rejected={first.id: first.row})
    assert [operation.person for operation in rejected.operations if operation.refused] == [first.person]
    assert not any(operation.hold for operation in rejected.operations)
    assert len(rest) == 2


def test_what_is_not_counted_is_not_held() -> None:
    world = World(
        spec_of("mtribes", guards={"updates": {"percent": 100, "absolute": 0}}),
        [person(f"P{number}") for number in range(5)],
        [],
        [linked(f"P{number}", values={"name": "Ana Silva", "email": f"p{number}@example.com"}) for number in range(5)],
        complete=False,
    )
    plan = world.plan()
    assert plan.planned[Kind.UPDATE] == 5
    assert not any(operation.hold for operation in plan.operations)


def shrunk(gone: int, *, of: int, state: str = "active", verdict: str = "employed", leaving: int = 0) -> World:
    keys = [f"P{number:02}" for number in range(of)]
    people = [
        person(key, "leaver" if number >= of - leaving else verdict if number < gone else "employed")
        for number, key in enumerate(keys)
    ]
    return World(
        spec_of(guards={"missing": {"percent": 10}, "leavers": {"percent": 50}}),
        people,
        [held_by(key) for key in keys[gone:]],
        [linked(key, state=state if number < gone else "active") for number, key in enumerate(keys)],
    )


def test_a_listing_that_lost_too_many_is_not_believed_but_leavers_who_were_seen_go() -> None:
    world = shrunk(3, of=20, leaving=2)
    world.people.append(person("JOIN"))
    plan = world.plan()
    assert plan.unbelieved is not None
    assert "3 of 20" in plan.unbelieved
    assert [(operation.person, operation.kind.value) for operation in plan.operations] == [
        ("P18", "leave"),
        ("P19", "leave"),
    ]


def test_under_the_limit_the_lost_are_created_again() -> None:
    plan = shrunk(2, of=20).plan()
    assert plan.unbelieved is None
    assert plan.missing == ("P00", "P01")
    assert [(operation.kind.value, operation.drift) for operation in plan.operations] == [("create", True)] * 2


def test_deleted_accounts_of_those_who_left_are_nothing_to_wonder_about() -> None:
    plan = shrunk(15, of=20, state="left", verdict="leaver").plan()
    assert plan.unbelieved is None
    assert plan.missing == ()
    assert plan.base == 5


def test_a_leaver_whose_account_is_gone_is_recorded_as_left() -> None:
    plan = shrunk(1, of=20, verdict="leaver").plan()
    assert [(link.person, link.state) for link in plan.links] == [("P00", "left")]
    assert plan.operations == ()
    assert shrunk(9, of=20, verdict="leaver").plan().links == ()
