"""A collector of traces as a process: takes OTLP over HTTP, and writes each span as a line of JSON.

::

    python -m tests.support.trace_receiver PORT FILE
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.ports import free_port


@dataclass(frozen=True, slots=True)
class Receiver:
    """A collector that runs; `spans` are what it got so far."""

    url: str
    file: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment of who sends to it; batches leave soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}

    def spans(self) -> list[dict[str, Any]]:
        """What it got so far."""
        return [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]


@contextmanager
def trace_receiver(folder: Path) -> Iterator[Receiver]:
    """A collector in a process of its own."""
    port, file = free_port(), folder / "spans.jsonl"
    file.touch()
    process = subprocess.Popen([sys.executable, "-m", "tests.support.trace_receiver", str(port), str(file)])
    try:
        receiver = Receiver(f"http://127.0.0.1:{port}", file)
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(receiver.url)
                break
            except httpx.HTTPError:
                assert time.monotonic() < deadline, "the receiver does not answer"
                time.sleep(0.05)
        yield receiver
    finally:
        process.terminate()
        process.wait()


def _spans(content: bytes) -> Iterator[dict[str, Any]]:
    request = ExportTraceServiceRequest.FromString(content)
    for resource in request.resource_spans:
        service = {one.key: one.value.string_value for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "service": service.get("service.name"),
                    "name": span.name,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "error": span.status.code == span.status.STATUS_CODE_ERROR,
                    "attributes": {
                        one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value")
                        for one in span.attributes
                    },
                }


def serve(port: int, file: Path) -> None:
    """Take spans until the process is ended."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            with file.open("a", encoding="utf-8") as lines:
                for span in _spans(content):
                    lines.write(f"{json.dumps(span)}\n")
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature is http.server's
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
