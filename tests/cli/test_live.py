"""Commands against a worker, a Redis server and a sandbox that really run."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioner.sandbox import SandboxServer
from provisioner.settings import Settings, load
from provisioner.worker.wakeups import workers
from tests.cli.calling import HEADER, Answer, call, command, environment, traitly, write_roster, write_settings
from tests.support.redis_server import RedisServer

START_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Site:
    """A deployment under test: its folder, its settings and its vendors."""

    folder: Path
    config: Path
    sandbox: SandboxServer

    @property
    def settings(self) -> Settings:
        """Its settings as a value."""
        return load(self.config, environ={}).settings

    def call(self, *words: str) -> Answer:
        """Run a command against it."""
        return call(*words, PROVISIONER_CONFIG=str(self.config))

    def roster(self, **people: str) -> None:
        """Write the roster again."""
        write_roster(self.folder / "roster.csv", people)

    def runs(self) -> list[str]:
        """The ids of all runs, the newest first."""
        return [document["run"] for document in self.call("runs", "--json").document["runs"]]

    def finished(self, run: str) -> dict[str, Any]:
        """A run's document, once it is over."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            document = self.call("show", run, "--json").document
            if document["status"] != "running":
                return document
            assert time.monotonic() < deadline, document
            time.sleep(0.1)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One deployment for all tests of this file; each brings its own roster, and starts from no accounts."""
    folder = tmp_path_factory.mktemp("live")
    with RedisServer() as server, SandboxServer() as sandbox:
        config = write_settings(
            folder,
            redis_url=server.url,
            targets={"traitly": traitly(sandbox.url_of("traitly"))},
            guards={"leavers": {"percent": 10, "absolute": 100}},
            roster={
                "url": str(folder / "roster.csv"),
                "employed": "employment_status = 'active'",
                "gate": {"max_leaving": "100%", "max_shrink": "100%"},
            },
        )
        sandbox.switchboard.options("traitly", rate_limit=100_000)
        variables = environment(PROVISIONER_CONFIG=str(config))
        log = folder / "worker.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(
                command("worker", "--concurrency", "2"),
                env=variables,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        site = Site(folder, config, sandbox)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not workers(site.settings, timeout=0.5):
                assert worker.poll() is None, log.read_text(errors="replace")
                assert time.monotonic() < deadline, log.read_text(errors="replace")
            yield site
        finally:
            worker.terminate()
            try:
                worker.wait(30)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


@pytest.fixture
def site(live: Site) -> Iterator[Site]:
    yield live
    live.sandbox.switchboard.clear_faults("traitly")


def test_plan_sync_runs_and_show(site: Site) -> None:
    site.roster(A1="active", A2="active", A3="active", A4="left")
    planned = site.call("plan", "--json")
    assert planned.code == 0
    assert planned.document["run"] is None
    assert planned.document["targets"]["traitly"]["planned"]["create"] == 3
    assert {row["person"] for row in planned.document["operations"]} == {"A1", "A2", "A3"}
    assert site.sandbox.switchboard.counts("traitly")["writes"] == 0

    shown = site.call("plan")
    assert shown.code == 0
    assert "A1" in shown.out
    assert "provisioner sync" in shown.out

    synced = site.call("sync", "--wait", "--json")
    assert synced.code == 0
    document = synced.document
    assert document["status"] == "succeeded"
    assert document["targets"]["traitly"]["succeeded"] == {"create": 3}
    assert "traitly: succeeded, 3 of 3 done" in synced.err
    assert {row["customer_id"] for row in site.sandbox.switchboard.accounts("traitly")} >= {"A1", "A2", "A3"}

    run = document["run"]
    assert run in site.call("runs").out
    told = site.call("show", run, "--operations", "--json").document
    assert told["status"] == "succeeded"
    assert [row["status"] for row in told["operations"]] == ["succeeded"] * 3
    assert site.call("show", run, "--failed", "--json").document["operations"] == []
    assert "operations" not in site.call("show", run, "--json").document
    human = site.call("show", run, "--operations")
    assert human.code == 0
    assert "AEDT" in human.out or "AEST" in human.out
    assert "A2" in human.out

    again = site.call("plan", "--json")
    assert again.document["operations"] == []


def test_a_sync_is_written_down_and_a_wrong_digest_is_refused(site: Site) -> None:
    site.roster(A1="active", A2="active", A3="active")
    run = site.call("sync", "--wait", "--json").document
    newest = site.call("audit", "--limit", "1", "--json").document["audit"][0]
    assert (newest["action"], newest["run"]) == ("run requested", run["run"])
    assert newest["by"].startswith("cli")
    refused = site.call("sync", "--accept", "nonsense")
    assert refused.code == 2
    assert run["roster"]["digest"] in refused.err
    other = f"sha256:{'0' * 64}"
    asked = site.call("sync", "--accept", other, "--wait")
    assert asked.code == 0
    assert f"Nothing was accepted: {other} was asked for" in asked.out
    newest = site.call("audit", "--limit", "1", "--json").document["audit"][0]
    assert newest["accept"] == other
    # A decision is written down once
    site.call("pause", "traitly")
    site.call("resume", "traitly")
    entries = site.call("audit", "--limit", "3", "--json").document["audit"]
    assert [one["action"] for one in entries] == ["resumed", "paused", "run requested"]


def test_without_wait_the_run_is_queued(site: Site) -> None:
    site.roster(A1="active", A2="active", A3="active")
    answer = site.call("sync", "--target", "traitly")
    assert answer.code == 0
    run = answer.out.strip()
    assert f"provisioner show {run}" in answer.err
    assert site.finished(run)["status"] == "succeeded"
    queued = site.call("sync", "--json").document
    assert queued["status"] == "queued"
    assert site.finished(queued["run"])["status"] == "succeeded"


def test_what_a_guard_holds_exits_4_and_names_the_next_command(site: Site) -> None:
    people = {f"B{number}": "active" for number in range(6)}
    site.roster(**people)
    assert site.call("sync", "--wait").code == 0
    handed = site.folder / "handed.csv"
    write_roster(handed, {**people, "B0": "left", "B1": "left", "B2": "left", "B6": "active"})

    planned = site.call("plan", "--roster", str(handed))
    assert planned.code == 4
    assert f"sync --roster {handed}" in planned.out

    answer = site.call("sync", "--wait", "--roster", str(handed))
    assert answer.code == 4
    run = site.runs()[0]
    assert f"provisioner approve {run} --target traitly --all" in answer.out
    assert "more than the limit" in answer.out
    document = site.call("show", run, "--json").document
    assert document["targets"]["traitly"]["held"] == {"leave": 3}
    assert document["targets"]["traitly"]["succeeded"] == {"create": 1}


def test_failures_are_grouped_by_cause_and_exit_5(site: Site) -> None:
    site.roster(C1="active", C2="active")
    site.sandbox.switchboard.fault("traitly", match={"method": "POST"}, times=None, status=400, body={"error": "no"})
    answer = site.call("sync", "--wait")
    assert answer.code == 5
    run = site.runs()[0]
    assert f"provisioner show {run} --failed" in answer.out
    assert f"provisioner retry {run}" in answer.out
    failed = site.call("show", run, "--failed", "--json").document["operations"]
    assert {row["person"] for row in failed} == {"C1", "C2"}
    assert {row["status"] for row in failed} == {"failed"}


def test_an_unknown_person_exits_2(site: Site) -> None:
    site.roster(A1="active")
    answer = site.call("sync", "--person", "nobody", "--wait")
    assert answer.code == 2
    assert "nobody" in answer.out
    assert site.call("plan", "--person", "nobody").code == 2


def test_a_rejected_roster_exits_3(site: Site) -> None:
    handed = site.folder / "bad.csv"
    handed.write_text(f"{HEADER}\n", encoding="utf-8")
    answer = site.call("sync", "--roster", str(handed), "--wait", "--json")
    assert answer.code == 3
    assert answer.document["status"] == "rejected"
    assert answer.document["error"]["message"]
    assert site.call("plan", "--roster", str(handed)).code == 3


def test_a_wait_that_ends_early_leaves_the_run_alone(site: Site) -> None:
    site.roster(D1="active")
    site.sandbox.switchboard.fault("traitly", match={"method": "GET"}, times=1, delay_ms=4000)
    answer = site.call("sync", "--wait", "--timeout", "0s", "--json")
    assert answer.code == 6
    assert answer.document["error"]["code"] == "timeout"
    run = answer.document["run"]
    assert run in answer.document["error"]["remedy"]
    assert site.finished(run)["targets"]["traitly"]["succeeded"] == {"create": 1}


def test_ctrl_c_ends_the_looking_but_not_the_run(site: Site) -> None:
    site.roster(D1="active", D2="active")
    site.sandbox.switchboard.fault("traitly", match={"method": "GET"}, times=1, delay_ms=4000)
    with subprocess.Popen(
        command("sync", "--wait", "--json"),
        env=environment(PROVISIONER_CONFIG=str(site.config)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as looking:
        assert looking.stderr is not None
        assert looking.stderr.readline() == "traitly: running\n"
        looking.send_signal(signal.SIGINT)
        out, err = looking.communicate(timeout=30)
    assert looking.returncode == 130, err
    document = json.loads(out)
    assert document["error"]["code"] == "interrupted"
    assert document["run"] in document["error"]["remedy"]
    assert "Traceback" not in err
    assert site.finished(document["run"])["targets"]["traitly"]["succeeded"] == {"create": 1}
