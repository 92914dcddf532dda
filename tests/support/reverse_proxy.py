"""A small reverse proxy as a process of its own, which writes the headers that others write too.

::

    python -m tests.support.reverse_proxy LISTEN:PORT UPSTREAM:PORT SOURCE [SCHEME]

It adds the address of whoever asks to the end of `X-Forwarded-For`, as nginx's `$proxy_add_x_forwarded_for` does. With
SCHEME it overwrites `X-Forwarded-Proto`, as a proxy that ends TLS does; without, it hands on what it got. It connects
from SOURCE.
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "date", "server", "content-length", "host"}


def serve(listen: tuple[str, int], upstream: tuple[str, int], source: str, scheme: str | None) -> None:
    """Serve until the process is ended."""

    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            before = self.headers.get_all("X-Forwarded-For") or []
            mine = {"x-forwarded-for", *(("x-forwarded-proto",) if scheme else ())}
            connection = HTTPConnection(*upstream, timeout=30, source_address=(source, 0))
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", self.headers.get("Host", "site.example.com"))
            for name, value in self.headers.items():
                if name.lower() not in mine | _HOP:
                    connection.putheader(name, value)
            connection.putheader("X-Forwarded-For", ", ".join([*before, self.client_address[0]]))
            if scheme:
                connection.putheader("X-Forwarded-Proto", scheme)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        do_GET = do_POST = _pass_on  # noqa: N815 - the names are http.server's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature is http.server's
            pass

    ThreadingHTTPServer(listen, Handler).serve_forever()


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    serve(_place(sys.argv[1]), _place(sys.argv[2]), sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else None)
