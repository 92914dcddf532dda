"""`forget`: everything about one person is erased here; what the vendors hold stays theirs and is named.

Nothing may move meanwhile, or it would bring back what was just erased: no run may plan a target, none may be reading
the roster, and nothing may be under way to a vendor for this person. So all targets are held, as a run holds them, and
where something is under way, its end is awaited.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from provisioner.admin.patience import PATIENCE, awaited, entered, finish_installing
from provisioner.dispatch.outcome_spool import Spool
from provisioner.errors import ProvisionerError, UsageError
from provisioner.planning.spec import ACCOUNT
from provisioner.progress.run_status import refresh
from provisioner.roster.identity import fold_key
from provisioner.runs.known_as import known_as
from provisioner.runs.target_lock import held
from provisioner.runtime.audit import record
from provisioner.runtime.context import Deployment
from provisioner.store.admin.audit import AuditStore
from provisioner.store.admin.erase import Eraser
from provisioner.store.people.pushed_people import PushedPeopleStore
from provisioner.store.people.snapshots import FrameStore
from provisioner.store.runs.documents import RunStore
from provisioner.store.runs.locks import FORGETTING, Hold, LockStore

log = structlog.get_logger(__name__)

#: Seconds after which runs may begin again if this process died.
_HOLD: Final = 15
_YET: Final = "The person is not forgotten yet"


@dataclass(frozen=True, slots=True)
class Held:
    """An account that the vendor still has. `state` is what we last brought about: `active` or `left`; `created`
    whether we made it."""

    target: str
    kind: str | None
    account: str
    state: str
    created: bool


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased, counted by where it lay, and what others still hold.

    `dropped` operations had not been sent. `pushed`: a roster that was handed over by HTTP lies here and may hold the
    person's row; `listed`: the last clean roster had the person as present.
    """

    person: str
    accounts: tuple[Held, ...]
    erased: dict[str, int]
    dropped: int
    pushed: bool
    listed: bool


async def forget(dep: Deployment, person: str, *, by: str, patience: float = PATIENCE) -> Forgotten:
    """Erase a person's data here. A later run that meets them in the roster takes them for somebody new.

    Args:
        by: who asks for it, for the audit trail, which does not name the person.
        patience: seconds for which the end of what is under way is awaited.

    Raises:
        UsageError: nothing is known of anybody of that key.
        ProvisionerError: what is under way did not end in time; asking again goes on where this ended.
        StoreError: Redis does not answer; asking again goes on where this ended.
    """
    await Spool(dep.settings.data_dir).replay(dep.queue)
    person = await known_as(dep, person)
    eraser = dep.erasers.of(person)
    erased = {"rejects": await eraser.rejects(), "reviewed": await eraser.reviewed()}
    if not await eraser.known():
        erased["snapshots"] = await eraser.snapshots()
        erased["operations"] = await eraser.operations()
        erased["facts"] = await eraser.facts()
        erased["receipts"] = await eraser.receipt()
        erased |= await _resources(dep.pushed_people, person)
        if not any(erased.values()):
            raise UsageError(
                f"Nothing is known of a person {person!r}.",
                remedy=f"Use a value of the column {dep.settings.roster.key_name!r}, as it is written there.",
            )
        erased |= await _mentions(dep.audit, eraser, by)
        return Forgotten(person, (), erased, 0, await _pushed(dep.frames), listed=False)
    targets = await eraser.targets()
    async with nothing_moves(dep, targets, (person,), patience, _YET):
        accounts = [found for target in targets if (found := await _account(dep, target, person)) is not None]
        names = await _names(dep, person, accounts)
        listed = await _listed(dep.frames, person)
        dropped = 0
        for target in targets:
            dropped += await _within(patience, f"{target} is being sent something about this person", eraser, target)
        # Before the rows, or a run that begins right after this would read them once more
        erased |= await _resources(dep.pushed_people, person)
        erased["roster"] = await eraser.rows()
        erased["snapshots"] = await eraser.snapshots()
        ids = {target: {one.account for one in accounts if one.target == target} for target in targets}
        erased["ledger"] = len(accounts)
        erased["observed"] = sum([await eraser.observed(target, ACCOUNT, ids[target]) for target in targets])
        erased["lists"] = sum([await eraser.lists(target, ids[target]) for target in targets])
        erased["operations"] = await eraser.operations()
        erased["facts"] = await eraser.facts()
        erased["receipts"] = await eraser.receipt()
        erased["letters"] = await eraser.letters(names)
        erased |= await _mentions(dep.audit, eraser, by)
    for run in await dep.runs.recent(50):
        await refresh(dep, run)
    # The key is personal data itself
    log.info("person_forgotten", accounts=len(accounts), dropped=dropped, **erased)
    return Forgotten(person, tuple(accounts), erased, dropped, await _pushed(dep.frames), listed)


