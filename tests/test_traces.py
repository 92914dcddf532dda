"""Traces without a collector: when they are made, what is kept of them with a run, and what a process pays for them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from provisioner import logs
from provisioner.runtime import tracing
from provisioner.runtime.tracing import RunTrace, wanted
from tests.support.ports import free_port
from tests.support.trace_receiver import Receiver, trace_receiver

TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(tracing, "_made", None)
    yield
    tracing.close()


@pytest.mark.parametrize(
    ("environ", "made"),
    [
        ({}, False),
        (COLLECTOR, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, False),
        ({**COLLECTOR, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**COLLECTOR, "OTEL_TRACES_EXPORTER": "OTLP"}, True),
        ({**COLLECTOR, "OTEL_TRACES_EXPORTER": "console"}, False),
        ({**COLLECTOR, "OTEL_SDK_DISABLED": "True"}, False),
        ({**COLLECTOR, "OTEL_SDK_DISABLED": "no"}, True),
    ],
)
def test_the_usual_variables_ask_for_traces(environ: dict[str, str], made: bool) -> None:
    assert wanted(environ) == made


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (f"00-{TRACE}-{SPAN}-01", RunTrace(TRACE, SPAN, sampled=True)),
        (f"00-{TRACE}-{SPAN}-00 {PARENT}", RunTrace(TRACE, SPAN, sampled=False, parent=PARENT)),
        (f"01-{TRACE}-{SPAN}-03-more", RunTrace(TRACE, SPAN, sampled=True)),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-0", None),
        ("", None),
        (None, None),
    ],
)
def test_a_run_keeps_its_place_as_w3c_writes_it(text: str | None, read: RunTrace | None) -> None:
    assert RunTrace.read(text) == read
    if read is not None:
        assert RunTrace.read(str(read)) == read
        assert read.of_target("a") == read.of_target("a") != read.of_target("b")


def test_without_the_variables_nothing_is_made_or_imported() -> None:
    program = """
        import sys
        from provisioner.runtime import tracing
        with tracing.during(tracing.begun(), "traitly"), tracing.span("plan"):
            assert tracing.requests_of("traitly") is None
        tracing.run_over("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 0.0, 1.0, failed=False)
        tracing.flush()
        tracing.close()
        assert not tracing.active()
        assert not [name for name in sys.modules if name.startswith("opentelemetry")]
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)


def test_without_the_extra_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    with capture_logs() as said:
        assert tracing.begun() is None
        assert tracing.begun() is None
    assert [one["event"] for one in said] == ["traces_off"]


def test_another_protocol_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with capture_logs() as said:
        assert not tracing.active()
    assert [one["reason"] for one in said] == ["the protocol grpc is not offered"]


def test_what_the_sampler_leaves_out_is_left_out_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    own = RunTrace.read(tracing.begun())
    assert own is not None
    assert not own.sampled
    # Whoever asks for a run decides
    asked = RunTrace.read(tracing.begun(f"00-{TRACE}-{PARENT}-01"))
    assert asked is not None
    assert (asked.trace, asked.parent, asked.sampled) == (TRACE, PARENT, True)
    assert asked.span != PARENT


def test_the_collector_s_credentials_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20secret-of-the-collector,other=x")
    assert tracing.active()
    assert "secret-of-the-collector" not in logs.clean("it says: a secret-of-the-collector")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with trace_receiver(tmp_path) as running:
        yield running


def test_a_process_that_was_forked_sends_its_own(receiver: Receiver) -> None:
    program = """
        import os, time
        from provisioner.runtime import tracing
        kept = tracing.begun()
        with tracing.during(kept, "traitly"):
            tracing.requests_of("traitly")("GET", "/parent", 1)(200, None)
            child = os.fork()
            if child == 0:
                tracing.requests_of("traitly")("POST", "/child", 2)(None, "deadline")
                tracing.close()
                os._exit(0)
            os.waitpid(child, 0)
        tracing.target_over(kept, "traitly", 1.0, 2.0, failed=True, status="failed")
        tracing.run_over(kept, 1.0, 2.0, failed=False, status="succeeded")
        tracing.close()
    """
    environment = {**os.environ, **receiver.variables}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, env=environment)
    spans = {one["name"]: one for one in receiver.spans()}
    assert set(spans) == {"GET /parent", "POST /child", "target traitly", "run"}
    assert len(receiver.spans()) == 4
    assert {one["trace"] for one in spans.values()} == {spans["run"]["trace"]}
    assert spans["GET /parent"]["parent"] == spans["POST /child"]["parent"] == spans["target traitly"]["span"]
    assert spans["target traitly"]["parent"] == spans["run"]["span"]
    assert (spans["run"]["start"], spans["run"]["end"]) == (1_000_000_000, 2_000_000_000)
    assert spans["POST /child"]["attributes"]["error.type"] == "deadline"
    assert [name for name, one in spans.items() if one["error"]] != []
    assert not spans["run"]["error"]
