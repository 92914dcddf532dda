"""A Redis that hangs: a real server is suspended, and everybody who asks it gets a sentence in seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.calling import call, command, environment, traitly, write_settings
from tests.e2e.site import BY_HAND, ROOT, deployment, eventually
from tests.inbound.support import next_actions
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.slow

SECRET = "a-secret-of-the-tests"
TOKEN = "operator-token-0123456789"
#: Seconds for a command: some to start on a busy machine, and four until it knows.
A_FEW = 20.0
COMMANDS = (
    ("runs",),
    ("show", "20261129T000000"),
    ("check",),
    ("todos",),
    ("why", "E1"),
    ("pause", "traitly"),
    ("sync", "--wait", "--timeout", "10s"),
    ("plan",),
    ("backup", "nowhere.gz"),
)


@contextmanager
def hanging(server: RedisServer) -> Iterator[None]:
    """The server suspended, as long as the context lasts."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_says_so(
    redis_server: RedisServer, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody waits for the four seconds here
    monkeypatch.setattr("provisioner.store.stores.OPENS_WITHIN", 0.5)
    monkeypatch.setattr("provisioner.admin.preflight.redis.ANSWERS_WITHIN", 0.5)
    monkeypatch.chdir(tmp_path)
    config = write_settings(tmp_path, redis_url=redis_server.url)
    with hanging(redis_server):
        answer = call(*words, "--json", PROVISIONER_CONFIG=str(config))
    assert answer.code == 1
    said: dict[str, str] = answer.document.get("error", {})
    if words == ("check",):
        (said,) = [one for one in answer.document["checks"] if one["subject"] == "redis"]
    assert "does not answer in time" in said["message"]
    assert "hangs" in said["remedy"]


def test_a_command_of_its_own_ends_in_seconds(tmp_path: Path) -> None:
    with RedisServer() as server:
        config = write_settings(tmp_path, redis_url=server.url)
        with hanging(server):
            done = subprocess.run(
                command("--config", str(config), "runs"), env=environment(), capture_output=True, text=True, timeout=40
            )
    assert done.returncode == 1
    assert "does not answer in time" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(120)
def test_a_wait_ends_at_its_deadline_when_redis_hangs_meanwhile(tmp_path: Path) -> None:
    with deployment(tmp_path, schedule=BY_HAND) as site:
        worker = site.start_worker()
        try:
            # Nothing is sent, so that the run does not end
            for kind in ("tribal_habits", "habitate", "traitly", "mtribes"):
                site.switchboard.fault(kind, match={"method": "GET"}, times=1000, delay_ms=30_000)
            waiting = subprocess.Popen(
                [sys.executable, "-m", "provisioner", "sync", "--wait", "--timeout", "12s", "--json"],
                cwd=ROOT,
                env=site.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            eventually(site.runs, within=30)
            (found,) = site.runs()
            site_run, began = found["run"], time.monotonic()
            with hanging(site.server):
                out, err = waiting.communicate(timeout=40)
                took = time.monotonic() - began
            assert waiting.returncode == 1, err
            error = json.loads(out)["error"]
            assert "answer" in error["message"]
            assert f"Nobody knows the state of run {site_run}; it goes on" in error["message"]
            assert "provisioner show" in error["remedy"]
            assert took < 12 + A_FEW / 2
        finally:
            worker.kill()


def _post(port: int, path: str, body: bytes, **headers: str) -> tuple[int, float, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body or None, headers)
    began = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, time.monotonic() - began, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, time.monotonic() - began, exc.read().decode()


def test_the_web_answers_with_503_within_five_seconds(tmp_path: Path) -> None:
    port = free_port()
    with RedisServer() as server:
        own = {**traitly("http://127.0.0.1:9/traitly"), "webhook_secret": SECRET}
        web = {"port": port, "token": TOKEN}
        config = write_settings(tmp_path, redis_url=server.url, targets={"traitly": own}, web=web)
        process = subprocess.Popen(
            command("--config", str(config), "web"), env=environment(), stderr=subprocess.DEVNULL
        )
        try:
            hook = f"/webhooks/traitly/{SECRET}"
            events = [json.dumps(next_actions(one)).encode() for one in ("E1", "E2")]
            bearer = {"Authorization": f"Bearer {TOKEN}"}

            def up() -> bool:
                try:
                    return _post(port, "/readyz", b"")[0] == 200
                except OSError:
                    return False

            eventually(up)
            # With connections that are open already, and with new ones
            assert _post(port, hook, events[0])[0] == 202
            assert _post(port, "/api/runs", b"", **bearer)[0] == 200
            with hanging(server):
                for path, body in ((hook, events[1]), ("/readyz", b""), ("/api/runs", b""), ("/api/people/E1", b"")):
                    status, took, said = _post(port, path, body, **(bearer if path.startswith("/api") else {}))
                    assert (status, took < 5.0) == (503, True), (path, status, took, said)
            assert _post(port, hook, events[1])[0] == 202
        finally:
            process.terminate()
            process.wait(30)
