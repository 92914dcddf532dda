"""Traces of runs that a real worker carries out, as a real collector gets them."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.site import BY_HAND, Site, deployment, eventually
from tests.support.ports import free_port
from tests.support.trace_receiver import Receiver, trace_receiver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TARGETS = ("tribal_habits", "traitly")
#: Who asks for a run by HTTP, in a trace of their own.
ASKED_BY = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with trace_receiver(tmp_path_factory.mktemp("receiver")) as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Site]:
    with deployment(tmp_path_factory.mktemp("site"), schedule=BY_HAND, only=TARGETS) as found:
        found.environment |= receiver.variables
        worker = found.start_worker()
        try:
            yield found
        finally:
            worker.stop()


def trace_of(receiver: Receiver, run: str) -> list[dict[str, Any]]:
    """All spans of a run's trace, as soon as the run's own is there."""

    def look() -> list[dict[str, Any]]:
        spans = receiver.spans()
        roots = [one for one in spans if one["name"] == "run" and one["attributes"]["provisioner.run"] == run]
        return [one for one in spans if roots and one["trace"] == roots[0]["trace"]]

    eventually(look)
    # The last requests' spans may come by another process
    time.sleep(1)
    return look()


def test_requests_are_below_targets_and_these_below_the_run(site: Site, receiver: Receiver) -> None:
    document = site.call("sync", "--wait")
    spans = trace_of(receiver, document["run"])
    by_id = {one["span"]: one for one in spans}
    assert len(by_id) == len(spans), "a span came twice"
    (run,) = [one for one in spans if one["name"] == "run"]
    assert run["parent"] == ""
    assert run["service"] == "provisioner"
    assert run["attributes"]["provisioner.status"] == document["status"]
    targets = {one["attributes"]["provisioner.target"]: one for one in spans if one["name"].startswith("target ")}
    assert set(targets) == set(TARGETS)
    assert {one["parent"] for one in targets.values()} == {run["span"]}
    requests = [one for one in spans if "http.request.method" in one["attributes"]]
    for one in requests:
        assert one["parent"] == targets[one["attributes"]["provisioner.target"]]["span"]
        assert run["start"] <= one["start"] <= one["end"]
    for name in TARGETS:
        own = [one for one in requests if one["attributes"]["provisioner.target"] == name]
        assert len(own) == document["targets"][name]["requests"]
        assert {one["attributes"]["http.response.status_code"] for one in own} <= {200, 201, 202}
    assert {one["attributes"]["http.request.method"] for one in requests} >= {"GET", "POST"}


def test_nothing_personal_is_in_a_span_and_nothing_of_it_at_a_vendor(site: Site, receiver: Receiver) -> None:
    text = json.dumps(receiver.spans())
    for row in site.roster.read_text().splitlines()[1:]:
        key, *cells = row.split(",")
        assert key not in text
        assert not [cell for cell in cells if "@" in cell and cell in text]
    keys = {name for one in receiver.spans() for name in one["attributes"]}
    assert keys <= {
        *("provisioner.run", "provisioner.trigger", "provisioner.status", "provisioner.target", "provisioner.kind"),
        *("provisioner.requests", "http.request.method", "http.request.resend_count", "http.response.status_code"),
        *("url.template", "error.type"),
    }
    for target in TARGETS:
        assert "traceparent" not in json.dumps(site.switchboard.log(target)).lower()


def test_a_failing_request_is_an_error_and_its_next_attempt_is_counted(site: Site, receiver: Receiver) -> None:
    site.write("day_two.csv")
    site.switchboard.fault("traitly", match={"method": "GET"}, times=2, status=503)
    spans = trace_of(receiver, site.call("sync", "--wait")["run"])
    own = [one for one in spans if one["attributes"].get("provisioner.target") == "traitly"]
    failed = [one for one in own if one["attributes"].get("http.response.status_code") == 503]
    assert len(failed) == 2
    assert all(one["error"] and one["attributes"]["error.type"] == "503" for one in failed)
    assert [one["attributes"].get("http.request.resend_count") for one in failed] == [None, 1]


def test_a_plan_is_a_trace_of_its_own(site: Site, receiver: Receiver) -> None:
    site.call("plan")
    spans = eventually(lambda: [one for one in receiver.spans() if one["name"] == "plan"])
    (plan,) = spans
    own = [one for one in receiver.spans() if one["trace"] == plan["trace"]]
    below = {one["span"] for one in own if one["parent"] == plan["span"]}
    assert len(below) == len(TARGETS)
    assert {one["parent"] for one in own if "http.request.method" in one["attributes"]} == below


def test_a_run_that_is_asked_for_in_a_trace_goes_on_in_it(site: Site, receiver: Receiver) -> None:
    port = free_port()
    site.environment |= {"PROVISIONER_WEB__PORT": str(port), "PROVISIONER_WEB__TOKEN": "operator-token-0123456789"}
    with site.running("web"):
        headers = {"Authorization": "Bearer operator-token-0123456789", "traceparent": ASKED_BY}
        url = f"http://127.0.0.1:{port}"

        def ready() -> bool:
            try:
                return httpx.get(f"{url}/readyz").status_code == 200
            except httpx.HTTPError:
                return False

        eventually(ready)
        run = httpx.post(f"{url}/api/runs", json={}, headers=headers).json()["run"]
    spans = trace_of(receiver, run)
    _, trace, parent, _ = ASKED_BY.split("-")
    (own,) = [one for one in spans if one["name"] == "run"]
    assert (own["trace"], own["parent"]) == (trace, parent)
    assert len({one["trace"] for one in spans}) == 1


def test_a_collector_that_is_away_costs_nothing(tmp_path: Path) -> None:
    with deployment(tmp_path, schedule=BY_HAND, only=("traitly",)) as site:
        site.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
        worker = site.start_worker()
        try:
            assert site.call("sync", "--wait")["status"] == "succeeded"
            assert not site.wrong("roster.csv", "traitly")
            # A process that ends does not wait for it as long as it would be tried again
            os.kill(worker.process.pid, signal.SIGTERM)
            assert worker.process.wait(20) == 0
        finally:
            worker.stop()
        said = worker.said()
        assert len(re.findall("traces_not_sent", said)) <= 4, "once for each process"
        assert "Traceback" not in said
