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

WHERE = Circumstances("2026-01-02", "abc1234", "2 cores")
FIGURES = Figures("Reading", ("file", "time", "goal"), (("plain", "1.5 x", "2 x"),), reached=True, notes=("Quiet.",))


def test_a_table_is_shown_with_its_notes_and_its_verdict() -> None:
    assert as_text(FIGURES).split("\n") == [
        "Reading", "", "file    time  goal", "plain  1.5 x   2 x", "", "Quiet.", "", "Every goal was met.",
    ]  # fmt: skip
    section = as_markdown(FIGURES, WHERE)
    assert "| file | time | goal |\n|---|---:|---:|\n| plain | 1.5 x | 2 x |" in section
    assert section.endswith("Every goal was met. (2026-01-02, commit abc1234, 2 cores)\n")


def test_time_that_others_took_of_the_machine_is_told() -> None:
    assert as_markdown(FIGURES, replace(WHERE, stolen=0.314)).endswith("2 cores, 31 % of its time stolen by others)\n")
    assert 0.0 <= circumstances(ticks()).stolen <= 1.0


def test_the_first_sentence_says_what_the_page_says() -> None:
    sections = {
        "a": as_markdown(FIGURES, WHERE),
        "b": as_markdown(replace(FIGURES, reached=False), WHERE),
        "c": as_markdown(replace(FIGURES, reached=None), WHERE),
        "d": as_failure("d", OSError("no such program\nand more"), WHERE),
    }
    page = updated("", sections, ("a", "b", "c", "d", "e"))
    assert page.split("\n")[2] == (
        "Every goal was met by `a`; a goal was missed by `b`; no goal is set for `c`; could not be measured when last "
        "tried: `d`; not measured yet: `e`."
    )
    assert "- OSError: no such program\n\nIt could not be measured. (2026-01-02" in page
    assert updated(page, {}, ("a", "b", "c", "d", "e")) == page


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
