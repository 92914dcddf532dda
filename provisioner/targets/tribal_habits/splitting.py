"""A row that was refused for one of its fields: the fields are sent apart, rights first, each with its own verdict.

The refusal of a row does not say which field it means, and a language that the portal lacks must cost nobody their
account, and keep no right that somebody lost. A create is made of what every user needs; the rest follows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from msgspec import structs

from provisioner.model.operation import AccountChange, Kind
from provisioner.model.outcome import Done, Outcome, Permanent
from provisioner.targets.tribal_habits import batch
from provisioner.targets.tribal_habits.attributes import CATALOGUE

#: What somebody may do, the most important first.
_RIGHTS: Final = ("active", "org_admin", *(f"role_{number}" for number in range(1, 6)), "groups")
#: The code of a request that was refused as a whole; of one row that means the row.
_WHOLE: Final = ("bad_request", "invalid")

#: Sends one row of each operation: what became of them.
Send = Callable[[Sequence[AccountChange]], Awaitable[Sequence[Outcome]]]


async def split(operations: Sequence[AccountChange], outcomes: Sequence[Outcome], send: Send) -> Sequence[Outcome]:
    """The outcomes after the fields of each refused row were sent apart, those of all rows side by side."""
    pieces = {
        place: found
        for place, operation in enumerate(operations)
        if _is_refusal(outcomes[place], alone=len(operations) == 1) and len(found := _pieces(operation)) > 1
    }
    told: dict[int, list[Outcome]] = {place: [] for place in pieces}
    over: dict[int, Outcome] = {}
    for number in range(max(map(len, pieces.values()), default=0)):
        places = [place for place, found in pieces.items() if place not in over and number < len(found)]
        if not places:
            break
        for place, outcome in zip(places, await send([pieces[place][number] for place in places]), strict=True):
            told[place].append(outcome)
            if _ends(operations[place], outcome, number):
                over[place] = outcome
    result = list(outcomes)
    for place, found in pieces.items():
        result[place] = over.get(place) or _together(operations[place], found, told[place])
    return result


def _is_refusal(outcome: Outcome, *, alone: bool) -> bool:
    return isinstance(outcome, Permanent) and (outcome.code == batch.REFUSED or (alone and outcome.code in _WHOLE))


def _ends(operation: AccountChange, outcome: Outcome, number: int) -> bool:
    """Whether nothing more is sent: a user who was not made has no fields, and what is not clear begins again whole."""
    refused = isinstance(outcome, Permanent)
    return not (refused or isinstance(outcome, Done)) or (refused and operation.kind is Kind.CREATE and number == 0)


def _pieces(operation: AccountChange) -> list[AccountChange]:
    """An operation for each field, rights first; of a create the first makes the user."""
    bare = structs.replace(operation, carries=())
    values = operation.after
    first: list[AccountChange] = []
    account = operation.account
    if operation.kind is Kind.CREATE:
        needed = {name: operation.wanted.get(name) for name, one in CATALOGUE.items() if one.required}
        first = [structs.replace(bare, wanted=needed, after=needed)]
        unsent = batch.not_sent(operation)
        values = {
            name: value
            for name, value in operation.wanted.items()
            if name not in needed and name not in unsent and value is not None
        }
        account = needed["user_name"]
    order = sorted(values, key=lambda name: _RIGHTS.index(name) if name in _RIGHTS else len(_RIGHTS))
    return first + [
        structs.replace(bare, kind=Kind.UPDATE, account=account, after={name: values[name]}, wanted={})
        for name in order
    ]


def _together(operation: AccountChange, pieces: Sequence[AccountChange], told: Sequence[Outcome]) -> Outcome:
    """What became of the whole: refused by name of each field, with what was saved nevertheless."""
    refused: dict[str, str] = {}
    for piece, outcome in zip(pieces, told, strict=True):
        if isinstance(outcome, Permanent):
            refused |= dict.fromkeys(piece.after, outcome.message.removeprefix(batch.SAID))
    account = operation.account or operation.wanted.get("user_name")
    held: Mapping[str, str | None] = {name: operation.before.get(name) for name in refused}
    note = next((one.note for one in told if isinstance(one, Done) and one.note), None)
    done = Done(account=account, learnt={**batch.not_sent(operation), **held}, carried=False, note=note)
    if not refused:
        return done
    what = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    saved = len(refused) < len(pieces)
    message = f"Tribal Habits refused {what}" + ("; all else was saved" if saved else "")
    return Permanent(batch.REFUSED, message, kept=done if saved else None, refused=tuple(refused))
