"""`docs/start.md` as a new user follows it: its files, its commands, in its order, against a sandbox of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provisioner.sandbox.client import Switchboard
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r'^```sh title="([^"]+)"\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL))
SECONDS = 60.0


class Reader:
    """Whoever types what the page says, in a folder that was empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "bin").mkdir()
        program = folder / "bin" / "provisioner"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m provisioner "$@"\n')
        program.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PROVISIONER_WEB__PORT": str(free_port()),
        }

    def text(self, title: str) -> str:
        """A block with a port that nobody else has."""
        return str(BLOCKS[title]).replace("8700", str(self.port))

    def type(self, title: str) -> str:
        """Run a block, each command of which has to succeed."""
        place = self.folder / "first-sync"
        done = subprocess.run(
            ["/bin/sh", "-euc", self.text(title)],
            cwd=place if place.exists() else self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{title}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def terminal(self, title: str, *words: str) -> Iterator[None]:
        """A block that goes on in another terminal until Ctrl-C."""
        process = subprocess.Popen(
            ["/bin/sh", "-euc", f"exec {self.text(title).strip()} {' '.join(words)}"],
            cwd=self.folder / "first-sync",
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS)


@pytest.mark.timeout(180)
def test_a_new_user_gets_to_a_first_sync_of_an_own_roster(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.type("files")
    assert "All right" in reader.type("check")
    vendors = reader.terminal("second terminal: the vendors", "--port", str(reader.port))
    with vendors, reader.terminal("third terminal: Redis, worker, beat and web"):
        _until_it_answers(reader)
        assert "E1" in reader.type("look") or "E1" in reader.type("sync")
        reader.type("sync")
        held = {one["customer_id"]: one["plan"] for one in _accounts(reader)}
        assert held == {"E1": "Employee", "E2": "Employee", "E3": "Employee"}
        reader.type("a day")
        plans = {one["customer_id"]: one["plan"] for one in _accounts(reader)}
        assert plans == {"E1": "Employee", "E2": "Leaver", "E3": "Employee", "E4": "Employee"}


def _accounts(reader: Reader) -> list[dict[str, str]]:
    return Switchboard(f"http://127.0.0.1:{reader.port}").accounts("traitly")


def _until_it_answers(reader: Reader) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            _accounts(reader)
            done = subprocess.run(
                ["/bin/sh", "-euc", "provisioner runs"],
                cwd=reader.folder / "first-sync",
                env=reader.environment,
                capture_output=True,
                check=False,
            )
            if done.returncode == 0:
                return
        except OSError:
            time.sleep(0.2)
        assert time.monotonic() < deadline


def test_the_page_installs_what_the_pins_name() -> None:
    installed = re.findall(r"--requirement (\S+)", BLOCKS["install"])
    assert installed == ["requirements.txt"]
    assert (ROOT / installed[0]).is_file()
    assert "--require-hashes" in BLOCKS["install"]
