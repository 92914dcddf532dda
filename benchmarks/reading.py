"""How long a large roster takes to be read, validated and gated, besides one pass of Python's own `csv.reader`; and how
much longer it takes with look-ups and computed columns.

Each side runs in a process of its own over the same file, one after the other, so that neither's memory is the other's.
The second comparison is of processor time, since both sides use as many cores as there are.
"""

from __future__ import annotations

import csv
import resource
import tempfile
import time
from collections.abc import Callable, Collection
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.goals import Goal, Turns, compared, counted
from benchmarks.report import Figures
from provisioner.roster import fetch, gate, judge, read
from provisioner.roster.lookups import fetch_tables
from provisioner.settings import RosterSettings
from provisioner.settings.roster import LookupSettings

COLUMNS = (
    "employee_id", "first_name", "last_name", "work_email", "job_title", "department", "location", "country",
    "language", "manager_email", "employment_status", "start_date", "end_date", "cost_centre", "phone",
)  # fmt: skip
#: Rows per person asked for: the reader's figure is set for a hundred times the size of the others.
ROWS_PER_PERSON = 100
MOST_TIMES, MOST_MEMORY = 2.0, 2 * 1024**3
#: Processor time of a read with two look-ups and three computed columns, at most so many times that of a plain one.
MOST_DERIVED = 2.0
#: The quickest of so many turns counts, on both sides, since whatever else the machine does can only add to it.
TURNS = 3


@dataclass(frozen=True, slots=True)
class Form:
    """How a file is written; each row in `broken_every` (0: none) has a cell with a line break in it.

    The figure to reach is set for regular files; the other is shown so that nobody sees a cliff first in their own.
    """

    name: str
    quoting: int
    broken_every: int = 0


FORMS = (
    Form("quotes where needed", csv.QUOTE_MINIMAL),
    Form("all quoted", csv.QUOTE_ALL),
    Form("a line break in 1 % of the rows", csv.QUOTE_MINIMAL, broken_every=100),
)


def measure(people: int) -> Figures:
    """Both times, their ratio and the peak of memory, for a hundred rows a person."""
    rows = people * ROWS_PER_PERSON
    shown: list[tuple[str, ...]] = []
    goals: list[Goal] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "roster.csv"
        for form in FORMS:
            _write(path, rows, form)
            turns = [(*_alone(_floor, path), *_alone(_ours, path)) for _ in range(TURNS)]
            floor, ours = min(turn[0] for turn in turns), min(turn[2] for turn in turns)
            memory = max(turn[3] for turn in turns)
            if not form.broken_every:
                sides = (Turns(tuple(turn[2] for turn in turns)), Turns(tuple(turn[0] for turn in turns)))
                found = f"{memory / 1024**3:.2f} GiB"
                limit = f"at most {MOST_MEMORY / 1024**3:g} GiB"
                goals += [
                    compared(f"time beside csv-reader, {form.name}", "at most", MOST_TIMES, *sides),
                    counted(f"memory, {form.name}", limit, found, met=memory <= MOST_MEMORY),
                ]
            shown.append(
                (
                    form.name,
                    f"{path.stat().st_size / 1024**2:.0f} MiB",
                    f"{floor:.2f} s",
                    f"{ours:.2f} s",
                    f"{ours / floor:.2f}",
                    "–" if form.broken_every else f"{MOST_TIMES:g}",
                    f"{memory / 1024**3:.2f} GiB",
                    "–" if form.broken_every else f"{MOST_MEMORY / 1024**3:g} GiB",
                )
            )
        _write(path, rows, FORMS[0])
        derived, goal = _derived_figures(path)
        shown.append(derived)
        goals.append(goal)
    return Figures(
        title=f"Reading a roster: {rows:,} rows of {len(COLUMNS)} columns, fetched, read, judged and gated",
        columns=("file", "size", "floor", "ours", "ratio", "at most", "peak", "at most"),
        rows=tuple(shown),
        goals=tuple(goals),
        notes=(
            "The floor is one pass of Python's own `csv.reader` over the same file, which keeps and checks nothing.",
            "In the last row the floor is our own plain read of the same file, and both are processor time.",
            f"Each side has a process of its own, they take turns, and the quickest of {TURNS} turns counts.",
        ),
    )


