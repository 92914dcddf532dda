"""Nudges that are lost, doubled or late, and workers that are told to stop: the work is done all the same, once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from provisioner.dispatch.pool import deliver
from provisioner.example.verify import faults
from provisioner.runs import lifecycle
from provisioner.runs.enqueue import plan_and_install
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from provisioner.settings import Settings
from provisioner.store.runs.documents import Request
from provisioner.worker import single_flight as once_module
from provisioner.worker import tasks
from provisioner.worker import worker_process as child_module
from provisioner.worker.worker_process import Child, StoppedError
from tests.chaos.people import as_csv, made_up
from tests.support.documents import anything
from tests.support.harness import FAST, load_settings, settings_document
from tests.support.redis_contents import RedisContents

Nudge = tuple[str, tuple[Any, ...]]


class Post:
    """Celery's place: what is sent is handed on, or lost, or twice, or late, as the dice fall."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.waiting: list[Nudge] = []
        self.longest = 0

    def send(self, _app: object, name: str, *args: Any, queue: str, countdown: float | None = None) -> None:
        assert queue.startswith("provisioner.")
        assert countdown is None or countdown <= 60
        times = self.dice.choices((0, 1, 2), (3, 5, 2))[0]
        self.waiting += [(name, args)] * times
        self.longest = max(self.longest, len(self.waiting))

    def take(self) -> Nudge | None:
        """Any of them: late is as good as early."""
        return self.waiting.pop(self.dice.randrange(len(self.waiting))) if self.waiting else None


@pytest.fixture
def settings(
    sandbox: SandboxServer, switchboard: Switchboard, redis_url: str, roster: Path, tmp_path: Path
) -> Settings:
    del switchboard
    return load_settings(tmp_path, settings_document(sandbox.url, redis_url, roster, tmp_path))


