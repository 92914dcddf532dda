"""`up`: everything of one deployment beneath one command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import pytest

from provisioner.cli import serve
from provisioner.sandbox import SandboxServer
from provisioner.settings import load
from provisioner.worker.wakeups import workers
from tests.cli.calling import call, command, environment, traitly, write_settings
from tests.cli.test_processes import eventually, gone
from tests.support.ports import free_port

pytestmark = pytest.mark.slow


def _children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    found = [int(child) for child in text.split()]
    return found + [grandchild for child in found for grandchild in _children_of(child)]


def _status(port: int, path: str) -> int:
    """The status of an answer, 0 if there is none."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for children in /proc")
@pytest.mark.timeout(120)
def test_up_brings_its_own_redis_works_restarts_and_leaves_nothing(tmp_path: Path) -> None:
    port = free_port()
    with SandboxServer() as sandbox:
        config = write_settings(
            tmp_path,
            targets={"traitly": traitly(sandbox.url_of("traitly"))},
            schedule={"sync": None, "full": None, "watch_roster": None},
            web={"port": port},
        )
        log = tmp_path / "up.log"
        with log.open("wb") as output:
            running = subprocess.Popen(
                command("--config", str(config), "up"),
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        try:
            _use(running, config, port, log)
            beneath = _children_of(running.pid)
            assert len(beneath) >= 5
        finally:
            os.kill(running.pid, signal.SIGTERM)
            out, _ = running.communicate(timeout=60)
    assert running.returncode == 0, log.read_text(errors="replace")
    eventually(lambda: all(gone(pid) for pid in beneath))
    assert not (tmp_path / "data" / "redis" / "redis.sock").exists()
    assert "Traceback" not in log.read_text(errors="replace")
    assert out == ""


def _use(running: subprocess.Popen[str], config: Path, port: int, log: Path) -> None:
    assert running.stdout is not None
    token = running.stdout.readline().split()[-1]
    assert len(token) > 30
    assert f":{port}/" in running.stdout.readline()
    eventually(lambda: _status(port, "/readyz") == 200)
    settings = load(config, environ={}).settings
    eventually(lambda: bool(workers(settings, timeout=0.5)))
    synced = call("sync", "--wait", "--json", PROVISIONER_CONFIG=str(config))
    assert synced.code == 0, synced.err
    assert synced.document["targets"]["traitly"]["succeeded"] == {"create": 2}

    started = [json.loads(line) for line in log.read_text().splitlines() if '"child_started"' in line]
    pids = {event["child"]: event["pid"] for event in started}
    assert set(pids) == {"worker", "web", "beat"}
    os.kill(pids["web"], signal.SIGKILL)
    eventually(lambda: _status(port, "/healthz") == 0)
    eventually(lambda: _status(port, "/healthz") == 200)
    assert token not in log.read_text(errors="replace")


def test_a_token_that_was_made_is_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "data" / "web-token"
    made = serve._token(path)
    assert made in capsys.readouterr().out
    assert path.stat().st_mode & 0o777 == 0o600
    assert serve._token(path) == made
    said = capsys.readouterr().out
    assert made not in said
    assert str(path) in said


@pytest.mark.timeout(180)
def test_a_second_up_takes_over_when_the_first_ends(tmp_path: Path) -> None:
    port = free_port()
    config = write_settings(
        tmp_path,
        schedule={"sync": None, "full": None, "watch_roster": None},
        web={"port": port, "token": "operator-token-0123456789"},
    )

    def start(name: str) -> tuple[subprocess.Popen[bytes], Path]:
        log = tmp_path / name
        with log.open("wb") as output:
            words = command("--config", str(config), "up")
            return subprocess.Popen(words, env=environment(), stdout=output, stderr=output, start_new_session=True), log

    first, _ = start("first.log")
    second = None
    try:
        eventually(lambda: _status(port, "/readyz") == 200)
        assert call("pause", "traitly", PROVISIONER_CONFIG=str(config)).code == 0
        second, log = start("second.log")
        eventually(lambda: "redis_shared" in log.read_text())
        os.kill(first.pid, signal.SIGTERM)
        assert first.wait(60) == 0
        eventually(lambda: "redis_taken_over" in log.read_text())
        # It has the files of the first, and serves
        eventually(lambda: _status(port, "/readyz") == 200)
        assert call("resume", "traitly", PROVISIONER_CONFIG=str(config)).code == 0
        entries = call("audit", "--json", PROVISIONER_CONFIG=str(config)).document["audit"]
        assert [one["action"] for one in entries] == ["resumed", "paused"]
    finally:
        for one in (first, second):
            if one is not None and one.poll() is None:
                os.kill(one.pid, signal.SIGTERM)
                one.wait(60)
