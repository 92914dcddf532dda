"""`provisioner demo` as a newcomer runs it: on a machine that has nothing, in an environment that says nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from provisioner.example.verify import BAD_ROW

ROOT: Final = Path(__file__).resolve().parent.parent
_END_SECONDS: Final = 60.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for left processes in /proc"),
]


class Demo:
    """A demo under way. Its processes are known by their environment: the folder for temporary files is its own."""

    def __init__(self, folder: Path, *arguments: str, after: str = "") -> None:
        self.folder = folder
        # `after` is code that puts something out of order before the demo begins
        begin = ["-c", f"{after}\nfrom provisioner.cli import main\nmain()"] if after else ["-m", "provisioner"]
        self.process = subprocess.Popen(
            [sys.executable, *begin, "demo", *arguments],
            cwd=ROOT,
            env={"TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            # As at a terminal, where Ctrl-C reaches what runs in the foreground and nobody else
            start_new_session=True,
        )

    def until(self, text: str) -> str:
        """The output up to the line that holds the text."""
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if text in line:
                return said
        raise AssertionError(f"the demo ended without saying {text!r}:\n{said}")

    def end(self) -> str:
        """The rest of the output, once the demo has ended by itself."""
        assert self.process.stdout is not None
        # Not by `communicate`, which passes over what was read ahead of the line that `until` stopped at
        said = self.process.stdout.read()
        self.process.wait(timeout=_END_SECONDS)
        return said

    def left(self) -> dict[int, str]:
        """Processes of this demo that run: id → command."""
        mark = f"TMPDIR={self.folder}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found


@pytest.fixture
def started() -> Iterator[list[Demo]]:
    """Demos that are ended after the test, should they not have ended by themselves."""
    demos: list[Demo] = []
    yield demos
    for demo in demos:
        for pid in demo.left():
            os.kill(pid, signal.SIGKILL)
        demo.process.wait()
        if demo.process.stdout is not None:
            demo.process.stdout.close()


def _start(started: list[Demo], folder: Path, *arguments: str, after: str = "") -> Demo:
    demo = Demo(folder, *arguments, after=after)
    started.append(demo)
    return demo


def _gone(demo: Demo) -> bool:
    # A process that was killed a moment ago may still stand in the table
    for _ in range(100):
        if not demo.left():
            return True
        time.sleep(0.05)
    return False


def test_the_demo_comes_out_right_and_leaves_nothing(started: list[Demo], tmp_path: Path) -> None:
    demo = _start(started, tmp_path)
    said = demo.until("How it came out") + demo.end()
    assert demo.process.returncode == 0, said
    assert "Wrong" not in said
    assert "each vendor holds exactly what the roster asks for" in said
    assert BAD_ROW in said
    assert "The circle is closed" in said
    assert "'Completed Confident and effective business networking'" in said
    assert "learning/completed" in said
    assert _gone(demo), demo.left()
    assert list(tmp_path.iterdir()) == []


#: The settings say otherwise what a completed course leads to.
_OTHER_EVENT: Final = """
from provisioner.cli import demo_roundtrip
demo_roundtrip.EVENT, demo_roundtrip.WITHIN = "Something else", 3.0
"""
#: The worker alone finds settings that it cannot use.
_BROKEN_WORKER: Final = """
from provisioner.cli import demo
_init = demo._Demo.__init__
def broken(self, folder):
    _init(self, folder)
    self._environment["PROVISIONER_TIMEZONE"] = "Nowhere/Land"
demo._Demo.__init__ = broken
"""


def test_a_circle_that_does_not_close_fails_the_demo(started: list[Demo], tmp_path: Path) -> None:
    demo = _start(started, tmp_path, after=_OTHER_EVENT)
    said = demo.until("How it came out") + demo.end()
    assert demo.process.returncode == 1, said
    assert "Wrong: the circle did not close" in said
    assert "Traitly has the event" in said
    assert "Right:" not in said


def test_a_process_that_does_not_start_says_why(started: list[Demo], tmp_path: Path) -> None:
    demo = _start(started, tmp_path, after=_BROKEN_WORKER)
    said = demo.end()
    assert demo.process.returncode == 1, said
    assert "the worker ended with exit code 2. Its last lines:" in said
    assert "Nowhere/Land" in said
    assert _gone(demo), demo.left()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("1. Everything starts", signal.SIGTERM),
        ("3. Day one: sync", signal.SIGINT),
    ],
)
def test_an_interrupted_demo_leaves_nothing(
    started: list[Demo], tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    demo = _start(started, tmp_path)
    demo.until(moment)
    demo.process.send_signal(number)
    said = demo.end()
    assert demo.process.returncode == 130, said
    assert _gone(demo), demo.left()
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_is_kept_runs_until_it_is_interrupted(started: list[Demo], tmp_path: Path) -> None:
    demo = _start(started, tmp_path, "--keep")
    said = demo.until("Ctrl-C")
    assert "http://127.0.0.1:" in said
    assert demo.left().keys() > {demo.process.pid}
    demo.process.send_signal(signal.SIGINT)
    demo.end()
    assert demo.process.returncode == 0
    assert _gone(demo), demo.left()
    assert list(tmp_path.iterdir()) == []
