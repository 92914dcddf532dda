"""What a part of the benchmarks found, as a table on the terminal and as a section of `docs/benchmarks.md`."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_INTRODUCTION: Final = """\
# Benchmarks

{summary}

`make bench` writes this page (`make bench ARGS=reading`: that part of it). Each figure is a ratio of two things that
were measured in the same run on the same machine, since times alone say more about the machine than about the program.
A part that misses a goal says so here and ends the command with 1.
"""
#: What a part's section ends with, and what is said of a part without one.
_VERDICTS: Final[Mapping[bool | str | None, str]] = {
    None: "No goal is set.",
    True: "Every goal was met.",
    False: "A goal was missed.",
    "failed": "It could not be measured.",
}
_FAILED: Final = _VERDICTS["failed"]
_NEVER: Final = "never"
#: The share of stolen time from which it is told.
_NOISE: Final = 0.02
_SECTION: Final = re.compile(r"<!-- (?P<part>[a-z]+) -->\n(?P<text>.*?)<!-- end -->\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Figures:
    """A table: its `columns` and `rows` as they are shown, with the goals besides what was measured.

    `reached` says whether every goal was met, None that the part has none. `notes` are sentences beneath it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    reached: bool | None
    notes: tuple[str, ...] = ()


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
    """The table for a terminal: the first column to the left, the others to the right."""
    rows = [figures.columns, *figures.rows]
    widths = [max(len(row[index]) for row in rows) for index in range(len(figures.columns))]
    lines = [figures.title, ""]
    for row in rows:
        cells = [
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, *("", *figures.notes) * bool(figures.notes), "", _verdict(figures)])


def as_markdown(figures: Figures, where: Circumstances) -> str:
    """The table as a section of the page."""
    head = ["| " + " | ".join(figures.columns) + " |", "|---" + "|---:" * (len(figures.columns) - 1) + "|"]
    body = ["| " + " | ".join(row) + " |" for row in figures.rows]
    notes = [f"- {note}" for note in figures.notes]
    title = f"## {figures.title[:1].upper()}{figures.title[1:]}"
    parts = [title, "\n".join(head + body), "\n".join(notes), f"{_verdict(figures)} ({where})"]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_failure(part: str, why: Exception, where: Circumstances) -> str:
    """The section of a part that could not be measured."""
    said = str(why).split("\n", 1)[0][:300] or type(why).__name__
    return f"## {part[:1].upper()}{part[1:]}\n\n- {type(why).__name__}: {said}\n\n{_FAILED} ({where})\n"


def updated(page: str, sections: Mapping[str, str], order: Iterable[str]) -> str:
    """The page with these sections in place of the former ones, all in the given `order`."""
    known = {found["part"]: found["text"] for found in _SECTION.finditer(page)} | dict(sections)
    parts = list(order)
    shown = [f"<!-- {part} -->\n{known[part]}<!-- end -->\n" for part in parts if part in known]
    return "\n".join([_INTRODUCTION.format(summary=_summary(parts, known)), *shown])


def _summary(parts: Sequence[str], known: Mapping[str, str]) -> str:
    """What the page comes to: which parts met their goals, which did not, and of which nothing is known."""
    found: dict[str, list[str]] = {}
    for part in parts:
        verdict = next((one for one in _VERDICTS.values() if part in known and one in known[part]), _NEVER)
        found.setdefault(verdict, []).append(f"`{part}`")
    said = {
        _VERDICTS[True]: "every goal was met by",
        _VERDICTS[False]: "a goal was missed by",
        _VERDICTS[None]: "no goal is set for",
        _FAILED: "could not be measured when last tried:",
        _NEVER: "not measured yet:",
    }
    text = "; ".join(f"{words} {', '.join(found[verdict])}" for verdict, words in said.items() if verdict in found)
    return f"{text[:1].upper()}{text[1:]}."


def _verdict(figures: Figures) -> str:
    return _VERDICTS[figures.reached]


def _commit() -> str:
    def git(*arguments: str) -> str:
        told = subprocess.run(["git", *arguments], cwd=PAGE.parent, capture_output=True, text=True, check=False)
        return told.stdout.strip()

    # The page itself is rewritten by each part
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/docs/benchmarks.md")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
