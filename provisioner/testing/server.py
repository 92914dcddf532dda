"""A small HTTP server on loopback, for stand-ins of vendors."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """One request: `target` is path and query as they were sent, `headers` have names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    content: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> str:
        """The path, its escapes resolved."""
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> Mapping[str, str]:
        """The query; of a name given twice the last value."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def json(self) -> Any:
        """The body.

        Raises:
            ValueError: it is no JSON.
        """
        return json.loads(self.content)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; `drop` closes the connection instead."""

    status: int = 200
    content: bytes = field(default=b"{}", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False

    @classmethod
    def of(cls, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """An answer with a JSON body."""
        return cls(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})


class Server:
    """Answers each request by `handle`, one at a time, for as long as the context lasts."""

    def __init__(self, handle: Callable[[Request], Reply]) -> None:
        self._lock = threading.Lock()
        self._server = _Listener(lambda request: self._handled(handle, request))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="stand-in", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handled(self, handle: Callable[[Request], Reply], request: Request) -> Reply:
        with self._lock:
            return handle(request)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handle: Callable[[Request], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.handle = handle


class _Handler(BaseHTTPRequestHandler):
    server: _Listener

    def _any(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.handle(Request(self.command, self.path, headers, content))
        self.close_connection = True
        if reply.drop:
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - the names that the base class looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Keeps quiet."""