async def _resources(pushed_people: PushedPeopleStore, person: str) -> dict[str, int]:
    """Erase what was pushed of a person over SCIM, if anything was."""
    gone = await pushed_people.forget(person, fold_key(person))
    return {"pushed": gone} if gone else {}


async def _mentions(audit: AuditStore, eraser: Eraser, by: str) -> dict[str, int]:
    """Take the name out of what stays: requests for runs, and the trail of what people did."""
    erased = {"requests": await eraser.requests(), "audit": await eraser.audit()}
    await record(audit, by, "forgotten", facts={"count": 1})
    return erased


async def _within(patience: float, what: str, eraser: Eraser, target: str) -> int:
    async def gone() -> int | None:
        return await eraser.standing(target)

    return await _awaited(patience, what, gone)


async def _awaited(patience: float, what: str, look: Callable[[], Awaitable[int | None]], yet: str = _YET) -> int:
    late = ProvisionerError(f"{yet}: {what}.", remedy="Ask again when that is over.")
    return await awaited(look, patience, late)


@asynccontextmanager
async def nothing_moves(
    dep: Deployment, targets: Sequence[str], people: Sequence[str], patience: float, yet: str
) -> AsyncIterator[None]:
    """Let nothing plan while the context lasts.

    Args:
        targets: those of which anything is kept, besides those of the settings.
        people: whom it is about.
        yet: what an error begins with.

    Raises:
        ProvisionerError: what is under way did not end in time.
    """
    token = f"forget-{secrets.token_hex(4)}"
    holds: list[Hold] = []
    async with AsyncExitStack() as stack:

        async def forgets() -> int | None:
            return await _entered(stack, holds, dep.locks.work(FORGETTING, seconds=_HOLD))

        # First: a run that begins later sees it and waits, one that began earlier is awaited below
        await _awaited(patience, "another person is being forgotten", forgets, yet)
        for target in dict.fromkeys((*dep.settings.targets, *targets)):

            async def take(name: str = target) -> int | None:
                return await _entered(stack, holds, held(dep.locks, name, token))

            await _awaited(patience, f"a run is planning {target}", take, yet)

        async def settled() -> int | None:
            return None if await _moving(dep.runs, dep.locks, people) else 0

        await _awaited(patience, "a run is reading the roster", settled, yet)
        await finish_installing(dep.runs, dep.plans, {*dep.settings.targets, *targets})
        yield
        for hold in holds:
            if not await hold.still():
                raise ProvisionerError(
                    f"{yet}: this process was suspended, and runs may have planned meanwhile.",
                    remedy="Ask again.",
                )


async def _entered(
    stack: AsyncExitStack, holds: list[Hold], lock: AbstractAsyncContextManager[Hold | None]
) -> int | None:
    """0 if the lock is ours until the stack closes, None if somebody has it."""
    hold = await entered(stack, lock)
    if hold is None:
        return None
    holds.append(hold)
    return 0


async def _moving(runs: RunStore, locks: LockStore, people: Sequence[str]) -> bool:
    """Whether a run is reading the roster now, or is about these very people."""
    for run in await runs.unfinished():
        if await runs.get(run, "stage") == "queued" and await locks.is_begun(run):
            return True
        request = await runs.request(run)
        if request is not None and request.people is not None and not set(people).isdisjoint(request.people):
            for target in await runs.targets(run):
                if (await runs.target(run, target)).get("stage") in ("queued", "planning"):
                    return True
    return False


async def _account(dep: Deployment, target: str, person: str) -> Held | None:
    entry = await dep.ledger.entry(target, person)
    if entry is None:
        return None
    settings = dep.settings.targets.get(target)
    return Held(target, settings.kind if settings else None, entry.account, entry.state, entry.created)


async def _names(dep: Deployment, person: str, accounts: Sequence[Held]) -> frozenset[str]:
    """The texts by which a vendor's event may name the person: those by which accounts are recognised."""
    found = {person}
    for held_there in accounts:
        entry = await dep.ledger.entry(held_there.target, person)
        settings = dep.settings.targets.get(held_there.target)
        values = entry.values if entry else {}
        found |= {held_there.account, *(values.get(name) or "" for name in (settings.match if settings else ()))}
    return frozenset(found - {""})


async def _listed(frames: FrameStore, person: str) -> bool:
    known = await frames.known()
    if known is None:
        return False
    row = known.filter(known["_key"] == person)
    return row.height > 0 and row["_absent_since"][0] is None


async def _pushed(frames: FrameStore) -> bool:
    return await frames.pushed() is not None
