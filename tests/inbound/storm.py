"""A storm of webhooks: real sender, web, worker, beat, Redis and stand-in processes, of which some are killed.

Every event is delivered three times, all deliveries shuffled, by four processes at once. A sender that gets no answer,
as from a web process that was just killed, sends again, as vendors do.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Final

from provisioner.errors import StoreError
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.settings import Settings
from provisioner.worker.wakeups import workers
from tests.chaos.fleet import Member
from tests.chaos.people import as_csv, made_up
from tests.e2e.site import Site, deployment, eventually
from tests.inbound.support import SECRET, enrolment
from tests.support.documents import anything
from tests.support.ports import free_port
from tests.support.redis_contents import RedisContents

Heard = tuple[dict[str, int], list[float]]

SENDERS: Final = 4
TIMES: Final = 3
#: Every so many events is of a kind that besides brings a tag.
_TAGGED: Final = 10
ROUTES: Final = (
    {"on": "tribal_habits.enrolment_completed", "to": "traitly.event", "name": "'Completed ' || knowledge_title"},
    {
        "on": "tribal_habits.enrolment_completed",
        "when": "knowledge_type = 'topic'",
        "to": "mtribes.tag",
        "name": "'learning/' || knowledge_id",
    },
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is sent about how many people, and how often something is killed."""

    events: int
    people: int
    kills: int
    workers: int


@dataclass(slots=True)
class Told:
    """What came of it: `events` and `tags` that the stand-ins hold too many or too few of, and figures."""

    wrong: list[str] = field(default_factory=list)
    killed: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    accept_seconds: float = 0.0
    all_seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0

    def sentence(self, size: Size) -> str:
        """The figures for a person."""
        deliveries = size.events * TIMES
        return (
            f"{deliveries} deliveries of {size.events} events from {SENDERS} processes in {self.accept_seconds:.0f} s "
            f"({deliveries / self.accept_seconds:.0f}/s; p50 {self.p50_ms:.0f} ms, p99 {self.p99_ms:.0f} ms), answers "
            f"{dict(self.answers)}; all effects there after {self.all_seconds:.0f} s; killed {dict(self.killed)}; "
            f"wrong: {len(self.wrong)}"
        )


def _body(number: int, person: str) -> bytes:
    kind = "topic" if number % _TAGGED == 0 else "pathway"
    body = enrolment(number, person, knowledge_title=f"Course {number}", knowledge_id=number, knowledge_type=kind)
    return json.dumps(body).encode()


def send(port: int, deliveries: Sequence[bytes], results: Queue[Heard]) -> None:
    """A sender process: delivers all, each until it is answered with 202, and tells the answers and their seconds."""
    answers: Counter[str] = Counter()
    times: list[float] = []
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    for body in deliveries:
        while True:
            began = time.perf_counter()
            try:
                connection.request("POST", f"/webhooks/tribal_habits/{SECRET}", body)
                answer = connection.getresponse()
                told = json.loads(answer.read())
            except (OSError, HTTPException):
                answers["none"] += 1
                connection.close()
                time.sleep(0.2)
                continue
            answers[f"{answer.status} {told['status'] if answer.status == 202 else ''}".strip()] += 1
            if answer.status == 202:
                times.append(time.perf_counter() - began)
                break
            time.sleep(0.2)
    connection.close()
    results.put((dict(answers), times))


