"""A company in motion: who works there by the roster that was written last, and what each vendor still gives them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.chaos.people import Person, as_csv, made_up
from tests.support.scim_company import scim_keeps

_DEPARTMENTS: Final = ("Engineering", "Sales", "Support", "People", "Finance")
_GUEST: Final = 5
States = Mapping[str, Mapping[str, Any]]


class Company:
    """The roster's file, and since when it says what it says."""

    def __init__(self, path: Path, count: int, dice: random.Random) -> None:
        self._path, self._dice = path, dice
        self.people = made_up(count, dice)
        #: By leaver, when the roster that says so was in place (monotonic seconds).
        self.left: dict[str, float] = {}
        self._moved: list[Person] = []
        self.write()

    def write(self) -> None:
        """Put the roster in place, whole."""
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(as_csv(self.people))
        fresh.replace(self._path)

    def _staff(self) -> list[Person]:
        return [person for person in self.people if person["employment_status"] == "active"]

    def move(self, count: int) -> None:
        """Some marry and change their department."""
        self._moved = self._dice.sample(self._staff(), count)
        for person in self._moved:
            person["last_name"] += "-Smith"
            person["department"] = self._dice.choice(_DEPARTMENTS)

    def join(self, count: int) -> None:
        """Some begin here."""
        for _ in range(count):
            number = len(self.people)
            fresh = dict(self._dice.choice(self.people))
            fresh |= {"employee_id": f"P{number:06}", "work_email": f"person.{number}@example.com"}
            self.people.append(fresh | {"employment_status": "active", "last_name": "New"})

    def leave(self, count: int) -> list[str]:
        """Some leave, often those about whom something is under way already; their keys. Writes the roster."""
        pool = [one for one in self._moved if one["employment_status"] == "active"]
        chosen = [
            self._dice.choice(pool if pool and self._dice.random() < 0.6 else self._staff()) for _ in range(count)
        ]
        for person in chosen:
            person["employment_status"] = "left"
        self.write()
        keys = [person["employee_id"] for person in chosen]
        self.left |= dict.fromkeys(keys, time.monotonic())
        return keys

    def leavers(self) -> list[Person]:
        """Everybody who left."""
        return [person for person in self.people if person["employee_id"] in self.left]


def account_of(kind: str, states: States, person: Person) -> Mapping[str, Any] | None:
    """A person's account in a stand-in."""
    names: dict[str, tuple[str, str]] = {
        "tribal_habits": ("email", person["work_email"].lower()),
        "habitate": ("username", person["employee_id"].lower()),
        "traitly": ("customer_id", person["employee_id"]),
        "mtribes": ("id", person["employee_id"]),
        "scim": ("externalId", person["employee_id"]),
    }
    name, value = names[kind]
    return next((account for account in states[kind]["accounts"] if account.get(name) == value), None)


def keeps(kind: str, states: States, person: Person) -> bool:
    """Whether a person still has what a leaver should have lost."""
    account = account_of(kind, states, person)
    if account is None:
        return False
    tests: dict[str, Callable[[], bool]] = {
        "tribal_habits": lambda: bool(account["active"]),
        "habitate": lambda: (
            account["role_id"] != _GUEST or any(account["msid"] in msids for msids in states[kind]["boards"].values())
        ),
        "traitly": lambda: account["plan"] != "Leaver",
        "mtribes": lambda: "employment/left" not in account["tags"],
        "scim": lambda: scim_keeps(account),
    }
    return tests[kind]()


def wrong_receipts(
    receipts: Mapping[str, Mapping[str, Any] | None], states: States, company: Company, *, all_written: bool
) -> list[str]:
    """Receipts that call done what is not, or that are missing, one sentence each.

    Args:
        receipts: by leaver, read before `states`.
        all_written: whether there must be one of every leaver who has an account.
    """
    wrong: list[str] = []
    for person in company.leavers():
        key = person["employee_id"]
        held = [kind for kind in states if account_of(kind, states, person) is not None]
        keeping = [kind for kind in held if keeps(kind, states, person)]
        found = receipts.get(key)
        if found is None:
            if all_written and held:
                wrong.append(f"{key} has no receipt.")
            continue
        if found["finished_at"] is not None and keeping:
            wrong.append(f"{key} is finished by the receipt and keeps {keeping}: {found}.")
        done = [kind for kind in keeping if found["targets"].get(kind, {}).get("status") == "done"]
        if done:
            wrong.append(f"{key} is done in {done} by the receipt and keeps it.")
    return wrong
