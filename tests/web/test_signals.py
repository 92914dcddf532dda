"""Figures for Prometheus, notices to people, and the trail of what they did."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from provisioner.progress.notifications import send_waiting
from provisioner.progress.quarantine import quarantine, recover
from tests.decisions.conftest import company
from tests.support.documents import anything
from tests.web.conftest import Site

#: Of apprise's own making.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")

Notices = list[dict[str, Any]]


@pytest.fixture
def listener() -> Iterator[tuple[str, Notices]]:
    """Somebody who is told: an apprise address, and what came there."""
    came: Notices = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing on standard error."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"json://127.0.0.1:{server.server_port}/", came
        server.shutdown()
        thread.join()


def figures(site: Site) -> dict[tuple[str, ...], float]:
    """Samples by name and by the values of their labels, in the order of these."""
    text = site.get("/metrics").text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_figures_are_those_of_the_deployment(site: Site) -> None:
    run = site.held()["run"]
    found = figures(site)
    assert found["provisioner_operations_total", "create", "succeeded", "tribal_habits"] == 20
    assert found["provisioner_held", "leave", "tribal_habits"] == 5
    assert found["provisioner_leavers_unfinished", "tribal_habits"] == 5
    assert found["provisioner_leaver_age_seconds", "tribal_habits"] > 0
    assert found["provisioner_links", "tribal_habits"] == 20
    assert found["provisioner_roster_verdict", "clean"] == 1
    assert found["provisioner_roster_rows", "people"] == 20
    assert (found["provisioner_runs_total", "succeeded"], found["provisioner_runs_total", "held"]) == (1, 1)
    first = found["provisioner_last_success_timestamp_seconds",]
    site.post(f"/api/runs/{run}/approve", {"all": True})
    assert figures(site)["provisioner_backlog", "ready", "tribal_habits"] == 5
    site.drain()
    after = figures(site)
    assert after["provisioner_operations_total", "leave", "succeeded", "tribal_habits"] == 5
    assert after["provisioner_leavers_unfinished", "tribal_habits"] == 0
    assert after["provisioner_last_success_timestamp_seconds",] > first
    assert after["provisioner_requests_total", "tribal_habits"] == sum(
        one["targets"]["tribal_habits"]["requests"] for one in site.get("/api/runs").json()["runs"]
    )


def test_a_leaver_who_is_held_ages_over_runs_and_is_forgotten_when_nobody_leaves(site: Site) -> None:
    site.held()
    first = figures(site)["provisioner_leaver_age_seconds", "tribal_habits"]
    site.sync()
    assert figures(site)["provisioner_leaver_age_seconds", "tribal_habits"] > first
    site.roster.write_text(company(20))
    site.sync()
    assert figures(site)["provisioner_leavers_unfinished", "tribal_habits"] == 0


def test_answers_of_429_are_counted(site: Site) -> None:
    site.roster.write_text(company(1))
    site.switchboard.fault("tribal_habits", match={"method": "POST"}, times=1, status=429, headers={"Retry-After": "1"})
    site.sync()
    assert figures(site)["provisioner_limited_total", "tribal_habits"] == 1


def told(site: Site, came: Notices) -> list[str]:
    """Send what waits; the titles of what came since."""
    before = len(came)
    site.work(send_waiting)
    return [one["title"].removeprefix("provisioner: ") for one in came[before:]]


def test_one_notice_when_a_hold_begins(make_site: Callable[..., Site], listener: tuple[str, Notices]) -> None:
    url, came = listener
    site = make_site(notify={"urls": [url]})
    run = site.held()["run"]
    assert told(site, came) == ["held"]
    assert "5 leave" in came[0]["message"]
    assert run in came[0]["message"]
    site.sync()
    site.sync()
    assert told(site, came) == []
    site.roster.write_text(company(20))
    site.sync()
    site.roster.write_text(company(20, gone=(0, 1, 2, 3)))
    site.sync()
    assert told(site, came) == ["held"]


def test_failure_and_recovery_are_told_once_each(make_site: Callable[..., Site], listener: tuple[str, Notices]) -> None:
    url, came = listener
    site = make_site(notify={"urls": [url]})
    site.roster.write_text(company(3))
    site.switchboard.fault("tribal_habits", match={"method": "POST"}, times=None, status=422, body={"message": "no"})
    site.sync()
    site.sync()
    assert told(site, came) == ["failed"]
    site.switchboard.clear_faults("tribal_habits")
    site.sync()
    site.sync()
    assert told(site, came) == ["recovered"]
    assert not any("example.com" in json.dumps(one) or "First" in json.dumps(one) for one in came)


def test_quarantine_and_rejection(make_site: Callable[..., Site], listener: tuple[str, Notices]) -> None:
    url, came = listener
    site = make_site(notify={"urls": [url]})

    async def ill(dep: Any) -> None:
        for _ in range(2):
            await quarantine(dep, "tribal_habits", "p1@example.com said no", unreachable=False)

    site.work(ill)
    assert told(site, came) == ["quarantined"]
    assert "example.com" not in came[0]["message"]
    site.work(lambda dep: recover(dep, "tribal_habits"))
    assert told(site, came) == ["recovered"]
    site.roster.write_text("employee_id\n")
    site.sync()
    site.sync()
    assert told(site, came) == ["rejected"]
    site.roster.write_text(company(2))
    site.sync()
    assert told(site, came) == ["recovered"]


def test_a_hold_is_told_while_something_else_of_the_target_fails(
    make_site: Callable[..., Site], listener: tuple[str, Notices]
) -> None:
    url, came = listener
    site = make_site(notify={"urls": [url]})
    site.roster.write_text(company(20))
    site.sync()
    refusal = {
        "match": {"method": "POST", "contains": "W0020"},
        "times": None,
        "status": 422,
        "body": {"message": "no"},
    }
    site.switchboard.fault("tribal_habits", **refusal)
    site.roster.write_text(company(21, gone=(0, 1, 2, 3, 4)))
    document = site.sync()
    part = document["targets"]["tribal_habits"]
    assert (part["status"], part["held"]["leave"], part["failed"]) == ("failed", 5, {"create": 1})
    assert sorted(told(site, came)) == ["failed", "held"]
    texts = {one["title"].removeprefix("provisioner: "): one["message"] for one in came}
    assert "5 leave" in texts["held"]
    assert "1 create" in texts["failed"]
    site.sync()
    assert told(site, came) == []


def test_a_hold_is_told_again_when_others_are_held_too(
    make_site: Callable[..., Site], listener: tuple[str, Notices]
) -> None:
    url, came = listener
    site = make_site(notify={"urls": [url]})
    site.held()
    assert told(site, came) == ["held"]
    # As many as before, and others
    for gone, new in (((0, 1, 2, 3, 5), 1), ((0, 1, 2, 3, 5, 6, 7), 2), ((0, 1, 2, 3, 5), 0)):
        site.roster.write_text(company(20, gone=gone))
        site.sync()
        assert told(site, came) == ["held"] * bool(new)
        assert not new or came[-1]["message"].endswith(f"New since the last notice: {new}.")
    site.roster.write_text(company(20, gone=(0, 1, 2, 3, 5, 6)))
    site.sync()
    assert told(site, came) == ["held"], "who came back and left again is news"


def test_more_failures_are_told_again(make_site: Callable[..., Site], listener: tuple[str, Notices]) -> None:
    url, came = listener
    site = make_site(notify={"urls": [url]})
    refused = {"match": {"method": "POST"}, "times": None, "status": 422, "body": {"message": "no"}}
    site.switchboard.fault("tribal_habits", **refused)
    for people, titles in ((3, ["failed"]), (3, []), (4, ["failed"])):
        site.roster.write_text(company(people))
        site.sync()
        assert told(site, came) == titles
    assert came[-1]["message"].endswith("New since the last notice: 1.")


def test_a_leaver_who_keeps_a_protected_account_is_told(
    make_site: Callable[..., Site], listener: tuple[str, Notices]
) -> None:
    url, came = listener
    site = make_site(notify={"urls": [url]})
    site.roster.write_text(company(20))
    site.sync()
    site.switchboard.seed("tribal_habits", [{"user_name": "W0003", "org_admin": True}])
    site.roster.write_text(company(20, gone=(3,)))
    assert site.sync()["status"] == "held"
    assert told(site, came) == ["held"]
    assert "1 who left keep their account" in came[0]["message"]
    assert "approval" not in came[0]["message"]
    site.sync()
    assert told(site, came) == []


def test_a_degraded_roster_is_told_and_is_no_green_run(
    make_site: Callable[..., Site], listener: tuple[str, Notices]
) -> None:
    url, came = listener
    site = make_site(notify={"urls": [url]})
    site.roster.write_text(company(40))
    site.sync()
    for people in (20, 19):
        site.roster.write_text(company(people))
        document = site.sync()
        assert document["status"] == "held"
        assert {part["status"] for part in document["targets"].values()} == {"succeeded"}
    assert told(site, came) == ["degraded"], "other figures of the same doubt are no news"
    assert "removals wait" in came[0]["message"]
    site.roster.write_text(company(40))
    assert site.sync()["status"] == "succeeded"
    assert told(site, came) == ["recovered"]


def test_a_dead_address_repeats_nothing_to_the_others(
    make_site: Callable[..., Site], listener: tuple[str, Notices], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, came = listener
    monkeypatch.setattr("provisioner.progress.notifications._PAUSE", 0.0)
    site = make_site(notify={"urls": ["json://127.0.0.1:9/", url]})
    site.held()
    for _ in range(8):
        site.work(send_waiting)
    assert [one["title"] for one in came] == ["provisioner: held"]

    async def waiting(dep: Any) -> int:
        return int(await dep.notices.waiting())

    assert site.work(waiting) == 0, "given up after some tries"


def test_only_what_is_asked_for_is_told(make_site: Callable[..., Site], listener: tuple[str, Notices]) -> None:
    url, came = listener
    site = make_site(notify={"urls": [url], "on": ["quarantined"]})
    site.held()
    assert told(site, came) == []


def test_a_notice_that_cannot_be_sent_fails_no_work(make_site: Callable[..., Site]) -> None:
    site = make_site(notify={"urls": ["json://127.0.0.1:9/"]})
    assert site.held()["status"] == "held"
    assert site.work(send_waiting) == 0

    async def waiting(dep: Any) -> int:
        return int(await dep.notices.waiting())

    assert site.work(waiting) == 1


def test_the_trail_tells_who_did_what(site: Site) -> None:
    run = site.held()["run"]
    site.post("/api/runs", {"targets": ["tribal_habits"]})
    site.post(f"/api/runs/{run}/approve", {"people": ["W0000"], "reason": "known"})
    site.client.put(
        "/api/roster", content=b"employee_id\n1\n", headers={"Authorization": "Bearer operator-token-0123456789"}
    )
    trail = site.work(lambda dep: dep.audit.newest(10))
    assert [one["action"] for one in trail] == ["run requested", "roster pushed", "approved", "run requested"]
    assert {one["by"] for one in trail} == {"api:operator"}
    assert (anything(trail[2])["run"], trail[2]["people"], trail[2]["reason"]) == (run, ["W0000"], "known")
    assert [one["id"] for one in site.work(lambda dep: dep.audit.newest(10, trail[1]["id"]))] == [
        trail[2]["id"],
        trail[3]["id"],
    ]
