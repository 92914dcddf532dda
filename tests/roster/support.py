"""Short ways to a roster that was read and judged."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any

from provisioner.roster import People, Read, judge, pushed, read
from provisioner.roster.identity import Spelling, spelt_as_known
from provisioner.settings import RosterSettings

TODAY = date(2026, 3, 2)
HEADER = "employee_id,first_name,work_email,employment_status,start_date,end_date"


def settings(**changes: Any) -> RosterSettings:
    """The settings of the tests' rosters, with some changed."""
    base: dict[str, Any] = {
        "employed": "employment_status = 'active'",
        "starts": "start_date",
        "ends": "end_date",
    }
    return RosterSettings(**{**base, **changes})


def read_bytes(content: bytes, emails: Collection[str] = ("work_email",), **changes: Any) -> Read:
    """The rows of some bytes."""
    return read(pushed(content, "people.csv"), settings(**changes), needs=(), emails=emails)


def people_of(content: str | bytes, today: date = TODAY, spelling: Spelling | None = None, **changes: Any) -> People:
    """The people of a CSV text with the usual header already on it; `spelling` is how known people's keys are spelt."""
    data = content.encode() if isinstance(content, str) else content
    found = spelt_as_known(read_bytes(data, **changes), spelling or Spelling(()), "employee_id")
    return judge(found, settings(**changes), today=today)


def people(*rows: str, today: date = TODAY, **changes: Any) -> People:
    """The people of some rows under the usual header."""
    return people_of("\n".join([HEADER, *rows]), today, **changes)


def staff(count: int, *, start: int = 1, status: str = "active", email: bool = True) -> list[str]:
    """Rows of ordinary people, keys P0001 and on."""
    return [
        f"P{number:04d},Name,{f'p{number}@example.com' if email else ''},{status},,"
        for number in range(start, start + count)
    ]
