"""The page of the last 90 days counts what happened on the right day, and says so without the drawing."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from provisioner.admin.trends import DAYS, trends
from provisioner.model.trends import TrendDay, Trends
from provisioner.web.pages.trends import weeks
from tests.support.redis_contents import RedisContents
from tests.web.conftest import VIEWER, Site


def look(site: Site) -> Any:
    found = site.work(trends)
    assert msgspec.to_builtins(msgspec.convert(found, Trends)) == found
    return found


def test_runs_changes_and_leavers_are_counted_on_their_day(site: Site, redis_url: str) -> None:
    run = site.held()["run"]
    site.post(f"/api/runs/{run}/approve", {"people": ["W0001", "W0002"]})
    site.drain()
    long_ago = int(time.time() // 86_400) - 80
    RedisContents(redis_url).count_ended(long_ago, {"4|update|succeeded": 7, "5|update|failed": 2})
    days = look(site)["days"]
    assert len(days) == DAYS
    today = days[-1]
    assert sum(today["runs"].values()) == 2
    assert today["held"] == 1
    # Twenty creates and two leaves
    assert (today["done"], today["failed"]) == (22, 0)
    assert len(today["leavers"]) == 2
    assert [(day["done"], day["failed"]) for day in days[:-1] if day["done"]] == [(7, 2)]
    site.sign_in(VIEWER)
    text = site.client.get("/trends").text
    assert text.count("<svg") == 3
    assert "7 done, 2 failed" in text
    assert "2 finished, the longest after" in text


def test_what_is_counted_is_kept_for_all_of_these_days(site: Site, redis_url: str) -> None:
    site.held()
    assert RedisContents(redis_url).tally_ends_in(int(time.time() // 86_400)) > DAYS * 86_400


def test_an_empty_deployment_says_so(site: Site) -> None:
    site.sign_in()
    assert site.client.get("/trends").text.count("Nothing of this in the last 90 days") == 3


def test_weeks_have_the_usual_and_the_longest_time() -> None:
    def day(number: int, *leavers: float) -> TrendDay:
        return {
            "day": f"2026-01-{number:02}",
            "runs": {"succeeded": 1, "failed": 1, "rejected": 1},
            "held": 1,
            "done": 2,
            "failed": 3,
            "leavers": sorted(leavers),
        }

    days = [day(1), *(day(number, number * 10.0) for number in range(2, 9))]
    newest, oldest = weeks(days, promise=60.0)
    assert (newest.begins, newest.runs, newest.failed_runs, newest.held) == ("2026-01-02", 21, 14, 7)
    assert (newest.leavers, newest.usual, newest.longest, newest.late) == (7, 50.0, 80.0, 2)
    assert (oldest.begins, oldest.leavers, oldest.usual) == ("2026-01-01", 0, None)
