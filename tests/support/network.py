"""A network of a test's own: addresses that are not loopback, processes on them, and requests between them.

The test starts this file as a process in a network namespace. It reads one JSON document a line (`addresses`, `start`
or `ask`) and answers each with one. Only this process and its children see the network; it is gone when they end.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
_PATIENCE: Final = 30.0


def unshare() -> list[str] | None:
    """The command that runs another in a network namespace of its own; None where that is not permitted."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return None
    for words in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        tried = subprocess.run([*words, "ip", "link", "set", "lo", "up"], capture_output=True, check=False)
        if tried.returncode == 0:
            return words
    return None


@dataclass(frozen=True, slots=True)
class Got:
    """An answer: its status, its headers by their names in lower case (several values in one), and its body."""

    status: int
    headers: Mapping[str, str]
    body: str


class Network:
    """A network namespace."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _do(self, what: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def add(self, *addresses: str) -> None:
        """Add addresses to this machine."""
        assert self._do({"do": "addresses", "addresses": addresses}) == "done"

    def start(self, words: list[str], listens: str, log: Path, **environment: str) -> None:
        """Start a process, and wait until it listens at ``host:port``."""
        asked = {"do": "start", "words": words, "listens": listens, "log": str(log), "environment": environment}
        assert self._do(asked) == "done", log.read_text(errors="replace")

    def ask(
        self,
        place: str,
        path: str,
        *,
        source: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: str = "",
    ) -> Got:
        """One request from an address to ``host:port``."""
        asked = {"do": "ask", "place": place, "path": path, "source": source}
        return Got(**self._do({**asked, "method": method, "headers": dict(headers or {}), "body": body}))


@contextlib.contextmanager
def network(words: list[str]) -> Iterator[Network]:
    """A network that lasts as long as the context.

    Args:
        words: what `unshare` gave.
    """
    with subprocess.Popen(
        [*words, sys.executable, "-m", "tests.support.network"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Network(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(_PATIENCE)


def _start(asked: Mapping[str, Any]) -> subprocess.Popen[bytes] | None:
    """The process, once it listens; None if it does not in time."""
    with Path(asked["log"]).open("ab") as log:
        process = subprocess.Popen(
            asked["words"],
            env={**os.environ, **asked["environment"]},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    host, _, port = asked["listens"].rpartition(":")
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return process
        time.sleep(0.05)
    process.kill()
    return None


def _ask(asked: Mapping[str, Any]) -> dict[str, Any]:
    host, _, port = asked["place"].rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=20, source_address=(asked["source"], 0))
    connection.request(asked["method"], asked["path"], asked["body"] or None, asked["headers"])
    answer = connection.getresponse()
    headers: dict[str, str] = {}
    for name, value in answer.getheaders():
        headers[name.lower()] = f"{headers[name.lower()]}; {value}" if name.lower() in headers else value
    return {"status": answer.status, "headers": headers, "body": answer.read().decode(errors="replace")}


def _main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    started: list[subprocess.Popen[bytes]] = []
    for line in sys.stdin:
        asked = json.loads(line)
        told: Any = "done"
        if asked["do"] == "addresses":
            for address in asked["addresses"]:
                subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)
        elif asked["do"] == "start":
            process = _start(asked)
            told = "done" if process else "it does not listen"
            started += [process] if process else []
        else:
            told = _ask(asked)
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
    for process in started:
        process.terminate()
    for process in started:
        process.wait(_PATIENCE)


if __name__ == "__main__":
    _main()
