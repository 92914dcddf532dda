"""Rosters of any size in the shape of the example's, the same for the same seed."""

from __future__ import annotations

import csv
import io
import random
from typing import Final

COLUMNS: Final = (
    *("employee_id", "first_name", "last_name", "work_email", "job_title", "department", "location"),
    *("country", "language", "manager_email", "employment_status", "start_date", "end_date"),
)
_FIRST: Final = ("Ada", "Björn", "Chloé", "Đức", "Elif", "Fatima", "Grzegorz", "Hana", "Ines", "Jun", "Kofi", "Léa")
_LAST: Final = ("Nguyen", "O'Brien", "Müller", "García", "Sato", "Kowalska", "Singh", "Tanaka", "Okafor", "Lind")
_JOBS: Final = ("Engineer", "Account Manager", "Analyst", "Support Manager", "Consultant")
_DEPARTMENTS: Final = ("Engineering", "Sales", "Support", "People", "Finance")
_PLACES: Final = (("Melbourne", "Australia"), ("Paris, La Défense", "France"), ("Tokyo, Shinagawa", "Japan"))

Person = dict[str, str]


def made_up(count: int, dice: random.Random) -> list[Person]:
    """So many people, all employed."""
    people = []
    for number in range(count):
        place, country = dice.choice(_PLACES)
        people.append(
            dict(
                zip(
                    COLUMNS,
                    (
                        f"P{number:06}",
                        dice.choice(_FIRST),
                        dice.choice(_LAST),
                        f"person.{number}@example.com",
                        dice.choice(_JOBS),
                        dice.choice(_DEPARTMENTS),
                        place,
                        country,
                        "en",
                        f"person.{number // 10}@example.com" if number else "",
                        "active",
                        "2020-01-01",
                        "",
                    ),
                    strict=True,
                )
            )
        )
    return people


def moved_on(people: list[Person], dice: random.Random, *, leavers: int, movers: int) -> list[Person]:
    """The same people some time later: some left, some are called otherwise."""
    chosen = dice.sample(range(len(people)), leavers + movers)
    later = [dict(person) for person in people]
    for number in chosen[:leavers]:
        later[number]["employment_status"] = "left"
    for number in chosen[leavers:]:
        later[number]["last_name"] += "-Smith"
    return later


def as_csv(people: list[Person]) -> bytes:
    """The file that an HR system would write."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(people)
    return text.getvalue().encode()
