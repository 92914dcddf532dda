"""What an operator reads, and what programs read instead."""

from __future__ import annotations

import io
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from provisioner.cli.render import person_history, run_report
from provisioner.cli.render.output import local, plain, span
from provisioner.cli.render.progress import Lines, summary
from tests.support.documents import anything

ZONE = ZoneInfo("Australia/Sydney")


def _console() -> tuple[Console, io.StringIO]:
    into = io.StringIO()
    return Console(file=into, width=200, highlight=False, markup=False, emoji=False), into


def _operation(**changes: Any) -> dict[str, Any]:
    return {
        "id": "a",
        "target": "traitly",
        "person": "E1",
        "kind": "update",
        "account": "7",
        "before": {"name": "Ada"},
        "after": {"name": "Ada Lovelace"},
        "drift": False,
        "status": "pending",
        "attempts": 0,
        "error": None,
        "reason": "",
        **changes,
    }


def _run(status: str, target: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"run": "r1", "trigger": "manual", "status": status, "targets": {"traitly": target}, **changes}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "name: Ada → Ada Lovelace"),
        ({"before": {"active": True}, "after": {"active": False}}, "active: true → false"),
        ({"before": {"boards": "x"}, "after": {"boards": None}}, "boards: x → (empty)"),
        ({"before": {"role": None}, "after": {"role": "Guest"}}, "role: (empty) → Guest"),
        ({"kind": "create", "before": {}, "after": {"id": "E1", "plan": "P"}}, "id: E1, plan: P"),
        ({"kind": "enrol", "before": {}, "after": {"code": "TH-1"}}, "code: TH-1"),
    ],
)
def test_change(changes: dict[str, Any], text: str) -> None:
    assert run_report.change(_operation(**changes)) == text


def test_at_most_fifty_operations_of_a_target_are_shown() -> None:
    out, into = _console()
    rows = [_operation(person=f"P{number:03}") for number in range(60)]
    run_report.operations(out, [*rows, _operation(target="habitate", person="H1")])
    shown = into.getvalue()
    assert "P049" in shown
    assert "P050" not in shown
    assert "and 10 more" in shown
    assert "traitly: 60 operations" in shown
    assert "H1" in shown


def test_nothing_of_a_roster_or_a_vendor_reaches_the_terminal_as_a_command() -> None:
    out, into = _console()
    run_report.operations(out, [_operation(after={"name": "\x1b[2J[red]x[/red]\u202e"}, error={"message": "\x07bell"})])
    shown = into.getvalue()
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "[red]x[/red]" in shown
    assert plain("a\nb") == "a\\x0ab"


def test_what_is_undone_is_grouped_by_cause() -> None:
    out, into = _console()
    no = {"code": "bad_row", "message": "email is taken"}
    rows = [_operation(person=f"P{number}", status="failed", error=no) for number in range(7)]
    rows.append(_operation(person="Q", status="held", error={"code": "held", "message": "too many"}))
    run_report.causes(out, rows)
    lines = into.getvalue().splitlines()[2:]
    assert [line.split() for line in lines] == [
        ["traitly", "failed", "7", "bad_row:", "email", "is", "taken", "P0"],
        ["traitly", "held", "1", "too", "many", "Q"],
    ]


@pytest.mark.parametrize(
    ("document", "commands"),
    [
        (_run("succeeded", {"status": "succeeded"}), []),
        (_run("running", {"status": "running"}), ["provisioner show r1"]),
        (
            _run("failed", {"status": "failed", "failed": {"create": 1}}),
            ["provisioner show r1 --failed", "provisioner retry r1"],
        ),
        (
            _run("held", {"status": "held", "held": {"leave": 1}}),
            ["provisioner show r1 --operations", "provisioner approve r1 --target traitly --all"],
        ),
        (
            _run("failed", {"status": "quarantined"}),
            ["provisioner check --connect", "provisioner resume traitly"],
        ),
        (_run("held", {"status": "paused", "waiting": {"leave": 1}}), ["provisioner resume traitly"]),
        (
            _run("held", {"status": "held"}, roster={"degraded": ["It shrank."], "digest": "sha256:ab"}),
            ["provisioner sync --accept sha256:ab"],
        ),
        (_run("succeeded", {"status": "succeeded", "planned": {"create": 2}}, run=None), ["provisioner sync"]),
        (_run("succeeded", {"status": "succeeded", "planned": {"create": 0}}, run=None), []),
    ],
)
def test_next_steps(document: dict[str, Any], commands: list[str]) -> None:
    out, into = _console()
    run_report.next_steps(out, document)
    assert [line.rpartition(": provisioner")[2] for line in into.getvalue().splitlines() if line] == [
        command.removeprefix("provisioner") for command in commands
    ]


