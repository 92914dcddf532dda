"""What `check` finds, what it advises, and how it exits."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.admin.preflight.redis import clocks, last_run, memory, persistence
from provisioner.example import ROSTER, SETTINGS, where
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer
from tests.cli.calling import call, traitly, write_roster, write_settings
from tests.decisions.conftest import company
from tests.support.harness import load_settings, raise_limits, settings_document, sync_once
from tests.support.redis_contents import RedisContents

GIB = 1024**3


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


def found(config: Path, *words: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code, and the findings by their subject."""
    answer = call("check", "--json", *words, PROVISIONER_CONFIG=str(config))
    document = answer.document
    assert document["exit_code"] == answer.code
    lines: dict[str, list[dict[str, Any]]] = {}
    for line in document["checks"]:
        assert line["verdict"] in ("ok", "warn", "fail")
        assert line["remedy"] or line["verdict"] == "ok", line
        lines.setdefault(line["subject"], []).append(line)
    return answer.code, lines


def verdicts(lines: dict[str, list[dict[str, Any]]], subject: str) -> list[str]:
    return [line["verdict"] for line in lines[subject]]


@pytest.mark.parametrize("words", [("check", "--json"), ("check", "--json", "--connect")], ids=" ".join)
def test_without_a_settings_file_it_says_where_it_looked(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(*words)
    first = answer.document["checks"][0]
    assert (first["subject"], first["verdict"]) == ("settings", "fail")
    assert f"config/provisioner.yaml does not exist in {tmp_path}" in first["message"]
    for part in ("--config", str(where(SETTINGS)), str(where(ROSTER))):
        assert part in first["remedy"]
    # With --connect Redis has to answer, and its exit code comes first
    assert answer.document["exit_code"] == answer.code == (1 if "--connect" in words else 2)
    assert "no settings file" not in answer.err


@pytest.mark.parametrize("command", ["plan", "sync", "runs", "todos", "export"])
def test_other_commands_warn_of_it(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(command)
    assert answer.code == 1
    assert f"config/provisioner.yaml does not exist in {tmp_path}" in answer.err
    assert answer.out == ""


def test_targets_from_the_environment_need_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_roster(tmp_path / "roster.csv", {"E1": "active"})
    variables = {
        "PROVISIONER_ROSTER__URL": str(tmp_path / "roster.csv"),
        "PROVISIONER_ROSTER__EMPLOYED": "employment_status = 'active'",
        "PROVISIONER_TARGETS__TRAITLY": json.dumps(traitly("http://127.0.0.1:9/traitly")),
    }
    answer = call("check", "--json", **variables)
    assert answer.code == 0, answer.out
    assert "no settings file" not in answer.out + answer.err
    assert "no settings file" not in call("runs", **variables).err


def test_each_thing_that_a_sync_stands_on_has_its_line(redis_url: str, tmp_path: Path, sandbox: SandboxServer) -> None:
    config = write_settings(tmp_path, redis_url=redis_url, targets={"traitly": traitly(sandbox.url_of("traitly"))})
    code, lines = found(config, "--connect")
    assert code == 0
    assert set(lines) == {
        *("settings", "mapping", "redis", "redis writes", "redis persistence", "redis memory", "clock", "beat"),
        *("workers", "last run", "disk", "roster source", "roster", "durations", "traitly", "traitly rights"),
    }
    for subject in ("settings", "redis", "disk", "roster", "last run", "traitly", "traitly rights"):
        assert verdicts(lines, subject) == ["ok"], subject
    named = RedisContents(redis_url).server_name()
    assert lines["redis"][0]["message"].startswith(f"{named} answers at unix://")
    # The tests' server keeps nothing and has no bound, and neither beat nor a worker was ever started here
    for subject in ("redis persistence", "redis memory", "beat", "workers"):
        assert verdicts(lines, subject) == ["warn"], subject
    assert [line["message"].partition(" ")[0] for line in lines["clock"]] == ["Redis's", "traitly's"]
    assert verdicts(lines, "clock") == ["ok", "ok"]


def test_a_plain_check_changes_nothing(redis_url: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path, redis_url=redis_url)
    assert found(config)[0] == 0
    assert RedisContents(redis_url).names() == set()
    assert not (tmp_path / "data").exists()


def test_before_anything_was_started_redis_may_be_away(tmp_path: Path) -> None:
    code, lines = found(write_settings(tmp_path))
    assert code == 0
    assert verdicts(lines, "redis") == ["warn"]
    assert "provisioner up" in lines["redis"][0]["remedy"]
    assert verdicts(lines, "roster") == ["ok"]


def test_a_server_of_the_settings_that_does_not_answer_is_a_fault(tmp_path: Path) -> None:
    code, lines = found(write_settings(tmp_path, redis_url=f"unix://{tmp_path}/none.sock?db=0"))
    assert code == 1
    assert verdicts(lines, "redis") == ["fail"]
    assert verdicts(lines, "roster") == ["ok"]


def test_without_redis_the_targets_are_looked_at_all_the_same(tmp_path: Path, sandbox: SandboxServer) -> None:
    targets = {"traitly": traitly(sandbox.url_of("traitly"))}
    code, lines = found(write_settings(tmp_path, targets=targets), "--connect")
    assert code == 1
    assert (verdicts(lines, "redis"), verdicts(lines, "traitly")) == (["fail"], ["ok"])
    targets["traitly"]["token"] = "wrong"
    code, lines = found(write_settings(tmp_path, targets=targets), "--connect")
    # Of two faults, the first in the order of exit codes
    assert code == 1
    assert verdicts(lines, "traitly") == ["fail"]


def test_refused_credentials_and_a_target_that_is_away(redis_url: str, tmp_path: Path, sandbox: SandboxServer) -> None:
    wrong = {**traitly(sandbox.url_of("traitly")), "token": "wrong"}
    away = {**traitly("http://127.0.0.1:9/traitly"), "kind": "traitly"}
    config = write_settings(tmp_path, redis_url=redis_url, targets={"traitly": wrong, "other": away})
    code, lines = found(config, "--connect")
    assert code == 5
    assert "credentials" in lines["traitly"][0]["message"]
    assert "base_url" in lines["other"][0]["remedy"]


def test_what_the_expressions_make_of_real_rows_is_told_without_a_value(redis_url: str, tmp_path: Path) -> None:
    roster = tmp_path / "roster.csv"
    document = settings_document("http://127.0.0.1:9", redis_url, roster, tmp_path)
    habits = document["targets"]["tribal_habits"]
    habits["attributes"] |= {"active": "language"}
    document["targets"] = {"tribal_habits": habits}
    (tmp_path / "provisioner.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    people = {2: {"first_name": ""}, 4: {"language": "true"}}
    roster.write_text(company(30, changes=people), encoding="utf-8")
    code, lines = found(tmp_path / "provisioner.yaml")
    assert code == 0
    summary = lines["mapping"][-1]
    assert summary["verdict"] == "warn"
    assert "tried on 10 rows, 10 of them members" in summary["message"]
    assert "ok: X-Country, email, groups" in summary["message"]
    for told in ("first_name in 1 of 10", "active in 9 of 10", "manager_email in 10 of 10"):
        assert told in summary["message"]
    assert "first_name" in summary["remedy"]
    unfit = [line["message"] for line in lines["mapping"] if "is neither true nor false" in line["message"]]
    assert unfit[0].startswith("W0000: targets.tribal_habits.attributes.active: ")
    assert "example.com" not in str(lines)
    assert "Last1" not in str(lines)


def test_a_key_that_may_not_see_emails(redis_url: str, tmp_path: Path, sandbox: SandboxServer) -> None:
    switchboard = sandbox.switchboard
    switchboard.reset()
    raise_limits(switchboard)
    roster = tmp_path / "roster.csv"
    roster.write_text(company(3), encoding="utf-8")
    document = settings_document(sandbox.url, redis_url, roster, tmp_path)
    document["targets"] = {"habitate": document["targets"]["habitate"] | {"match": ["email"]}}
    settings = load_settings(tmp_path, document)

    async def twice() -> None:
        async with Deployment.open(settings) as dep:
            # The second run sees whom the first one made
            for _ in range(2):
                await sync_once(dep)

    asyncio.run(twice())
    config = tmp_path / "provisioner.yaml"
    assert verdicts(found(config, "--connect")[1], "habitate rights") == ["ok"]
    switchboard.options("habitate", hide_email=True)
    code, lines = found(config, "--connect")
    assert code == 0
    (line,) = lines["habitate rights"]
    assert line["verdict"] == "warn"
    assert "None of 3 accounts shows email" in line["message"]
    assert "right to see it" in line["remedy"]


def test_a_vendor_whose_clock_is_wrong(redis_url: str, tmp_path: Path) -> None:
    class Early(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            del timestamp
            return formatdate(1_000_000_000, usegmt=True)

        def log_message(self, *_: Any) -> None:
            """Nothing on standard error."""

    with HTTPServer(("127.0.0.1", 0), Early) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        targets = {"traitly": traitly(f"http://127.0.0.1:{server.server_port}")}
        code, lines = found(write_settings(tmp_path, redis_url=redis_url, targets=targets), "--connect")
        server.shutdown()
        thread.join()
    assert code == 5
    assert verdicts(lines, "clock") == ["ok", "warn"]
    assert "behind this machine's" in lines["clock"][1]["message"]
    assert "NTP" in lines["clock"][1]["remedy"]


def test_a_data_dir_that_cannot_be_written_to(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, lines = found(write_settings(tmp_path, redis_url=redis_url, data_dir=str(tmp_path / "file" / "data")))
    assert code == 2
    assert verdicts(lines, "disk") == ["fail"]
    assert "name another data_dir" in lines["disk"][0]["remedy"]


def test_the_server_of_up_has_the_memory_of_its_machine() -> None:
    line = memory({"total_system_memory": 4 * GIB}, own=True)
    assert (line.verdict, line.exit_code) == ("ok", 0)


@pytest.mark.parametrize(
    ("info", "verdict", "word"),
    [
        ({"aof_enabled": 1}, "ok", "append-only"),
        ({"aof_enabled": 0}, "warn", "appendonly"),
        ({"aof_enabled": 1, "aof_last_write_status": "err"}, "fail", "write"),
        ({"aof_enabled": 1, "aof_last_bgrewrite_status": "err"}, "fail", "rewrite"),
        ({"loading": 1, "aof_enabled": 1}, "warn", "loading"),
    ],
)
def test_persistence(info: dict[str, Any], verdict: str, word: str) -> None:
    line = persistence(info)
    assert line.verdict == verdict
    assert word in line.message
    assert bool(line.remedy) == (verdict != "ok")
    assert bool(line.exit_code) == (verdict == "fail")


@pytest.mark.parametrize(
    ("info", "verdict", "word"),
    [
        ({"maxmemory_policy": "noeviction", "used_memory": GIB, "maxmemory": 4 * GIB}, "ok", "1024 MiB of 4096 MiB"),
        ({"maxmemory_policy": "noeviction", "used_memory": GIB, "maxmemory": GIB}, "warn", "short"),
        ({"maxmemory_policy": "noeviction", "used_memory": GIB, "total_system_memory": GIB}, "warn", "short"),
        ({"maxmemory_policy": "allkeys-lru", "used_memory": 1}, "fail", "throw away the ledger"),
        ({"total_system_memory": 4 * GIB}, "warn", "no maxmemory"),
    ],
)
def test_memory(info: dict[str, Any], verdict: str, word: str) -> None:
    line = memory(info)
    assert (line.verdict, line.exit_code) == (verdict, 1 if verdict == "fail" else 0)
    assert word in line.message


@pytest.mark.parametrize(
    ("ahead", "verdict", "word"),
    [(0.0, "ok", "agree"), (-4.9, "ok", "agree"), (130.0, "warn", "130 s ahead of"), (-61.0, "warn", "61 s behind")],
)
def test_clocks(ahead: float, verdict: str, word: str) -> None:
    line = clocks("Redis's clock", ahead, "Set it.")
    assert (line.verdict, line.exit_code) == (verdict, 0)
    assert word in line.message


@pytest.mark.parametrize(
    ("last", "good", "scheduled", "verdict", "word"),
    [
        (None, None, True, "ok", "none yet"),
        (999_990.0, 999_990.0, True, "ok", "10 s ago"),
        (999_990.0, None, True, "warn", "none succeeded"),
        (999_990.0, 700_000.0, True, "warn", "3 d ago"),
        (700_000.0, 700_000.0, False, "ok", "3 d ago"),
    ],
)
def test_the_last_run(last: float | None, good: float | None, scheduled: bool, verdict: str, word: str) -> None:
    line = last_run(last, good, 1_000_000.0, scheduled=scheduled)
    assert (line.verdict, line.exit_code) == (verdict, 0)
    assert word in line.message


def test_a_vendor_that_hangs_is_named_while_it_is_waited_for(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.admin.preflight.targets.LONGEST", 2.0)
    monkeypatch.setattr("provisioner.admin.preflight.targets.SAID_AFTER", 0.5)
    with socket.socket() as silent:
        # It takes connections, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen(20)
        place = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = write_settings(tmp_path, redis_url=redis_url, targets={"traitly": traitly(f"{place}/traitly")})
        began = time.monotonic()
        answer = call("check", "--connect", "--json", PROVISIONER_CONFIG=str(config))
        assert time.monotonic() - began < 30
    assert f"Waiting for traitly at {place}" in answer.err
    (line,) = [one for one in answer.document["checks"] if one["subject"] == "traitly"]
    assert line["verdict"] == "fail"
    assert "did not answer within 2 s" in line["message"]
    assert answer.code == 5


def test_a_pause_says_who_and_why_wherever_one_looks(redis_url: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path, redis_url=redis_url)
    variables = {"PROVISIONER_CONFIG": str(config)}
    assert call("pause", "traitly", "--reason", "audit of the vendor", **variables).code == 0
    (line,) = found(config)[1]["paused"]
    assert line["verdict"] == "warn"
    assert "audit of the vendor" in line["message"]
    assert "provisioner resume traitly" in line["remedy"]
    (paused,) = call("todos", "--json", **variables).document["paused"]
    assert (paused["target"], paused["reason"], paused["by"][:4]) == ("traitly", "audit of the vendor", "cli:")
    assert "audit of the vendor" in call("todos", **variables).out
    assert call("audit", "--json", **variables).document["audit"][0]["reason"] == "audit of the vendor"
    assert call("resume", "traitly", **variables).code == 0
    assert "paused" not in found(config)[1]
    assert call("todos", "--json", **variables).document["paused"] == []


def test_where_only_the_table_of_a_look_up_is_missing_the_roster_needs_no_other_settings(tmp_path: Path) -> None:
    config = write_settings(tmp_path)
    document = yaml.safe_load(config.read_text())
    document["roster"]["lookups"] = {"site": {"by": "location", "in": str(tmp_path / "sites.csv"), "key": "code"}}
    config.write_text(yaml.safe_dump(document))
    (tmp_path / "roster.csv").write_text(company(2))
    for table in (None, "place,city\nSydney,SYD\n"):
        if table is not None:
            (tmp_path / "sites.csv").write_text(table)
        answer = call("check", "--json", PROVISIONER_CONFIG=str(config))
        assert "fragment" not in answer.document, table
        (line,) = [one for one in answer.document["checks"] if one["verdict"] == "fail" and one["subject"] == "roster"]
        assert line["message"].startswith("roster.lookups.site: ")


def test_at_first_contact_it_gives_settings_to_start_from(tmp_path: Path) -> None:
    rows = (
        "Report\nMade 2026\nPersNr;Name;Status;Eintritt\n0001;Ann;aktiv;01.05.2020\n0002;Tom;ausgetreten;24.12.2021\n"
    )
    (tmp_path / "export.csv").write_text(rows)
    config = tmp_path / "first.yaml"
    document = yaml.safe_load(write_settings(tmp_path).read_text())
    document["roster"] = {"url": str(tmp_path / "export.csv")}
    config.write_text(yaml.safe_dump(document))
    answer = call("check", "--json", PROVISIONER_CONFIG=str(config))
    assert answer.code == 3
    fragment = answer.document["fragment"]
    assert fragment["settings"] == {
        "delimiter": ";",
        "header_row": 3,
        "key": "PersNr",
        "employed": "Status = 'aktiv'",
        "starts": "Eintritt",
        "dates": "day_first",
    }
    assert fragment["status"] == {"Status": {"aktiv": 1, "ausgetreten": 1}}
    shown = call("check", PROVISIONER_CONFIG=str(config))
    assert "Settings to start from" in shown.out
    assert "  key: PersNr\n" in shown.out
    # With them it fits, as far as the roster goes
    document["roster"] |= fragment["settings"]
    own = {"customer_id": "PersNr", "name": "Name", "email": "NULL"}
    document["targets"]["traitly"]["attributes"] |= own
    config.write_text(yaml.safe_dump(document))
    fits = call("check", "--json", PROVISIONER_CONFIG=str(config)).document
    assert "fragment" not in fits
    assert any("2 rows, 2 people, 0 rejected" in line["message"] for line in fits["checks"])


def test_a_total_that_would_be_a_person_is_named(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text("employee_id,name,x\nE1,Ann,1\nGrand Total,1,\n")
    config = tmp_path / "first.yaml"
    document = yaml.safe_load(write_settings(tmp_path).read_text())
    document["roster"] = {"url": str(tmp_path / "export.csv")}
    document["targets"]["traitly"]["attributes"] |= {"customer_id": "employee_id", "name": "name", "email": "NULL"}
    config.write_text(yaml.safe_dump(document))
    lines = call("check", "--json", PROVISIONER_CONFIG=str(config)).document["checks"]
    (line,) = [one for one in lines if "looks like a total" in one["message"]]
    assert line["message"].startswith("Line 3 ")
    assert line["remedy"] == "Set `roster.skip: \"employee_id = 'Grand Total'\"`, or the like."
    # One of too few cells is rejected, and would be in every run
    (tmp_path / "export.csv").write_text("employee_id,name,x\nE1,Ann,1\nTotal: 1\n")
    lines = call("check", "--json", PROVISIONER_CONFIG=str(config)).document["checks"]
    (line,) = [one for one in lines if "looks like a total" in one["message"]]
    assert line["message"].startswith("Line 3 ")
    assert line["remedy"] == "Set `roster.skip: \"employee_id LIKE 'Total%'\"`, or the like."


def test_a_recording_keeps_what_answers_look_like_and_no_value(
    sandbox: SandboxServer, tmp_path: Path, redis_url: str
) -> None:
    sandbox.switchboard.reset()
    raise_limits(sandbox.switchboard)
    roster = tmp_path / "roster.csv"
    roster.write_text(company(3))
    document = settings_document(sandbox.url, redis_url, roster, tmp_path)

    async def once() -> None:
        async with Deployment.open(load_settings(tmp_path, document)) as dep:
            for _ in range(2):
                await sync_once(dep)

    asyncio.run(once())
    place = tmp_path / "shapes.json"
    config = str(tmp_path / "provisioner.yaml")
    answer = call("check", "--connect", "--record", str(place), PROVISIONER_CONFIG=config)
    assert answer.code == 0
    text = place.read_text(encoding="utf-8")
    assert place.stat().st_mode & 0o777 == 0o600
    recorded = json.loads(text)["targets"]
    assert {name: one["kind"] for name, one in recorded.items()} == {name: name for name in document["targets"]}
    users = next(one for one in recorded["tribal_habits"]["answers"] if one["path"] == "/papi/users")
    assert users["query"] == ["max_per_page"]
    assert users["status"] == 200
    assert users["body"]["total_records"] == "whole number"
    assert users["body"]["records"][0]["email"] == "text"
    assert "/papi/users/{…}" in {one["path"] for one in recorded["tribal_habits"]["answers"]}
    assert recorded["mtribes"]["answers"]
    for account in sandbox.switchboard.accounts("tribal_habits"):
        for name in ("user_name", "email", "first_name", "last_name", "created_at"):
            assert str(account[name]) not in text
    assert "sandbox-" not in text
    alone = call("check", "--record", str(place), PROVISIONER_CONFIG=config)
    assert (alone.code, "--connect" in alone.err) == (2, True)
