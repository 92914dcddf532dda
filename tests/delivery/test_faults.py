"""Exceptions that nobody thought of, in a real worker, at each step of each task: the run ends and says so, the other
target's part succeeds, nothing repeats for ever, and the next run completes what was left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import pytest
from celery import Celery

from provisioner.admin.preflight import check
from provisioner.model.run_document import exit_code
from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from provisioner.settings import Settings
from provisioner.store.runs.documents import Request
from provisioner.worker.app import WORK, configured
from provisioner.worker.wakeups import nudge, send, workers
from tests.decisions.conftest import company
from tests.support.faulty_worker import FUNCTIONS
from tests.support.harness import load_settings, raise_limits, settings_document, write_settings
from tests.support.redis_contents import RedisContents
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.slow

T = TypeVar("T")
ROOT: Final = Path(__file__).resolve().parents[2]
PEOPLE: Final = 4
#: Far more than any case logs, far less than what repeats with each tick would.
MOST_LINES: Final = 40


@dataclass(slots=True)
class Plant:
    """A deployment of two targets with a worker in which functions can be made to fail."""

    settings: Settings
    switchboard: Switchboard
    roster: Path
    faulty: Path
    log: Path
    process: subprocess.Popen[bytes]
    changed: int = 0
    mark: int = field(default=0)

    def fault(self, function: str = "", error: str = "", about: str = "") -> None:
        """Let a function fail from now on; none without a name."""
        fresh = self.faulty.with_suffix(".new")
        asked = {"function": f"provisioner.{function}", "error": error, "about": about} if function else {}
        assert not function or asked["function"] in FUNCTIONS
        fresh.write_text(json.dumps(asked), encoding="utf-8")
        fresh.replace(self.faulty)

    def change(self) -> str:
        """Give everybody another department; its name."""
        self.changed += 1
        name = f"Department {self.changed}"
        self.roster.write_text(company(PEOPLE, changes={number: {"department": name} for number in range(PEOPLE)}))
        self.mark = len(self.said())
        return name

    def departments(self) -> set[str]:
        """Where the accounts in Traitly are."""
        accounts = self.switchboard.accounts("traitly")
        assert len(accounts) in (0, PEOPLE)
        return {one["custom_attributes"].get("department") for one in accounts}

    def said(self) -> str:
        """What the worker logged."""
        return self.log.read_text(errors="replace")

    def ask(self, **request: Any) -> str:
        """Ask for a run and nudge the workers."""

        async def go() -> str:
            async with Deployment.open(self.settings) as dep:
                return await lifecycle.request_run(dep, Request(trigger="manual", **request))

        run = asyncio.run(go())
        nudge(self.settings, run, urgent="people" in request)
        return run

    def nudged(self, *tasks: str) -> bool:
        """Send what beat sends; true, so that it may be a part of a look."""
        with Celery("provisioner", set_as_current=False) as client:
            client.conf.update(configured(self.settings))
            for task in tasks:
                name, *arguments = task.split(":")
                send(client, name, *arguments, queue=WORK)
        return True

    def document(self, run: str) -> dict[str, Any]:
        async def go() -> dict[str, Any]:
            async with Deployment.open(self.settings) as dep:
                return cast("dict[str, Any]", await dep.runs.document(run) or {})

        return asyncio.run(go())

    def ended(self, run: str, *, within: float = 40.0) -> dict[str, Any]:
        """The run's document once it is over; ticks come meanwhile."""

        def over() -> dict[str, Any] | None:
            self.nudged("tick", "inbound")
            document = self.document(run)
            return document if document["status"] != "running" else None

        return eventually(over, within=within, why=lambda: f"{self.document(run)}\n{self.said()[-6000:]}")

    def failed(self, run: str) -> list[dict[str, Any]]:
        """The run's operations that failed."""

        async def go() -> list[dict[str, Any]]:
            async with Deployment.open(self.settings) as dep:
                found = await dep.runs.operations(run, ["traitly"], statuses=["failed"])
                return cast("list[dict[str, Any]]", found)

        return asyncio.run(go())

    def complete(self, department: str) -> None:
        """Without the fault, the next run brings everything about."""
        self.fault()
        run = self.ask()
        document = self.ended(run)

        def done() -> bool:
            self.nudged("tick")
            return self.departments() == {department}

        eventually(done, within=20, why=lambda: f"{self.departments()} {self.document(run)}\n{self.said()[-6000:]}")
        assert document["targets"]["traitly"]["status"] == "succeeded", document
        assert exit_code(self.document(run)) == 0, document

    def lines(self) -> list[str]:
        """What the worker has logged of failures since the last change."""
        return [line for line in self.said()[self.mark :].splitlines() if "error" in line.lower()]