def test_an_accepted_roster_is_not_asked_about_again() -> None:
    out, into = _console()
    roster = {"degraded": ["It shrank."], "digest": "sha256:ab", "accepted": True}
    run_report.next_steps(out, _run("succeeded", {"status": "succeeded"}, roster=roster))
    assert into.getvalue() == ""


def test_commands_can_be_typed_as_they_are_shown() -> None:
    assert run_report.command_line("sync", [("--person", "O'Hara 1")]) == "provisioner sync --person 'O'\"'\"'Hara 1'"


def test_times_are_the_organisations_own() -> None:
    assert local("2026-01-15T12:00:00.000Z", ZONE) == "2026-01-15 23:00:00 AEDT"
    assert local(None, ZONE) == ""
    assert [span(seconds) for seconds in (0.4, 59.4, 61, 7260)] == ["0s", "59s", "1m 1s", "2h 1m"]


def test_history_sums_over_targets() -> None:
    out, into = _console()
    target = {"status": "held", "planned": {"leave": 3, "update": 2}, "succeeded": {"update": 2}, "held": {"leave": 3}}
    times = {"started_at": "2026-01-15T12:00:00.000Z", "finished_at": "2026-01-15T12:01:05.000Z"}
    run_report.history(out, [{**_run("held", target), **times}], ZONE)
    row = into.getvalue().splitlines()[1]
    assert row.split() == ["r1", "manual", "held", "2026-01-15", "23:00:00", "AEDT", "1m", "5s", "5", "2", "0", "3"]


def test_lines_tell_each_change_once_and_the_last_in_any_case(capsys: pytest.CaptureFixture[str]) -> None:
    first = _run("running", {"status": "running", "planned": {"create": 3}, "succeeded": {"create": 1}})
    last = _run("failed", {**first["targets"]["traitly"], "status": "failed", "failed": {"create": 2}})
    with Lines() as lines:
        lines.show(anything(first))
        lines.show(anything(first))
        lines.show(anything(last))
        lines.show(anything(last))
    assert capsys.readouterr().err.splitlines() == [
        "traitly: running, 1 of 3 done",
        "traitly: failed, 1 of 3 done, 2 failed",
    ]


def test_summary_of_a_target_that_is_not_planned_yet() -> None:
    running = {"status": "running", "planned": {"create": 0}}
    assert summary(anything(running)) == "running"
    assert summary(anything({**running, "notes": ["It waits for a look."]})) == "running. It waits for a look."
    # What is said of a plan is shown with the run
    planned = {"status": "running", "planned": {"create": 1}, "notes": ["One was left out."]}
    assert summary(anything(planned)) == "running, 0 of 1 done"


def test_a_remark_about_a_change_that_was_done_is_in_the_history() -> None:
    out, into = _console()
    moment = "2026-03-10T01:00:00.000Z"
    done = {"status": "succeeded", "attempts": 1, "tries": [], "changed_at": moment, "note": "nobody was invited"}
    run = {"trigger": "manual", "status": "succeeded", "started_at": moment, "finished_at": moment}
    story = {"operations": [{"run": "r1", **_operation(**done)}], "heard": [], "runs": {"r1": run}}
    person_history.timeline(out, story, ZONE)
    assert "answer (try 1): acknowledged by the target; nobody was invited, account 7" in into.getvalue()
