"""What a run plans from, as Redis keeps it."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest

from provisioner.store.people.snapshots import Snapshot
from tests.store.bench import Bench

PEOPLE = pl.DataFrame(
    {"_key": ["P1", "P2"], "_verdict": ["employed", "leaver"], "mail": ["a@x", None], "title": ["Zoë", ""], "desk": "7"}
)
SNAPSHOT = Snapshot(PEOPLE, "sha256:1", None, 12.5, renamed={"P0": "P1"}, keys=("P1", "P2"))


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    made.close()


def test_a_run_finds_what_was_kept_for_it(bench: Bench) -> None:
    bench(bench.frames.keep_for_run("run-1", SNAPSHOT, 60))
    found = bench(bench.frames.for_run("run-1"))
    assert found is not None
    assert found.people.equals(PEOPLE)
    assert (found.digest, found.taken, found.renamed, found.keys) == ("sha256:1", 12.5, {"P0": "P1"}, ("P1", "P2"))
    assert found.unread == ()
    assert bench(bench.frames.for_run("run-2")) is None


def test_only_the_wanted_columns_of_the_roster_are_read_but_all_are_named(bench: Bench) -> None:
    bench(bench.frames.keep_for_run("run-1", SNAPSHOT, 60))
    found = bench(bench.frames.for_run("run-1", {"title", "no such column"}))
    assert found is not None
    assert found.people.equals(PEOPLE.select("_key", "_verdict", "title"))
    assert set(found.unread) == {"mail", "desk"}
    assert sorted(found.columns) == sorted(SNAPSHOT.columns) == ["desk", "mail", "title"]
