"""Children: kept alive while they are wanted, and gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.cli import supervisor
from provisioner.cli.supervisor import Children
from tests.cli.calling import environment

WAIT_SECONDS = 30.0


def eventually(condition: Callable[[], bool]) -> None:
    """Return once it holds; fail if it does not within half a minute."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def state(pid: int) -> str:
    """A process's state letter, empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    return state(pid) in ("", "Z")


def test_a_child_that_dies_is_started_again_and_all_end_with_the_context(capfd: pytest.CaptureFixture[str]) -> None:
    with Children(environment(), quiet=True) as children:
        children.start("vendors", "sandbox", "--port", "0")
        first = children.pids()["vendors"]
        assert os.getpgid(first) == first
        os.kill(first, signal.SIGKILL)

        def restarted() -> bool:
            children.mend()
            return children.pids().get("vendors", first) != first

        eventually(restarted)
        second = children.pids()["vendors"]
        assert gone(first)
    assert gone(second)
    assert children.pids() == {}
    assert children.stopping
    capfd.readouterr()


def test_the_last_words_of_a_quiet_child_are_told_when_it_dies(capfd: pytest.CaptureFixture[str]) -> None:
    with Children(environment(), quiet=True) as children:
        children.start("wrong", "sandbox", "--nonsense")

        def died() -> bool:
            children.mend()
            return not children.pids()

        eventually(died)
    assert "wrong | Error: No such option: --nonsense" in capfd.readouterr().err


def test_the_delay_grows_and_starts_over_after_a_healthy_life(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("provisioner.cli.supervisor.time.monotonic", lambda: now)
    child = supervisor._Child("one", ("sandbox",))
    children = Children({}, quiet=True)
    waits = []
    for life in (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 59.0, 60.0, 0.0):
        with subprocess.Popen([sys.executable, "-c", ""], start_new_session=True) as process:
            process.wait()
        child.process, child.began = process, now
        now += life
        children._died(child, process, now)
        waits.append(child.due - now)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 1.0, 2.0]


def test_whoever_does_not_listen_is_killed_after_the_grace() -> None:
    children = Children(environment(), quiet=True)
    children.start("deaf", "sandbox", "--port", "0")
    pid = children.pids()["deaf"]
    os.kill(pid, signal.SIGSTOP)
    # A signal that comes before it stands still would be taken first
    eventually(lambda: state(pid) == "T")
    children.stop(grace=0.2)
    assert gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_children_end_when_their_parent_is_killed() -> None:
    program = (
        "import os\n"
        "from provisioner import logs\n"
        "from provisioner.cli.supervisor import Children\n"
        "logs.configure('error', json=True)\n"
        "children = Children(os.environ, quiet=True)\n"
        "children.start('vendors', 'sandbox', '--port', '0')\n"
        "print(children.pids()['vendors'], flush=True)\n"
        "children.watch()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        try:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            # Until then it is a Python that has yet to tie itself
            eventually(lambda: b"sandbox" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:4])
        finally:
            parent.kill()
    eventually(lambda: gone(pid))
