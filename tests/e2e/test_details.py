"""Real workers read habitate's details aside: a leaver does not wait, and a kill costs what was under way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.decisions.conftest import company
from tests.e2e.site import Site, deployment, eventually

pytestmark = pytest.mark.slow

#: Members whom nobody of the roster is: more than a run reads within its time.
STRANGERS = 150
#: Details that may be under way at once.
_UNDER_WAY = 8
#: Scheduled, so that a run follows, though none begins by itself in the meantime.
_ONCE_A_YEAR = {"sync": "0 0 29 2 *", "full": None, "watch_roster": None}


def slow_down(site: Site) -> None:
    """Let habitate take twelve requests a second."""
    document = yaml.safe_load(site.config.read_text(encoding="utf-8"))
    document["targets"]["habitate"]["rate_limit"] = "12/second"
    site.config.write_text(yaml.safe_dump(document), encoding="utf-8")


@pytest.mark.timeout(300)
def test_details_are_read_on_after_a_worker_was_killed(tmp_path: Path) -> None:
    guards = {"leavers": {"percent": 100}, "updates": {"percent": 100}}
    with deployment(tmp_path, only=("habitate",), schedule=_ONCE_A_YEAR, guards=guards) as site:
        board = site.switchboard
        site.roster.write_text(company(3))
        with site.running("beat"):
            worker = site.start_worker()
            try:
                assert site.call("sync", "--wait")["status"] == "succeeded"
                slow_down(site)
                worker.stop()
                worker = site.start_worker()
                names = [f"stranger{number}" for number in range(STRANGERS)]
                board.seed(
                    "habitate",
                    [
                        {"user_id": 5000 + n, "username": name, "first_name": name, "email": f"{name}@example.com"}
                        for n, name in enumerate(names)
                    ],
                )
                board.clear_log("habitate")
                site.roster.write_text(company(4, gone=(1,)))
                part = site.call("sync", "--wait")["targets"]["habitate"]
                assert part["succeeded"] == {"leave": 1}, part
                assert 0 < part["unread_details"]["accounts"] < STRANGERS
                worker.kill()
                worker = site.start_worker()
                followed = eventually(
                    lambda: [run for run in site.runs("details") if run.get("status") == "succeeded"],
                    within=150,
                    why=worker.said,
                )
                shown = site.call("show", followed[0]["run"])["targets"]["habitate"]
                assert (shown["orphans"], shown["succeeded"]) == (STRANGERS + 1, {"create": 1})
                asked = Counter(one["path"].rpartition("/")[2].partition(".")[0] for one in board.log("habitate"))
                times = [asked[str(5000 + number)] for number in range(STRANGERS)]
                assert min(times) == 1
                assert sum(times) <= STRANGERS + 2 * _UNDER_WAY
            finally:
                worker.stop()
