"""Traces by OpenTelemetry: a run, its targets below it, and each request to a vendor below these.

They are made only where the extra `otel` is installed and one of the usual variables names a collector; otherwise
nothing here does anything. A run is begun by one process and carried out by others, so its context is kept with it in
Redis, as `traceparent` writes it. The spans of run and targets are sent by whoever ends the run; those of requests by
who sends them, below a span of the target whose id follows from the run's. No vendor hears of any of it.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote

from provisioner import installed_version
from provisioner.logs import get_logger, hide
from provisioner.targets.http import Over

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.trace import Span, SpanContext

log = get_logger(__name__)

#: Either names a collector.
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_HTTP: Final = "http/protobuf"
_SCOPE: Final = "provisioner"
#: Seconds that a process which ends waits for a collector.
_LAST_WORDS: Final = 1.0
_FLUSH_MS: Final = 5000

_PARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")

Value: TypeAlias = str | int | bool


@dataclass(frozen=True, slots=True)
class RunTrace:
    """A run's place in its trace: ids in hexadecimal; `parent` is the span of whoever asked for the run, if any."""

    trace: str
    span: str
    sampled: bool
    parent: str = ""

    def __str__(self) -> str:
        """As it is kept: W3C's `traceparent`, and after a space the parent."""
        return f"00-{self.trace}-{self.span}-{'01' if self.sampled else '00'} {self.parent}".rstrip()

    @classmethod
    def read(cls, text: str | None) -> RunTrace | None:
        """What `str` wrote, or a `traceparent` of somebody else's; None: it is neither."""
        head, _, parent = (text or "").partition(" ")
        found = _PARENT.fullmatch(head)
        return None if found is None else cls(found[1], found[2], bool(int(found[3], 16) & 1), parent)

    def of_target(self, target: str) -> str:
        """The id of the target's span in this run."""
        return hashlib.sha256(f"{self.trace}/{self.span}/{target}".encode()).hexdigest()[:16]


#: The span that requests are below, while something is done for a run's target.
_below: ContextVar[SpanContext | None] = ContextVar("below", default=None)
#: The ids of trace and span that are begun next, where they are known beforehand.
_next_ids: ContextVar[tuple[int, int] | None] = ContextVar("next_ids", default=None)


