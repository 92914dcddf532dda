"""The benchmarks' page: what `make bench` writes, and that every part is on it."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.__main__ import PARTS
from benchmarks.goals import Goal, Turns, compared, counted, disturbed, measured, milliseconds
from benchmarks.planning import STAGES
from benchmarks.report import (
    PAGE,
    Circumstances,
    Figures,
    as_failure,
    as_markdown,
    as_text,
    circumstances,
    ticks,
    updated,
)
from provisioner.planning import plan

WHERE = Circumstances("2026-01-02", "abc1234", "2 cores")
GOAL = Goal("time", "at most 2.00 x", "1.50 x", met=True)
FIGURES = Figures("Reading", ("file", "time"), (("plain", "1.5 x"),), goals=(GOAL,), notes=("Quiet.",))
MISSED, UNJUDGED = replace(GOAL, met=False), replace(GOAL, met=None, why="the turns lie 3.0 times apart")


def test_a_table_is_shown_with_its_notes_and_its_verdict() -> None:
    assert as_text(FIGURES).split("\n") == [
        "Reading", "", "file    time", "plain  1.5 x", "",
        "goal          wanted   found  verdict", "time  at most 2.00 x  1.50 x      met", "",
        "Quiet.", "", "Every goal was met.",
    ]  # fmt: skip
    section = as_markdown(FIGURES, WHERE)
    assert "| file | time |\n|---|---:|\n| plain | 1.5 x |" in section
    assert "|---|---:|---:|---:|\n| time | at most 2.00 x | 1.50 x | met |" in section
    assert section.endswith("Every goal was met. (2026-01-02, commit abc1234, 2 cores)\n")


def test_time_that_others_took_of_the_machine_is_told() -> None:
    assert as_markdown(FIGURES, replace(WHERE, stolen=0.314)).endswith("2 cores, 31 % of its time stolen by others)\n")
    assert 0.0 <= circumstances(ticks()).stolen <= 1.0


def test_the_best_turn_is_held_against_a_goal_and_its_spread_is_shown() -> None:
    quick = measured("time", "at most", 0.010, Turns((0.009, 0.012)), milliseconds)
    assert (quick.met, quick.found, quick.wanted) == (True, "9.00 ms (9.00 ms to 12.00 ms)", "at most 10.00 ms")
    assert measured("rate", "at least", 500.0, Turns((400.0, 499.0)), milliseconds).met is False
    beside = compared("time", "at most", 2.0, Turns((3.0, 4.0)), Turns((2.0, 2.0)))
    assert (beside.met, beside.found) == (True, "1.50 x (1.50 x to 2.00 x)")


def test_a_goal_whose_turns_lie_far_apart_is_not_judged() -> None:
    apart = compared("rate", "at least", 1.0, Turns((90.0, 91.0)), Turns((891.0, 200.0)))
    assert apart.met is None
    assert apart.verdict == "not judged: the turns lie 4.5 times apart"
    with pytest.raises(ValueError, match="nothing was measured"):
        Turns(())


def test_nothing_measured_is_judged_while_others_use_the_machine() -> None:
    requests = counted("requests", "0", "0", met=True)
    assert disturbed((GOAL, MISSED, requests), 0.02) == (GOAL, MISSED, requests)
    noisy = disturbed((GOAL, MISSED, requests), 0.28)
    assert [one.met for one in noisy] == [None, None, True]
    assert noisy[0].verdict == "not judged: 28 % of the machine's time was stolen"


def test_the_first_sentence_says_what_the_page_says() -> None:
    sections = {
        "a": as_markdown(FIGURES, WHERE),
        "b": as_markdown(replace(FIGURES, goals=(GOAL, replace(MISSED, name="own, time"), MISSED)), WHERE),
        "c": as_markdown(replace(FIGURES, goals=()), WHERE),
        "f_g": as_markdown(replace(FIGURES, goals=(UNJUDGED, GOAL)), WHERE),
        "h": as_markdown(replace(FIGURES, goals=(UNJUDGED, replace(MISSED, name="memory"))), WHERE),
        "d": as_failure("d", OSError("no such program\nand more"), WHERE),
    }
    order = ("a", "b", "c", "d", "e", "f_g", "h")
    page = updated("", sections, order)
    assert page.split("\n")[2] == (
        "Every goal was met by `a`; missed: `b` (own, time, time), `h` (memory); not judged: `f_g` (time), `h` (time); "
        "no goal is set for `c`; could not be measured when last tried: `d`; not measured yet: `e`."
    )
    assert "- OSError: no such program\n\nIt could not be measured. (2026-01-02" in page
    assert updated(page, {}, order) == page


def test_a_part_that_cannot_be_measured_says_so_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(part: str, people: int) -> Figures:
        del people
        if part == PARTS[0]:
            raise OSError("no such program")
        return FIGURES

    page = tmp_path / "page.md"
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(command, "measure", measured)
    monkeypatch.setattr(sys, "argv", ["benchmarks", *PARTS[:2]])
    assert command.main() == 1
    assert f"Could not be measured: {PARTS[0]}" in capsys.readouterr().err
    said = page.read_text(encoding="utf-8").split("\n")[2]
    assert said.startswith(f"Every goal was met by `{PARTS[1]}`; could not be measured when last tried: `{PARTS[0]}`;")


def test_a_part_replaces_its_own_section_and_no_other() -> None:
    first = updated("", {"b": "## B\n", "a": "## A\n"}, ("a", "b"))
    assert first.index("## A") < first.index("## B")
    second = updated(first, {"a": "## New\n"}, ("a", "b"))
    assert "## A" not in second
    assert second.replace("## New", "## A") == first
    assert updated(first, {}, ("a", "b")) == first


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_there(part: str) -> None:
    assert importlib.util.find_spec(f"benchmarks.{part}") is not None


def test_the_page_is_as_the_command_writes_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert updated(page, {}, PARTS) == page
    # Each says when, where and at which commit it was measured
    sections = page.count("<!-- end -->")
    assert sections > 0
    assert len(re.findall(r"\(\d{4}-\d\d-\d\d, commit [0-9a-f]{7,}\+?, .*\)\n<!-- end -->", page)) == sections


def test_the_stages_of_planning_are_functions_that_it_calls() -> None:
    assert [name for names in STAGES.values() for name in names if not hasattr(plan, name)] == []
