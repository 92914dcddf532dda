"""Sentinels, a failover under way, and a replica that had not yet all that the master had acknowledged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.decisions.conftest import company
from tests.e2e.site import BY_HAND, Site, eventually, sandbox
from tests.support.harness import raise_limits
from tests.support.sentinel import Pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TARGET: Final = "traitly"
#: Seconds for which a leave of before could go out, once the worker works again.
WATCHED: Final = 10.0


@contextmanager
def watched_pair(folder: Path) -> Iterator[Pair]:
    pair = Pair(folder)
    with ExitStack() as stack:
        for server in (pair.master, pair.replica, pair.sentinel):
            stack.enter_context(server)
        eventually(pair.in_step)
        yield pair


def test_a_failover_that_loses_the_last_seconds_sends_nothing_of_before(tmp_path: Path) -> None:
    with sandbox() as url, watched_pair(tmp_path) as pair:
        site = Site(tmp_path, pair.master, url, only=(TARGET,), schedule=BY_HAND, redis_url=pair.url)  # type: ignore[arg-type]
        board = site.switchboard
        board.reset()
        raise_limits(board)

        def plan() -> str:
            return str({one["customer_id"]: one["plan"] for one in board.accounts(TARGET)}["W0001"])

        def writes() -> int:
            return sum(entry["method"] != "GET" for entry in board.log(TARGET))

        site.roster.write_text(company(12))
        worker = site.start_worker()
        try:
            with site.running("beat"):
                assert site.call("sync", "--wait")["status"] == "succeeded"
                board.fault(TARGET, match={"method": "POST"}, status=503, times=None)
                site.roster.write_text(company(12, gone=(1,)))
                run = site.call("sync")["run"]
                eventually(lambda: site.call("show", run)["targets"][TARGET]["waiting"], why=worker.said)
                eventually(pair.in_step)
                pair.part()
                site.roster.write_text(company(12))
                board.clear_faults(TARGET)
                site.call("sync", "--wait")
                assert plan() == "Employee"
                board.clear_log(TARGET)
                pair.master.kill()
                eventually(pair.leads)
            # Beat ends when its lock is lost with the master, and is started again by whoever supervises it
            with site.running("beat"):
                eventually(lambda: plan() != "Employee" or "redis_went_back" in worker.said(), why=worker.said)
                ends = time.monotonic() + WATCHED
                while time.monotonic() < ends:
                    assert plan() == "Employee"
                    time.sleep(1)
                assert writes() == 0
                assert "put back to an earlier state" in str(site.call("check", code=5))
                after = site.call("sync", "--wait")
                assert after["status"] == "succeeded", after
                assert (plan(), writes()) == ("Employee", 0)
        finally:
            worker.stop()
