"""Serving the sandbox: blocking for a command, or in a thread for tests."""

import contextlib
import socket
import sys
import threading
from types import TracebackType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from provisioner.sandbox.app import CLOSE_EXTENSION, build_app
from provisioner.sandbox.client import Switchboard

DEFAULT_PORT = 8700
_BACKLOG = 2048


class _ClosableProtocol(H11Protocol):
    """HTTP/1.1 whose application may close the connection without an answer, by an ASGI extension."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # asyncio leaves Nagle's algorithm on for a socket that was made elsewhere, and head and body are two
        # writes: every answer would wait 40 ms for the client's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        inner = self.app

        async def closable(scope: Any, receive: Any, send: Any) -> None:
            scope["extensions"] = {**scope.get("extensions", {}), CLOSE_EXTENSION: transport.close}
            await inner(scope, receive, send)

        self.app = closable


def _server() -> uvicorn.Server:
    config = uvicorn.Config(
        build_app(),
        http=_ClosableProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        # Every vendor answers with the time of its own clock.
        date_header=False,
        backlog=_BACKLOG,
        # Clients keep idle connections for seconds; closing them first would look like a fault.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
    """Serves a new sandbox until interrupted; prints its address on standard output first.

    Port 0 takes a free one. Raises `OSError` if the address is taken.
    """
    # The server stops in good order on an interrupt and raises it again afterwards.
    with _listen(host, port) as listening, contextlib.suppress(KeyboardInterrupt):
        sys.stdout.write(f"{_url(listening)}\n")
        sys.stdout.flush()
        _server().run(sockets=[listening])


class SandboxServer:
    """A sandbox served by a thread of this process, on a free loopback port, while the context is open."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._listening = _listen(host, port)
        self.url = _url(self._listening)
        self.switchboard = Switchboard(self.url)
        self._server = _server()
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    def _run(self) -> None:
        self._server.run(sockets=[self._listening])

    def url_of(self, instance: str) -> str:
        """The base URL of an instance, such as `traitly` or `tribal_habits-west`."""
        return f"{self.url}/{instance}"

    def start(self) -> None:
        """Starts serving; the socket already listens, so a client may connect at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stops serving and waits for the thread."""
        self._server.should_exit = True
        self._thread.join()
        self._listening.close()

    def __enter__(self) -> "SandboxServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
