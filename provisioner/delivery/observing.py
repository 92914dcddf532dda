"""Observing a target: its accounts as a frame, remembered where that spares the next run a read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import polars as pl

from provisioner.delivery.deployment import Deployment
from provisioner.model.account import Account
from provisioner.planning.desired import LEAVER, MEMBER, PERSON, STANDING
from provisioner.planning.spec import ACCOUNT, READ, UNTOUCHABLE, Observation
from provisioner.store import keys
from provisioner.store.frames import Reading
from provisioner.store.pace import Lane
from provisioner.targets.base import Ask, Listing
from provisioner.targets.http import Http

#: Seconds after which the hold on a target ends if its holder died.
_HOLD: Final = 30
#: Seconds after which everything is listed again, should the daily full run not have come.
_FULL_EVERY: Final = 26 * 3600.0
#: Seconds before the last reading from which changes are asked for, since vendors' indexes and clocks lag.
_OVERLAP: Final = 600.0


def frame_of(accounts: Iterable[Account], names: Iterable[str]) -> pl.DataFrame:
    """Accounts as the planner wants them: one text column per attribute that any of them shows or that is named."""
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


@asynccontextmanager
async def held(dep: Deployment, target: str, run: str) -> AsyncIterator[bool]:
    """Hold a target for one run's observation and plan; False if another run has it.

    The hold is renewed while it lasts, and ends by itself if this process dies.
    """
    key = keys.busy(target)
    taken = bool(await dep.redis.set(key, run, nx=True, ex=_HOLD)) or await dep.redis.get(key) == run.encode()
    if not taken:
        yield False
        return

    async def renew() -> None:
        while True:
            await asyncio.sleep(_HOLD / 3)
            await dep.redis.expire(key, _HOLD)

    renewal = asyncio.create_task(renew())
    try:
        yield True
    finally:
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        if await dep.redis.get(key) == run.encode():
            await dep.redis.delete(key)


async def observe(
    dep: Deployment,
    target: str,
    http: Http,
    *,
    asks: Sequence[Ask] | None = None,
    remember: bool,
    full: bool = False,
) -> Observation:
    """Read a target: everything, or only the asked people's accounts where it can look them up.

    Everything may also be what is remembered, with what changed since laid over it; see `_overlaid`.

    Args:
        remember: keep what was seen, for the next run's sake; a plan keeps nothing.
        full: list every account, whatever is remembered.

    Raises:
        TargetError: it could not be read whole.
    """
    made = dep.targets[target]
    last = await dep.frames.remembered(target) if made.remembers or made.deltas else None
    known: Mapping[str, Account] = accounts_of(last[0]) if last and made.remembers else {}
    began = await dep.runs.now()
    listing: Listing | None = None
    if asks is not None:
        listing = await made.find(http, asks, known)
    if listing is not None and asks is not None:
        frame = frame_of(listing.accounts, _readable(dep, target))
        return Observation(frame, complete=False, began=began, asked=frozenset(ask.person for ask in asks))
    if made.deltas and last and asks is None and not full:
        overlaid = await _overlaid(dep, target, http, *last, began=began, remember=remember)
        if overlaid is not None:
            return overlaid
    listing = await made.observe(http, known)
    # An attribute that the vendor shows for nobody is still observed where it lists whole records
    frame = frame_of(listing.accounts, _readable(dep, target) if listing.complete else ())
    notes = listing.notes if listing.unlistable is None else (*listing.notes, listing.unlistable)
    if made.deltas:
        frame = _stamped(frame, began)
    if remember and listing.complete:
        reading = Reading(full=began, seen=_behind(began, listing.as_of), origin=made.origin)
        await dep.frames.keep_observed(target, frame, reading)
    return Observation(frame, complete=listing.complete, began=began, notes=notes)


async def _overlaid(
    dep: Deployment, target: str, http: Http, frame: pl.DataFrame, reading: Reading, *, began: float, remember: bool
) -> Observation | None:
    """What is remembered, overlaid with what changed since; None where only a full listing can tell.

    That is so when the last one is too long ago, came from another address or lacks an attribute that is wanted or
    shown now, and when there are not as many accounts as there should be, because some were deleted or renamed.
    """
    made = dep.targets[target]
    recently = 0 <= began - reading.full <= _FULL_EVERY
    if not recently or reading.origin != made.origin or READ not in frame.columns or not frame.height:
        return None
    recent = await made.observe_recent(http, reading.seen - _OVERLAP)
    changed = _stamped(frame_of(recent.accounts, _readable(dep, target)), began)
    if set(changed.columns) - set(frame.columns):
        return None
    if changed.height:
        kept = frame.join(changed.select(ACCOUNT), on=ACCOUNT, how="anti", maintain_order="left")
        frame = pl.concat([kept, changed], how="diagonal")
    if frame.height != recent.total:
        return None
    if remember:
        seen = Reading(full=reading.full, seen=_behind(began, recent.as_of), origin=reading.origin)
        await dep.frames.keep_observed(target, frame if changed.height else None, seen)
    return Observation(frame, complete=True, began=began)


def _stamped(frame: pl.DataFrame, began: float) -> pl.DataFrame:
    return frame.with_columns(pl.lit(began, dtype=pl.Float64).alias(READ))


def _behind(began: float, as_of: float | None) -> float:
    """The earlier of our time and the vendor's: whoever's clock is ahead would make us overlook changes."""
    return began if as_of is None else min(began, as_of)


def _readable(dep: Deployment, target: str) -> list[str]:
    return [name for name, attribute in dep.specs[target].attributes.items() if attribute.observed]


def lane_of(people: Sequence[str] | None) -> Lane:
    """Single-person work has a lane of its own."""
    return "bulk" if people is None else "urgent"


def asks_of(desired: pl.DataFrame, ledger: pl.DataFrame, match: Sequence[str]) -> list[Ask]:
    """Whose accounts to look up: everyone of the frame who has an account or should have one."""
    links = dict(ledger.select(PERSON, ACCOUNT).iter_rows())
    asks = []
    for row in desired.iter_rows(named=True):
        if row[STANDING] in (MEMBER, LEAVER) or row[PERSON] in links:
            wanted = {name: row.get(f"m:{name}") for name in match}
            asks.append(Ask(row[PERSON], links.get(row[PERSON]), wanted))
    return asks
