"""A real worker, and a Redis whose files are replaced by those of a minute ago."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.decisions.conftest import company
from tests.e2e.site import BY_HAND, deployment, eventually
from tests.support.harness import raise_limits

pytestmark = pytest.mark.slow

TARGET = "traitly"
#: Seconds from when the worker is back; a leave went out by itself at its first look.
_WATCHED = 10.0


@pytest.mark.timeout(300)
def test_a_leave_of_yesterday_is_not_sent_by_a_redis_that_was_put_back(tmp_path: Path) -> None:
    schedule = BY_HAND
    copy = tmp_path / "copy"
    copy.mkdir()
    with deployment(tmp_path, only=(TARGET,), append_only=True, schedule=schedule) as site:
        board = site.switchboard
        board.reset()
        raise_limits(board)

        def plan() -> str:
            return str({one["customer_id"]: one["plan"] for one in board.accounts(TARGET)}["W0001"])

        def leaves() -> int:
            return sum(entry["method"] != "GET" for entry in board.log(TARGET))

        site.roster.write_text(company(12))
        with site.running("beat"):
            worker = site.start_worker()
            try:
                assert site.call("sync", "--wait")["status"] == "succeeded"
                board.fault(TARGET, match={"method": "POST"}, status=503, times=None)
                site.roster.write_text(company(12, gone=(1,)))
                run = site.call("sync")["run"]
                eventually(lambda: site.call("show", run)["targets"][TARGET]["waiting"], why=worker.said)
                site.server.copy_files(copy)
                site.roster.write_text(company(12))
                board.clear_faults(TARGET)
                site.call("sync", "--wait")
                assert plan() == "Employee"
                site.server.kill()
                site.server.put_back(copy)
                board.clear_log(TARGET)
                site.server.start()
                # On a busy machine Celery takes its time until it is connected again
                eventually(lambda: plan() != "Employee" or "redis_went_back" in worker.said(), why=worker.said)
                ends = time.monotonic() + _WATCHED
                while time.monotonic() < ends:
                    assert plan() == "Employee"
                    time.sleep(1)
                assert leaves() == 0
                checked = site.call("check", code=5)
                assert "put back to an earlier state" in str(checked)
                after = site.call("sync", "--wait")
                assert after["status"] == "succeeded", after
                assert "put back to an earlier state" in str(after["targets"][TARGET]["notes"])
                assert (plan(), leaves()) == ("Employee", 0)
            finally:
                worker.stop()