class Storm:
    """One storm: its deployment, its processes, and what it saw.

    Args:
        hurry: with one worker only: its work in progress when it was killed is handed on at once, as if the leases had
            run out meanwhile.
        patience: seconds for all of it.
    """

    def __init__(self, folder: Path, size: Size, seed: int, *, hurry: bool = False, patience: float = 600.0) -> None:
        assert not hurry or size.workers == 1, "leases of a worker that lives must not be cut short"
        self._folder, self._size, self._hurry, self._patience = folder, size, hurry, patience
        self._dice = random.Random(seed)
        self._people = made_up(size.people, self._dice)
        keys_of_people = [one["employee_id"] for one in self._people]
        self._whose = {number: keys_of_people[number % len(keys_of_people)] for number in range(1, size.events + 1)}
        self._port = free_port()
        self._times: list[float] = []
        self._heard = 0
        self.told = Told()

    def run(self) -> Told:
        """From an empty deployment to the last effect."""
        changes: dict[str, Any] = {
            "schedule": {"sync": None, "full": None, "watch_roster": None},
            "events": list(ROUTES),
            "web": {"port": self._port},
        }
        with deployment(self._folder, **changes) as site, self._processes(site) as (fleet, web, all_of_them):
            settings = site.settings
            eventually(lambda: workers(settings, timeout=0.5))
            site.call("sync", "--wait")
            self._rage(settings, fleet, web, all_of_them)
            self.told.wrong += _wrong(site.switchboard, self._whose)
            self.told.wrong += asyncio.run(_lost(settings, self._whose))
            if self.told.answers["202 accepted"] > self._size.events:
                self.told.wrong.append(f"{self.told.answers['202 accepted']} were accepted, of {self._size.events}")
        return self.told

    @contextmanager
    def _processes(self, site: Site) -> Iterator[tuple[list[Member], Member, list[Member]]]:
        site.environment["PROVISIONER_TARGETS__TRIBAL_HABITS__WEBHOOK_SECRET"] = SECRET
        site.environment["PYTHONWARNINGS"] = "ignore"
        site.roster.write_bytes(as_csv(self._people))
        fleet = [
            Member(("worker", "--concurrency", "4"), site.environment, self._folder / f"worker-{number}.log")
            for number in range(self._size.workers)
        ]
        beat = Member(("beat",), site.environment, self._folder / "beat.log")
        web = Member(("web",), site.environment, self._folder / "web.log")
        members = [*fleet, beat, web]
        try:
            for member in members:
                member.start()
            yield fleet, web, members
        except BaseException:
            for log in sorted(self._folder.glob("*.log")):
                print(f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}")  # noqa: T201
            raise
        finally:
            for member in members:
                member.sweep()

    def _rage(self, settings: Settings, fleet: Sequence[Member], web: Member, all_of_them: Sequence[Member]) -> None:
        """Send and kill, until everything is sent and everything that follows is done."""
        deliveries = [_body(number, person) for number, person in self._whose.items()] * TIMES
        self._dice.shuffle(deliveries)
        context = multiprocessing.get_context("spawn")
        results: Queue[Heard] = context.Queue()
        senders = [
            context.Process(target=send, args=(self._port, deliveries[place::SENDERS], results))
            for place in range(SENDERS)
        ]
        began = time.monotonic()
        for sender in senders:
            sender.start()
        next_kill, next_look = began + self._dice.uniform(3.0, 5.0), began
        while True:
            now = time.monotonic()
            assert now - began < self._patience, f"not done after {self._patience:.0f} s"
            self._hear(results, now - began)
            if sum(self.told.killed.values()) < self._size.kills:
                if now >= next_kill:
                    self.told.killed[self._kill(settings, fleet, web)] += 1
                    next_kill = time.monotonic() + self._dice.uniform(1.0, 4.0)
            elif self._heard == SENDERS and now >= next_look:
                if asyncio.run(_done(settings)):
                    break
                next_look = time.monotonic() + 0.5
            for member in all_of_them:
                member.mend()
            time.sleep(0.05)
        self.told.all_seconds = time.monotonic() - began
        for sender in senders:
            sender.join()
        self._times.sort()
        self.told.p50_ms = self._times[len(self._times) // 2] * 1e3
        self.told.p99_ms = self._times[int(len(self._times) * 0.99)] * 1e3

    def _hear(self, results: Queue[Heard], since: float) -> None:
        while not results.empty():
            answers, seconds = results.get()
            self.told.answers.update(answers)
            self._times += seconds
            self._heard += 1
            self.told.accept_seconds = since

    def _kill(self, settings: Settings, fleet: Sequence[Member], web: Member) -> str:
        """SIGKILL a worker with its children, one child of a worker, or the web process."""
        what = self._dice.choices(("worker", "child", "web"), (5, 4, 1))[0]
        worker = self._dice.choice(fleet)
        children = worker.children()
        if what == "web":
            web.sweep()
        elif what == "child" and children and not self._hurry:
            with suppress(ProcessLookupError):
                os.kill(self._dice.choice(children), signal.SIGKILL)
        else:
            what = "worker"
            worker.sweep()
            if self._hurry:
                asyncio.run(_hand_on(settings))
        return what


async def _hand_on(settings: Settings) -> None:
    """Let the time run out for which the dead may keep what they had in progress."""
    async with Deployment.open(settings) as dep:
        contents = RedisContents(dep)
        for target in dep.targets:
            contents.end_leases(target)
        contents.end_tag_holds()
        contents.end_work_locks()
        if contents.has_inbound():
            await dep.inbound.begin()
            contents.leave_inbound()


async def _done(settings: Settings) -> bool:
    """Whether nothing waits any more, neither an event nor what follows from one."""
    try:
        async with Deployment.open(settings) as dep:
            inbound = await dep.inbound.backlog()
            left = inbound.waiting + inbound.put_off
            for target in dep.targets:
                backlog = await dep.queue.backlog(target)
                left += backlog.ready + backlog.leased + (backlog.next_due is not None)
    except StoreError:
        return False
    return left == 0


def _wrong(board: Switchboard, whose: Mapping[int, str]) -> list[str]:
    """What the stand-ins hold otherwise than each event brings about once."""
    wrong = []
    expected = {(person, f"Completed Course {number}") for number, person in whose.items()}
    held = Counter(
        (one["customer_id"], one["name"])
        for one in board.state("traitly")["events"]
        if one["name"].startswith("Completed ")
    )
    wrong += [f"traitly has {one} {held[one]} times" for one in expected | held.keys() if held[one] != 1]
    tags = {one["id"]: {tag for tag in one["tags"] if tag.startswith("learning/")} for one in board.accounts("mtribes")}
    for person in set(whose.values()):
        own = {f"learning/{number}" for number, of in whose.items() if of == person and number % _TAGGED == 0}
        if tags.get(person) != own:
            wrong.append(f"mtribes: {person} has {sorted(tags.get(person) or ())}, not {sorted(own)}")
    return wrong


async def _lost(settings: Settings, whose: Mapping[int, str]) -> list[str]:
    """What Redis keeps otherwise: facts that are missing, dead letters, operations that did not succeed."""
    async with Deployment.open(settings) as dep:
        wrong = [f"dead letter {letter}" for letter in (await dep.inbound.dead()).values()]
        facts = await dep.inbound.facts(sorted(set(whose.values())))
        for person in set(whose.values()):
            shown = {name for fact in facts.get(person, {}).get("tribal_habits", []) for name in fact.shows}
            for number in (number for number, of in whose.items() if of == person):
                kind = "topic" if number % _TAGGED == 0 else "pathway"
                if f"progress.{kind}.{number}" not in shown:
                    wrong.append(f"the fact of event {number} about {person} is missing")
        wanted = {"traitly": len(whose), "mtribes": sum(number % _TAGGED == 0 for number in whose)}
        for target, count in wanted.items():
            succeeded = 0
            for run in await dep.runs.recent(100_000):
                document = await dep.runs.document(run)
                if document is not None and document["trigger"] == "webhook":
                    part = anything(document["targets"].get(target) or {"planned": {}, "succeeded": {}})
                    succeeded += sum(part["succeeded"].values())
                    if sum(part["planned"].values()) != sum(part["succeeded"].values()):
                        wrong.append(f"{run}: {target} {part['planned']} planned, {part['succeeded']} succeeded")
            if succeeded != count:
                wrong.append(f"{target}: {succeeded} operations succeeded, of {count}")
    return wrong
