"""What the benchmarks of whole runs stand on: Redis, one stand-in a process, workers, and what each process took.

Everything is real but the vendors, and each of those has a process of its own, so that its share of the time is seen.
"""

from __future__ import annotations

import asyncio
import csv
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from provisioner.model.run_document import RunDocument
from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.sandbox.client import Switchboard
from provisioner.settings import Settings
from provisioner.store.runs.documents import Request
from provisioner.worker.wakeups import nudge
from tests.chaos.fleet import Fleet
from tests.support.harness import load_settings, settings_document
from tests.support.redis_server import RedisServer

TARGETS = ("tribal_habits", "habitate", "traitly", "mtribes")
BOARDS = ("Sales", "Engineering", "People", "Finance", "Support")
COLUMNS = (
    "employee_id", "first_name", "last_name", "work_email", "job_title", "department", "location", "country",
    "language", "manager_email", "employment_status", "start_date", "end_date",
)  # fmt: skip
#: Of so many people one is a manager, who is a moderator in habitate.
EACH_MANAGES = 20
#: Requests that a stand-in admits in a second: none is refused.
UNLIMITED = 1_000_000
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class StandIn:
    """One vendor's stand-in: its process and the switch-board that orders it."""

    pid: int
    board: Switchboard


@dataclass(frozen=True, slots=True)
class Stage:
    """A deployment with its stand-ins by target; `folder` holds roster, settings and logs."""

    folder: Path
    redis: RedisServer
    stand_ins: Mapping[str, StandIn]
    document: Mapping[str, Any]
    settings: Settings
    roster: Path

    @contextmanager
    def fleet(self, *, workers: int = 1, concurrency: int = 6) -> Iterator[Fleet]:
        """Workers and one beat, for as long as the context lasts."""
        path = self.folder / "provisioner.yaml"
        with Fleet(self.redis, path, self.folder, workers=workers, beats=1, concurrency=concurrency) as fleet:
            yield fleet

    def ask(self, request: Request) -> str:
        """Ask for a run as the command does; its id."""

        async def body() -> str:
            async with Deployment.open(self.settings) as dep:
                return await lifecycle.request_run(dep, request)

        run = asyncio.run(body())
        nudge(self.settings, run, urgent=request.people is not None)
        return run

    def counts(self) -> dict[str, dict[str, int]]:
        """What each stand-in was asked, by target."""
        return {name: one.board.counts(name) for name, one in self.stand_ins.items()}


def write_roster(path: Path, people: int, *, renamed: int = 0) -> None:
    """Made-up people: departments in turn, some managers; the first `renamed` have another last name."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(COLUMNS)
        for number in range(people):
            name = f"p{number:07}"
            title = "Team Manager" if number % EACH_MANAGES == 0 else "Officer"
            last = "Married" if number < renamed else "Single"
            board = BOARDS[number % len(BOARDS)]
            mail = f"{name}@example.com"
            out.writerow([name, "Ann", last, mail, title, board, "Perth", "Australia", "en", "", "active", "", ""])


@contextmanager
def staged(
    people: int, *, targets: Sequence[str] = TARGETS, limits: Mapping[str, str] | None = None
) -> Iterator[Stage]:
    """A deployment of some targets over a roster of so many people.

    Args:
        limits: `rate_limit` by target; the others have none that matters.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(RedisServer())
        stand_ins = {name: stack.enter_context(stand_in()) for name in targets}
        for name, one in stand_ins.items():
            one.board.options(name, rate_limit=UNLIMITED, rate_window=1)
        roster = folder / "roster.csv"
        write_roster(roster, people)
        document = settings_document(next(iter(stand_ins.values())).board.url, redis.url, roster, folder / "data")
        document["targets"] = {name: document["targets"][name] for name in targets}
        document["guards"] = {"updates": {"percent": 100}, "window": "0s"}
        document["schedule"] = {"sync": None, "full": None, "watch_roster": None}
        document.pop("events", None)
        for name, target in document["targets"].items():
            target["base_url"] = f"{stand_ins[name].board.url}/{name}"
            target["rate_limit"] = (limits or {}).get(name, f"{UNLIMITED}/second")
            target.pop("enrolments", None)
        settings = load_settings(folder, document)
        yield Stage(folder, redis, stand_ins, document, settings, roster)


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """The stand-ins of all vendors in a process of their own, with the limits that vendors have."""
    command = [sys.executable, "-m", "provisioner.sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield StandIn(process.pid, Switchboard(process.stdout.readline().strip()))
        finally:
            process.terminate()


def finished(settings: Settings, run: str, *, within: float) -> RunDocument:
    """Wait for a run's end; its JSON.

    Raises:
        TimeoutError: it did not end in so many seconds.
    """

    async def body() -> RunDocument:
        async with Deployment.open(settings) as dep:
            until = time.monotonic() + within
            while time.monotonic() < until:
                if await dep.runs.get(run, "finished") is not None:
                    document = await dep.runs.document(run)
                    assert document is not None
                    return document
                await asyncio.sleep(0.2)
            raise TimeoutError(f"run {run} did not end within {within:.0f} s: {await dep.runs.document(run)}")

    return asyncio.run(body())


def cpu_seconds(pids: Iterable[int]) -> float:
    """Seconds of processor time that these processes took so far, all together; one that ended counts nothing."""
    # The name, which may hold spaces, stands in parentheses
    fields = [text.rpartition(")")[2].split() for text in _told(pids, "stat")]
    return sum(int(one[11]) + int(one[12]) for one in fields) / _TICKS


def peak_memory(pids: Iterable[int]) -> int:
    """Bytes: the most memory that any one of these processes ever held."""
    lines = [line for text in _told(pids, "status") for line in text.splitlines() if line.startswith("VmHWM:")]
    return max((int(line.split()[1]) * 1024 for line in lines), default=0)


def _told(pids: Iterable[int], what: str) -> Iterator[str]:
    """What the system tells of those of the processes that run."""
    for pid in pids:
        try:
            yield Path(f"/proc/{pid}/{what}").read_text(encoding="ascii")
        except FileNotFoundError:
            continue


def pids_of(fleet: Fleet) -> list[int]:
    """The processes of all workers with those that they forked."""
    found = []
    for worker in fleet.workers:
        if worker.process is not None:
            found += [worker.process.pid, *worker.children()]
    return found


def quietly() -> None:
    """Let this process log warnings only: what a benchmark prints is its table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
