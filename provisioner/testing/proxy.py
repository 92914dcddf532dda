"""A proxy between a target and its stand-in: counts requests, and gives wrong answers where a test asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

from provisioner.testing.server import Reply, Request, Server

#: Headers that are about one connection, and those that a server of ours sets itself.
_PER_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True, slots=True)
class Lie:
    """A wrong answer, given instead of the stand-in's. With `afterwards` the stand-in still does its work first."""

    reply: Reply
    afterwards: bool = False


class Proxy(Server):
    """Forwards every request to `upstream`, whose path its own address keeps.

    `reads` and `writes` count the requests that came.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(self._answer)
        self._upstream = urlsplit(upstream)
        self._lies: dict[bool, Lie] = {}
        self.reads = 0
        self.writes = 0

    @property
    def url(self) -> str:
        """Where it listens, with the stand-in's path."""
        return f"{super().url}{self._upstream.path.rstrip('/')}"

    def lie(self, lie: Lie | None, *, writing: bool) -> None:
        """Answer every write (else every read) so from now on; None ends it."""
        if lie is None:
            self._lies.pop(writing, None)
        else:
            self._lies[writing] = lie

    def _answer(self, request: Request) -> Reply:
        writing = request.method != "GET"
        self.writes += writing
        self.reads += not writing
        lie = self._lies.get(writing)
        if lie is not None and not lie.afterwards:
            return lie.reply
        reply = self._forward(request)
        return reply if lie is None else lie.reply

    def _forward(self, request: Request) -> Reply:
        connection = HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=30)
        try:
            # The Host stays ours, so that an address in an answer leads back here
            headers = {name: value for name, value in request.headers.items() if name not in _PER_HOP}
            headers["connection"] = "close"
            connection.request(request.method, request.target, request.content or None, headers)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _PER_HOP}
            return Reply(answer.status, answer.read(), kept)
        finally:
            connection.close()
