"""Real worker and beat processes: told to stop, left by Redis, and beat without anybody who works."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioner.progress.vitals import vitals
from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from provisioner.settings import Settings
from provisioner.store.runs.documents import Request
from provisioner.worker.wakeups import nudge
from tests.decisions.conftest import company
from tests.support.harness import load_settings, settings_document, write_settings
from tests.support.redis_contents import RedisContents
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.slow

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server that may be killed."""
    with RedisServer(append_only=True) as server:
        yield server


@pytest.fixture
def settings(
    sandbox: SandboxServer, switchboard: Switchboard, redis: RedisServer, roster: Path, tmp_path: Path
) -> Settings:
    del switchboard
    roster.write_text(company(3))
    document = settings_document(
        sandbox.url,
        redis.url,
        roster,
        tmp_path / "data",
        schedule={"sync": None, "full": None, "watch_roster": "1s"},
    )
    document["targets"] = {"traitly": document["targets"]["traitly"]}
    write_settings(tmp_path, document)
    return load_settings(tmp_path, document)


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    del settings
    running: list[subprocess.Popen[bytes]] = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONER_")}
    environment |= {"PROVISIONER_CONFIG": str(tmp_path / "provisioner.yaml")}

    def begin(*command: str) -> subprocess.Popen[bytes]:
        name = tmp_path / f"{command[0]}-{len(running)}"
        with name.with_suffix(".out").open("wb") as out, name.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "provisioner", *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(settings: Settings) -> str:
    async def body() -> str:
        async with Deployment.open(settings) as dep:
            return await lifecycle.request_run(dep, Request(trigger="manual"))

    run = asyncio.run(body())
    nudge(settings, run)
    return run


def wait_until(settings: Settings, run: str, field: str, values: set[str], seconds: float = 45.0) -> None:
    async def body() -> None:
        async with Deployment.open(settings) as dep:
            deadline = time.monotonic() + seconds
            while await dep.runs.get(run, field) not in values:
                assert time.monotonic() < deadline, await dep.runs.document(run)
                await asyncio.sleep(0.05)

    asyncio.run(body())


def test_a_worker_that_is_told_to_stop_leaves_a_long_listing_to_the_next(
    start: Start, settings: Settings, switchboard: Switchboard, tmp_path: Path
) -> None:
    switchboard.options("traitly", listing_latency_ms=25_000)
    worker = start("worker", "--concurrency", "2")
    run = ask(settings)
    deadline = time.monotonic() + 40
    while not switchboard.counts("traitly")["reads"] and _stage(settings, run) != "planning":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert (tmp_path / "worker-0.out").read_bytes() == b""
    assert b"nudge_left_to_others" in (tmp_path / "worker-0.err").read_bytes()
    switchboard.options("traitly", listing_latency_ms=0)
    start("worker", "--concurrency", "2")
    start("beat")
    wait_until(settings, run, "status", {"succeeded"})
    assert len(switchboard.accounts("traitly")) == 3


def _stage(settings: Settings, run: str) -> str | None:
    async def body() -> str | None:
        async with Deployment.open(settings) as dep:
            return (await dep.runs.target(run, "traitly")).get("stage")

    return asyncio.run(body())


def test_a_worker_waits_for_redis_to_come_back(start: Start, settings: Settings, redis: RedisServer) -> None:
    worker = start("worker", "--concurrency", "2")
    wait_until(settings, ask(settings), "status", {"succeeded"})
    for _ in range(2):
        redis.kill()
        time.sleep(0.5)
        redis.start()
        wait_until(settings, ask(settings), "status", {"succeeded"})
    assert worker.poll() is None


def test_beat_fills_no_queue_that_nobody_empties(start: Start, settings: Settings) -> None:
    beat = start("beat")

    async def fill() -> list[int]:
        async with Deployment.open(settings) as dep:
            deadline = time.monotonic() + 30
            contents = RedisContents(dep)
            while not contents.messages():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            contents.fill_queue(50)
            before = contents.messages()
            # Longer than two ticks
            await asyncio.sleep(4.5)
            return [before, contents.messages()]

    before, after = asyncio.run(fill())
    assert before == after
    assert beat.poll() is None


def test_a_beat_whose_nudges_go_nowhere_counts_as_silent(start: Start, settings: Settings) -> None:
    beat = start("beat")

    async def until(state: str) -> None:
        async with Deployment.open(settings) as dep:
            deadline = time.monotonic() + 45
            while (await vitals(dep.heartbeats, settings)).beat.state != state:
                assert time.monotonic() < deadline, state
                await asyncio.sleep(0.2)

    async def queue(*, usable: bool) -> None:
        async with Deployment.open(settings) as dep:
            contents = RedisContents(dep)
            contents.empty_queue()
            if not usable:
                contents.break_queue()

    asyncio.run(until("ok"))
    asyncio.run(queue(usable=False))
    asyncio.run(until("silent"))
    assert beat.poll() is None
    asyncio.run(queue(usable=True))
    asyncio.run(until("ok"))


def test_beat_goes_on_when_redis_lost_its_schedule(start: Start, settings: Settings) -> None:
    start("beat")
    start("worker", "--concurrency", "2")

    async def body() -> None:
        async with Deployment.open(settings) as dep:
            for _ in range(2):
                deadline = time.monotonic() + 40
                contents = RedisContents(dep)
                while not contents.history_was_trimmed():
                    assert time.monotonic() < deadline, "no tick came"
                    await asyncio.sleep(0.1)
                contents.lose_schedule()
                contents.let_history_be_trimmed()

    asyncio.run(body())
