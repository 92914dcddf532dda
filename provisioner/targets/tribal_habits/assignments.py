"""Reading back what people are enrolled in: the lists of assigned topics and pathways.

Source: page "Enrolments" of the Public API V1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from provisioner.errors import TargetError, UnauthorisedError, UnreachableError
from provisioner.model.event import Fact
from provisioner.targets.capabilities import ReadBack
from provisioner.targets.http import Http
from provisioner.targets.paths import at
from provisioner.targets.tribal_habits import events, pages
from provisioner.targets.tribal_habits.catalogue import What

_ASSIGNED: Final[tuple[What, ...]] = ("topic", "pathway")
#: Seconds by which two readings of enrolments overlap, since a change may be shown late.
_OVERLAP: Final = 300.0


async def changed(http: Http, accounts: Sequence[str], mark: str | None, moment: float, *, size: int) -> ReadBack:
    """The enrolments that changed since the last reading.

    Where a page cannot be read, what the others showed is kept, and all is read again from the same moment on: each
    enrolment is true by itself, however many more there are.

    Args:
        accounts: whose enrolments are wanted.
        mark: from when on, as the last reading gave it; None: all.
        moment: when this reading began (epoch seconds).
        size: records a page.
    """
    by_folded = {account.lower(): account for account in accounts}
    filters = {"updated_at": mark} if mark else None
    # A list that is read again shows each of them again
    seen: dict[tuple[What, Any], tuple[str, Fact]] = {}
    began, failed = moment, None
    for what in _ASSIGNED:

        def take(record: Mapping[str, Any], what: What = what) -> None:
            assigned = events.assignment(record, what)
            if assigned and (account := by_folded.get(assigned[0].lower())):
                seen[what, record.get("id")] = account, assigned[1].fact()

        try:
            whole = await pages.read_whole(http, f"/papi/{what}_assignments", take, filters, size=size, key="id")
            began = min(began, whole.as_of or moment)
        except TargetError as exc:
            failed = exc
            if isinstance(exc, UnauthorisedError | UnreachableError):
                break
    found: dict[str, list[Fact]] = {}
    for account, fact in seen.values():
        found.setdefault(account, []).append(fact)
    return ReadBack(found, mark if failed else pages.moment(began - _OVERLAP), failed)


async def of_accounts(http: Http, accounts: Sequence[str]) -> dict[str, list[Fact]]:
    """All enrolments of some accounts.

    Raises:
        TargetError: they could not be read.
    """
    found: dict[str, list[Fact]] = {}
    for what in _ASSIGNED:
        path = f"/papi/{what}_assignments/user/{{}}"
        for account in accounts:
            for record in await pages.read_all(http, at(path, account), accept=(404,)):
                assigned = events.assignment(record, what)
                if assigned:
                    found.setdefault(account, []).append(assigned[1].fact())
    return found
