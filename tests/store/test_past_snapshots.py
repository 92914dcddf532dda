"""The last clean roster of each past day: which are kept, for how long, and who is taken out of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from provisioner.store.people.past_snapshots import Keeping, PastStore
from provisioner.store.redis import keys
from tests.store.bench import Bench

DAY = 86400.0
#: Noon, so that some hours more or less are the same day.
NOON = (datetime.now(UTC) - timedelta(days=30)).replace(hour=12, minute=0, second=0, microsecond=0).timestamp()


def day_of(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    made.close()


def keep(bench: Bench, at: float, people: list[str], *, days: float = 100) -> bool:
    frame = pl.DataFrame({"_key": people, "desk": [f"{person} at {at:.0f}" for person in people]})
    facts: dict[str, str | bytes | float] = {"taken": at, "digest": f"sha256:{at:.0f}"}
    kept: bool = bench(bench.frames.keep_clean(frame, facts, None, Keeping(day_of, int(days * DAY))))
    return kept


def days(bench: Bench) -> dict[str, list[str]]:
    past = PastStore(bench.redis)
    found = {one.day: bench(past.people(one.day)) for one in bench(past.listed())}
    return {day: people["_key"].to_list() for day, people in found.items() if people is not None}


def test_of_each_past_day_the_last_is_kept(bench: Bench) -> None:
    for at, people in ((0.0, ["A"]), (3600.0, ["B"]), (DAY, ["C"]), (DAY + 60, ["D"]), (3 * DAY, ["E"])):
        assert keep(bench, NOON + at, people)
    assert days(bench) == {day_of(NOON): ["B"], day_of(NOON + DAY): ["D"]}
    assert [one.digest for one in bench(PastStore(bench.redis).listed())] == [
        f"sha256:{NOON + 3600:.0f}",
        f"sha256:{NOON + DAY + 60:.0f}",
    ]
    known = bench(bench.frames.known())
    assert known is not None
    assert known["_key"].to_list() == ["E"]


def test_an_older_one_changes_nothing(bench: Bench) -> None:
    keep(bench, NOON + DAY, ["A"])
    assert not keep(bench, NOON, ["B"])
    assert days(bench) == {}


@pytest.mark.parametrize(("kept_for", "left"), [(100, 3), (2, 2), (0.5, 0), (0, 0)])
def test_what_is_older_than_the_setting_goes(bench: Bench, kept_for: float, left: int) -> None:
    for day in range(4):
        keep(bench, NOON + day * DAY, [f"P{day}"], days=kept_for)
    assert len(days(bench)) == left
    for name in bench(bench.redis.keys(keys.past_people.pattern)):
        assert 0 < bench(bench.redis.ttl(name)) <= kept_for * DAY


def test_one_that_expired_is_listed_no_more(bench: Bench) -> None:
    for day in range(3):
        keep(bench, NOON + day * DAY, ["A"])
    bench(bench.redis.delete(keys.past_people(day_of(NOON))))
    assert list(days(bench)) == [day_of(NOON + DAY)]


def test_a_person_goes_on_under_another_key_or_goes(bench: Bench) -> None:
    for day, people in enumerate((["A", "B"], ["A", "B", "N"], ["B"], ["B"])):
        keep(bench, NOON + day * DAY, people)
    past = PastStore(bench.redis)
    bench(past.rekey("A", "N"))
    assert list(days(bench).values()) == [["N", "B"], ["B", "N"], ["B"]]
    assert bench(past.forget("N")) == 2
    assert bench(past.forget("N")) == 0
    assert list(days(bench).values()) == [["B"], ["B"], ["B"]]
    assert all(bench(bench.redis.ttl(name)) > 0 for name in bench(bench.redis.keys(keys.past_people.pattern)))
