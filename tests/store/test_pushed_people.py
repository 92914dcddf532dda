"""Pushed people in Redis: one change at a time, names that nobody else has, and whose run is due."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.model.pushed_person import PushedPerson
from provisioner.store.admin.position import PositionStore
from provisioner.store.people.changed_people import ChangedPeopleStore
from provisioner.store.people.pushed_people import PushedPeopleStore, TakenError
from provisioner.store.redis import keys
from provisioner.store.redis.scripts import Scripts
from tests.store.bench import Bench


class Pushes:
    """The stores of pushed people, driven from ordinary functions."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        scripts = Scripts(bench.redis)
        self.people, self.changed = PushedPeopleStore(bench.redis, scripts), ChangedPeopleStore(bench.redis, scripts)

    def put(self, person: PushedPerson, before: int | None = None) -> bool:
        return self.bench(self.people.put(person, before=before, due=(person.key,)))

    def everybody(self) -> dict[str, PushedPerson]:
        async def read() -> dict[str, PushedPerson]:
            return {one.id: one async for one in self.people.everybody()}

        return self.bench(read())

    def due(self) -> dict[str, int]:
        return self.bench(self.changed.first(100))


@pytest.fixture
def pushes(redis_url: str) -> Iterator[Pushes]:
    bench = Bench(redis_url)
    yield Pushes(bench)
    bench.close()


def person(number: int, **changes: object) -> PushedPerson:
    resource = {"userName": f"U{number}", "externalId": f"X{number}"}
    made = PushedPerson(f"id{number}", f"K{number}", f"k{number}", resource, 1, float(number), 0.0)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_what_is_put_is_found(pushes: Pushes) -> None:
    one = person(1)
    assert pushes.put(one)
    find = pushes.people
    assert pushes.bench(find.get("id1")) == one
    assert pushes.bench(find.by_key("k1")) == one
    assert pushes.bench(find.by_user_name("u1")) == [one]
    assert pushes.bench(find.by_external_id("X1")) == [one]
    assert pushes.bench(find.by_user_name("u")) == pushes.bench(find.by_external_id("x1")) == []
    assert pushes.due() == {"K1": 1}
    assert pushes.bench(PositionStore(pushes.bench.redis).read()).number == 1
    assert pushes.bench(find.facts()).revision == 1


def test_a_change_is_of_the_version_that_is_there(pushes: Pushes) -> None:
    pushes.put(person(1))
    two = person(1, version=2, resource={"userName": "other"})
    assert not pushes.put(two)
    assert not pushes.put(two, before=7)
    assert pushes.put(two, before=1)
    assert not pushes.put(two, before=1)
    assert pushes.bench(pushes.people.by_user_name("U1")) == []
    assert pushes.bench(pushes.people.by_external_id("X1")) == []
    assert pushes.bench(pushes.people.by_user_name("OTHER")) == [two]
    assert not pushes.put(person(9), before=1)


def test_nobody_takes_the_name_of_somebody_who_is_there(pushes: Pushes) -> None:
    pushes.put(person(1))
    with pytest.raises(TakenError, match="key"):
        pushes.put(person(2, fold="k1"))
    with pytest.raises(TakenError, match="userName"):
        pushes.put(person(2, resource={"userName": "u1"}))
    assert pushes.put(person(2, resource={"userName": "U2", "externalId": "X1"}))
    assert len(pushes.bench(pushes.people.by_external_id("X1"))) == 2
    # Names that begin alike are others
    assert pushes.put(person(3, fold="k", resource={"userName": "u"}))
    assert set(pushes.everybody()) == {"id1", "id2", "id3"}


def test_who_was_deleted_makes_room(pushes: Pushes) -> None:
    pushes.put(person(1))
    gone = person(1, version=2, deleted=True)
    assert pushes.put(gone, before=1)
    find = pushes.people
    assert (pushes.bench(find.get("id1")), pushes.bench(find.count()), pushes.bench(find.page(0, 10))) == (None, 0, [])
    assert pushes.bench(find.by_key("k1")) == gone
    # Somebody else with the user name alone leaves the old one where it is
    assert pushes.put(person(2, resource={"userName": "U1"}))
    assert set(pushes.everybody()) == {"id1", "id2"}
    # The same key again takes its place
    assert pushes.put(person(3, fold="k1"))
    assert set(pushes.everybody()) == {"id2", "id3"}


def test_the_index_can_be_made_again(pushes: Pushes) -> None:
    for number in range(5):
        pushes.put(person(number))
    pushes.put(person(4, version=2, deleted=True), before=1)
    redis, names = pushes.bench.redis, (keys.SCIM_INDEX, keys.SCIM_LIVE)
    before = [pushes.bench(redis.zrange(name, 0, -1, withscores=True)) for name in names]
    pushes.bench(redis.delete(keys.SCIM_LIVE))
    pushes.bench(redis.zadd(keys.SCIM_INDEX, {"u:nobody\0id9": 0}))
    pushes.bench(pushes.people.make_index())
    assert [pushes.bench(redis.zrange(name, 0, -1, withscores=True)) for name in names] == before


def test_pages_are_in_the_order_of_the_first_push(pushes: Pushes) -> None:
    for number in (3, 1, 2):
        pushes.put(person(number))
    assert [one.id for one in pushes.bench(pushes.people.page(0, 2))] == ["id1", "id2"]
    assert [one.id for one in pushes.bench(pushes.people.page(2, 2))] == ["id3"]
    assert pushes.bench(pushes.people.page(0, 0)) == []


