"""What a part of the benchmarks found, as a table on the terminal and as a section of `docs/benchmarks.md`."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.goals import MOST_APART, MOST_STOLEN, Goal, disturbed

PAGE: Final = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_INTRODUCTION: Final = """\
# Benchmarks

{summary}

`make bench` writes this page (`make bench ARGS=reading`: that part of it). A ratio is of two sides that took turns
in the same part on the same machine, since times alone say more about the machine than about the program. The best of
several turns counts, and the smallest and the largest stand beside it in parentheses. A goal whose turns lie more than
{apart:g} times apart, or that was measured while others took more than {stolen:.0f} % of the machine's time, is not
judged. A part that misses a goal or cannot judge one says so here and ends the command with 1.
"""
#: What a part's section ends with, and what is said of a part without one.
_MET: Final = "Every goal was met."
_NONE: Final = "No goal is set."
_FAILED: Final = "It could not be measured."
_MISSED: Final = "Missed: "
_UNJUDGED: Final = "Not judged: "
_NEVER: Final = "never"
#: The share of stolen time from which it is told.
_NOISE: Final = 0.02
_SECTION: Final = re.compile(r"<!-- (?P<part>[a-z_]+) -->\n(?P<text>.*?)<!-- end -->\n", re.DOTALL)
#: A section's last line: which goals were missed, which were not judged.
_LAST: Final = re.compile(
    r"^(?:Missed: (?P<missed>[^.]+)\. ?)?(?:Not judged: (?P<unjudged>[^.]+)\. ?)?\(", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Figures:
    """A table: its `columns` and `rows` as they are shown, the goals with what was found, and sentences beneath."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def missed(self) -> bool:
        """Whether a goal was missed."""
        return any(one.met is False for one in self.goals)

    @property
    def unjudged(self) -> bool:
        """Whether a goal could not be judged."""
        return any(one.met is None for one in self.goals)


def judged(figures: Figures, where: Circumstances) -> Figures:
    """The figures, with nothing said of goals that were measured on a machine that others used too much."""
    return replace(figures, goals=disturbed(figures.goals, where.stolen))


@dataclass(frozen=True, slots=True)
class Circumstances:
    """When, at which commit and on what machine a part was measured.

    `stolen` is the share of the processors' time, from 0 to 1, that a virtual machine's host gave to others meanwhile.
    """

    date: str
    commit: str
    machine: str
    stolen: float = 0.0

    def __str__(self) -> str:
        noise = f", {100 * self.stolen:.0f} % of its time stolen by others" if self.stolen >= _NOISE else ""
        return f"{self.date}, commit {self.commit}, {self.machine}{noise}"


def ticks() -> tuple[int, int]:
    """Ticks of all processors so far: those that others took, and all (proc(5)); none where nobody counts them."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    except FileNotFoundError:
        return 0, 0
    counted = [int(word) for word in first.split()[1:9]]
    return counted[-1], sum(counted)


def circumstances(before: tuple[int, int]) -> Circumstances:
    """Of this machine and this checkout, now; a commit with a `+` had changes that were not committed.

    Args:
        before: `ticks()` when measuring began.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.machine()}, Python {platform.python_version()}"
    stolen, whole = (now - then for now, then in zip(ticks(), before, strict=True))
    return Circumstances(datetime.now(UTC).date().isoformat(), _commit(), machine, stolen / whole if whole else 0.0)


def as_text(figures: Figures) -> str:
    """The tables for a terminal: the first column to the left, the others to the right."""
    lines = [figures.title, "", *_aligned((figures.columns, *figures.rows))]
    if figures.goals:
        lines += ["", *_aligned(_goal_rows(figures))]
    return "\n".join([*lines, *("", *figures.notes) * bool(figures.notes), "", _verdict(figures)])


def as_markdown(figures: Figures, where: Circumstances) -> str:
    """The tables as a section of the page."""
    title = f"## {figures.title[:1].upper()}{figures.title[1:]}"
    notes = "\n".join(f"- {note}" for note in figures.notes)
    goals = _table(_goal_rows(figures)) if figures.goals else ""
    table = _table((figures.columns, *figures.rows))
    parts = [title, table, goals, notes, f"{_verdict(figures)} ({where})"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _goal_rows(figures: Figures) -> tuple[tuple[str, ...], ...]:
    return (
        ("goal", "wanted", "found", "verdict"),
        *((one.name, one.wanted, one.found, one.verdict) for one in figures.goals),
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|---" + "|---:" * (len(rows[0]) - 1) + "|", *body])


def as_failure(part: str, why: Exception, where: Circumstances) -> str:
    """The section of a part that could not be measured."""
    said = str(why).split("\n", 1)[0][:300] or type(why).__name__
    return f"## {part[:1].upper()}{part[1:]}\n\n- {type(why).__name__}: {said}\n\n{_FAILED} ({where})\n"


def updated(page: str, sections: Mapping[str, str], order: Iterable[str]) -> str:
    """The page with these sections in place of the former ones, all in the given `order`."""
    known = {found["part"]: found["text"] for found in _SECTION.finditer(page)} | dict(sections)
    parts = list(order)
    shown = [f"<!-- {part} -->\n{known[part]}<!-- end -->\n" for part in parts if part in known]
    introduction = _INTRODUCTION.format(summary=_summary(parts, known), apart=MOST_APART, stolen=100 * MOST_STOLEN)
    return "\n".join([introduction, *shown])


def _summary(parts: Sequence[str], known: Mapping[str, str]) -> str:
    """What the page comes to: where all goals were met, which were missed or not judged, of what nothing is known."""
    said: dict[str, list[str]] = {
        "every goal was met by": [],
        "missed:": [],
        "not judged:": [],
        "no goal is set for": [],
        "could not be measured when last tried:": [],
        "not measured yet:": [],
    }
    met, missed, unjudged, none, failed, never = said.values()
    for part in parts:
        text = known.get(part, "")
        found = _LAST.search(text)
        if _MET in text:
            met.append(f"`{part}`")
        elif _NONE in text:
            none.append(f"`{part}`")
        elif _FAILED in text:
            failed.append(f"`{part}`")
        elif found is None or not any(found.groups()):
            never.append(f"`{part}`")
        else:
            for goals, listed in ((found["missed"], missed), (found["unjudged"], unjudged)):
                listed += [f"`{part}` ({goals})"] * bool(goals)
    text = "; ".join(f"{words} {', '.join(listed)}" for words, listed in said.items() if listed)
    return f"{text[:1].upper()}{text[1:]}."


def _verdict(figures: Figures) -> str:
    if not figures.goals:
        return _NONE
    missed = ", ".join(one.name for one in figures.goals if one.met is False)
    unjudged = ", ".join(one.name for one in figures.goals if one.met is None)
    said = [f"{_MISSED}{missed}."] * bool(missed) + [f"{_UNJUDGED}{unjudged}."] * bool(unjudged)
    return " ".join(said) or _MET


def _commit() -> str:
    def git(*arguments: str) -> str:
        told = subprocess.run(["git", *arguments], cwd=PAGE.parent, capture_output=True, text=True, check=False)
        return told.stdout.strip()

    # The page itself is rewritten by each part
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/docs/benchmarks.md")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