@pytest.fixture
def child(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    """A worker's child process, as far as one process can be another."""
    one = Child()
    monkeypatch.setattr(child_module, "settings", lambda: settings)
    monkeypatch.setattr(tasks, "child", one)
    yield one
    one.close()


@pytest.mark.usefixtures("child")
@pytest.mark.parametrize("seed", range(3))
def test_nudges_may_be_lost_doubled_or_late(
    seed: int, settings: Settings, roster: Path, switchboard: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    post = Post(dice)
    monkeypatch.setattr(tasks, "send", post.send)
    monkeypatch.setattr(tasks, "_PATIENCE", 0.0)
    people = made_up(12, dice)
    roster.write_bytes(as_csv(people))
    tasks_by_name = {"begin": tasks.begin, "plan": tasks.plan, "deliver": tasks.deliver_to}

    async def ask() -> str:
        async with Deployment.open(settings) as dep:
            return await lifecycle.request_run(dep, Request(trigger="manual"))

    async def over(run: str) -> bool:
        async with Deployment.open(settings) as dep:
            # The time in which a nudge may still arrive, gone by in a moment
            RedisContents(dep).lose_wakeups()
            return await dep.runs.get(run, "status") != "running"

    run = asyncio.run(ask())
    for _ in range(60):
        tasks.tick()
        for _ in range(dice.randrange(6)):
            nudge = post.take()
            if nudge is not None:
                tasks_by_name[nudge[0]](*nudge[1])
        if asyncio.run(over(run)):
            break

    async def outcome() -> dict[str, Any]:
        async with Deployment.open(settings) as dep:
            return cast("dict[str, Any]", await dep.runs.document(run) or {})

    document = asyncio.run(outcome())
    assert document["status"] == "succeeded"
    for name, target in document["targets"].items():
        assert {kind: count for kind, count in target["planned"].items() if count} == target["succeeded"], name
    states = {kind: switchboard.state(kind) for kind in FAST}
    assert [fault for fault in faults(people, states) if "trainingroom3" not in fault] == []
    assert post.longest < 60


@pytest.mark.usefixtures("child")
def test_a_nudge_that_is_under_way_serves_for_all_who_ask(
    settings: Settings, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(tasks, "send", lambda _app, name, *_args, **_more: sent.append(name))
    roster.write_bytes(as_csv(made_up(2, random.Random(0))))

    async def ask() -> None:
        async with Deployment.open(settings) as dep:
            await lifecycle.request_run(dep, Request(trigger="manual"))

    monkeypatch.setattr(tasks, "_PATIENCE", 0.0)
    asyncio.run(ask())
    for _ in range(5):
        tasks.tick()
    assert sent == ["begin"]


def test_only_one_does_what_only_one_may_do(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once_module, "HOLD", 4)

    async def work(dep: Deployment) -> None:
        async with once_module.once(dep.locks, "it") as first, once_module.once(dep.locks, "it") as second:
            assert (first is None, second is None) == (False, True)
            # Renewed while it lasts, which shows by its being shorter again
            contents = RedisContents(dep)
            lock = contents.work_lock("it")
            contents.lengthen(lock, 1000)
            while contents.lifetime_of(lock) > 4:  # noqa: ASYNC110 - Redis sends no event for it
                await asyncio.sleep(0.05)
        assert not contents.is_held(lock)

    child.run(work)


def test_what_takes_long_is_broken_off_when_the_process_is_to_end(child: Child) -> None:
    ended: list[str] = []

    async def work(dep: Deployment) -> None:
        del dep
        child.stop()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("tidied")

    with pytest.raises(StoppedError):
        child.run(work)
    assert ended == ["tidied"]


def test_nothing_goes_on_behind_a_nudge_that_is_over(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_TIDYING", 0.05)
    ended: list[str] = []

    async def lingering() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("lingering")

    async def work(dep: Deployment) -> None:
        del dep
        held.append(asyncio.ensure_future(lingering()))
        await asyncio.sleep(0)
        raise ZeroDivisionError

    held: list[asyncio.Future[None]] = []
    with pytest.raises(ZeroDivisionError):
        child.run(work)
    assert ended == ["lingering"]


def test_work_in_hand_is_finished_when_the_process_is_to_end(
    child: Child, settings: Settings, roster: Path, switchboard: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "send", lambda *_args, **_more: None)
    roster.write_bytes(as_csv(made_up(40, random.Random(0))))

    async def plan() -> str:
        async with Deployment.open(settings) as dep:
            run = await lifecycle.request_run(dep, Request(trigger="manual", targets=("traitly",)))
            await lifecycle.begin(dep, run)
            await lifecycle.plan(dep, run, "traitly")
            return run

    async def left(run: str) -> tuple[int, int, int]:
        async with Deployment.open(settings) as dep:
            backlog = await dep.queue.backlog("traitly")
            document = anything(await dep.runs.document(run))
            return backlog.ready, backlog.leased, document["targets"]["traitly"]["succeeded"].get("create", 0)

    run = asyncio.run(plan())
    switchboard.options("traitly", latency_ms=400)

    async def stop_soon(dep: Deployment) -> None:
        asyncio.get_running_loop().call_later(0.2, child.stop)
        await deliver(dep, "traitly")

    with pytest.raises(StoppedError):
        child.run(stop_soon)
    ready, leased, done = asyncio.run(left(run))
    assert leased == 0, "nothing is left in progress"
    assert 0 < done < 40
    assert done == len(switchboard.accounts("traitly"))
    assert ready >= 40 - done


async def _ask(settings: Settings, **request: Any) -> str:
    async with Deployment.open(settings) as dep:
        return await lifecycle.request_run(dep, Request(trigger="manual", **request))


async def _document(settings: Settings, run: str) -> dict[str, Any]:
    async with Deployment.open(settings) as dep:
        return cast("dict[str, Any]", await dep.runs.document(run) or {})


@pytest.mark.usefixtures("child")
def test_planning_that_breaks_in_an_unforeseen_way_ends_that_part_only(
    settings: Settings, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "send", lambda *_args, **_more: None)
    roster.write_bytes(as_csv(made_up(2, random.Random(0))))

    async def broken(dep: Deployment, run: str, target: str, read: Any, **more: Any) -> bool:
        if target == "traitly":
            raise ZeroDivisionError
        return await plan_and_install(dep, run, target, read, **more)

    monkeypatch.setattr("provisioner.runs.lifecycle.plan_and_install", broken)
    run = asyncio.run(_ask(settings, targets=("mtribes", "traitly")))
    tasks.begin(run)
    for target in ("mtribes", "traitly"):
        tasks.plan(run, target)
        tasks.deliver_to(target)
    tasks.tick()
    document = asyncio.run(_document(settings, run))
    assert {name: target["status"] for name, target in document["targets"].items()} == {
        "mtribes": "succeeded",
        "traitly": "failed",
    }
    assert document["targets"]["traitly"]["error"]["code"] == "unexpected"
    assert document["finished_at"] is not None


def test_a_target_that_was_taken_out_of_the_settings_holds_up_no_run(
    child: Child, settings: Settings, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "send", lambda *_args, **_more: None)
    monkeypatch.setattr(tasks, "_PATIENCE", 0.0)
    roster.write_bytes(as_csv(made_up(2, random.Random(0))))
    run = asyncio.run(_ask(settings, targets=("mtribes", "traitly")))
    tasks.begin(run)
    tasks.plan(run, "mtribes")
    tasks.deliver_to("mtribes")
    fewer = {name: target for name, target in settings.targets.items() if name != "traitly"}
    child.close()
    monkeypatch.setattr(child_module, "settings", lambda: settings.model_copy(update={"targets": fewer}))
    tasks.tick()
    document = asyncio.run(_document(settings, run))
    assert document["targets"]["traitly"]["status"] == "skipped"
    assert document["status"] == "succeeded"


@pytest.mark.usefixtures("child")
def test_a_run_joins_only_one_that_is_still_to_be_planned(settings: Settings, roster: Path) -> None:
    roster.write_bytes(as_csv(made_up(1, random.Random(0))))

    async def body() -> None:
        async with Deployment.open(settings) as dep:
            runs = []
            for trigger in ("one", "two", "three"):
                run = await lifecycle.request_run(dep, Request(trigger=trigger, targets=("mtribes",)))
                await lifecycle.begin(dep, run)
                runs.append(run)
            busy, waiting, last = runs
            contents = RedisContents(dep)
            contents.hold(contents.planning_lock("mtribes"), busy)
            assert not await lifecycle.plan(dep, waiting, "mtribes"), "it waits"
            # Planned by a worker that was killed before it could say so
            await dep.runs.set_target(waiting, "mtribes", {"stage": "delivering"})
            assert not await lifecycle.plan(dep, last, "mtribes"), "it waits too"
            assert await dep.lifecycle.waiting("mtribes") == last
            contents.free(contents.planning_lock("mtribes"))
            assert await lifecycle.plan(dep, last, "mtribes")
            assert (await dep.runs.target(last, "mtribes"))["stage"] == "delivering"

    asyncio.run(body())
