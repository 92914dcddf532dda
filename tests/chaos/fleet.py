"""Workers, beats and Redis as processes that may be killed at any moment, and are started again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.redis_server import RedisServer


class Member:
    """One process of ours with its children, in a process group of its own."""

    def __init__(self, command: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
        self._command, self._environment, self._log = command, environment, log
        self.process: subprocess.Popen[bytes] | None = None
        self.deaths = 0
        self.suspended_until: float | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "provisioner", *self._command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def mend(self) -> None:
        """Start it if it does not run."""
        if self.process is None or self.process.poll() is not None:
            self.sweep()
            self.start()
        if self.suspended_until is not None and time.monotonic() >= self.suspended_until:
            self.resume()

    def sweep(self) -> None:
        """Kill it with all its children."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process, self.suspended_until = None, None

    def suspend(self, seconds: float) -> None:
        """Stop it and its children where they are, for so long: a frozen container, a machine that sleeps."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGSTOP)
                self.suspended_until = time.monotonic() + seconds

    def resume(self) -> None:
        """Let it go on."""
        self.suspended_until = None
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGCONT)

    def children(self) -> list[int]:
        """The processes that it forked."""
        if self.process is None:
            return []
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            return [int(pid) for pid in path.read_text().split()]
        except FileNotFoundError:
            return []


class Fleet:
    """A deployment on several machines, as far as one machine can show it."""

    def __init__(
        self,
        redis: RedisServer,
        settings: Path,
        folder: Path,
        *,
        workers: int = 2,
        beats: int = 2,
        concurrency: int = 6,
    ) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONER_")}
        environment |= {"PROVISIONER_CONFIG": str(settings), "PYTHONWARNINGS": "ignore"}
        self.redis = redis
        self.logs = [folder / f"worker-{number}.log" for number in range(workers)]
        self.logs += [folder / f"beat-{number}.log" for number in range(beats)]
        self.workers = [
            Member(("worker", "--concurrency", str(concurrency)), environment, log) for log in self.logs[:workers]
        ]
        self.beats = [Member(("beat",), environment, log) for log in self.logs[workers:]]
        self._redis_down_until: float | None = None
        self._copies, self._copied = folder / "copies", list[tuple[float, Path]]()
        self.kills: list[str] = []

    def start(self) -> None:
        for member in (*self.workers, *self.beats):
            member.start()

    def deploy(self) -> None:
        """End everything and start it again, as one does to have it read other settings."""
        for member in (*self.workers, *self.beats):
            member.sweep()
            member.start()

    def kill_something(self, dice: random.Random, *, spare_redis: bool = False) -> str:
        """SIGKILL one thing, chosen at random: a whole worker, one of its processes, a beat, or Redis."""
        what = dice.choices(("worker", "child", "beat", "redis"), (4, 4, 2, 0 if spare_redis else 3))[0]
        if what == "redis" and self._redis_down_until is None:
            self.redis.kill()
            self._redis_down_until = time.monotonic() + dice.uniform(0.1, 2.0)
        elif what == "beat":
            dice.choice(self.beats).sweep()
        else:
            worker = dice.choice(self.workers)
            children = worker.children()
            if what == "child" and children:
                with suppress(ProcessLookupError):
                    os.kill(dice.choice(children), signal.SIGKILL)
            else:
                what = "worker"
                worker.sweep()
        self.kills.append(what)
        return what

    def suspend_something(self, dice: random.Random, seconds: float) -> str:
        """Suspend one worker or beat with its children, unless one is suspended already."""
        members = (*self.workers, *self.beats)
        if any(member.suspended_until for member in members):
            return ""
        what = dice.choices(("worker", "beat"), (4, 1))[0]
        dice.choice(self.workers if what == "worker" else self.beats).suspend(seconds)
        return f"{what} suspended"

    def copy_redis(self) -> None:
        """Copy Redis's files as they are now."""
        if self._redis_down_until is None:
            folder = self._copies / str(len(self._copied))
            folder.mkdir(parents=True)
            self.redis.copy_files(folder)
            self._copied.append((time.monotonic(), folder))

    def put_redis_back(self, seconds: float) -> str:
        """Put Redis back to the newest copy that is at least so old, if there is one."""
        copies = [folder for moment, folder in self._copied if moment <= time.monotonic() - seconds]
        if not copies or self._redis_down_until is not None:
            return ""
        self.redis.kill()
        self.redis.put_back(copies[-1])
        self._redis_down_until = time.monotonic()
        return "redis put back"

    def mend(self) -> None:
        """Start again whatever does not run, and let go on what was suspended for long enough."""
        if self._redis_down_until is not None and time.monotonic() >= self._redis_down_until:
            self.redis.start()
            self._redis_down_until = None
        for member in (*self.workers, *self.beats):
            member.mend()

    def tell(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"== {log.name}\n{log.read_text(errors='replace')[-6000:]}" for log in self.logs if log.exists()
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in (*self.beats, *self.workers):
            member.sweep()
