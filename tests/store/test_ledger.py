"""The ledger as the planner reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from provisioner.model.account import LedgerEntry
from provisioner.store.people.ledger import LedgerStore
from provisioner.store.redis import keys
from tests.store.bench import TARGET, Bench
from tests.support.meddling import meddled


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    made.close()


def put(bench: Bench, *entries: LedgerEntry) -> None:
    for entry in entries:
        bench(bench.redis.hset(keys.ledger(TARGET), entry.person, json.dumps(entry.to_json())))


FULL = LedgerEntry(
    "P1",
    "a1",
    state="left",
    values={"name": "Zoë", "groups": "", "other": "x"},
    created=True,
    matched="created",
    owed={"left": 12},
    enrolled=("TH-1", "TH-2"),
    version=3,
    recorded=1234.5,
)


def test_an_entry_comes_back_as_it_was(bench: Bench) -> None:
    put(bench, FULL)
    assert bench.entry("P1") == FULL
    assert bench.entry("P2") is None
    assert bench(bench.ledger.size(TARGET)) == 1


def test_the_frame_has_a_column_per_attribute_and_tells_empty_from_unknown(bench: Bench) -> None:
    put(bench, LedgerEntry("P2", "a2"), FULL)
    frame = bench(bench.ledger.frame(TARGET, ["name", "groups", "role", "name"]))
    rows = {row["_person"]: row for row in frame.iter_rows(named=True)}
    assert frame["_person"].to_list() == ["P1", "P2"]
    first = rows["P1"]
    assert (first["_account"], first["_state"], first["_created"], first["_recorded"]) == ("a1", "left", True, 1234.5)
    assert (first["l:name"], first["l:groups"], first["l:role"]) == ("Zoë", "", None)
    assert json.loads(first["_owed"]) == {"left": 12}
    assert first["_enrolled"] == ["TH-1", "TH-2"]
    assert (rows["P2"]["_state"], rows["P2"]["_enrolled"], rows["P2"]["l:name"]) == ("active", [], None)


def test_the_frame_of_nobody_has_the_same_columns(bench: Bench) -> None:
    empty = bench(bench.ledger.frame(TARGET, ["name"]))
    put(bench, FULL)
    assert empty.height == 0
    assert empty.schema == bench(bench.ledger.frame(TARGET, ["name"])).schema
    assert bench(bench.ledger.frame(TARGET, ["name"], [])).height == 0
    assert bench(bench.ledger.frame(TARGET, ["name"], ["P9", "P1"]))["_person"].to_list() == ["P1"]


def test_what_lua_writes_is_read_back(bench: Bench) -> None:
    bench.install([], links=[{"person": "P1", "account": "a1", "state": "active", "matched": "email"}])
    row = bench(bench.ledger.frame(TARGET, ["name"])).row(0, named=True)
    assert (row["_account"], row["_state"], row["_enrolled"], row["l:name"]) == ("a1", "active", [], None)
    assert row["_recorded"] > 0
    entry = bench.entry("P1")
    assert entry is not None
    assert (entry.matched, entry.values, entry.owed, entry.enrolled) == ("email", {}, {}, ())


def test_a_link_is_never_under_two_keys_whatever_answer_is_lost(bench: Bench, redis_url: str) -> None:
    async def main(lost_at: int) -> None:
        seen = 0

        def lose(packed: bytes) -> bool:
            nonlocal seen
            ours = keys.ledger(TARGET).encode() in packed
            seen += ours
            return ours and seen == lost_at

        client = meddled(redis_url, lose=lose)
        try:
            await LedgerStore(client).rename(TARGET, "P1", "P2")
        finally:
            await client.aclose()

    for lost_at in range(1, 6):
        bench(bench.redis.flushdb())
        put(bench, FULL)
        bench(main(lost_at))
        assert bench.entry("P1") is None
        moved = bench.entry("P2")
        assert moved is not None
        assert moved.account == "a1"


def test_a_link_goes_on_under_a_new_key_unless_that_has_one(bench: Bench) -> None:
    put(bench, FULL)
    bench(bench.ledger.rename(TARGET, "P1", "P2"))
    assert bench.entry("P1") is None
    moved = bench.entry("P2")
    assert moved is not None
    assert moved.account == "a1"
    put(bench, LedgerEntry("P3", "a3"))
    bench(bench.ledger.rename(TARGET, "P2", "P3"))
    assert bench.entry("P2") == moved
    kept = bench.entry("P3")
    assert kept is not None
    assert kept.account == "a3"
    bench(bench.ledger.rename(TARGET, "nobody", "P4"))
    assert bench.entry("P4") is None
