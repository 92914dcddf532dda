"""The commands that there are, and what each says when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.cli import commands
from tests.cli.calling import call, write_settings
from tests.support.redis_contents import RedisContents

#: Command → its options, as the design fixes them.
COMMANDS = {
    "check": {"--connect", "--record", "--json"},
    "test": {"--json"},
    "simulate": {"--config", "--last", "--json"},
    "plan": {"--target", "--person", "--roster", "--out", "--markdown", "--undo", "--force-drift", "--json"},
    "sync": {"--target", "--person", "--roster", "--accept", "--plan", "--wait", "--timeout", "--json"},
    "undo": {"--target", "--person", "--force-drift", "--wait", "--timeout", "--json"},
    "pull": {"--target", "--timeout", "--json"},
    "runs": {"--json"},
    "show": {"--operations", "--failed", "--json"},
    "approve": {"--target", "--person", "--all", "--wait", "--json"},
    "reject": {"--target", "--person", "--all", "--json"},
    "retry": {"--wait", "--json"},
    "why": {"--json"},
    "drift": {"--json"},
    "todos": {"--json"},
    "orphans": {"--json"},
    "link": {"--json"},
    "unlink": {"--json"},
    "roster": {"--drop-push", "--json"},
    "rekey": {"--all", "--different", "--json"},
    "access": {"--target", "--out", "--json"},
    "audit": {"--limit", "--json"},
    "export": {"--json"},
    "webhooks": {"--dead", "--show", "--replay", "--limit", "--json"},
    "pause": {"--reason"},
    "resume": set(),
    "forget": {"--json"},
    "backup": {"--json"},
    "restore": {"--force", "--json"},
    "up": set(),
    "worker": set(),
    "beat": set(),
    "web": set(),
    "sandbox": {"--port"},
    "demo": {"--keep"},
}


#: Those that read the settings first of all, each with the arguments that it needs.
_ARGUMENTS = {"show": ["RUN"], "undo": ["RUN"], "approve": ["RUN", "--all"], "reject": ["RUN", "--all"]}
_ARGUMENTS |= {"retry": ["RUN"], "why": ["K1"], "link": ["K1", "T", "A1"], "unlink": ["K1", "T"], "rekey": ["K1", "K2"]}
_ARGUMENTS |= {"pause": ["T"], "resume": ["T"], "forget": ["K1"], "backup": ["FILE"], "restore": ["FILE"]}
LOADING = {name: [name, *_ARGUMENTS.get(name, ())] for name in COMMANDS if name not in ("simulate", "sandbox", "demo")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_its_options(name: str) -> None:
    answer = call(name, "--help")
    assert answer.code == 0
    assert f"Usage: provisioner {name}" in answer.out
    words = set(answer.out.replace("[", " ").split())
    assert words >= COMMANDS[name]


def test_no_command_is_without_help_or_test() -> None:
    assert set(commands.COMMANDS) == set(COMMANDS)


def test_help_lists_each_command_with_the_first_line_of_its_docstring() -> None:
    shown = call("--help").out
    for name, summary in commands.summaries().items():
        documented = commands.function_of(name).__doc__ or ""
        assert summary == documented.partition("\n")[0] != ""
        assert summary in " ".join(shown.split())


def test_help_imports_no_command() -> None:
    program = """
import sys
from provisioner.cli.app import app
try:
    app(["--help"])
finally:
    heavy = {"celery", "fastapi", "httpx", "importlib.metadata", "msgspec", "polars", "pydantic", "redis", "structlog"}
    print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stderr.strip() == "[]"


def test_version() -> None:
    answer = call("--version")
    assert answer.code == 0
    assert answer.out.startswith("provisioner ")


def test_no_command_at_all_lists_them_and_is_a_usage_error() -> None:
    answer = call()
    assert answer.code == 2
    assert "Commands:" in answer.err


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["show"], ["sync", "--nonsense"], ["sandbox", "--port", "x"], ["worker", "--concurrency", "0"]],
)
def test_usage_errors(words: list[str]) -> None:
    answer = call(*words)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("Error: ")
    assert "--help" in answer.err


def test_a_usage_error_is_json_where_json_was_asked_for() -> None:
    answer = call("show", "--json")
    assert answer.code == 2
    assert answer.document["error"]["code"] == "usage"
    assert "RUN" in answer.document["error"]["message"]


def test_a_missing_settings_file(tmp_path: Path) -> None:
    answer = call("--config", str(tmp_path / "none.yaml"), "plan")
    assert answer.code == 2
    assert answer.out == ""
    assert "none.yaml" in answer.err


