"""Leavers by the commands of an operator and a worker that really runs: none of them is overlooked, or called done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from provisioner.admin.leaver_receipts import unfinished
from provisioner.model.person_report import ReceiptDocument
from provisioner.runtime.context import Deployment
from tests.decisions.conftest import company
from tests.e2e.site import BY_HAND, Site, deployment, eventually
from tests.e2e.test_sync import assert_balanced
from tests.support.harness import raise_limits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TARGET = "traitly"
PEOPLE = 40
GONE = tuple(range(8))
GUARDS = {"leavers": {"percent": "50%"}, "updates": {"percent": "100%"}}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One deployment and its worker."""
    folder = tmp_path_factory.mktemp("leavers")
    with (
        deployment(folder, schedule=BY_HAND, guards=GUARDS) as site,
        site.running("worker", "--concurrency", "4"),
    ):
        yield site


@pytest.fixture
def site(live: Site) -> Site:
    """Everybody has their account."""
    return everybody_has_an_account(live)


def everybody_has_an_account(site: Site) -> Site:
    site.empty()
    site.switchboard.reset()
    raise_limits(site.switchboard)
    write(site, company(PEOPLE))
    assert site.call("sync", "--target", TARGET, "--wait")["status"] == "succeeded"
    return site


def write(site: Site, roster: str) -> None:
    fresh = site.folder / "roster.new"
    fresh.write_text(roster)
    fresh.replace(site.roster)


def moved(*, gone: tuple[int, ...] = (), people: int = PEOPLE) -> str:
    """Everybody has another department, and some left."""
    return company(people, gone=gone, changes={number: {"department": "Sales"} for number in range(people)})


def sending(site: Site, run: str) -> int:
    return site.contents.being_sent(run, TARGET)


def plans(site: Site) -> dict[str, str]:
    """The plan that each customer holds, by id."""
    return {one["customer_id"]: one["plan"] for one in site.switchboard.state(TARGET)["accounts"]}


@contextmanager
def being_sent(site: Site, times: int, *, contains: str = "Sales") -> Iterator[str]:
    """A run whose first writes are being sent for as long as the context lasts, and a little shorter than a request."""
    site.switchboard.fault(TARGET, match={"contains": contains}, times=times, delay_ms=28_000, hold=True)
    run: str = site.call("sync", "--target", TARGET)["run"]
    eventually(lambda: sending(site, run) >= times, why=lambda: str(site.call("show", run)))
    try:
        yield run
    finally:
        site.switchboard.clear_faults(TARGET)


@contextmanager
def being_sent_until_overtaken(site: Site, times: int, *, contains: str = "Sales") -> Iterator[None]:
    """The same until another run has planned and was overtaken by it, which a command in the context waits for."""
    with being_sent(site, times, contains=contains), ThreadPoolExecutor(1) as others:

        def let_go() -> None:
            eventually(site.contents.overtaken)
            site.switchboard.clear_faults(TARGET)

        waits = others.submit(let_go)
        yield
        waits.result()


def follow(site: Site, run: str) -> dict[str, Any]:
    """A run's JSON when it is over."""

    def over() -> dict[str, Any]:
        document = site.call("show", run)
        return document if document["status"] != "running" else {}

    return eventually(over, why=lambda: str(site.call("show", run)))


def test_a_leaver_whose_update_is_being_sent_leaves_in_the_same_run(site: Site) -> None:
    write(site, moved())
    with being_sent(site, len(GONE)) as first:
        write(site, moved(gone=GONE))
        second = site.call("sync", "--target", TARGET)["run"]
        eventually(site.contents.overtaken)
        # From when the roster is accepted on, whatever becomes of any operation
        leavers, document = asyncio.run(_looked_at(site, second))
        assert [one["person"] for one in leavers] == [f"W{number:04d}" for number in GONE]
        assert {one["finished_at"] for one in leavers} == {None}
        assert document["targets"][TARGET]["waiting"]["leave"] == len(GONE)
    document = follow(site, second)
    part = document["targets"][TARGET]
    assert document["status"] == "succeeded"
    assert part["succeeded"]["leave"] == len(GONE)
    assert part["superseded"].get("leave", 0) == 0
    assert_balanced(document)
    held = plans(site)
    assert {held[f"W{number:04d}"] for number in GONE} == {"Leaver"}
    assert {held[f"W{number:04d}"] for number in range(len(GONE), PEOPLE)} == {"Employee"}
    assert site.call("todos")["leavers"] == []
    assert site.call("why", "W0003")["receipt"]["finished_at"] is not None
    assert_balanced(follow(site, first))


