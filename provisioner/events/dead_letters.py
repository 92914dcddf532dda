"""Events and outgoing webhooks as an operator looks after them: what waits, what died and why, and sending it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, Literal

from provisioner.errors import UsageError
from provisioner.model.event_lists import DeadLetter, EventLists, EventRow, StoredEvent
from provisioner.runtime.audit import record
from provisioner.runtime.context import Deployment
from provisioner.store.runs.documents import moment

#: Rows of each list, unless more are asked for.
SHOWN: Final = 100
#: Letters that a record names; of the rest, the count says enough.
_NAMED: Final = 20


async def waiting(dep: Deployment, limit: int = SHOWN) -> EventLists:
    """Received, waiting and dead events, as JSON.

    ``backlog`` counts: events `waiting` in the stream, of which `taken` are in progress, `put_off` until what they need
    is there, `dead`; `outgoing` webhooks to be sent, and `undelivered` that nobody took. ``counts`` is how many events
    came by target and name. ``dead`` lists dead letters of both directions (`direction` is ``in`` or ``out``), newest
    first; ``put_off``, ``outgoing`` and ``unknown`` (events that the vendors' pages do not name) what their names say.
    Bodies are left out; `letter` has one.

    Raises:
        StoreError: Redis does not answer.
    """
    backlog = await dep.inbound.backlog()
    outgoing, undelivered = await dep.outbox.counts()
    dead = [_row("in", name, one) for name, one in (await dep.inbound.dead(limit)).items()]
    dead += [_row("out", name, one) for name, one in (await dep.outbox.dead(limit)).items()]
    dead.sort(key=lambda one: one["died"] or "", reverse=True)
    return {
        "backlog": {
            "waiting": backlog.waiting,
            "taken": backlog.taken,
            "put_off": backlog.put_off,
            "dead": backlog.dead,
            "outgoing": outgoing,
            "undelivered": undelivered,
        },
        "counts": await dep.inbound.counts(),
        "dead": dead[:limit],
        "put_off": [_row("in", one["id"], one) for one in await dep.inbound.put_off_until(limit)],
        "outgoing": [_row("out", one["id"], one) for one in await dep.outbox.waiting(limit)],
        "unknown": [_row("in", one["id"], one) for one in await dep.inbound.unknown(limit)],
    }


def _row(direction: Literal["in", "out"], name: str, letter: StoredEvent) -> EventRow:
    return {
        "id": name,
        "direction": direction,
        "target": letter["target"],
        "event": letter["event"],
        "at": moment(letter.get("at", letter.get("since"))),
        "tries": letter.get("tries", 0),
        "due": moment(letter.get("due")),
        "died": moment(letter.get("died")),
        "error": letter.get("error"),
    }


async def letter(dep: Deployment, name: str) -> DeadLetter:
    """One dead letter whole, with its ``body``: it may hold personal data.

    Raises:
        UsageError: there is none of that id.
        StoreError: Redis does not answer.
    """
    direction: Literal["in", "out"] = "in"
    found = await dep.inbound.dead_letter(name)
    if found is None:
        direction, found = "out", await dep.outbox.dead_letter(name)
    if found is None:
        raise _unknown([name])
    return {**_row(direction, name, found), "body": json.loads(found["body"])}


async def replay(dep: Deployment, ids: Sequence[str] | None, *, by: str) -> dict[str, int]:
    """Put dead letters back to work, and write down who did it; how many, by direction (``in``, ``out``).

    Args:
        ids: which ones; None: all.
        by: who, as `audit.record` wants it.

    Raises:
        UsageError: one of the ids is no dead letter's; nothing was done.
        StoreError: Redis does not answer.
    """
    ours, theirs = await dep.inbound.dead_ids(), await dep.outbox.dead_ids()
    if ids is not None:
        chosen = dict.fromkeys(ids)
        missing = chosen.keys() - {*ours, *theirs}
        if missing:
            raise _unknown(sorted(missing))
        ours, theirs = [one for one in ours if one in chosen], [one for one in theirs if one in chosen]
    named = [*ours, *theirs]
    if not named:
        return {"in": 0, "out": 0}
    done = {"in": await dep.inbound.replay(ours), "out": await dep.outbox.replay(await dep.clock.now(), theirs)}
    facts = {"events": done["in"] or None, "webhooks": done["out"] or None, "letters": named[:_NAMED]}
    await record(dep.audit, by, "replayed", facts=facts)
    return done


def _unknown(names: Sequence[str]) -> UsageError:
    return UsageError(
        f"There is no dead letter {', '.join(names)}.",
        remedy="It may have been replayed meanwhile; `provisioner webhooks --dead` lists those that there are.",
    )
