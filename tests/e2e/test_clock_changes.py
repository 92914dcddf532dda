"""Whole deployments, Redis among them, at moments when the calendar does something: a change of clocks, midnight."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from kombu import pools

from tests.decisions.conftest import company
from tests.e2e.site import BY_HAND, Site, eventually, sandbox
from tests.support.fake_clock import needs_fake_clock, our_clock, redis_clock, seconds_to
from tests.support.harness import raise_limits
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), needs_fake_clock]

TARGET: Final = "traitly"
BERLIN: Final = "Europe/Berlin"
NIGHTLY: Final = "30 2 * * *"


@contextmanager
def at(moment: str, server: RedisServer, folder: Path, board: str, **schedule: str | None) -> Iterator[Site]:
    """A deployment with a worker, all of whose clocks, Redis's too, begin at this moment."""
    off = seconds_to(datetime.fromisoformat(moment))
    server.kill()
    server.start(**redis_clock(off))
    # What this process kept are connections to the server that was killed
    pools.reset()  # type: ignore[no-untyped-call]
    site = Site(folder, server, board, only=(TARGET,), timezone=BERLIN, schedule={**BY_HAND, **schedule})
    site.environment |= our_clock(off)
    raise_limits(site.switchboard)
    worker = site.start_worker()
    try:
        yield site
    finally:
        worker.stop()


def nights(site: Site, *, within: float, more: bool) -> list[str]:
    """Let beat work until it asked for one more run, or for so many seconds; the moments of all scheduled runs."""
    before = len(site.runs("schedule"))
    with site.running("beat") as beat:
        if more:
            eventually(lambda: len(site.runs("schedule")) > before, within=within, why=beat.said)
            eventually(lambda: site.runs("schedule")[-1]["status"] == "succeeded", why=beat.said)
        else:
            time.sleep(within)
    return [datetime.fromtimestamp(float(run["created"]), UTC).strftime("%d %H:%M") for run in site.runs("schedule")]


def test_a_night_on_which_the_hour_comes_twice_has_one_run(tmp_path: Path) -> None:
    (tmp_path / "roster.csv").write_text(company(3))
    with sandbox() as board, RedisServer(append_only=True) as server:
        with at("2026-10-25T00:29:45Z", server, tmp_path, board, sync=NIGHTLY) as site:
            assert nights(site, within=60, more=True) == ["25 00:30"]
        # An hour later it is 02:30 once more
        with at("2026-10-25T01:29:45Z", server, tmp_path, board, sync=NIGHTLY) as site:
            assert nights(site, within=30, more=False) == ["25 00:30"]
        with at("2026-10-26T01:29:45Z", server, tmp_path, board, sync=NIGHTLY) as site:
            assert nights(site, within=60, more=True) == ["25 00:30", "26 01:30"]


def test_a_night_on_which_the_hour_does_not_come_has_one_run(tmp_path: Path) -> None:
    (tmp_path / "roster.csv").write_text(company(3))
    with sandbox() as board, RedisServer(append_only=True) as server:
        with at("2026-03-28T01:29:45Z", server, tmp_path, board, sync=NIGHTLY) as site:
            assert nights(site, within=60, more=True) == ["28 01:30"]
        # From 02:00 on, which is 01:00 in UTC, the clocks say 03:00
        with at("2026-03-29T00:59:45Z", server, tmp_path, board, sync=NIGHTLY) as site:
            assert nights(site, within=60, more=True) == ["28 01:30", "29 01:00"]
            assert nights(site, within=20, more=False) == ["28 01:30", "29 01:00"]


def test_a_last_day_ends_at_midnight_where_the_company_is(tmp_path: Path) -> None:
    (tmp_path / "roster.csv").write_text(company(12, changes={1: {"end_date": "2026-10-24"}}))
    with sandbox() as board, RedisServer(append_only=True) as server:
        for moment, left in (("2026-10-24T21:58:00Z", []), ("2026-10-24T22:00:01Z", ["W0001"])):
            with at(moment, server, tmp_path, board) as site:
                site.call("sync", "--wait")
                plans = {one["customer_id"]: one["plan"] for one in site.switchboard.accounts(TARGET)}
            assert [person for person, plan in plans.items() if plan == "Leaver"] == left