def test_a_command_that_waits_ends_when_the_overtaken_leave_is_done(site: Site) -> None:
    """The same as HR's "terminate now" during the person's own update."""
    write(site, moved())
    with being_sent_until_overtaken(site, len(GONE)):
        write(site, moved(gone=(2,)))
        document = site.call("sync", "--target", TARGET, "--person", "W0002", "--wait")
    assert document["targets"][TARGET]["succeeded"]["leave"] == 1
    assert plans(site)["W0002"] == "Leaver"


def test_a_joiner_who_leaves_while_their_account_is_being_made_loses_it(site: Site) -> None:
    """Nothing was planned for them, since they had no account when it was looked."""
    people = PEOPLE + 2
    write(site, company(people))
    with being_sent_until_overtaken(site, 2, contains="W004"):
        write(site, company(people, gone=(40,)))
        document = site.call("sync", "--target", TARGET, "--wait")
    assert document["status"] == "succeeded"
    assert_balanced(document)
    assert plans(site)["W0040"] == "Leaver"
    assert plans(site)["W0041"] == "Employee"
    assert site.call("why", "W0040")["receipt"]["targets"][TARGET]["status"] == "done"


def test_a_mover_who_is_moved_back_while_being_moved_is_moved_back(site: Site) -> None:
    """The newer plan wants nothing, as what it saw is what it wants."""
    write(site, moved())
    with being_sent_until_overtaken(site, len(GONE)):
        write(site, company(PEOPLE))
        document = site.call("sync", "--target", TARGET, "--wait")
    assert document["status"] == "succeeded"
    found = {one["customer_id"]: one["custom_attributes"]["department"] for one in _accounts(site)}
    assert set(found.values()) == {"Engineering"}


def test_a_rejection_is_listed_with_who_and_why_and_is_taken_back(site: Site) -> None:
    write(site, company(PEOPLE, gone=tuple(range(21))))
    degraded = site.call("sync", "--target", TARGET, "--wait", code=4)
    accepted = site.call("sync", "--target", TARGET, "--accept", degraded["roster"]["digest"], "--wait", code=4)
    run = accepted["run"]
    site.call("reject", run, "--person", "W0003", "--reason", "on leave")
    found = site.call("todos")
    assert {(one["person"], one["reason"]) for one in found["rejections"]} == {("W0003", "on leave")}
    assert len(found["leavers"]) == 21
    why = site.call("why", "W0003")
    assert why["rejections"] == found["rejections"]
    assert why["receipt"]["targets"][TARGET]["status"] == "rejected"
    assert found["rejections"][0]["by"] in why["receipt"]["targets"][TARGET]["message"]
    site.call("reject", run, "--undo", "--person", "W0003")
    assert site.call("todos")["rejections"] == []
    site.call("approve", run, "--person", "W0003", "--wait", code=4)
    assert plans(site)["W0003"] == "Leaver"


def test_overtaken_leavers_are_planned_again_though_the_worker_was_killed(tmp_path: Path) -> None:
    """All that is known of them lies in Redis, and the tick of another worker finds it."""
    with deployment(tmp_path, schedule=BY_HAND, guards=GUARDS) as site:
        worker = site.start_worker()
        try:
            everybody_has_an_account(site)
            write(site, moved())
            with being_sent(site, len(GONE)):
                write(site, moved(gone=GONE))
                second = site.call("sync", "--target", TARGET)["run"]
                eventually(site.contents.overtaken)
                worker.kill()
            site.contents.end_leases(TARGET)
        finally:
            worker.kill()
        assert site.call("show", second)["status"] == "running"
        assert site.call("show", second)["targets"][TARGET]["waiting"]["leave"] == len(GONE)
        worker = site.start_worker()
        try:
            # Emptying Redis takes beat's lock away, so it begins here
            with site.running("beat"):
                eventually(lambda: site.call("show", second)["status"] != "running", within=150, why=worker.said)
            assert site.call("show", second)["status"] == "succeeded"
            assert {plans(site)[f"W{number:04d}"] for number in GONE} == {"Leaver"}
            assert not site.contents.overtaken()
        finally:
            worker.stop()


async def _looked_at(site: Site, run: str) -> tuple[list[ReceiptDocument], dict[str, Any]]:
    """Unfinished leavers and a run as JSON once its plan is installed, sooner than two commands would say."""
    async with Deployment.open(site.settings) as dep, asyncio.timeout(20):
        while await dep.runs.part_field(run, TARGET, "installed") is None:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.05)
        document = await dep.runs.document(run)
        assert document is not None
        return await unfinished(dep), cast("dict[str, Any]", document)


def _accounts(site: Site) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.switchboard.state(TARGET)["accounts"]
    return found