@pytest.mark.parametrize(
    "words",
    [*(["--config", "nope.yaml", *one] for one in LOADING.values()), ["simulate", "--config", "nope.yaml"]],
    ids=" ".join,
)
def test_a_settings_file_that_the_option_names_wrongly_is_said_of_the_option(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    right = {"PROVISIONER_CONFIG": str(write_settings(tmp_path))} if words[0] == "simulate" else {}
    answer = call(*words, **right)
    assert answer.code == 2
    said = answer.out + answer.err
    assert "'nope.yaml' does not exist" in said
    assert "--config" in said
    assert str(tmp_path) in said
    assert "PROVISIONER_CONFIG" not in said


@pytest.mark.parametrize("name", [name for name in LOADING if "--json" in COMMANDS[name]])
def test_every_command_that_reports_gives_one_document_for_an_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call("--config", "nope.yaml", *LOADING[name], "--json")
    assert answer.code == 2
    assert set(answer.document["error"]) == {"code", "message", "remedy"}
    assert answer.document["error"]["code"] == "configuration"


def test_a_settings_file_that_the_variable_names_wrongly_is_said_of_both(tmp_path: Path) -> None:
    answer = call("runs", PROVISIONER_CONFIG=str(tmp_path))
    assert answer.code == 2
    assert "is a folder" in answer.err
    assert "Set PROVISIONER_CONFIG" in answer.err
    assert "--config" in answer.err


@pytest.mark.parametrize("name", ["check", "plan", "sync", "runs", "worker", "beat", "web", "up"])
def test_wrong_settings_name_the_setting(name: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path, timezon="Australia/Sydney")
    answer = call(name, PROVISIONER_CONFIG=str(config))
    assert answer.code == 2
    assert "timezone" in answer.err
    assert "Traceback" not in answer.err


def test_wrong_settings_as_json(tmp_path: Path) -> None:
    config = write_settings(tmp_path, timezone="Mars/Olympus")
    answer = call("runs", "--json", PROVISIONER_CONFIG=str(config))
    assert answer.code == 2
    assert answer.document["error"]["code"] == "configuration"
    assert "Mars/Olympus" in answer.document["error"]["message"]


@pytest.mark.parametrize("words", [["sync", "--wait"], ["show", "x"], ["worker"]])
def test_redis_that_is_not_there(words: list[str], tmp_path: Path) -> None:
    answer = call(*words, PROVISIONER_CONFIG=str(write_settings(tmp_path)))
    assert answer.code == 1
    assert answer.out == ""
    assert "provisioner up" in answer.err
    assert answer.err.count("\n") == 1


def test_redis_that_is_not_there_as_json(tmp_path: Path) -> None:
    answer = call("plan", "--json", PROVISIONER_CONFIG=str(write_settings(tmp_path)))
    assert answer.code == 1
    assert answer.document["error"]["code"] == "store"
    assert "provisioner up" in answer.document["error"]["remedy"]


def test_nothing_is_started_without_a_worker(redis_url: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path, redis_url=redis_url)
    answer = call("sync", "--wait", "--json", PROVISIONER_CONFIG=str(config))
    assert answer.code == 1
    assert answer.document["error"]["code"] == "no_worker"
    assert "waiting up to 15 s" in answer.err
    assert RedisContents(redis_url).run_fields() == []


@pytest.mark.parametrize("name", ["plan", "sync"])
def test_an_unknown_target_and_the_nearest_name(name: str, redis_url: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path, redis_url=redis_url)
    answer = call(name, "--target", "traitli", PROVISIONER_CONFIG=str(config))
    assert answer.code == 2
    assert "traitli" in answer.err
    assert "did you mean 'traitly'" in answer.err


def test_a_missing_roster_is_rejected(redis_url: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path, redis_url=redis_url)
    missing = str(tmp_path / "none.csv")
    answer = call("plan", "--roster", missing, PROVISIONER_CONFIG=str(config))
    assert answer.code == 3
    assert missing in answer.err


def test_an_unreachable_target_is_told_and_exits_5(redis_url: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path, redis_url=redis_url)
    answer = call("plan", PROVISIONER_CONFIG=str(config))
    assert answer.code == 5
    assert "unreachable" in answer.out
    assert "provisioner check --connect" in answer.out


def test_an_unknown_run(redis_url: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path, redis_url=redis_url)
    answer = call("show", "20990101-000000-abcdef", PROVISIONER_CONFIG=str(config))
    assert answer.code == 2
    assert "provisioner runs" in answer.err


def test_a_timeout_that_is_no_duration(tmp_path: Path) -> None:
    answer = call("sync", "--wait", "--timeout", "soon", PROVISIONER_CONFIG=str(write_settings(tmp_path)))
    assert answer.code == 2
    assert "--timeout" in answer.err


def test_no_runs_yet(redis_url: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path, redis_url=redis_url)
    assert "provisioner sync" in call("runs", PROVISIONER_CONFIG=str(config)).out
    assert call("runs", "--json", PROVISIONER_CONFIG=str(config)).document == {"runs": []}


def test_check_tells_each_finding_and_what_comes_next(redis_url: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path, redis_url=redis_url)
    answer = call("check", PROVISIONER_CONFIG=str(config))
    assert answer.code == 0
    assert "roster.csv" in answer.out
    assert "Next: provisioner check --connect" in answer.out
    document = call("check", "--json", PROVISIONER_CONFIG=str(config)).document
    assert document["exit_code"] == 0
    assert {"subject", "verdict", "message", "remedy"} == set(document["checks"][0])


def test_check_exits_as_a_sync_would(redis_url: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path, redis_url=redis_url)
    (tmp_path / "roster.csv").unlink()
    answer = call("check", PROVISIONER_CONFIG=str(config))
    assert answer.code == 3
    assert "fail" in answer.out


@pytest.mark.parametrize("debug", ["", "1"])
def test_an_unexpected_error_is_one_line_without_personal_data(
    debug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no such thing for ada@example.com")

    monkeypatch.setattr("provisioner.admin.preflight.check", broken)
    answer = call("check", PROVISIONER_CONFIG=str(write_settings(tmp_path)), PROVISIONER_DEBUG=debug)
    assert answer.code == 1
    assert "Unexpected RuntimeError: no such thing for [email]" in answer.err
    assert "ada@example.com" not in answer.err
    assert ("Traceback" in answer.err) == bool(debug)
    if not debug:
        assert answer.err.count("\n") == 1


def test_an_unknown_variable_only_warns_on_standard_error(redis_url: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path, redis_url=redis_url)
    answer = call("runs", "--json", PROVISIONER_CONFIG=str(config), PROVISIONER_SERVICE_HOST="10.0.0.1")
    assert answer.code == 0
    assert answer.document == {"runs": []}
    assert "PROVISIONER_SERVICE_HOST" in answer.err
