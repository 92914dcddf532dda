"""The demo's last step: what the products tell us. A completed course becomes an event, a tag, and a date for HR."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from provisioner.cli.render.output import cells, table
from provisioner.sandbox import Switchboard

#: Code and title of the course in the sandbox's catalogue; the mapping enrolled everybody in Sales in it.
COURSE: Final = ("TH-4-77", "Confident and effective business networking")
#: What the settings make of it.
EVENT: Final = f"Completed {COURSE[1]}"
TAG: Final = "learning/completed"
COLUMN: Final = "last_completed_at"
#: Seconds within which everything has to be there; it takes two or three.
WITHIN: Final = 30.0
_POLL: Final = 0.1


@dataclass(frozen=True, slots=True)
class Station:
    """One thing that has to come about: what it is, and what a look finds of it, nothing while it is not there."""

    name: str
    look: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Reached:
    """What was found at a station, after so many seconds; empty text: nothing, until the time was over."""

    name: str
    found: str
    seconds: float


class Circle:
    """One person completes one course, and the news goes round.

    Args:
        webhook: the address at which events of Tribal Habits are taken.
        table: where the write-back table is written.
        row: the person's row in the roster.
    """

    def __init__(self, board: Switchboard, webhook: str, table: Path, row: Mapping[str, str]) -> None:
        self._board, self._webhook, self._table, self._key = board, webhook, table, row["employee_id"]
        self._email, self._name = row["work_email"], f"{row['first_name']} {row['last_name']}"

    def show(self, out: Console) -> list[str]:
        """Tell of all of it in plain lines; what is wrong, one sentence each."""
        out.print(
            f"{self._name} completes {COURSE[1]!r} in Tribal Habits, in which the mapping enrolled everybody in Sales. "
            "The stand-in sends its webhook to POST /webhooks/tribal_habits/<secret>; the lines under `events` in the "
            "settings say what follows from it."
        )
        wrong = []
        shown = table("What came about", "Found there", "Seconds", numbers=("Seconds",))
        for reached in self.go():
            shown.add_row(*cells(reached.name, reached.found or "nothing", f"{reached.seconds:.1f}"))
            if not reached.found:
                wrong.append(f"the circle did not close: not after {WITHIN:.0f} s is it true that {reached.name}.")
        out.print()
        out.print(shown)
        if not wrong:
            out.print(f"The circle is closed: HR finds the date in the column {COLUMN} of {self._table.name}.")
        return wrong

    def go(self) -> Iterator[Reached]:
        """Complete the course, and report each station when it is reached or when the time is over."""
        self._board.options("tribal_habits", webhook_url=self._webhook)
        account = next(one for one in self._board.accounts("tribal_habits") if one["email"] == self._email)
        self._board.act("tribal_habits", "complete", user_name=account["user_name"], code=COURSE[0])
        began = time.monotonic()
        for station in (
            Station("Tribal Habits sent its webhook, and it was taken", self._answers),
            Station("Traitly has the event", self._event),
            Station("mtribes has the tag", self._tag),
            Station("the write-back table has the date", self._date),
        ):
            found = station.look()
            while not found and time.monotonic() - began < WITHIN:
                time.sleep(_POLL)
                found = station.look()
            yield Reached(station.name, found, time.monotonic() - began)

    def _answers(self) -> str:
        sent = self._board.webhooks("tribal_habits")
        taken = [one for one in sent if one["status"] == 202]
        return f"{taken[-1]['body']['event']}, answered with 202" if taken else ""

    def _event(self) -> str:
        events: list[dict[str, Any]] = self._board.state("traitly")["events"]
        mine = [one["name"] for one in events if one["customer_id"] == self._key and one["name"] == EVENT]
        # A second one would be as wrong as none
        return repr(mine[0]) if len(mine) == 1 else ""

    def _tag(self) -> str:
        accounts = self._board.accounts("mtribes")
        return next((", ".join(one["tags"]) for one in accounts if one["id"] == self._key and TAG in one["tags"]), "")

    def _date(self) -> str:
        if not self._table.exists():
            return ""
        with self._table.open(encoding="utf-8", newline="") as file:
            return next((row[COLUMN] for row in csv.DictReader(file) if self._key in row.values()), "")
