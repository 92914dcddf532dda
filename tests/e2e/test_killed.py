"""A worker that is killed in the middle of a sync."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.site import BY_HAND, KINDS, deployment, eventually

pytestmark = pytest.mark.slow

#: So slow that on any machine most is still to do when the first requests have come in.
SLOW_MS = 5_000


@pytest.mark.timeout(240)
def test_a_killed_worker_leaves_nothing_undone_and_nothing_doubled(tmp_path: Path) -> None:
    schedule = BY_HAND
    with deployment(tmp_path, schedule=schedule) as site, site.running("beat"):
        for kind in KINDS:
            site.switchboard.options(kind, latency_ms=SLOW_MS)
        worker = site.start_worker()
        try:
            run = site.call("sync")["run"]
            eventually(lambda: site.writes()["habitate"] >= 6, why=worker.said)
        finally:
            worker.kill()
        for kind in KINDS:
            site.switchboard.options(kind, latency_ms=0)
        assert site.runs()[-1]["status"] == "running"
        assert site.wrong("roster.csv", "habitate")
        in_hand = {kind: site.contents.leased(kind) for kind in KINDS}
        assert in_hand["habitate"]
        for kind in in_hand:
            site.contents.end_leases(kind)
        worker = site.start_worker()
        try:
            eventually(lambda: site.call("show", run)["status"] != "running", why=worker.said)
            document = site.call("show", run)
            assert document["status"] == "succeeded", document
            assert site.wrong("roster.csv") == []
            accounts = site.switchboard.accounts("habitate")
            assert max(Counter(account["email"].lower() for account in accounts).values()) == 1
            site.forget_requests()
            assert site.call("sync", "--wait")["status"] == "succeeded"
            assert set(site.writes().values()) == {0}
        finally:
            worker.stop()