def wanted(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment asks for traces."""
    given = os.environ if environ is None else environ
    exporter = given.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() or "otlp"
    disabled = given.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not disabled and exporter == "otlp" and any(given.get(name, "").strip() for name in _ENDPOINTS)


def active() -> bool:
    """Whether this process makes traces."""
    return _provider() is not None


def begun(asked_by: str | None = None) -> str | None:
    """The trace of a new run, to be kept with it; None without traces.

    Args:
        asked_by: the `traceparent` of whoever asked for the run.
    """
    provider = _provider()
    if provider is None:
        return None
    from opentelemetry.sdk.trace.sampling import Decision

    other = RunTrace.read(asked_by)
    trace = other.trace if other else f"{provider.id_generator.generate_trace_id():032x}"
    span = f"{provider.id_generator.generate_span_id():016x}"
    decided = provider.sampler.should_sample(_context(other), int(trace, 16), "run")
    return str(RunTrace(trace, span, decided.decision is Decision.RECORD_AND_SAMPLE, other.span if other else ""))


@contextmanager
def during(kept: str | None, target: str) -> Iterator[None]:
    """Requests that are sent meanwhile are below the span of a run's target.

    Args:
        kept: the run's trace, as `begun` gave it.
    """
    run = RunTrace.read(kept) if kept and active() else None
    token = None if run is None else _below.set(_span_context(run.trace, run.of_target(target), sampled=run.sampled))
    try:
        yield
    finally:
        if token is not None:
            _below.reset(token)


@contextmanager
def span(name: str, **attributes: Value) -> Iterator[None]:
    """A span of this process alone, such as of a plan that is only shown; requests meanwhile are below it."""
    provider = _provider()
    if provider is None:
        yield
        return
    above = _below.get()
    made = provider.get_tracer(_SCOPE).start_span(name, _within(above), attributes=_named(attributes))
    token = _below.set(made.get_span_context())
    try:
        yield
    except BaseException as exc:
        _failed(made, type(exc).__name__)
        raise
    finally:
        _below.reset(token)
        made.end()


def run_over(kept: str, started: float, ended: float, *, failed: bool, **attributes: Value) -> None:
    """The span of a run that is over; moments in epoch seconds."""
    run = RunTrace.read(kept)
    if run is not None:
        above = _span_context(run.trace, run.parent, sampled=run.sampled) if run.parent else None
        _record("run", run, run.span, above, (started, ended), attributes, failed=failed)


def target_over(kept: str, target: str, started: float, ended: float, *, failed: bool, **attributes: Value) -> None:
    """The span of a run's target; moments in epoch seconds."""
    run = RunTrace.read(kept)
    if run is not None:
        above = _span_context(run.trace, run.span, sampled=run.sampled)
        given = {"target": target, **attributes}
        _record(f"target {target}", run, run.of_target(target), above, (started, ended), given, failed=failed)


class RequestSpans:
    """The spans of one transport's requests: method, target, path without persons, status and attempt; nothing else."""

    def __init__(self, target: str) -> None:
        self._target = target

    def __call__(self, method: str, path: str, attempt: int) -> Over | None:
        """Begin the span of a request; what ends it, None where it is below nothing."""
        provider, above = _provider(), _below.get()
        if provider is None or above is None:
            return None
        from opentelemetry.trace import SpanKind

        attributes = {"http.request.method": method, "url.template": path, **_named({"target": self._target})}
        if attempt > 1:
            attributes["http.request.resend_count"] = attempt - 1
        tracer = provider.get_tracer(_SCOPE)
        made = tracer.start_span(f"{method} {path}", _within(above), SpanKind.CLIENT, attributes)

        def ended(status: int | None, code: str | None) -> None:
            if status is not None:
                made.set_attribute("http.response.status_code", status)
            if code is not None or (status is not None and status >= 400):
                _failed(made, code or str(status))
            made.end()

        return ended


def requests_of(target: str) -> RequestSpans | None:
    """What makes the spans of a target's requests; None without traces."""
    return RequestSpans(target) if active() else None


def flush() -> None:
    """Send what is there, without waiting for it."""
    if _made is None or _made.provider is None or _made.pid != os.getpid() or _made.flushing.locked():
        return
    threading.Thread(target=_made.flush, name="flush-traces", daemon=True).start()


def close() -> None:
    """Send what is there, and wait for it a little; the process ends."""
    global _made
    made, _made = _made, None
    if made is None or made.provider is None or made.pid != os.getpid():
        return
    # A collector that is away would keep the process for as long as it is tried again
    last = threading.Thread(target=made.provider.shutdown, name="last-traces", daemon=True)
    last.start()
    last.join(_LAST_WORDS)


class _Made:
    """What one process sends its traces by; a process that was forked makes its own."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self.pid, self.provider, self.flushing = os.getpid(), provider, threading.Lock()

    def flush(self) -> None:
        """Send what is there, one at a time."""
        if self.provider is not None and self.flushing.acquire(blocking=False):
            try:
                self.provider.force_flush(_FLUSH_MS)
            finally:
                self.flushing.release()


_made: _Made | None = None


def _provider() -> TracerProvider | None:
    global _made
    if _made is None or _made.pid != os.getpid():
        _made = _Made(_opened() if wanted() else None)
    return _made.provider


def _opened() -> TracerProvider | None:
    if importlib.util.find_spec("opentelemetry") is None or importlib.util.find_spec("opentelemetry.sdk") is None:
        log.warning("traces_off", reason="the extra otel is not installed", remedy="pip install 'provisioner[otel]'")
        return None
    protocol = next((os.environ[name].strip() for name in _PROTOCOLS if os.environ.get(name, "").strip()), _HTTP)
    if protocol != _HTTP:
        log.warning("traces_off", reason=f"the protocol {protocol} is not offered", remedy=f"Set it to {_HTTP}.")
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Noted(OTLPSpanExporter):
        """Says once that the collector does not take spans, rather than with each try."""

        failing = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = super().export(spans)
            if result is not SpanExportResult.SUCCESS and not self.failing:
                log.warning("traces_not_sent", remedy="See that the collector runs. Spans are dropped meanwhile.")
            self.failing = result is not SpanExportResult.SUCCESS
            return result

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            known = _next_ids.get()
            return known[0] if known else super().generate_trace_id()

        def generate_span_id(self) -> int:
            known = _next_ids.get()
            return known[1] if known else super().generate_span_id()

    # They are secrets of whoever runs the collector
    for pair in ",".join(os.environ.get(name, "") for name in _HEADERS).split(","):
        hide(unquote(pair.partition("=")[2].strip()))
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {"service.version": installed_version() or "unknown", **({} if named else {"service.name": _SCOPE})}
    provider = TracerProvider(resource=Resource.create(own), id_generator=Ids(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Noted()))
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    atexit.register(close)
    return provider


def _record(
    name: str,
    run: RunTrace,
    own: str,
    above: SpanContext | None,
    moments: tuple[float, float],
    attributes: Mapping[str, Value],
    *,
    failed: bool,
) -> None:
    """A span whose id and moments are known already."""
    provider = _provider()
    if provider is None or not run.sampled:
        return
    started, ended = (int(moment * 1e9) for moment in moments)
    token = _next_ids.set((int(run.trace, 16), int(own, 16)))
    try:
        tracer = provider.get_tracer(_SCOPE)
        made = tracer.start_span(name, _within(above), attributes=_named(attributes), start_time=started)
    finally:
        _next_ids.reset(token)
    if failed:
        _failed(made, str(attributes.get("status", "failed")))
    made.end(ended)


def _named(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {f"provisioner.{name}": value for name, value in attributes.items()}


def _failed(made: Span, why: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    made.set_attribute("error.type", why)
    made.set_status(Status(StatusCode.ERROR))


def _span_context(trace: str, own: str, *, sampled: bool) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(int(trace, 16), int(own, 16), is_remote=True, trace_flags=TraceFlags(1 if sampled else 0))


def _within(above: SpanContext | None) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    empty = Context()
    return empty if above is None else set_span_in_context(NonRecordingSpan(above), empty)


def _context(other: RunTrace | None) -> Context:
    return _within(None if other is None else _span_context(other.trace, other.span, sampled=other.sampled))
