"""Real worker processes at one target: several at a slow one, who leave room for the others, and one that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from provisioner.settings import Settings
from provisioner.store.runs.documents import Request
from provisioner.worker.wakeups import nudge
from tests.chaos.fleet import Fleet
from tests.decisions.conftest import company
from tests.support.documents import anything
from tests.support.harness import load_settings, settings_document, write_settings
from tests.support.redis_contents import RedisContents
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SLOW, QUICK = "traitly", "mtribes"
PEOPLE, CHILDREN = 600, 3
LATENCY_MS = 300


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(append_only=True) as server:
        yield server


@pytest.fixture
def settings(
    sandbox: SandboxServer, switchboard: Switchboard, redis: RedisServer, roster: Path, tmp_path: Path
) -> Settings:
    switchboard.options(SLOW, latency_ms=LATENCY_MS)
    roster.write_text(company(PEOPLE))
    schedule = {"sync": None, "full": None, "watch_roster": None}
    document = settings_document(sandbox.url, redis.url, roster, tmp_path / "data", schedule=schedule)
    document["targets"] = {name: document["targets"][name] for name in (SLOW, QUICK)}
    write_settings(tmp_path, document)
    return load_settings(tmp_path, document)


@pytest.fixture
def fleet(settings: Settings, redis: RedisServer, tmp_path: Path) -> Iterator[Fleet]:
    del settings
    with Fleet(redis, tmp_path / "provisioner.yaml", tmp_path, workers=1, beats=1, concurrency=CHILDREN) as running:
        yield running


def ask(settings: Settings, *targets: str) -> str:
    async def body() -> str:
        async with Deployment.open(settings) as dep:
            return await lifecycle.request_run(dep, Request(trigger="manual", targets=targets))

    run = asyncio.run(body())
    nudge(settings, run)
    return run


async def eventually(holds: Callable[[], Any], seconds: float = 100.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := await holds()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return found


async def seats_are_taken(dep: Deployment, count: int) -> None:
    """Wait until so many processes deliver to the slow target."""

    async def enough() -> bool:
        return len(await dep.seats.taken(SLOW)) >= count

    await eventually(enough)


async def ended(dep: Deployment, run: str) -> dict[str, Any]:
    async def over() -> dict[str, Any] | None:
        document = anything(await dep.runs.document(run))
        return document if document["finished_at"] else None

    found: dict[str, Any] = await eventually(over)
    return found


def made(switchboard: Switchboard) -> Counter[str]:
    """How often each account of the slow target was made, by its id."""
    return Counter(account["customer_id"] for account in switchboard.accounts(SLOW))


@pytest.mark.usefixtures("fleet")
def test_several_processes_deliver_to_one_target_and_each_change_is_sent_once(
    settings: Settings, switchboard: Switchboard
) -> None:
    run = ask(settings, SLOW)

    async def body() -> None:
        async with Deployment.open(settings) as dep:
            await seats_are_taken(dep, 2)
            document = await ended(dep, run)
            assert document["targets"][SLOW]["succeeded"] == {"create": PEOPLE, "event": PEOPLE}
            await eventually(lambda: nobody_is_at(dep))

    async def nobody_is_at(dep: Deployment) -> bool:
        return not await dep.seats.taken(SLOW)

    asyncio.run(body())
    assert set(made(switchboard).values()) == {1}
    assert len(made(switchboard)) == PEOPLE
    sent = switchboard.counts(SLOW)
    # A create and its event, and nothing twice
    assert sent["writes"] == 2 * PEOPLE
    assert sent["answers_429"] == 0


@pytest.mark.usefixtures("fleet")
def test_a_slow_target_with_all_seats_leaves_the_others_their_share(settings: Settings) -> None:
    slow = ask(settings, SLOW)

    async def all_busy() -> None:
        async with Deployment.open(settings) as dep:
            await seats_are_taken(dep, CHILDREN)

    asyncio.run(all_busy())
    quick = ask(settings, QUICK)

    async def shared() -> None:
        async with Deployment.open(settings) as dep:
            document = await ended(dep, quick)
            assert document["status"] == "succeeded"
            backlog = await dep.queue.backlog(SLOW)
            assert backlog.ready, "the other one waited until the slow one was done"
            assert (await ended(dep, slow))["status"] == "succeeded"

    asyncio.run(shared())


def test_a_killed_process_loses_its_seat_and_nothing_else(
    settings: Settings, switchboard: Switchboard, fleet: Fleet
) -> None:
    run = ask(settings, SLOW)

    async def body() -> None:
        async with Deployment.open(settings) as dep:
            await seats_are_taken(dep, CHILDREN)
            os.kill(fleet.workers[0].children()[0], signal.SIGKILL)
            contents = RedisContents(dep)
            while anything(await dep.runs.document(run))["finished_at"] is None:
                # What the dead one had in hand is looked up, as soon as its lease is over
                if not (await dep.queue.backlog(SLOW)).ready:
                    contents.end_leases(SLOW)
                await asyncio.sleep(0.2)
            document = await ended(dep, run)
            assert document["status"] == "succeeded"

    asyncio.run(body())
    assert set(made(switchboard).values()) == {1}
    assert len(made(switchboard)) == PEOPLE
