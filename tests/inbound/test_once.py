"""Every event has exactly one effect, whatever is sent again, in whatever order, and whoever is killed on the way."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from provisioner.events.process import MAX_TRIES, work
from provisioner.runtime.context import Deployment
from provisioner.settings import load
from provisioner.store.events.inbound import InboundStore
from tests.inbound.support import SECRET, Company, enrolment, handled, post
from tests.support.harness import drain, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.slow

EVENTS = 300


def _send_all(site: str, bodies: list[bytes]) -> None:
    """Each three times, shuffled, by four threads at once."""
    deliveries = bodies * 3
    random.Random(7).shuffle(deliveries)
    statuses: Counter[int] = Counter()

    def send(part: list[bytes]) -> None:
        for body in part:
            statuses[post(site, f"/webhooks/tribal_habits/{SECRET}", body)[0]] += 1

    threads = [threading.Thread(target=send, args=(deliveries[place::4],)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {202: len(deliveries)}


def _work_for_ever(config: str) -> None:
    """A worker process: handles events until it is killed."""
    settings = load(Path(config), environ={}).settings

    async def go() -> None:
        async with Deployment.open(settings) as dep:
            while True:
                await work(dep, idle=0.3)
                await drain(dep)
                await asyncio.sleep(0.01)

    asyncio.run(go())


def test_shuffled_and_repeated_with_workers_being_killed(firm: Company, site: str) -> None:
    async def begin() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)

    asyncio.run(begin())
    bodies = [
        json.dumps(enrolment(number, f"W{number % 3 + 1}", knowledge_title=f"Course {number}")).encode()
        for number in range(EVENTS)
    ]
    sender = threading.Thread(target=_send_all, args=(site, bodies))
    sender.start()
    context = multiprocessing.get_context("spawn")
    config = str(firm.folder / "provisioner.yaml")
    chance = random.Random(3)
    for _ in range(3):
        worker = context.Process(target=_work_for_ever, args=(config,), daemon=True)
        worker.start()
        time.sleep(1.0 + chance.random())
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    sender.join()

    async def finish() -> dict[str, Any]:
        async with Deployment.open(firm.settings) as dep:
            backlog = await dep.inbound.backlog()
            for _ in range(200):
                # Leases of the killed are shortened, not waited for
                contents = RedisContents(dep)
                for target in ("traitly", "mtribes"):
                    contents.end_leases(target)
                    await dep.queue.reap(target)
                contents.end_tag_holds()
                await work(dep, idle=0.0)
                await drain(dep)
                backlog = await dep.inbound.backlog()
                left = [await dep.queue.backlog(target) for target in dep.targets]
                if backlog.waiting == 0 and not any(one.ready or one.leased or one.next_due for one in left):
                    break
                await asyncio.sleep(0.05)
            facts = await dep.inbound.facts(["W1", "W2", "W3"])
            return {"backlog": backlog, "facts": facts, "counts": await dep.inbound.counts()}

    told = asyncio.run(finish())
    assert told["backlog"].waiting == told["backlog"].dead == 0
    assert sorted(firm.events()) == sorted((f"W{n % 3 + 1}", f"Completed Course {n}") for n in range(EVENTS))
    assert told["counts"]["tribal_habits"] == {"duplicate": EVENTS * 2, "enrolment_completed": EVENTS}
    assert sum(len(of["tribal_habits"]) for of in told["facts"].values()) == EVENTS
    assert all("learning/completed" in firm.tags()[person] for person in ("W1", "W2", "W3"))


def test_what_came_later_is_not_overwritten_by_what_came_before(firm: Company, site: str) -> None:
    created = enrolment(
        5,
        event="enrolment_created",
        progress="exploring",
        completed_date=None,
        updated_date="2024-04-09T09:39:16.700+10:00",
    )
    completed = enrolment(5)

    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            for body in (completed, created):
                assert post(site, f"/webhooks/tribal_habits/{SECRET}", json.dumps(body).encode())[0] == 202
                await handled(dep)
            fact = (await dep.inbound.facts(["W1"]))["W1"]["tribal_habits"][0]
            assert fact.shows["progress.topic.278"] == "completed"

    asyncio.run(go())


def test_an_event_that_kills_its_worker_ends_among_the_dead_letters(
    firm: Company, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison, good = enrolment(66), enrolment(67)
    for body in (poison, good):
        assert post(site, f"/webhooks/tribal_habits/{SECRET}", json.dumps(body).encode())[0] == 202

    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            made: Any = type(dep.targets["tribal_habits"])
            read = made.event

            def dies(self: Any, body: Any) -> Any:
                if body["enrolment_id"] == 66:
                    raise SystemExit("as if the process had died")
                return read(self, body)

            monkeypatch.setattr(made, "event", dies)
            for _ in range(MAX_TRIES):
                with pytest.raises(SystemExit):
                    await work(dep, idle=0.0)
            await work(dep, idle=0.0)
            await drain(dep)
            letters = await dep.inbound.dead()
            assert [json.loads(one["body"])["enrolment_id"] for one in letters.values()] == [66]
            assert (await dep.inbound.backlog()).waiting == 0
            assert firm.events() == [("W1", "Completed Countries")]

            # Mended, it can be replayed
            monkeypatch.setattr(made, "event", read)
            assert await dep.inbound.replay() == 1
            await handled(dep)
            assert firm.events() == [("W1", "Completed Countries")] * 2
            assert await dep.inbound.dead() == {}
            assert (await dep.inbound.backlog()).waiting == 0

    asyncio.run(go())


def test_two_who_bury_and_two_who_finish(firm: Company) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            store: InboundStore = dep.inbound
            for number in range(3):
                assert await store.accept("traitly", digest=f"d{number}", event="e", known=True, body="{}")
            assert not await store.accept("traitly", digest="d1", event="e", known=True, body="{}")
            await asyncio.gather(store.begin(), store.begin())
            first, second, third = await store.take("a", 10)
            assert await store.take("b", 10) == []
            assert await store.take_over("b", 60.0) is None
            again = await store.take_over("b", 0.0)
            assert again is not None
            assert (again.id, again.tries) == (first.id, 2)
            await store.finish([first, first])
            assert await store.bury(second, "why", 1.0)
            assert not await store.bury(second, "why", 1.0)
            assert (await store.backlog()).waiting == 1
            await store.finish([third])
            assert (await store.dead())[second.id]["error"] == "why"
            assert await store.replay([second.id, "unknown"]) == 1
            assert (await store.backlog()).waiting == 1
            assert await store.counts() == {"traitly": {"duplicate": 1, "e": 3}}

    asyncio.run(go())
