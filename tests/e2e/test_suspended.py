"""A worker is suspended among a person's requests; another takes over; the person leaves; the first goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.decisions.conftest import company
from tests.e2e.site import BY_HAND, Process, Site, deployment, eventually
from tests.support.harness import raise_limits

pytestmark = pytest.mark.slow

TARGET = "habitate"
#: The answers are so slow that a process can be stopped between two requests.
SLOW_MS = 3_000
#: So many that the guards let each of these changes pass.
_PEOPLE = 12
_GUEST = 5
#: Seconds in which a worker that goes on again sends all that it is going to send.
_AFTERWARDS = 6.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    schedule = BY_HAND
    with deployment(tmp_path, only=(TARGET,), schedule=schedule) as site:
        site.switchboard.reset()
        raise_limits(site.switchboard)
        yield site


def requests(site: Site, method: str, part: str) -> int:
    """How many requests of that kind came in so far."""
    counts = site.switchboard.counts(TARGET)["by_endpoint"]
    return sum(count for name, count in counts.items() if name.startswith(method) and part in name)


def member(site: Site, number: int) -> dict[str, Any] | None:
    found = [one for one in site.switchboard.accounts(TARGET) if one["email"] == f"p{number}@example.com"]
    return found[0] if found else None


def boards(site: Site, number: int) -> list[str]:
    """The private boards that a person is in."""
    one = member(site, number)
    assert one is not None
    return [name for name, msids in site.switchboard.state(TARGET)["boards"].items() if one["msid"] in msids]


def has_left(site: Site, number: int) -> bool:
    one = member(site, number)
    return one is not None and one["role_id"] == _GUEST and boards(site, number) == []


def leaves_meanwhile(site: Site, frozen: Process, number: int) -> None:
    """Another worker takes over from one that is suspended, and sends the leave of a person."""
    site.switchboard.options(TARGET, latency_ms=0)
    site.expire_leases(TARGET)
    site.roster.write_text(company(_PEOPLE, gone=(number,)))
    with site.running("worker", "--concurrency", "2") as other:
        try:
            for _ in range(3):
                # The first one's work may stand in the way of the first of these
                site.call("sync", "--wait")
                if has_left(site, number):
                    break
            assert has_left(site, number), other.said()
        finally:
            frozen.resume()
        time.sleep(_AFTERWARDS)


@pytest.mark.timeout(240)
def test_the_boards_of_a_leaver_are_not_entered_by_a_worker_that_was_suspended(site: Site) -> None:
    site.roster.write_text(company(_PEOPLE))
    with site.running("beat"):
        worker = site.start_worker()
        try:
            assert site.call("sync", "--wait")["status"] == "succeeded"
            site.forget_requests()
            site.switchboard.options(TARGET, latency_ms=SLOW_MS)
            site.roster.write_text(company(_PEOPLE, changes={1: {"department": "Sales;Finance;Operations"}}))
            site.call("sync")
            eventually(lambda: requests(site, "PUT", "/boards/"), why=worker.said)
            worker.suspend()
            sent = requests(site, "PUT", "/boards/")
            assert sent == 1
            leaves_meanwhile(site, worker, 1)
            assert has_left(site, 1), boards(site, 1)
            assert "claim_lost" in worker.said()
        finally:
            worker.resume()
            worker.stop()


@pytest.mark.timeout(240)
def test_the_role_of_a_leaver_is_not_given_by_a_worker_that_was_suspended(site: Site) -> None:
    """Of a create the second request is the role."""
    site.roster.write_text(company(_PEOPLE - 1))
    with site.running("beat"):
        worker = site.start_worker()
        try:
            assert site.call("sync", "--wait")["status"] == "succeeded"
            site.forget_requests()
            site.switchboard.options(TARGET, latency_ms=SLOW_MS)
            site.roster.write_text(company(_PEOPLE, changes={_PEOPLE - 1: {"job_title": "Manager"}}))
            site.call("sync")
            eventually(lambda: requests(site, "POST", "/users"), why=worker.said)
            worker.suspend()
            leaves_meanwhile(site, worker, _PEOPLE - 1)
            assert has_left(site, _PEOPLE - 1), member(site, _PEOPLE - 1)
            assert "claim_lost" in worker.said()
        finally:
            worker.resume()
            worker.stop()
