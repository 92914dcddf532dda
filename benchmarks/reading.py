"""How long a large roster takes to be read, validated and gated, beside one pass of Python's own `csv.reader`.

Each side runs in a process of its own over the same file, one after the other, so that neither's memory is the other's.
"""

from __future__ import annotations

import csv
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from provisioner.roster import fetch, gate, judge, read
from provisioner.settings import RosterSettings

COLUMNS = (
    "employee_id", "first_name", "last_name", "work_email", "job_title", "department", "location", "country",
    "language", "manager_email", "employment_status", "start_date", "end_date", "cost_centre", "phone",
)  # fmt: skip
#: Rows per person asked for: the reader's figure is set for a hundred times the size of the others.
ROWS_PER_PERSON = 100
MOST_TIMES, MOST_MEMORY = 2.0, 2 * 1024**3


def measure(people: int) -> bool:
    """Print both times, their ratio and the peak of memory; whether the figures were reached."""
    rows = people * ROWS_PER_PERSON
    print(f"\nreading: {rows:,} rows x {len(COLUMNS)} columns, against one pass of csv.reader over the same file")
    print(f"{'file':<14}{'csv.reader':>12}{'read+gate':>12}{'ratio':>8}{'goal':>8}{'peak':>10}{'goal':>8}")
    reached = True
    with tempfile.TemporaryDirectory() as folder:
        for name, quoting in (("plain", csv.QUOTE_MINIMAL), ("all quoted", csv.QUOTE_ALL)):
            path = Path(folder) / "roster.csv"
            _write(path, rows, quoting)
            floor, _ = _alone(_floor, path)
            ours, memory = _alone(_ours, path)
            ratio = ours / floor
            reached = reached and ratio <= MOST_TIMES and memory <= MOST_MEMORY
            print(
                f"{name:<14}{floor:>10.2f} s{ours:>10.2f} s{ratio:>7.2f}x{MOST_TIMES:>7.1f}x"
                f"{memory / 1024**3:>6.2f} GiB{MOST_MEMORY / 1024**3:>4.0f} GiB"
            )
    return reached


def _write(path: Path, rows: int, quoting: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=quoting)  # type: ignore[arg-type]  # the constants are plain numbers
        writer.writerow(COLUMNS)
        for number in range(rows):
            writer.writerow(
                (
                    f"E{number:07}", f"First{number % 997}", f"Last{number % 4999}", f"p{number}@example.com",
                    "Sales Manager" if number % 9 == 0 else "Engineer", f"Department {number % 40}",
                    f"Floor {number % 12}, Sydney", "Australia", "en", f"p{number // 10}@example.com", "active",
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
    settings = RosterSettings(
        url=str(path), employed="employment_status = 'active'", starts="start_date", ends="end_date"
    )
    # The file was made a moment ago, which is too fresh for the reader to believe that nobody writes on
    while time.time() - path.stat().st_mtime < 3:
        time.sleep(0.2)
    now = datetime.now(UTC)
    began = time.perf_counter()
    source = fetch(settings)
    rows = read(source, settings, needs=COLUMNS, emails=("work_email", "manager_email"))
    people = judge(rows, settings, today=now.date())
    verdict = gate(people, None, settings, mapped=COLUMNS, modified=source.modified, now=now)
    seconds = time.perf_counter() - began
    if verdict.status != "clean" or people.frame.height != rows.rows:
        raise AssertionError(f"the roster was not read whole: {verdict}")
    return seconds