def _derived_figures(path: Path) -> tuple[tuple[str, ...], Goal]:
    """A line of figures for a read with look-ups and computed columns, and their goal."""
    sites = path.with_name("sites.csv")
    with sites.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("centre", "city"), *((f"C{number}", f"City {number % 30}") for number in range(300))]
        )
    turns = [(*_alone(_plain, path), *_alone(_derived, path)) for _ in range(TURNS)]
    floor, ours = min(turn[0] for turn in turns), min(turn[2] for turn in turns)
    memory = max(turn[3] for turn in turns)
    line = (
        "two look-ups and three computed columns",
        f"{path.stat().st_size / 1024**2:.0f} MiB",
        f"{floor:.2f} s",
        f"{ours:.2f} s",
        f"{ours / floor:.2f}",
        f"{MOST_DERIVED:g}",
        f"{memory / 1024**3:.2f} GiB",
        "–",
    )
    sides = (Turns(tuple(turn[2] for turn in turns)), Turns(tuple(turn[0] for turn in turns)))
    return line, compared("processor time of look-ups and computed columns", "at most", MOST_DERIVED, *sides)


def _write(path: Path, rows: int, form: Form) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=form.quoting)  # type: ignore[arg-type]  # the constants are plain numbers
        writer.writerow(COLUMNS)
        for number in range(rows):
            place = f"Floor {number % 12}, Sydney"
            if form.broken_every and number % form.broken_every == 0:
                place = place.replace(", ", "\r\n")
            writer.writerow(
                (
                    f"E{number:07}", f"First{number % 997}", f"Last{number % 4999}", f"p{number}@example.com",
                    "Sales Manager" if number % 9 == 0 else "Engineer", f"Department {number % 40}",
                    place, "Australia", "en", f"p{number // 10}@example.com", "active",
                    "2024-02-29", "", f"C{number % 300}", f"+61 2 {number:08}",
                )
            )  # fmt: skip


def _alone(work: Callable[[Path], float], path: Path) -> tuple[float, int]:
    """(seconds, peak bytes) of some work in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, work, path).result()


def _measured(work: Callable[[Path], float], path: Path) -> tuple[float, int]:
    seconds = work(path)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _floor(path: Path) -> float:
    began = time.perf_counter()
    with path.open(newline="", encoding="utf-8") as file:
        for _ in csv.reader(file):
            pass
    return time.perf_counter() - began


def _ours(path: Path) -> float:
    return _read(path, RosterSettings(**_settings(path)), COLUMNS)[0]


def _plain(path: Path) -> float:
    return _read(path, RosterSettings(**_settings(path)), COLUMNS)[1]


def _derived(path: Path) -> float:
    """Processor time of a read in which two tables are looked up and three columns computed.

    One table is the roster itself, for the manager of each person; the other one is a file.
    """
    settings = RosterSettings(
        **_settings(path),
        columns={
            "boss": "CONCAT('E', LPAD(REGEXP_REPLACE(SPLIT_PART(manager_email, '@', 1), '^p', ''), 7, '0'))",
            "login": "LOWER(first_name) || '.' || LOWER(last_name)",
            "team": "department || ', ' || site.city",
        },
        lookups={
            "manager": LookupSettings(by="boss"),
            "site": LookupSettings.model_validate(
                {"by": "cost_centre", "in": str(path.with_name("sites.csv")), "key": "centre"}
            ),
        },
    )
    return _read(path, settings, (*COLUMNS, "login", "team", "manager.work_email"))[1]


def _settings(path: Path) -> dict[str, Any]:
    return {"url": str(path), "employed": "employment_status = 'active'", "starts": "start_date", "ends": "end_date"}


def _read(path: Path, settings: RosterSettings, needs: Collection[str]) -> tuple[float, float]:
    """Seconds, and seconds of processor time."""
    # The file was made a moment ago, which is too fresh for the reader to believe that nobody writes on
    while time.time() - path.stat().st_mtime < 3:
        time.sleep(0.2)
    now = datetime.now(UTC)
    began, used = time.perf_counter(), time.process_time()
    source, tables = fetch(settings), fetch_tables(settings)
    rows = read(source, settings, needs=needs, emails=("work_email", "manager_email"), tables=tables)
    people = judge(rows, settings, today=now.date())
    verdict = gate(people, None, settings, mapped=needs, modified=source.modified, now=now)
    seconds = time.perf_counter() - began, time.process_time() - used
    if verdict.status != "clean" or people.frame.height != rows.rows or set(needs) - set(people.columns):
        raise AssertionError(f"the roster was not read whole: {verdict}")
    return seconds
