"""Processes of ours beneath one command: started, kept alive, and ended in order, so that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Final, Self

from provisioner.cli.global_options import LOG_FORMAT_VARIABLE
from provisioner.logs import get_logger
from provisioner.store.redis.tied import tied_to_us

log = get_logger(__name__)

#: Seconds before a child that died is started again: at first, and at most.
FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 30.0
#: A child that lived so long is taken for healthy, and its next death waits for the first delay only.
HEALTHY_AFTER: Final = 60.0
_POLL: Final = 0.1
#: Where what a child prints goes: standard output is for the one answer of the command above it.
STDERR: Final = 2
#: Seconds in which a child ends while the next one is not yet asked to.
_ONE_AT_A_TIME: Final = 5.0
#: Last lines of a quiet child, which say why it died.
_TAIL: Final = 20


@dataclass(slots=True)
class _Child:
    """One child: its command, its process if it runs, and when it may be started again."""

    name: str
    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None
    reader: threading.Thread | None = None
    began: float = 0.0
    delay: float = FIRST_DELAY
    due: float = 0.0
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL))


class Children:
    """Commands of this console script as processes of their own, each in a process group of its own.

    So Ctrl-C at the terminal reaches only the parent, which ends them in order. Use it from one thread, the main one:
    on Linux a child is tied to the thread that started it.

    Attributes:
        stopping: set it, from a signal handler say, to make `watch` return.
    """

    def __init__(self, environment: Mapping[str, str], *, quiet: bool) -> None:
        """
        Args:
            environment: theirs, whole; read whenever one starts.
            quiet: their output is shown only of one that died, its last lines; else all of it is: with the child's name
                before each line on a terminal, as it is elsewhere.
        """
        self._environment = environment
        self._quiet = quiet
        self._children: list[_Child] = []
        self._write = threading.Lock()
        self.stopping = False

    def start(self, name: str, *arguments: str) -> None:
        """Start ``provisioner <arguments>`` under a name; without arguments, the name is the command."""
        child = _Child(name, arguments or (name,))
        self._children.append(child)
        self._spawn(child)

    @property
    def begun(self) -> bool:
        """Whether any was started, or is being started now."""
        return bool(self._children)

    def pids(self) -> dict[str, int]:
        """The process id of each child that runs, by name."""
        return {child.name: child.process.pid for child in self._children if child.process is not None}

    def last_words(self, name: str) -> tuple[int | None, tuple[str, ...]]:
        """A quiet child's exit code, None while it runs, and the last lines that it printed."""
        child = next(child for child in self._children if child.name == name)
        code = child.process.poll() if child.process is not None else None
        if code is not None and child.reader is not None:
            child.reader.join(_POLL)
        return code, tuple(child.tail)

    def watch(self, also: Callable[[], None] | None = None) -> None:
        """Start again whatever dies, until `stopping` is set. `also` is called ten times a second."""
        while not self.stopping:
            self.mend()
            if also is not None:
                also()
            time.sleep(_POLL)

    def mend(self) -> None:
        """One look at all children: note who died, start again whose time has come."""
        now = time.monotonic()
        for child in self._children:
            if child.process is None:
                if now >= child.due:
                    self._spawn(child)
            elif child.process.poll() is not None:
                self._died(child, child.process, now)

    def stop(self, grace: float = 30.0) -> None:
        """Ask all to end, the one started last first, and kill what is still there after `grace` seconds."""
        self.stopping = True
        deadline = time.monotonic() + grace
        running = [child for child in reversed(self._children) if child.process is not None]
        for child in running:
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
                _wait(child.process, min(_ONE_AT_A_TIME, deadline - time.monotonic()))
        for child in running:
            if child.process is None:
                continue
            if not _wait(child.process, deadline - time.monotonic()):
                log.warning("child_killed", child=child.name, pid=child.process.pid, grace=grace)
            self._sweep(child, child.process)

    def _spawn(self, child: _Child) -> None:
        command = tied_to_us([sys.executable, "-m", "provisioner", *child.arguments])
        piped = self._quiet or sys.stderr.isatty()
        child.process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            # Whoever reads the lines here is a person
            env={**self._environment, LOG_FORMAT_VARIABLE: "console"} if piped else dict(self._environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else STDERR,
            stderr=subprocess.STDOUT if piped else None,
            start_new_session=True,
        )
        child.began = time.monotonic()
        child.tail.clear()
        if child.process.stdout is not None:
            child.reader = threading.Thread(target=self._relay, args=(child, child.process.stdout), daemon=True)
            child.reader.start()
        log.info("child_started", child=child.name, pid=child.process.pid)

    def _relay(self, child: _Child, output: IO[bytes]) -> None:
        with output:
            for line in output:
                text = line.decode(errors="replace").rstrip("\n")
                if self._quiet:
                    child.tail.append(text)
                else:
                    self._say(child.name, text)

    def _say(self, name: str, text: str) -> None:
        width = max(len(child.name) for child in self._children)
        with self._write:
            sys.stderr.write(f"{name:<{width}} | {text}\n")
            sys.stderr.flush()

    def _died(self, child: _Child, process: subprocess.Popen[bytes], now: float) -> None:
        self._sweep(child, process)
        if now - child.began >= HEALTHY_AFTER:
            child.delay = FIRST_DELAY
        child.due = now + child.delay
        log.error("child_died", child=child.name, code=process.returncode, again_in=child.delay)
        for line in child.tail:
            self._say(child.name, line)
        child.delay = min(child.delay * 2, LONGEST_DELAY)

    def _sweep(self, child: _Child, process: subprocess.Popen[bytes]) -> None:
        """End what is left of a child: itself, and the processes that it had started."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if child.reader is not None:
            child.reader.join()
        child.process = child.reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a process ended within some seconds."""
    try:
        process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        return False
    return True
