"""A deployment of real processes: worker, beat, sandbox and Redis, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from provisioner.example import content, existing_accounts
from provisioner.example.verify import believed, faults
from provisioner.sandbox import Switchboard
from provisioner.settings import Settings, load
from provisioner.worker.wakeups import workers
from tests.support.harness import raise_limits, settings_document, write_settings
from tests.support.redis_contents import RedisContents
from tests.support.redis_server import RedisServer

ROOT: Final = Path(__file__).resolve().parents[2]
#: A schedule by which nothing begins by itself.
BY_HAND: Final[Mapping[str, None]] = {"sync": None, "full": None, "watch_roster": None}
KINDS: Final = ("tribal_habits", "habitate", "traitly", "mtribes")
#: Longest that a process may take to start or to end on a busy machine.
PATIENCE: Final = 60.0
_POLL: Final = 0.1

T = TypeVar("T")


def eventually(look: Callable[[], T], *, within: float = PATIENCE, why: Callable[[], str] = lambda: "") -> T:
    """What `look` finds, as soon as it finds something that counts as true."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"nothing within {within:.0f} s {why()}"
        time.sleep(_POLL)


class Process:
    """A command of ours as a process group of its own; what it says goes to a file."""

    def __init__(self, folder: Path, environment: dict[str, str], *words: str) -> None:
        self.log = folder / f"{words[0]}-{time.monotonic_ns()}.log"
        self._output: IO[bytes] = self.log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "provisioner", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def said(self) -> str:
        """Everything that it said until now."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End it and its children at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._output.close()

    def suspend(self) -> None:
        """Stop it and its children where they are, as a frozen container would be."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it as an operator would, and its children with it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
        self._output.close()


class Site:
    """One deployment: the example's settings, aimed at a sandbox and a Redis of its own."""

    def __init__(
        self, folder: Path, server: RedisServer, sandbox: str, *, only: tuple[str, ...] | None = None, **changes: Any
    ) -> None:
        self.folder, self.switchboard = folder, Switchboard(sandbox)
        self.roster = folder / "roster.csv"
        self.contents = RedisContents(server.url)
        # The processes may reach it in another way than the tests
        redis_url = str(changes.pop("redis_url", server.url))
        document = settings_document(sandbox, redis_url, self.roster, folder, **changes)
        if only is not None:
            document["targets"] = {name: document["targets"][name] for name in only}
        self.server = server
        self.config = write_settings(folder, document)
        self.environment = {**os.environ, "PROVISIONER_CONFIG": str(self.config), "PYTHONPATH": str(ROOT)}

    @property
    def settings(self) -> Settings:
        """The settings as a value."""
        return load(self.config, environ={}).settings

    def empty(self) -> None:
        """Back to accounts as an organisation finds them before its first sync, and to a ledger that knows nothing."""
        self.switchboard.reset()
        raise_limits(self.switchboard)
        for kind, accounts in existing_accounts().items():
            self.switchboard.seed(kind, accounts)
        self.contents.delete_ours()
        # Else this would be taken for a server that lost its data, after which nothing is sent for a while
        (self.folder / "redis-mark").unlink(missing_ok=True)
        self.write("roster.csv")

    def write(self, name: str) -> None:
        """Put one of the example's rosters in place, whole, as an export does."""
        fresh = self.folder / "roster.new"
        fresh.write_bytes(content(name))
        shutil.move(fresh, self.roster)

    def call(self, *words: str, code: int = 0) -> dict[str, Any]:
        """Run a command with `--json` to its end; its document."""
        done = subprocess.run(
            [sys.executable, "-m", "provisioner", *words, "--json"],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            timeout=PATIENCE,
        )
        assert done.returncode == code, done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def wrong(self, name: str, *kinds: str) -> list[str]:
        """What the stand-ins hold otherwise than that roster asks for; all of them, or those named."""
        states = {kind: self.switchboard.state(kind) for kind in KINDS}
        return [
            fault
            for fault in faults(believed(name), states)
            if not kinds or fault.startswith(tuple(f"{k}:" for k in kinds))
        ]

    def writes(self) -> dict[str, int]:
        """Requests that may change something, by kind."""
        return {kind: int(self.switchboard.counts(kind)["writes"]) for kind in KINDS}

    def expire_leases(self, kind: str) -> None:
        """Let the time of what is in progress of a target pass."""
        self.contents.end_leases(kind)

    def forget_requests(self) -> None:
        """Count requests from here on."""
        for kind in KINDS:
            self.switchboard.clear_log(kind)

    def runs(self, trigger: str | None = None) -> list[dict[str, Any]]:
        """All runs, the oldest first, with the fields that the store keeps: `run`, `trigger`, `status`, `created`."""
        return [run for run in self.contents.run_fields() if trigger in (None, run["trigger"])]

    def start(self, *words: str) -> Process:
        """Start one of our processes."""
        return Process(self.folder, self.environment, *words)

    @contextmanager
    def running(self, *words: str) -> Iterator[Process]:
        """One of our processes, for as long as the context lasts."""
        process = self.start(*words)
        try:
            yield process
        finally:
            process.stop()

    def start_worker(self) -> Process:
        """Start a worker that answers."""
        worker = self.start("worker", "--concurrency", "4")
        settings = self.settings
        try:
            eventually(lambda: workers(settings, timeout=0.5), why=worker.said)
        except BaseException:
            worker.stop()
            raise
        return worker


@contextmanager
def sandbox() -> Iterator[str]:
    """A sandbox in a process of its own: its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "provisioner", "sandbox", "--port", "0"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(PATIENCE)


@contextmanager
def deployment(folder: Path, *, append_only: bool = False, **changes: Any) -> Iterator[Site]:
    """A deployment without worker and beat; `changes` replace sections of the settings, `only` names the targets."""
    with RedisServer(append_only=append_only) as server, sandbox() as url:
        site = Site(folder, server, url, **changes)
        site.empty()
        yield site


@contextmanager
def with_worker(folder: Path, **changes: Any) -> Iterator[Site]:
    """A deployment with a worker, in which runs begin by hand only."""
    with deployment(folder, schedule=BY_HAND, **changes) as site:
        worker = site.start_worker()
        try:
            yield site
        finally:
            worker.stop()
