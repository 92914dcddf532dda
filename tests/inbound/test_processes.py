"""The circle in real processes: web server, worker, beat, Redis and stand-ins, each on its own."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.site import Site, deployment, eventually
from tests.inbound.storm import TIMES, Size, Storm
from tests.inbound.support import ROUTES, SECRET, listens
from tests.support.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

_COURSE: Final = "TH-4-78"
#: `make chaos` sends ten thousand.
_EVENTS: Final = int(os.environ.get("PROVISIONER_TEST_WEBHOOKS", "150"))


def _table(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    return {row["employee_id"]: row for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())}


def test_a_completed_course_goes_all_the_way_round(tmp_path: Path) -> None:
    port = free_port()
    table = tmp_path / "back.csv"
    changes: dict[str, Any] = {
        "schedule": {"sync": None, "full": None, "watch_roster": None},
        "events": list(ROUTES),
        "web": {"port": port},
        "writeback": {"url": str(table), "columns": {"completed": "tribal_habits.last_completed_at"}},
    }
    with deployment(tmp_path, **changes) as site:
        site.environment["PROVISIONER_TARGETS__TRIBAL_HABITS__WEBHOOK_SECRET"] = SECRET
        hook = f"http://127.0.0.1:{port}/webhooks/tribal_habits/{SECRET}"
        site.switchboard.options("tribal_habits", webhook_url=hook)
        worker = site.start_worker()
        try:
            with site.running("beat"), site.running("web") as web:
                eventually(lambda: listens(port), why=web.said)
                site.call("sync", "--wait")
                eventually(lambda: _table(table), why=worker.said)
                _round(site, table)
                assert SECRET not in web.said() + worker.said()
        finally:
            worker.stop()


def _round(site: Site, table: Path) -> None:
    active = [one["user_name"] for one in site.switchboard.accounts("tribal_habits") if one["active"]]
    customers = {one["customer_id"] for one in site.switchboard.accounts("traitly")}
    person = next(name for name in active if name in customers)
    site.switchboard.act("tribal_habits", "complete", user_name=person, code=_COURSE)

    def events() -> list[str]:
        told = site.switchboard.state("traitly")["events"]
        return [one["customer_id"] for one in told if one["name"] == "Completed Safety at work"]

    def tags() -> list[str]:
        return [one["id"] for one in site.switchboard.accounts("mtribes") if "learning/completed" in one["tags"]]

    eventually(lambda: events() == [person] and tags() == [person])
    eventually(lambda: _table(table)[person]["completed"])
    assert [key for key, row in _table(table).items() if row["completed"]] == [person]
    assert {one["status"] for one in site.switchboard.webhooks("tribal_habits")} == {202}


def test_webhooks_from_four_processes_are_neither_lost_nor_done_twice(tmp_path: Path) -> None:
    size = Size(events=_EVENTS, people=20, kills=2, workers=1)
    told = Storm(tmp_path, size, seed=5, hurry=True, patience=200.0).run()
    assert told.wrong[:20] == []
    assert told.answers["202 accepted"] + told.answers["202 known"] == _EVENTS * TIMES
    assert told.killed
