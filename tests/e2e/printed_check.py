"""What `check` prints for a person, read back from a terminal of eighty columns, and the table that the docs have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cli.calling import ROOT, call

WIDTH: Final = 80
DOCS: Final = ROOT / "docs" / "operating.md"
#: The heading above the table in the docs, the one above settings to be copied, and what stands for other text.
HEADING: Final = "### What `check` prints in each state"
COPIED: Final = "Settings to start from, by what the roster looks like:"
ANYTHING: Final = "…"
_VERDICTS: Final = ("ok", "warn", "fail")


@dataclass(frozen=True, slots=True)
class Row:
    """A finding as `check` prints it, or as the docs have it with `ANYTHING` in it."""

    verdict: str
    subject: str
    finding: str

    def covers(self, other: Row) -> bool:
        """Whether a finding is the one that the docs mean."""
        pattern = ".*?".join(map(re.escape, self.finding.split(ANYTHING)))
        told = (self.verdict, self.subject) == (other.verdict, other.subject)
        return told and re.fullmatch(pattern, other.finding) is not None


@dataclass(frozen=True, slots=True)
class Printed:
    """What one check printed; `wrapped` is `out` without the settings to be copied, `end` the last line."""

    code: int
    rows: tuple[Row, ...]
    end: str
    out: str
    wrapped: str

    def has(self, row: Row) -> bool:
        """Whether a finding of the docs is among what was printed."""
        return any(row.covers(one) for one in self.rows)


def check(config: Path, *words: str) -> Printed:
    """Run `check` as on a terminal of eighty columns."""
    answer = call("check", *words, PROVISIONER_CONFIG=str(config), COLUMNS=str(WIDTH))
    *body, end = answer.out.rstrip().split("\n")
    # What follows is YAML to be copied, whose lines are never broken
    table = body[: body.index(COPIED)] if COPIED in body else body
    return Printed(answer.code, tuple(_rows(table)), end, answer.out, "\n".join([*table, end]))


def _rows(lines: list[str]) -> list[Row]:
    """The findings of a table, or of the short paragraphs that take its place where a word is too long for it."""
    head = lines[0]
    found: list[list[str]] = []
    if head.split() == ["Subject", "Finding"]:
        subject, finding = head.index("Subject"), head.index("Finding")
        for line in lines[1:]:
            cells = [line[:subject].strip(), line[subject:finding].strip(), line[finding:].strip()]
            if cells[0]:
                found.append(cells)
            elif line.strip():
                found[-1] = [" ".join(filter(None, pair)) for pair in zip(found[-1], cells, strict=True)]
    else:
        for line in filter(str.strip, lines):
            verdict, _, rest = line.partition(" ")
            if verdict in _VERDICTS:
                found.append([verdict, rest.strip(), ""])
            else:
                found[-1][2] = f"{found[-1][2]} {line.strip().removeprefix('Finding: ')}".strip()
    return [Row(*cells) for cells in found]


def documented() -> dict[str, tuple[Row, int]]:
    """The table of the docs: state → the finding, and the exit code."""
    text = DOCS.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    rows = [line.strip().strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    table = {}
    for state, verdict, subject, finding, code in ([cell.strip() for cell in row] for row in rows[1:]):
        assert state not in table, state
        table[state] = (Row(verdict, subject, finding), int(code))
    return table
