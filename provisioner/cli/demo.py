"""`demo`: everything on a machine that has nothing, told step by step, and checked at the end at the vendors' side.

Each step is the real command in a process of its own, in an environment that holds nothing but the demo's settings.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Final

from rich.text import Text

from provisioner.cli.output import cells, console, table
from provisioner.cli.processes import Children
from provisioner.errors import ProvisionerError, WorkerError
from provisioner.example import DAY_TWO, ROSTER, SETTINGS, content, existing_accounts
from provisioner.example.verify import active_accounts, believed, employed, faults, rows
from provisioner.sandbox import KINDS, Switchboard
from provisioner.settings import load
from provisioner.store.embedded import EmbeddedRedis
from provisioner.worker import workers

#: Who comes back on the second day.
_PERSON: Final = "W10136"
#: habitate and Traitly publish no limit, and need a request or more for each person.
_RAISED: Final = ("habitate", "traitly")
_RAISED_TO: Final = 6000
_START_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(keep: bool) -> int:
    """Show everything; with `keep` leave it running until interrupted.

    Returns:
        0 if each vendor holds in the end exactly what the roster asks for, else 1.

    Raises:
        ProvisionerError: a process did not start or a command failed.
        KeyboardInterrupt: interrupted or told to end; nothing is left behind.
    """
    with ExitStack() as stack:
        stack.enter_context(_ended_by_signals())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="provisioner-demo-")))
        demo = _Demo(folder, _environment(folder), token_urlsafe(16))
        # Whatever ends the demo, a second Ctrl-C cannot keep it from stopping what it started
        stack.enter_context(demo.processes())
        stack.callback(_deaf)
        right = demo.show()
        if keep:
            demo.wait()
    return 0 if right else 1


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _deaf() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _environment(folder: Path) -> dict[str, str]:
    """The caller's environment without any settings, and the demo's own."""
    sandbox, web = _free_ports(2)
    own = {
        "CONFIG": str(folder / SETTINGS),
        "DATA_DIR": str(folder / "data"),
        "ROSTER__URL": str(folder / ROSTER),
        "WEB__PORT": str(web),
        "WEB__TOKEN": token_urlsafe(16),
        # Runs begin only when the demo says so
        **{f"SCHEDULE__{name}": "null" for name in ("SYNC", "FULL", "WATCH_ROSTER")},
        **{f"TARGETS__{kind.upper()}__BASE_URL": f"http://127.0.0.1:{sandbox}/{kind}" for kind in KINDS},
        **{f"TARGETS__{kind.upper()}__RATE_LIMIT": f"{_RAISED_TO}/minute" for kind in _RAISED},
    }
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("PROVISIONER_")}
    return kept | {f"PROVISIONER_{name}": value for name, value in own.items()}


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in listening]


@dataclass(slots=True)
class _Lap:
    title: str
    seconds: float


@dataclass(slots=True)
class _Demo:
    """One demo: its folder, the environment of its processes, and what it saw."""

    folder: Path
    environment: Mapping[str, str]
    laps: list[_Lap] = field(default_factory=list)

    @property
    def switchboard(self) -> Switchboard:
        """The way to what the vendors' stand-ins hold."""
        return Switchboard(self.environment["PROVISIONER_TARGETS__TRAITLY__BASE_URL"].rpartition("/")[0])

    @contextmanager
    def processes(self) -> Iterator[None]:
        """Redis, the sandbox with a few accounts in it, worker, beat and web; all are gone afterwards."""
        with self._step("Everything starts on this machine"), ExitStack() as started:
            self._write(SETTINGS, SETTINGS)
            self._write(ROSTER, ROSTER)
            started.enter_context(EmbeddedRedis(self.folder / "data", append_only=False))
            children = started.enter_context(Children(self.environment, quiet=True))
            children.start("sandbox", "sandbox", "--port", str(self._port()))
            for name in ("worker", "beat", "web"):
                children.start(name, name)
            self._await_sandbox()
            self._seed()
            self._await_worker()
            _say(
                "Redis, a sandbox that stands in for the four vendors, a worker, beat and the web page are running.",
                "The vendors' published limit of Tribal Habits (300 a minute) is kept. habitate and Traitly publish none; "
                f"to be done in a minute, theirs is raised from 120 to {_RAISED_TO} a minute, on both sides.",
            )
            running = started.pop_all()
        with running:
            yield

    def _port(self) -> int:
        return int(self.switchboard.url.rpartition(":")[2])

    def _write(self, name: str, source: str) -> None:
        # Renamed into place, as an export should be, so that nobody reads half of it
        fresh = self.folder / f"{name}.new"
        fresh.write_bytes(content(source))
        fresh.replace(self.folder / name)
