"""What the demo needs of the machine: free ports, signals, and a folder for Redis' socket."""

from __future__ import annotations

import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from provisioner.store.redis.embedded import EmbeddedRedis

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """While the context lasts, a signal that asks the process to end raises `KeyboardInterrupt`."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def deaf() -> None:
    """From now on no such signal is taken."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def without_socket_folder(redis: EmbeddedRedis) -> None:
    """Remove the folder of the server's socket, which lies elsewhere where the demo's path is too long for a socket."""
    with suppress(OSError):
        Path(redis.address.path or "").parent.rmdir()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on.

    They lie below those that a system gives to whoever asks for any (RFC 6335: from 49152 on, Linux: from 32768 on),
    since another program could be given one of these before our process takes it.
    """
    with ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            port = 20000 + secrets.randbelow(12000)
            with suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
        return found