def test_who_is_forgotten_leaves_nothing(pushes: Pushes) -> None:
    pushes.put(person(1))
    pushes.put(person(2, previous="K1"))
    pushes.put(person(3))
    pushes.put(person(3, version=2, deleted=True), before=1)
    assert pushes.bench(pushes.people.forget("K1", "k1")) == 2
    assert pushes.bench(pushes.people.forget("K3", "k3")) == 1
    assert pushes.bench(pushes.people.forget("K3", "k3")) == 0
    assert pushes.everybody() == {}
    assert pushes.bench(pushes.bench.redis.exists(keys.SCIM_INDEX, keys.SCIM_LIVE, keys.SCIM_PEOPLE)) == 0
    assert pushes.due() == {"K2": 2}


def test_only_a_deleted_one_is_dropped(pushes: Pushes) -> None:
    pushes.put(person(1))
    pushes.bench(pushes.people.drop_deleted("k1"))
    assert set(pushes.everybody()) == {"id1"}
    pushes.put(person(1, version=2, deleted=True), before=1)
    pushes.bench(pushes.people.drop_deleted("k1"))
    assert pushes.everybody() == {}


def test_a_change_that_comes_later_is_due_still(pushes: Pushes) -> None:
    pushes.put(person(1))
    pushes.put(person(2))
    seen = pushes.due()
    newest = pushes.bench(pushes.changed.newest())
    pushes.put(person(1, version=2), before=1)
    pushes.bench(pushes.changed.taken(seen, "run-1"))
    assert pushes.due() == {"K1": 3}
    pushes.bench(pushes.changed.all_taken(newest, "run-2"))
    assert pushes.due() == {"K1": 3}
    pushes.bench(pushes.changed.all_taken(3, "run-3"))
    assert pushes.due() == {}
    assert pushes.bench(pushes.changed.run()) == "run-3"


def test_a_webhook_is_heard_once(pushes: Pushes) -> None:
    assert pushes.bench(pushes.changed.hear("msg", ["a", "b"]))
    pushes.bench(pushes.changed.all_taken(2, "run"))
    assert not pushes.bench(pushes.changed.hear("msg", ["a"]))
    assert pushes.due() == {}
    assert pushes.bench(pushes.changed.forget_heard(pushes.bench.now() + 1)) == 1
    assert pushes.bench(pushes.changed.hear("msg", ["a"]))


def test_of_many_who_change_one_person_at_once_each_comes_after_another(pushes: Pushes) -> None:
    pushes.put(person(1))

    async def change(number: int) -> bool:
        there = await pushes.people.get("id1")
        assert there is not None
        await asyncio.sleep(0)
        changed = replace(there, version=there.version + 1, resource={"userName": f"n{number}"})
        return await pushes.people.put(changed, before=there.version, due=("K1",))

    async def all_at_once() -> list[bool]:
        return await asyncio.gather(*(change(number) for number in range(20)))

    done = pushes.bench(all_at_once())
    left = pushes.everybody()["id1"]
    assert sum(done) == left.version - 1 >= 1
    assert pushes.bench(pushes.people.by_user_name(left.user_name)) == [left]
    assert pushes.bench(pushes.bench.redis.zcard(keys.SCIM_INDEX)) == 2


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "delete", "forget"]), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)
    ),
    max_size=15,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(steps=_STEPS)
def test_the_index_always_says_what_the_people_say(pushes: Pushes, steps: list[tuple[str, int, int, int]]) -> None:
    """Against a plain model: whatever comes in whatever order."""
    pushes.bench(pushes.bench.redis.delete(keys.SCIM_PEOPLE, keys.SCIM_INDEX, keys.SCIM_LIVE, keys.CHANGED))
    model: dict[str, PushedPerson] = {}
    for step, number, key, name in steps:
        before = model.get(f"id{number}")
        if step == "forget":
            pushes.bench(pushes.people.forget(f"K{key}", f"k{key}"))
            model = {id_: one for id_, one in model.items() if one.fold != f"k{key}"}
            continue
        if step == "delete":
            if before is None or before.deleted:
                continue
            wanted = replace(before, deleted=True, version=before.version + 1)
        else:
            wanted = person(
                number, key=f"K{key}", fold=f"k{key}", resource={"userName": f"u{name}"},
                version=before.version + 1 if before else 1,
            )  # fmt: skip
        others = [one for id_, one in model.items() if id_ != wanted.id and not one.deleted and not wanted.deleted]
        taken = any(one.fold == wanted.fold or one.user_name == wanted.user_name for one in others)
        try:
            assert pushes.put(wanted, before.version if before else None)
        except TakenError:
            assert taken
            continue
        assert not taken
        if not wanted.deleted:
            model = {id_: one for id_, one in model.items() if id_ == wanted.id or one.fold != wanted.fold}
        model[wanted.id] = wanted
    assert pushes.everybody() == model
    live = {id_ for id_, one in model.items() if not one.deleted}
    assert pushes.bench(pushes.people.count()) == len(live)
    for name in range(3):
        found = {one.id for one in pushes.bench(pushes.people.by_user_name(f"u{name}"))}
        assert found == {id_ for id_ in live if model[id_].user_name == f"u{name}"}
