"""Sending one `batch_save`: enrolments travel in their person's row, and never cost the person their account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from msgspec import structs

from provisioner.errors import TargetError
from provisioner.model.attributes import Type
from provisioner.model.operation import AccountChange, Kind
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary
from provisioner.targets.concurrently import each
from provisioner.targets.http import Http
from provisioner.targets.responses import Answer, as_outcome
from provisioner.targets.tribal_habits import batch, pages, splitting

PATH = "/papi/users/batch_save"
#: How the fields begin that name another user by email.
_NAMES_SOMEBODY: Final = ("manager_", "mentor_")
#: Whether an account of that user name exists.
Exists = Callable[[str], Awaitable[bool]]
#: What an operation came to by what its account shows now; None where that does not tell.
Shown = Callable[[AccountChange], Awaitable[Outcome | None]]


async def save(
    http: Http,
    operations: Sequence[AccountChange],
    *,
    invitations: str,
    exists: Exists,
    shown: Shown,
    types: Mapping[str, Type],
) -> Sequence[Outcome]:
    """Send the rows of operations of one group, all of them leavers or none.

    A row that was refused with enrolments in it is sent once more without them, since the refusal does not say which
    of its fields it means; the enrolments are then sent by themselves (see `Done.carried`).

    Args:
        invitations: ``new``, ``all``, or ``none``.
        exists: tells a leaver who is gone from one who was refused.
        shown: tells a row that was carried out from one that was not, where the answer's counts do not.
        types: the declared types of custom fields.
    """
    leaving = operations[0].kind is Kind.LEAVE
    mails = "none" if leaving else invitations
    outcomes: dict[int, Outcome] = {}
    rows: dict[int, dict[str, Any]] = {}
    for place, operation in enumerate(operations):
        row = batch.row(operation, types)
        if isinstance(row, Permanent):
            outcomes[place] = row
        else:
            rows[place] = row
    if rows:
        sent = await _send(http, [operations[place] for place in rows], list(rows.values()), mails)
        if outcomes and all(isinstance(outcome, Permanent) and outcome == sent[0] for outcome in sent):
            # Refused as a whole, perhaps for one bad row: without those refused here it can be halved
            sent = [Temporary(outcome.code, outcome.message) for outcome in sent if isinstance(outcome, Permanent)]
        if not leaving:
            sent = await _once_more(http, [operations[place] for place in rows], list(rows.values()), sent, mails)
        outcomes |= zip(rows, sent, strict=True)
    result = [outcomes[place] for place in range(len(operations))]
    result = list(await _looked_up(operations, result, shown))
    if leaving:
        result = list(await _without_the_gone(operations, result, exists))
    else:
        result = list(await _without_enrolments(http, operations, result, mails, types))

    async def apart(pieces: Sequence[AccountChange]) -> Sequence[Outcome]:
        built = {place: batch.row(piece, types) for place, piece in enumerate(pieces)}
        faulty = {place: row for place, row in built.items() if isinstance(row, Permanent)}
        rows = {place: row for place, row in built.items() if not isinstance(row, Permanent)}
        some = [pieces[place] for place in rows]
        # Whoever is made is told so once
        said = mails if some and some[0].kind is Kind.CREATE else "none"
        sent = await _looked_up(some, await _send(http, some, list(rows.values()), said), shown) if some else ()
        found = {**faulty, **dict(zip(rows, sent, strict=True))}
        return [found[place] for place in range(len(pieces))]

    return await splitting.split(operations, result, apart)


async def _send(
    http: Http, operations: Sequence[AccountChange], rows: Sequence[Mapping[str, Any]], invitations: str
) -> Sequence[Outcome]:
    body: dict[str, Any] = {"people": rows}
    if invitations != "none":
        body["send_invitations"] = invitations
    result = await http.send("POST", PATH, body)
    return batch.outcomes(operations, rows, result, invitations) if isinstance(result, Answer) else [result] * len(rows)


async def _once_more(
    http: Http,
    operations: Sequence[AccountChange],
    rows: Sequence[Mapping[str, Any]],
    outcomes: Sequence[Outcome],
    invitations: str,
) -> Sequence[Outcome]:
    """Send refused rows again where others of the batch were accepted that may have been in their way.

    An address may be free only now, and a manager be there only now.
    """
    done = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Done)]
    freed = {(operations[place].before.get("email") or "").lower() for place in done if "email" in rows[place]} - {""}
    there = {str(rows[place]["email"]).lower() for place in done if rows[place].get("email")}
    refused = [
        place
        for place, outcome in enumerate(outcomes)
        if isinstance(outcome, Permanent) and outcome.code == batch.REFUSED and _depends(rows[place], freed, there)
    ]
    if not refused:
        return outcomes
    some, again = [operations[place] for place in refused], [rows[place] for place in refused]
    result = list(outcomes)
    for place, outcome in zip(refused, await _send(http, some, again, invitations), strict=True):
        result[place] = outcome
    return result


def _depends(row: Mapping[str, Any], freed: Collection[str], there: Collection[str]) -> bool:
    """Whether a row asks for an address that is free only now, or names somebody who is there only now."""
    named = (str(value).lower() for name, value in row.items() if name.startswith(_NAMES_SOMEBODY) and value)
    return str(row.get("email", "")).lower() in freed or any(name in there for name in named)


async def _without_enrolments(
    http: Http,
    operations: Sequence[AccountChange],
    outcomes: Sequence[Outcome],
    invitations: str,
    types: Mapping[str, Type],
) -> Sequence[Outcome]:
    def is_one_row(outcome: Outcome) -> bool:
        alone = len(operations) == 1 and isinstance(outcome, Permanent) and outcome.code in ("bad_request", "invalid")
        return alone or (isinstance(outcome, Permanent) and outcome.code == batch.REFUSED)

    again = [place for place, one in enumerate(operations) if one.carries and is_one_row(outcomes[place])]
    if not again:
        return outcomes
    bare = [structs.replace(operations[place], carries=()) for place in again]
    rows = [row for row in (batch.row(one, types) for one in bare) if not isinstance(row, Permanent)]
    sent = await _send(http, bare, rows, invitations)
    result = list(outcomes)
    for place, outcome in zip(again, sent, strict=True):
        result[place] = replace(outcome, carried=False) if isinstance(outcome, Done) else outcome
    return result


async def _looked_up(
    operations: Sequence[AccountChange], outcomes: Sequence[Outcome], shown: Shown
) -> Sequence[Outcome]:
    """Read back the rows that an answer does not account for, before anything is sent again."""

    async def look(pair: tuple[AccountChange, Outcome]) -> Outcome:
        operation, outcome = pair
        if outcome != batch.UNACCOUNTED:
            return outcome
        try:
            return await shown(operation) or outcome
        except TargetError:
            # It stays unclear, and is looked at again with the next try
            return outcome

    return await each(list(zip(operations, outcomes, strict=True)), look, limit=pages.AT_ONCE)


async def _without_the_gone(
    operations: Sequence[AccountChange], outcomes: Sequence[Outcome], exists: Exists
) -> Sequence[Outcome]:
    """Count a refused leaver whose account no longer exists as done.

    To `batch_save` an unknown `user_name` is a new user without a name, so its refusal does not say "not found".
    """

    async def look(pair: tuple[AccountChange, Outcome]) -> Outcome:
        operation, outcome = pair
        if not isinstance(outcome, Permanent) or not operation.account:
            return outcome
        try:
            there = await exists(operation.account)
        except TargetError as exc:
            return as_outcome(exc)
        return outcome if there else Done(account=operation.account, note="the account no longer existed")

    return await each(list(zip(operations, outcomes, strict=True)), look, limit=pages.AT_ONCE)
