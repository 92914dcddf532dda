"""Observing a target: its accounts as a frame, remembered where that spares the next run a read."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from provisioner.model.account import Account
from provisioner.model.attributes import DETAILS_READ_AT
from provisioner.planning.desired import LEAVER, MEMBER, PERSON, STANDING
from provisioner.planning.spec import ACCOUNT, READ, UNTOUCHABLE, Observation
from provisioner.runtime.context import Deployment
from provisioner.store.people.ledger import LedgerStore
from provisioner.store.people.snapshots import Reading
from provisioner.store.runs.target_health import HealthStore
from provisioner.targets.base import Ask, Listing
from provisioner.targets.capabilities import Incremental, LooksUp, WantsPrevious
from provisioner.targets.http import Http

#: Seconds after which everything is listed again, should the daily full run not have come.
_FULL_EVERY: Final = 26 * 3600.0
#: Seconds before the last reading from which changes are asked for, since vendors' indexes and clocks lag.
_OVERLAP: Final = 600.0


def frame_of(accounts: Iterable[Account], names: Iterable[str]) -> pl.DataFrame:
    """Accounts as the planner wants them: one text column per attribute that any of them shows or that is named.

    Very many take seconds, so it goes into a thread: whoever holds the target has to say so meanwhile.
    """
    rows = list(accounts)
    columns = dict.fromkeys(names)
    for account in rows:
        columns.update(dict.fromkeys(account.values))
    data: dict[str, list[str | None]] = {
        ACCOUNT: [account.id for account in rows],
        UNTOUCHABLE: [account.untouchable for account in rows],
    }
    for name in columns:
        data[name] = [account.values.get(name) for account in rows]
    return pl.DataFrame(data, schema=dict.fromkeys(data, pl.String)).unique(
        subset=ACCOUNT, keep="first", maintain_order=True
    )


def accounts_of(frame: pl.DataFrame | None) -> dict[str, Account]:
    """The inverse of `frame_of`, by id."""
    if frame is None:
        return {}
    found = {}
    for row in frame.iter_rows(named=True):
        values = {name: value for name, value in row.items() if name not in (ACCOUNT, UNTOUCHABLE, READ)}
        found[row[ACCOUNT]] = Account(row[ACCOUNT], values, row[UNTOUCHABLE])
    return found


@dataclass(frozen=True, slots=True)
class Seen:
    """An observation, and what of it the next run may rely on: `frame` (None: the remembered one still holds good) and
    `reading`, which is None where nothing is to be kept."""

    observation: Observation
    frame: pl.DataFrame | None = None
    reading: Reading | None = None


async def keep(dep: Deployment, target: str, seen: Seen, *, believed: bool) -> None:
    """Remember what was seen for the next run. Of a listing that is not believed only this: list everybody again."""
    if seen.reading is None:
        return
    if believed:
        await dep.frames.keep_observed(target, seen.frame, seen.reading)
    else:
        last = await dep.frames.remembered(target)
        if last is not None:
            await dep.frames.keep_observed(target, None, replace(last[1], full=0.0))


async def observe(
    dep: Deployment, target: str, http: Http, *, asks: Sequence[Ask] | None = None, full: bool = False
) -> Seen:
    """Read a target: everything, or only the asked people's accounts where it can look them up.

    Everything may also be what is remembered, with what changed since laid over it; see `_overlaid`.

    Nothing is kept here: whether it is believed only a plan can tell, see `keep`.

    Args:
        full: list every account, whatever is remembered.

    Raises:
        TargetError: it could not be read whole.
    """
    made = dep.targets[target]
    previous = isinstance(made, WantsPrevious) and made.wants_previous
    incremental = isinstance(made, Incremental)
    last = await dep.frames.remembered(target) if asks is None or previous or incremental else None
    known: Mapping[str, Account] = {}
    if last and previous:
        known = await asyncio.to_thread(accounts_of, _needed(last[0], asks))
        known = _to_read_again(known, await _in_question(dep.health, dep.ledger, target))
    began = await dep.clock.now()
    listing: Listing | None = None
    if asks is not None and isinstance(made, LooksUp):
        listing = await made.find(http, asks, known)
    if listing is not None and asks is not None:
        frame = frame_of(listing.accounts, _readable(dep, target))
        people = frozenset(ask.person for ask in asks)
        lost = {ask.account for ask in asks if ask.account} - set(frame[ACCOUNT].to_list())
        if lost and last is None:
            last = await dep.frames.remembered(target)
        shown = last[0][ACCOUNT] if lost and last is not None else None
        return Seen(Observation(frame, complete=False, began=began, asked=people, shown=shown))
    if asks is not None and not isinstance(made, LooksUp) and not full:
        last_seen = await _last_seen(dep, target, asks, began)
        if last_seen is not None:
            return Seen(last_seen)
    if isinstance(made, Incremental) and last and asks is None and not full:
        overlaid = await _overlaid(dep, target, http, made, *last, began=began)
        if overlaid is not None:
            return overlaid
    http.first_contact = (await dep.frames.remembered(target) if asks is not None else last) is None
    listing = await made.observe(http, known)
    # An attribute that the vendor shows for nobody is still observed where it lists whole records
    named = _readable(dep, target) if listing.complete else ()
    frame = await asyncio.to_thread(frame_of, listing.accounts, named)
    notes = listing.notes if listing.unlistable is None else (*listing.notes, listing.unlistable)
    if incremental:
        frame = _stamped(frame, began)
    before = last[0] if last is not None and last[1].origin == made.origin else None
    observation = Observation(
        frame,
        complete=listing.complete,
        began=began,
        notes=notes,
        last=before,
        last_read=last[1].seen if last is not None and before is not None else None,
        doubt=listing.doubt,
        unread=listing.unread,
        deleted=listing.deleted,
    )
    if not listing.complete:
        return Seen(observation)
    return Seen(observation, frame, Reading(full=began, seen=_behind(began, listing.as_of), origin=made.origin))


async def _in_question(health: HealthStore, ledger: LedgerStore, target: str) -> set[str]:
    """The accounts whose details led to an open to-do: whether somebody settled it, only a new reading tells."""
    people = [str(person) for person in await health.list(target, "reread")]
    return set((await ledger.frame(target, (), people))[ACCOUNT]) if people else set()


def _to_read_again(known: Mapping[str, Account], accounts: Collection[str]) -> dict[str, Account]:
    """The accounts as they are known, some of them with details that count as never read."""
    return {
        name: replace(one, values={**one.values, DETAILS_READ_AT: None}) if name in accounts else one
        for name, one in known.items()
    }


def _needed(last: pl.DataFrame, asks: Sequence[Ask] | None) -> pl.DataFrame:
    """Of the accounts as last observed those that are looked at: the linked ones, if everybody asked for has a link."""
    accounts = None if asks is None else [ask.account for ask in asks]
    return last.filter(pl.col(ACCOUNT).is_in(accounts)) if accounts is not None and all(accounts) else last


async def _last_seen(dep: Deployment, target: str, asks: Sequence[Ask], began: float) -> Observation | None:
    """The asked accounts as the last listing showed them, for a vendor who can list only everybody.

    None where a listing is needed after all: somebody has no link yet, the account is younger than the listing, or
    that is too long ago or of another address. What the ledger recorded since wins over it, as over any listing.
    """
    accounts = [ask.account for ask in asks]
    last = await dep.frames.remembered(target) if all(accounts) else None
    if last is None:
        return None
    frame, reading = last
    mine = frame.filter(pl.col(ACCOUNT).is_in(accounts))
    recently = 0 <= began - reading.full <= _FULL_EVERY
    if not recently or reading.origin != dep.targets[target].origin or mine.height != len(set(accounts)):
        return None
    return Observation(
        _stamped(mine, reading.seen),
        complete=False,
        began=began,
        asked=frozenset(ask.person for ask in asks),
        notes=(
            f"{target} shows nobody by themselves, so this relies on its listing of {began - reading.seen:.0f} s ago.",
        ),
    )


async def _overlaid(
    dep: Deployment, target: str, http: Http, made: Incremental, last: pl.DataFrame, reading: Reading, *, began: float
) -> Seen | None:
    """The last listing with later changes applied; None where a full listing is needed.

    That is so when the last one is too long ago, came from another address or lacks an attribute that is wanted or
    shown now, and when there are not as many accounts as there should be, because some were deleted or renamed.
    """
    recently = 0 <= began - reading.full <= _FULL_EVERY
    if not recently or reading.origin != dep.targets[target].origin or READ not in last.columns or not last.height:
        return None
    recent = await made.observe_recent(http, reading.seen - _OVERLAP)
    changed = _stamped(await asyncio.to_thread(frame_of, recent.accounts, _readable(dep, target)), began)
    if set(changed.columns) - set(last.columns):
        return None
    frame = last
    if changed.height:
        kept = last.join(changed.select(ACCOUNT), on=ACCOUNT, how="anti", maintain_order="left")
        frame = pl.concat([kept, changed], how="diagonal")
    if frame.height != recent.total:
        return None
    seen = Reading(full=reading.full, seen=_behind(began, recent.as_of), origin=reading.origin)
    observation = Observation(frame, complete=True, began=began, last=last)
    return Seen(observation, frame if changed.height else None, seen)


def _stamped(frame: pl.DataFrame, began: float) -> pl.DataFrame:
    return frame.with_columns(pl.lit(began, dtype=pl.Float64).alias(READ))


def _behind(began: float, as_of: float | None) -> float:
    """The earlier of our time and the vendor's: whoever's clock is ahead would make us overlook changes."""
    return began if as_of is None else min(began, as_of)


def _readable(dep: Deployment, target: str) -> list[str]:
    return [name for name, attribute in dep.specs[target].attributes.items() if attribute.observed]


def asks_of(desired: pl.DataFrame, ledger: pl.DataFrame, match: Sequence[str]) -> list[Ask]:
    """Whose accounts to look up: everyone of the frame who has an account or should have one."""
    links = dict(ledger.select(PERSON, ACCOUNT).iter_rows())
    asks = []
    for row in desired.iter_rows(named=True):
        if row[STANDING] in (MEMBER, LEAVER) or row[PERSON] in links:
            wanted = {name: row.get(f"m:{name}") for name in match}
            asks.append(Ask(row[PERSON], links.get(row[PERSON]), wanted))
    return asks
