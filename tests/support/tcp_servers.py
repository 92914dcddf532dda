"""Redis servers on loopback ports, with TLS where they have it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.ports import free_port
from tests.support.redis_server import find_executable

PASSWORD: Final = "of-the-tests"
_PATIENCE: Final = 20.0


#: Names more servers for `servers`, with what parts a PATH between them.
OTHERS: Final = "PROVISIONER_TEST_REDIS_SERVERS"


class TcpServer:
    """One server with a password at a port of its own. Ended and removed at the end of the context."""

    def __init__(self, folder: Path, port: int, *words: str, executable: str | Path | None = None) -> None:
        """
        Args:
            folder: for its files.
            words: its command line.
        """
        self.port = port
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._command = [str(executable or find_executable()), *words]
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "server.log"

    @property
    def url(self) -> str:
        """The address, without TLS."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns when the port is open."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                said = self.log.read_text(errors="replace")
                assert self._process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


#: What each server of the tests is started with, besides its port.
DURABLE: Final = (
    *("--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction"),
    *("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--maxmemory", "1gb"),
)


def with_tls() -> str | None:
    """A server that was built with TLS; None if none is on the PATH. It ends at once, as it has no certificate."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            words = [found, "--port", "0", "--tls-port", str(free_port())]
            said = subprocess.run(words, capture_output=True, timeout=20, check=False).stdout
            if b"tls-cert-file" in said:
                return found
    return None


def servers() -> list[Path]:
    """Every server that is here: that of the tests, those of the PATH, and those of the variable `OTHERS`."""
    named = [one for one in os.environ.get(OTHERS, "").split(os.pathsep) if one]
    found = [find_executable(), *map(Path, filter(None, map(shutil.which, (*named, "redis-server", "valkey-server"))))]
    return list(dict.fromkeys(found))


def certificates(folder: Path) -> dict[str, Path] | None:
    """A certificate authority of the test's own, a server's certificate of 127.0.0.1 by it, and another authority; None
    where there is no openssl."""
    if shutil.which("openssl") is None:
        return None

    def run(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        run(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name} of the tests"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
    run("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr")
    (folder / "server.ext").write_text("subjectAltName=IP:127.0.0.1\n")
    run(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-out", "server.pem", "-days", "2", "-extfile", "server.ext"),
    )
    return {name: folder / f"{name}.pem" for name in ("ca", "other", "server")}
