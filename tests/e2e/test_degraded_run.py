"""A roster that shrank, with real processes: whoever looks sees that removals wait, and somebody is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.calling import call
from tests.decisions.conftest import company
from tests.e2e.site import BY_HAND, deployment, eventually
from tests.support.harness import raise_limits

pytestmark = pytest.mark.slow

TARGET = "traitly"


@contextmanager
def listener() -> Iterator[tuple[str, list[str]]]:
    """An address for notices, and what came there."""
    came: list[str] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(str(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["message"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_port}/", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.timeout(180)
def test_a_degraded_run_is_no_green_one(tmp_path: Path) -> None:
    with listener() as (address, came):
        notify = {"urls": [address], "on": ["degraded", "recovered"]}
        with deployment(tmp_path, only=(TARGET,), schedule=BY_HAND, notify=notify) as site, site.running("beat"):
            raise_limits(site.switchboard)
            site.roster.write_text(company(12))
            worker = site.start_worker()
            try:
                assert site.call("sync", "--wait")["status"] == "succeeded"
                site.roster.write_text(company(6))
                run = site.call("sync", "--wait", code=4)
                assert run["status"] == "held"
                assert "shrank from 12 people to 6" in run["roster"]["degraded"][0]
                shown = call("show", str(run["run"]), PROVISIONER_CONFIG=str(site.config), COLUMNS="80").out
                assert "shrank from 12 people to 6" in " ".join(shown.split())
                assert "held" in shown
                eventually(lambda: any("shrank" in one or "removals wait" in one for one in came), why=worker.said)
                # Said once, and when it is over
                site.call("sync", "--wait", code=4)
                site.roster.write_text(company(12))
                assert site.call("sync", "--wait")["status"] == "succeeded"
                eventually(lambda: len(came) > 1, why=worker.said)
                assert len(came) == 2, came
            finally:
                worker.stop()
