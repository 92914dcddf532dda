"""How soon a webhook is accepted while a bulk sync is under way, and how many are taken in a second.

Everything is real but the vendors: web server, worker, beat and Redis are processes of their own, four more send as
vendors would, and each stand-in has its process too. What is measured is the time from when a delivery is due until its
202 is read; one that is late because the one before it was slow counts as slow too.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.goals import Turns, measured
from benchmarks.report import Figures
from benchmarks.staging import Stage, finished, quietly, staged, write_roster
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.runs.documents import Request
from tests.chaos.fleet import Member
from tests.inbound.support import enrolment, listens
from tests.support.harness import load_settings
from tests.support.ports import free_port

Heard = tuple[list[float], float]

SENDERS: Final = 4
#: Deliveries in a second, of all senders together: of a vendor with so many people a heavy hour, sent evenly.
RATE: Final = 80.0
#: Seconds that are measured at most of each part; the bulk run has to last as long, or ends it.
SECONDS: Final = 40.0
_FLAT_OUT: Final = 10.0
_GOAL_MS: Final = 250.0
_SECRET: Final = "a-secret-of-the-benchmark"  # noqa: S105 - opens the benchmark's own server
_ROUTES: Final = [
    {"on": "tribal_habits.enrolment_completed", "to": "traitly.event", "name": "'Completed ' || knowledge_title"}
]


@dataclass(frozen=True, slots=True)
class Told:
    """Milliseconds of each acceptance, ordered, and the seconds that all took."""

    times: list[float]
    seconds: float

    def at(self, share: float) -> float:
        """The time within which this share was accepted."""
        return self.times[min(len(self.times) - 1, int(share * len(self.times)))]

    def row(self, name: str, goal: str) -> tuple[str, ...]:
        """A row of the table."""
        rate = f"{len(self.times) / self.seconds:.0f}/s"
        return (name, f"{len(self.times):,}", rate, f"{median(self.times):.1f} ms", f"{self.at(0.99):.1f} ms", goal)


def measure(people: int) -> Figures:
    """Link everybody, then send webhooks: with nothing else to do, besides a bulk run, and as many as are taken."""
    quietly()
    with ExitStack() as stack:
        stage = stack.enter_context(staged(people))
        port = free_port()
        settings = _with_webhooks(stage, port)
        stack.enter_context(stage.fleet())
        stack.enter_context(_web(stage, port))
        finished(settings, stage.ask(Request(trigger="manual")), within=3600)
        alone = _send(port, people, 1, pace=RATE, seconds=SECONDS / 4)
        write_roster(stage.roster, people, renamed=people)
        bulk = stage.ask(Request(trigger="manual"))
        asyncio.run(_under_way(settings, bulk))
        began = time.monotonic()
        busy = _send(port, people, 2, pace=RATE, seconds=SECONDS, until=(settings, bulk))
        asyncio.run(_all_handled(settings))
        late = time.monotonic() - began - busy.seconds
        finished(settings, bulk, within=3600)
        flat_out = _send(port, people, 3, pace=None, seconds=_FLAT_OUT)
        sent = sum(len(one.times) for one in (alone, busy, flat_out))
        asyncio.run(_all_handled(settings))
        told = _events(stage)
    if told != sent:
        raise AssertionError(f"{sent} webhooks were accepted, but Traitly has {told} events")
    return Figures(
        title=f"webhooks accepted from {SENDERS} processes, {people:,} people linked in four targets",
        columns=("while", "webhooks", "rate", "p50", "p99", "goal (p99)"),
        rows=(
            alone.row("nothing else to do", "—"),
            busy.row("bulk run under way", f"{_GOAL_MS:.0f} ms"),
            flat_out.row("as many as are taken, nothing else to do", "—"),
        ),
        goals=(
            measured("p99 of a webhook beside a bulk run", "at most", _GOAL_MS, Turns((busy.at(0.99),)), _milliseconds),
        ),
        notes=(_told(busy.seconds, max(0.0, late)), f"Each webhook became one Traitly event: {told:,} of {sent:,}."),
    )


def _milliseconds(value: float) -> str:
    return f"{value:.0f} ms"


def _told(seconds: float, late: float) -> str:
    return (
        "The bulk run updates everybody in all four targets, which set no limit, so workers and stand-ins use all that "
        f"the machine has. It was under way for the {seconds:.0f} s of its row; the last event was handled {late:.1f} "
        "s after the last was accepted."
    )


def _with_webhooks(stage: Stage, port: int) -> Settings:
    document: dict[str, Any] = {**stage.document, "events": _ROUTES, "web": {"port": port}}
    targets = dict(stage.document["targets"])
    targets["tribal_habits"] = {**targets["tribal_habits"], "webhook_secret": _SECRET}
    return load_settings(stage.folder, {**document, "targets": targets})


@contextmanager
def _web(stage: Stage, port: int) -> Iterator[None]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONER_")}
    environment |= {"PROVISIONER_CONFIG": str(stage.folder / "provisioner.yaml"), "PYTHONWARNINGS": "ignore"}
    web = Member(("web",), environment, Path(stage.folder) / "web.log")
    web.start()
    try:
        until = time.monotonic() + 60.0
        while not listens(port):
            assert time.monotonic() < until, "the web server did not start"
            time.sleep(0.05)
        yield
    finally:
        web.sweep()


def _send(
    port: int, people: int, part: int, *, pace: float | None, seconds: float, until: tuple[Settings, str] | None = None
) -> Told:
    """Send from all processes for so many seconds, or until a run is over; `pace` None: without a pause."""
    context = multiprocessing.get_context("spawn")
    results: Queue[Heard] = context.Queue()
    ready, over = context.Barrier(SENDERS + 1), context.Event()
    each = None if pace is None else pace / SENDERS
    senders = [
        context.Process(target=_sender, args=(port, people, part, place, each, ready, over, results))
        for place in range(SENDERS)
    ]
    for sender in senders:
        sender.start()
    ready.wait(60.0)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (until is not None and asyncio.run(_is_over(*until))):
        time.sleep(0.25)
    over.set()
    heard = [results.get(timeout=60.0) for _ in senders]
    for sender in senders:
        sender.join()
    return Told(sorted(one for times, _ in heard for one in times), max(took for _, took in heard))


def _sender(
    port: int,
    people: int,
    part: int,
    place: int,
    pace: float | None,
    ready: Barrier,
    over: Event,
    results: Queue[Heard],
) -> None:
    """One sending process: each event is a new one."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    path = f"/webhooks/tribal_habits/{_SECRET}"
    times: list[float] = []
    ready.wait()
    began = time.perf_counter()
    while not over.is_set():
        number = (part * SENDERS + place) * 10_000_000 + len(times)
        body = enrolment(number, f"p{number % people:07}", knowledge_title=f"Course {number}", knowledge_id=number % 50)
        content = json.dumps(body).encode()
        due = time.perf_counter() if pace is None else began + (len(times) + place / SENDERS) / pace
        time.sleep(max(0.0, due - time.perf_counter()))
        connection.request("POST", path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 202:
            raise AssertionError(f"a webhook was answered with {answer.status}")
        times.append((time.perf_counter() - due) * 1000)
    results.put((times, time.perf_counter() - began))
    connection.close()


async def _under_way(settings: Settings, run: str) -> None:
    """Wait until the first target is being delivered to."""
    async with Deployment.open(settings) as dep:
        while True:
            stages = [(await dep.runs.target(run, name)).get("stage") for name in dep.targets]
            if "delivering" in stages:
                return
            await asyncio.sleep(0.1)


async def _is_over(settings: Settings, run: str) -> bool:
    async with Deployment.open(settings) as dep:
        return await dep.runs.get(run, "finished") is not None


async def _all_handled(settings: Settings) -> None:
    """Wait until no event waits."""
    async with Deployment.open(settings) as dep:
        while (await dep.inbound.backlog()).waiting:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


def _events(stage: Stage) -> int:
    """How many different events of ours Traitly has, once nothing more comes; fails on one that is there twice."""
    before, now = -1, 0
    while now != before:
        time.sleep(3.0)
        names = [one["name"] for one in stage.stand_ins["traitly"].board.state("traitly")["events"]]
        ours = [name for name in names if name.startswith("Completed ")]
        assert len(ours) == len(set(ours)), "an event came twice"
        before, now = now, len(ours)
    return now
