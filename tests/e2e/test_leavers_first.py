"""With real workers: who left loses their role while the community's listing hangs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.decisions.conftest import company
from tests.e2e.site import BY_HAND, Site, eventually, sandbox
from tests.support.harness import raise_limits
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TARGET: Final = "habitate"
GUEST: Final = 5


def test_who_left_is_sent_while_the_listing_hangs(tmp_path: Path) -> None:
    with sandbox() as url, RedisServer() as server:
        site = Site(tmp_path, server, url, only=(TARGET,), schedule=BY_HAND)
        board = site.switchboard
        board.reset()
        raise_limits(board)
        site.roster.write_text(company(30))
        worker = site.start_worker()
        try:
            with site.running("beat"):
                assert site.call("sync", "--wait")["status"] == "succeeded"
                # Pages of listings, one after the other; details of one member are asked for by another path
                board.fault(
                    TARGET, match={"method": "GET", "path_prefix": "/api/v1/users"}, times=3, delay_ms=28_000, hold=True
                )
                site.roster.write_text(company(30, gone=(3,), changes={4: {"last_name": "Other"}}))
                run = site.call("sync")["run"]
                eventually(
                    lambda: {one["username"]: one["role_id"] for one in board.accounts(TARGET)}["w0003"] == GUEST,
                    why=worker.said,
                )
                assert site.call("show", run)["status"] == "running"
                board.clear_faults(TARGET)
                eventually(lambda: site.call("show", run)["status"] == "succeeded", why=worker.said)
                assert site.call("show", run)["targets"][TARGET]["succeeded"] == {"update": 1}
                triggers = [one["trigger"] for one in site.call("runs")["runs"]]
                assert sorted(triggers) == ["leavers", "manual", "manual"]
        finally:
            worker.stop()
