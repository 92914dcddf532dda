"""Nobody types anything: the schedule and the roster's file do it all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.site import Site, deployment, eventually

pytestmark = pytest.mark.slow


def test_a_roster_that_is_written_anew_reaches_the_vendors(tmp_path: Path) -> None:
    schedule = {"sync": None, "full": None, "watch_roster": "1s"}
    with deployment(tmp_path, schedule=schedule) as site:
        worker = site.start_worker()
        try:
            with site.running("beat") as beat:
                for name in ("roster.csv", "day_two.csv"):
                    site.write(name)
                    eventually(lambda name=name: site.wrong(name) == [], why=beat.said)  # type: ignore[misc]
            assert {run["trigger"] for run in site.runs()} == {"roster"}
        finally:
            worker.stop()


def minutes(site: Site) -> Counter[int]:
    """How many runs the schedule asked for in each minute."""
    return Counter(int(float(run["created"]) // 60) for run in site.runs("schedule"))


@pytest.mark.timeout(240)
def test_of_two_beats_one_acts_and_when_it_dies_the_other_takes_over_in_time(tmp_path: Path) -> None:
    schedule = {"sync": "* * * * *", "full": None, "watch_roster": None}
    with deployment(tmp_path, schedule=schedule) as site:
        worker = site.start_worker()
        first = site.start("beat")
        try:
            holder = eventually(site.contents.beat_lock, why=first.said)
            with site.running("beat") as second:
                eventually(lambda: site.wrong("roster.csv") == [], within=90, why=first.said)
                assert site.contents.beat_lock() == holder
                told = len(minutes(site))
                assert set(minutes(site).values()) == {1}
                first.kill()
                eventually(lambda: len(minutes(site)) > told, within=60, why=second.said)
                assert site.contents.beat_lock() != holder
                assert set(minutes(site).values()) == {1}
                eventually(lambda: site.runs("schedule")[-1]["status"] == "succeeded", why=worker.said)
        finally:
            first.stop()
            worker.stop()
