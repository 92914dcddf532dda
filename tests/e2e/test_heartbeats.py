"""Nothing stands still in silence: real processes are killed, frozen and left out, and everybody is asked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_up import _children_of
from tests.e2e.site import BY_HAND, ROOT, Process, Site, deployment, eventually
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

TOKEN = "operator-token-0123456789"
SCHEDULE = {"sync": "0 3 * * *", "full": None, "watch_roster": None}


class Watch:
    """A deployment with a web process, and everybody who may be asked how it is."""

    def __init__(self, site: Site, port: int) -> None:
        self.site, self._base = site, f"http://127.0.0.1:{port}"

    def check(self) -> tuple[int, dict[str, dict[str, Any]]]:
        """The exit code of `check`, and its lines about beat and workers."""
        done = subprocess.run(
            [sys.executable, "-m", "provisioner", "check", "--json"],
            cwd=ROOT,
            env=self.site.environment,
            capture_output=True,
            timeout=60,
        )
        lines = {line["subject"]: line for line in json.loads(done.stdout)["checks"]}
        assert not [line for line in lines.values() if line["verdict"] == "fail" and line["subject"] not in _ASKED]
        return done.returncode, {subject: lines[subject] for subject in _ASKED}

    def get(self, path: str, token: str | None = None) -> tuple[int, str]:
        """An answer of the web process."""
        request = urllib.request.Request(self._base + path)  # noqa: S310
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> tuple[int, dict[str, Any]]:
        """What `/readyz` says."""
        code, body = self.get("/readyz")
        return code, json.loads(body or "{}")

    def figures(self) -> dict[str, float]:
        """The figures about processes."""
        code, body = self.get("/metrics", TOKEN)
        assert code == 200, body
        rows = (line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#"))
        return {name: float(figure) for name, figure in rows if re.match(r"provisioner_(beat|work|tick|process)", name)}

    def well(self) -> None:
        """Wait until everybody says that all is well."""
        eventually(
            lambda: self.ready() == (200, {"status": "ready", "beat": "ok", "workers": "ok"}),
            why=lambda: str(self.ready()),
        )
        eventually(lambda: _healthy(self.figures()), why=lambda: str(self.figures()))
        code, lines = self.check()
        assert code == 0
        assert {line["verdict"] for line in lines.values()} == {"ok"}
        assert lines["workers"]["message"] == "1 worker answers."

    def ill(self, subject: str, process: str, state: str, word: str) -> None:
        """Wait until one kind of process is said to be silent; all who are asked agree, in the same words."""
        name = "beat" if subject == "beat" else "workers"
        eventually(lambda: self.ready()[0] == 503, why=lambda: str(self.ready()))
        body = self.ready()[1]
        assert body[name] == state
        assert f"`provisioner {process}`" in body["detail"]
        assert word in body["detail"]
        # The page is needed now, so whoever sends people to it is not turned away
        assert self.get("/readyz?only=redis")[0] == 200
        assert _silent(self.figures(), process) == 1
        code, lines = self.check()
        assert code == 1
        assert lines[subject]["verdict"] == "fail"
        assert word in lines[subject]["message"]
        assert f"`provisioner {process}`" in lines[subject]["remedy"]
        (other,) = set(_ASKED) - {subject}
        assert lines[other]["verdict"] == "ok"


_ASKED = ("beat", "workers")


def _silent(figures: dict[str, float], process: str) -> float:
    return figures[f'provisioner_process_silent{{process="{process}"}}']


def _healthy(figures: dict[str, float]) -> bool:
    ages = [figures.get(f"provisioner_{name}_age_seconds", 99) for name in ("beat", "worker", "tick")]
    return (
        max(ages) < 10
        and figures["provisioner_workers"] == 1
        and (_silent(figures, "beat"), _silent(figures, "worker")) == (0, 0)
    )


def _freeze(process: Process) -> list[int]:
    """Stop a process and all beneath it; their ids."""
    pids = [process.process.pid, *_children_of(process.process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def _thaw(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for children in /proc")
@pytest.mark.timeout(300)
def test_everybody_who_is_asked_knows_who_is_silent(tmp_path: Path) -> None:
    port = free_port()
    web = {"port": port, "token": TOKEN}
    with deployment(tmp_path, schedule=SCHEDULE, web=web) as site, site.running("web") as server:
        watch = Watch(site, port)
        eventually(lambda: watch.get("/healthz")[0] == 200, why=server.said)
        # Nothing was ever started: no fault, but a word about how to start
        assert watch.ready() == (200, {"status": "ready", "beat": "never", "workers": "never"})
        code, lines = watch.check()
        assert code == 0
        assert {line["verdict"] for line in lines.values()} == {"warn"}
        assert all("provisioner up" in line["remedy"] for line in lines.values())

        worker = site.start_worker()
        beat = None
        try:
            # A beat that never was, while the worker has long been there
            site.contents.sign("first", 100)
            watch.ill("beat", "beat", "never", "Beat never ticked, so no run begins by itself")

            beat = site.start("beat")
            watch.well()
            beat.kill()
            watch.ill("beat", "beat", "silent", "Beat has not ticked for")

            # Another one has to wait until the killed one's lock is over
            beat = site.start("beat")
            watch.well()
            worker.kill()
            watch.ill("workers", "worker", "silent", "No worker has answered for")
            assert watch.figures()["provisioner_workers"] == 0

            worker = site.start_worker()
            watch.well()
            frozen = _freeze(worker)
            watch.ill("workers", "worker", "silent", "No worker has answered for")
            _thaw(frozen)
            watch.well()

            # Ended in good order is silent all the same: a run is due
            worker.stop()
            watch.ill("workers", "worker", "silent", "No worker has answered for")
        finally:
            worker.stop()
            if beat is not None:
                beat.stop()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for children in /proc")
@pytest.mark.timeout(180)
def test_children_that_hang_are_seen_though_their_parent_answers(tmp_path: Path) -> None:
    port = free_port()
    web = {"port": port, "token": TOKEN}
    with deployment(tmp_path, schedule=SCHEDULE, web=web) as site, site.running("web"), site.running("beat"):
        watch = Watch(site, port)
        worker = site.start_worker()
        try:
            watch.well()
            for pid in _children_of(worker.process.pid):
                os.kill(pid, signal.SIGSTOP)
            eventually(lambda: watch.figures()["provisioner_tick_age_seconds"] > 20)
            eventually(lambda: watch.figures()["provisioner_worker_age_seconds"] < 10)
            assert watch.figures()["provisioner_workers"] == 1
            # Beat and worker have been at it for as long, as far as Redis knows
            older = _backdate(site, 120)
            watch.ill("workers", "worker", "stuck", "carried out nothing for 2 min")
            site.contents.forget_worker(older)
            for pid in _children_of(worker.process.pid):
                os.kill(pid, signal.SIGCONT)
            watch.well()
        finally:
            worker.kill()


def _backdate(site: Site, seconds: float) -> str:
    """Let beat, the worker and the last tick be older than they are; the entry that was made for the worker."""
    for sign in ("beat_since", "tick", "work"):
        moment = site.contents.signs().get(sign)
        if moment is not None:
            site.contents.sign(sign, time.time() - moment + seconds)
    ((member, seen),) = site.contents.workers()
    fields = json.loads(member)
    older = json.dumps({**fields, "started": fields["started"] - seconds})
    # The worker goes on with its own entry
    site.contents.see_worker(older, seen + 60)
    return older


class Sync:
    """A `sync` in a process of its own, and what it says as it goes."""

    def __init__(self, site: Site, name: str, *words: str) -> None:
        self._files = [site.folder / f"{name}.{kind}" for kind in ("out", "err")]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "provisioner", "sync", *words],
                cwd=ROOT,
                env=site.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def out(self) -> str:
        """Its answer."""
        return self._files[0].read_text()

    def err(self) -> str:
        """What it said besides."""
        return self._files[1].read_text()

    def says(self, text: str) -> None:
        """Wait until it says something."""
        eventually(lambda: text in self.err(), why=self.err)


@pytest.mark.timeout(240)
def test_a_sync_waits_for_a_worker_that_is_just_starting(tmp_path: Path) -> None:
    with deployment(tmp_path, schedule=BY_HAND) as site:
        alone = Sync(site, "alone", "--json")
        assert alone.process.wait(60) == 1
        assert "waiting up to 15 s" in alone.err()
        error = json.loads(alone.out())["error"]
        assert error["code"] == "no_worker"
        assert error["message"] == "No worker answers; nothing was started."
        assert site.runs() == []

        early = Sync(site, "early", "--wait")
        early.says("waiting up to 15 s")
        worker = site.start_worker()
        try:
            assert early.process.wait(60) == 0, early.err() + worker.said()
            assert site.wrong("roster.csv") == []
            assert len(site.runs()) == 1

            # A worker that dies while somebody follows a run
            site.switchboard.options("traitly", listing_latency_ms=60_000)
            left = Sync(site, "left", "--wait")
            left.says("traitly: running")
            worker.kill()
            left.says("No worker has answered for")
            assert left.process.poll() is None
            worker = site.start_worker()
            left.says("1 worker answers.")
            left.process.send_signal(signal.SIGINT)
            assert left.process.wait(60) == 130
        finally:
            worker.kill()