def eventually(look: Callable[[], T | None], *, within: float, why: Callable[[], str] = lambda: "") -> T:
    """What `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, why()
        time.sleep(0.3)


@pytest.fixture(scope="module")
def plant(sandbox: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    sandbox.switchboard.reset()
    raise_limits(sandbox.switchboard)
    with RedisServer() as server:
        document = settings_document(
            sandbox.url,
            server.url,
            folder / "roster.csv",
            folder / "data",
            schedule={"sync": None, "full": None, "watch_roster": None},
            guards={"updates": {"percent": 100}, "window": "0s"},
            writeback={"url": str(folder / "table.csv")},
        )
        document["targets"] = {name: document["targets"][name] for name in ("mtribes", "traitly")}
        config = write_settings(folder, document)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONER_")}
        environment |= {
            "PROVISIONER_CONFIG": str(config),
            "FAULTY": str(folder / "faulty.json"),
            "PYTHONPATH": str(ROOT),
        }
        log = folder / "worker.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.faulty_worker"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        settings = load_settings(folder, document)
        made = Plant(settings, sandbox.switchboard, folder / "roster.csv", folder / "faulty.json", log, process)
        try:
            eventually(lambda: workers(settings, timeout=0.5), within=40, why=made.said)
            made.complete(made.change())
            yield made
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(autouse=True)
def _no_fault(plant: Plant) -> Iterator[None]:
    yield
    plant.fault()


#: What fails, with what, and about whom; each while a target's plan is made, sent, recorded or told of.
OF_A_TARGET: Final = (
    ("targets.traitly:Traitly.observe", "KeyError", ""),
    ("runs.observe:observe", "panic", "traitly"),
    ("planning.plan:plan_target", "MemoryError", "traitly"),
    ("targets.traitly:Traitly.group", "RecursionError", ""),
    ("runs.enqueue:install", "ours", "traitly"),
    ("store.queue.operations:QueueStore.claim", "KeyError", "traitly"),
    ("targets.traitly:Traitly.batch_size", "KeyError", ""),
    ("runtime.rate_limit:TargetPace.try_slot", "ValueError", "traitly"),
    ("runtime.context:Deployment.http", "OSError", "traitly"),
    ("targets.traitly:Traitly.headers", "panic", ""),
    ("dispatch.leaver_recheck:Recheck.refused", "ours", "traitly"),
    ("dispatch.tag_merge:Tagging.ready", "MemoryError", "traitly"),
    ("targets.traitly:Traitly.write", "panic", ""),
    ("targets.traitly:Traitly.write", "cancelled", ""),
    ("targets.traitly:Traitly.write", "ours", ""),
    ("planning.ledger_update:ledger_patch", "KeyError", "traitly"),
    ("store.queue.operations:QueueStore.record", "ValueError", "traitly"),
    ("progress.quarantine:judge", "RecursionError", "traitly"),
    ("dispatch.tag_merge:Tagging.over", "KeyError", "traitly"),
    ("store.queue.operations:QueueStore.backlog", "cancelled", "traitly"),
    ("store.queue.operations:QueueStore.reap", "KeyError", "traitly"),
)

AFTER_THE_RECORD: Final = frozenset(
    {
        "dispatch.tag_merge:Tagging.over",
        "progress.quarantine:judge",
        "store.queue.operations:QueueStore.reap",
        "store.queue.operations:QueueStore.backlog",
    }
)


@pytest.mark.parametrize(("function", "error", "about"), OF_A_TARGET)
def test_a_fault_of_one_target_ends_its_part_and_no_other(plant: Plant, function: str, error: str, about: str) -> None:
    department = plant.change()
    plant.fault(function, error, about)
    run = plant.ask()
    document = plant.ended(run)
    traitly = document["targets"]["traitly"]
    if function in AFTER_THE_RECORD:
        # Each change is recorded before these, so that the run may be over before it counts as failed
        assert (document["status"], traitly["failed"]) in (("succeeded", {}), ("failed", {}))
    else:
        assert (document["status"], traitly["status"]) == ("failed", "failed"), document
        assert exit_code(document) in (1, 5)
        failed = plant.failed(run)
        if failed:
            assert {one["error"]["code"] for one in failed} <= {"unexpected", "leader_failed"}
            assert {one["person"] for one in failed} == {f"W{number:04d}" for number in range(PEOPLE)}
            assert all("traitly" in one["error"]["message"] for one in failed)
        else:
            assert traitly["error"]["code"] in ("unexpected", "read_only"), traitly
            assert traitly["error"]["exit"] == 1
    assert document["targets"]["mtribes"]["status"] == "succeeded"
    plant.complete(department)
    lines = plant.lines()
    assert len(lines) <= MOST_LINES, lines
    assert "Jane" not in plant.said(), "another's message may quote people's data"


#: What fails while a run is begun or looked after.
OF_A_RUN: Final = (
    ("runs.roster_snapshot:take", "panic"),
    ("progress.run_status:target_status", "KeyError"),
    ("dispatch.redis_loss:remembers", "OSError"),
)


@pytest.mark.parametrize(("function", "error"), OF_A_RUN)
def test_a_fault_of_a_run_ends_it(plant: Plant, function: str, error: str) -> None:
    department = plant.change()
    plant.fault(function, error)
    document = plant.ended(plant.ask())
    assert (document["status"], document["error"]["code"]) == ("failed", "unexpected")
    assert exit_code(document) == 1
    plant.complete(department)
    assert len(plant.lines()) <= MOST_LINES


def test_a_fault_before_any_delivery_ends_every_part(plant: Plant) -> None:
    department = plant.change()
    plant.fault("dispatch.outcome_spool:Spool.replay", "OSError")
    document = plant.ended(plant.ask())
    assert {name: part["error"]["code"] for name, part in document["targets"].items()} == {
        "mtribes": "unexpected",
        "traitly": "unexpected",
    }
    assert document["targets"]["traitly"]["waiting"] == {"update": PEOPLE}
    assert exit_code(document) == 5
    told = asyncio.run(_faulty_lines(plant.settings))
    assert any("delivering to traitly ended with OSError" in line for line in told)
    plant.complete(department)
    assert asyncio.run(_faulty_lines(plant.settings)) == []


async def _faulty_lines(settings: Settings) -> list[str]:
    lines = await check(settings, connect=False)
    told = [line.message for line in lines if line.subject == "worker" and line.exit_code == 5]
    return [message for message in told if message.startswith("delivering")]


#: What is done at the end of a run, and fails.
AT_THE_END: Final = (
    "progress.metrics:note_end",
    "progress.notifications:run_changed",
    "progress.writeback:ask_for_table",
    "progress.writeback:table_of",
)


@pytest.mark.parametrize("function", AT_THE_END)
def test_what_fails_at_the_end_of_a_run_is_told_in_it(plant: Plant, function: str) -> None:
    department = plant.change()
    plant.fault(function, "MemoryError")
    run = plant.ask()
    document = plant.ended(run)
    assert document["targets"]["traitly"]["status"] == "succeeded"
    eventually(lambda: plant.nudged("inbound") and "error" in plant.document(run), within=20)
    assert exit_code(plant.document(run)) == 1
    assert run in plant.document(run)["error"]["message"]
    assert plant.departments() == {department}


#: What a tick does besides the runs, and fails.
OF_A_TICK: Final = (
    ("progress.notifications:send_waiting", "tick:notices"),
    ("admin.retention:sweep", "tick:sweep"),
)


@pytest.mark.parametrize(("function", "work"), OF_A_TICK)
def test_what_fails_in_a_tick_holds_up_nothing_else(plant: Plant, function: str, work: str) -> None:
    department = plant.change()
    plant.fault(function, "KeyError")
    document = plant.ended(plant.ask())
    assert document["status"] == "succeeded"
    assert plant.departments() == {department}

    async def faults() -> int:
        async with Deployment.open(plant.settings) as dep:
            found = await dep.faults.of([work])
            return found[work].count if work in found else 0

    eventually(lambda: plant.nudged("tick") and asyncio.run(faults()) >= 2, within=20)
    plant.fault()
    eventually(lambda: plant.nudged("tick") and asyncio.run(faults()) == 0, within=20)


@pytest.mark.parametrize(
    ("function", "task"),
    [("runs.lifecycle:request_run", "scheduled:schedule"), ("runs.roster_watch:roster_changed", "watch")],
)
def test_a_run_that_cannot_be_asked_for_is_one_that_failed(plant: Plant, function: str, task: str) -> None:
    def newest() -> str:
        async def go() -> str:
            async with Deployment.open(plant.settings) as dep:
                return (await dep.runs.recent(1))[0]

        return asyncio.run(go())

    before = newest()
    plant.fault(function, "KeyError")
    plant.nudged(task)
    run = eventually(lambda: found if (found := newest()) != before else None, within=20, why=plant.said)
    document = plant.ended(run)
    assert (document["status"], document["error"]["code"]) == ("failed", "unexpected")
    assert exit_code(document) == 1


def test_a_single_person_run_ends_with_its_fault(plant: Plant) -> None:
    plant.change()
    plant.fault("targets.traitly:Traitly.write", "KeyError")
    run = plant.ask(people=("W0001",))
    document = plant.ended(run)
    assert (document["targets"]["traitly"]["status"], document["targets"]["mtribes"]["status"]) == (
        "failed",
        "succeeded",
    )
    assert [one["person"] for one in plant.failed(run)] == ["W0001"]


def test_an_operation_that_kills_its_worker_fails_and_the_others_are_done(plant: Plant) -> None:
    department = plant.change()
    plant.fault("targets.traitly:Traitly.write", "killed", "W0002")
    run = plant.ask()

    async def time_goes_by() -> None:
        """What dead workers held runs out."""
        async with Deployment.open(plant.settings) as dep:
            contents = RedisContents(dep)
            contents.end_leases("traitly")
            contents.end_waits("traitly")
            contents.end_seats("traitly")

    def over() -> dict[str, Any] | None:
        asyncio.run(time_goes_by())
        plant.nudged("tick")
        time.sleep(0.7)
        document = plant.document(run)
        return document if document["status"] != "running" else None

    document = eventually(over, within=50, why=lambda: f"{plant.document(run)}\n{plant.said()[-4000:]}")
    assert exit_code(document) == 5
    (failed,) = plant.failed(run)
    assert (failed["person"], failed["error"]["code"]) == ("W0002", "unexpected")
    assert document["targets"]["traitly"]["succeeded"] == {"update": PEOPLE - 1}
    plant.complete(department)
