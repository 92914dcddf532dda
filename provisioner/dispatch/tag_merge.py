"""Tags that events bring, besides the tags that the mapping owns.

A vendor may replace a person's tags by what is sent, so every sending carries all of them. What they are is known from
whichever is newer: what was observed, or what we last sent. A tag of an event is nobody's by mapping, so the next plan
keeps it as it keeps those that people set by hand. Two sendings for one person at once would each lack the other's
tags: whoever sends tags of an event holds the person meanwhile, and everyone else waits a moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import polars as pl
from msgspec import structs

from provisioner.model.account import LedgerEntry
from provisioner.model.attributes import Type, canonical, members
from provisioner.model.operation import AccountChange, EventTag, Operation
from provisioner.planning.spec import ACCOUNT
from provisioner.planning.withdrawn import withdrawal
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import Reading
from provisioner.store.queue.operations import Claim
from provisioner.targets.capabilities import tag_attribute
from provisioner.targets.http import DEADLINE

#: Names under which the ledger keeps all tags that were last sent, and those that events brought.
_ALL: Final = "{}:all"
_TOLD: Final = "{}:told"
_HOLD: Final = int(DEADLINE * 3)
_WAIT: Final = 1.0


class Tagging:
    """Makes the claims of one target ready to be sent, as far as tags go, and lets go of the people held for it."""

    def __init__(self, dep: Deployment, target: str) -> None:
        self._dep, self._target = dep, target
        self._name = tag_attribute(dep.targets[target])
        self._holds = dep.tag_holds.at(target)

    async def ready(self, claims: Sequence[Claim]) -> list[Claim]:
        """The claims that may be sent now, with all tags in them; the others are put off for a moment."""
        name = self._name
        if name is None or not any(_has_tags(claim.operation, name) for claim in claims):
            return list(claims)
        observed = _Observed(self._dep, self._target, name)
        standing = await self._standing([claim.operation for claim in claims], name)
        due: list[Claim] = []
        # Several tags of one person go together, each with those before it
        ours: dict[str, EventTag] = {}
        for claim in claims:
            operation = claim.operation
            ready: Operation | None
            if isinstance(operation, EventTag):
                ready = tag = await self._event(operation, name, observed, ours.get(operation.person))
                if tag is not None:
                    ours[operation.person] = tag
            elif isinstance(operation, AccountChange) and name in operation.after:
                ready = await self._account(operation, name, observed, *standing[operation.person])
            else:
                ready = operation
            if ready is None:
                error = {"code": "tags_in_flight", "message": "the person's tags are being sent; this waits a moment"}
                await self._dep.queue.park(claim, _WAIT, error, unclear=False, spend=False)
            else:
                due.append(replace(claim, operation=ready))
        return due

    async def _event(
        self, operation: EventTag, name: str, observed: _Observed, before: EventTag | None
    ) -> EventTag | None:
        tag = operation.tag
        if before is not None:
            tags = {name: _joined(before.wanted[name], tag)}
            from_events = {_TOLD.format(name): _joined(before.owned[_TOLD.format(name)], tag)}
            return structs.replace(operation, wanted=tags, observed=before.observed, owned=from_events)
        if not await self._hold(operation.person):
            return None
        standing = await self._dep.runs.standing(self._target, operation.person, ["account"])
        if any(document["status"] == "sending" for document in standing):
            await self._let_go([operation.person])
            return None
        entry = await self._dep.ledger.entry(self._target, operation.person)
        there = await observed.tags(operation.account, entry)
        earlier = entry.values.get(_TOLD.format(name)) if entry else None
        tags = {name: _joined(there, tag)}
        from_events = {_TOLD.format(name): _joined(earlier, tag)}
        return structs.replace(operation, wanted=tags, observed={name: there}, owned=from_events)

    async def _standing(self, operations: Sequence[Operation], name: str) -> dict[str, tuple[bool, LedgerEntry | None]]:
        """By person whose account is to get other tags: whether they are being sent now, and what the ledger knows."""
        people = [one.person for one in operations if isinstance(one, AccountChange) and name in one.after]
        if not people:
            return {}
        # The ledger last: what another one sent meanwhile is in it when their hold is over
        held = await self._holds.taken(people)
        entries = await self._dep.ledger.entries(self._target, people)
        return {person: (hold, entries.get(person)) for person, hold in zip(people, held, strict=True)}

    async def _account(
        self, operation: AccountChange, name: str, observed: _Observed, held: bool, entry: LedgerEntry | None
    ) -> AccountChange | None:
        if held:
            return None
        from_events = entry.values.get(_TOLD.format(name)) if entry else None
        # A plan that saw the account after the tag was set decides about it like about any other tag
        if entry is None or not from_events or not (entry.recorded > operation.planned or not await observed.listed()):
            return operation
        wanted = {**operation.wanted, name: _joined(operation.wanted.get(name), from_events)}
        return structs.replace(operation, wanted=wanted)

    async def _hold(self, person: str) -> bool:
        return await self._holds.take(person, _HOLD)

    async def _let_go(self, people: Iterable[str]) -> None:
        await self._holds.release(people)

    async def over(self, claims: Sequence[Claim]) -> None:
        """What was sent is recorded: others may go on."""
        if self._name is not None:
            await self._let_go(claim.operation.person for claim in claims if isinstance(claim.operation, EventTag))


def learnt_tags(operation: Operation, name: str | None, sent: float) -> dict[str, str]:
    """What the ledger learns by a success about a target's tags.

    Args:
        name: their attribute, None if the target has none.
        sent: when the operation left (epoch seconds).
    """
    if name is None or name not in operation.after:
        return {}
    withdrawn = withdrawal(operation, name, sent) if isinstance(operation, AccountChange) else {}
    found = withdrawn | {_ALL.format(name): operation.wanted.get(name) or ""}
    from_events = operation.owned.get(_TOLD.format(name))
    return found | ({_TOLD.format(name): from_events} if from_events else {})


def _has_tags(operation: Operation, name: str) -> bool:
    return isinstance(operation, EventTag) or (isinstance(operation, AccountChange) and name in operation.after)


def _joined(first: str | None, second: str | None) -> str | None:
    return canonical((*members(first), *members(second)), Type.SET)


class _Observed:
    """A target's tags as last seen, read when they are first asked for."""

    def __init__(self, dep: Deployment, target: str, name: str) -> None:
        self._dep, self._target, self._name = dep, target, name
        self._read: tuple[pl.DataFrame, Reading] | None = None
        self._asked = False

    async def _remembered(self) -> tuple[pl.DataFrame, Reading] | None:
        if not self._asked:
            self._read, self._asked = await self._dep.frames.remembered(self._target), True
        return self._read

    async def listed(self) -> bool:
        """Whether the target shows its accounts at all."""
        return await self._remembered() is not None

    async def tags(self, account: str | None, entry: LedgerEntry | None) -> str | None:
        """All tags of an account, by whichever is newer: the listing, or what we last sent."""
        remembered = await self._remembered()
        sent = entry.values.get(_ALL.format(self._name)) if entry else None
        if remembered is not None:
            frame, reading = remembered
            older = entry is None or sent is None or entry.recorded <= reading.seen
            if older and self._name in frame.columns:
                mine = frame.filter(pl.col(ACCOUNT) == account)
                if mine.height:
                    return str(mine[self._name][0]) if mine[self._name][0] else None
        if sent is not None:
            return sent or None
        if entry is None:
            return None
        return _joined(entry.values.get(self._name), entry.values.get(_TOLD.format(self._name)))
