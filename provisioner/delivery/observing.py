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
from provisioner.planning.spec import ACCOUNT, UNTOUCHABLE, Observation
from provisioner.store import keys
from provisioner.store.pace import Lane
from provisioner.targets.base import Ask, Listing
from provisioner.targets.http import Http

#: Seconds after which the hold on a target ends if its holder died.
_HOLD: Final = 30


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
        values = {name: value for name, value in row.items() if name not in (ACCOUNT, UNTOUCHABLE)}
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
    dep: Deployment, target: str, http: Http, *, asks: Sequence[Ask] | None = None, remember: bool
) -> Observation:
    """Read a target: everything, or only the asked people's accounts where it can look them up.

    Args:
        remember: keep what was seen, for the next run's sake; a plan keeps nothing.

    Raises:
        TargetError: it could not be read whole.
    """
    made = dep.targets[target]
    stored = await dep.frames.observed(target) if made.remembers else None
    known: Mapping[str, Account] = accounts_of(stored)
    began = await dep.runs.now()
    listing: Listing | None = None
    if asks is not None:
        listing = await made.find(http, asks, known)
    if listing is not None and asks is not None:
        frame = frame_of(listing.accounts, _readable(dep, target))
        return Observation(frame, complete=False, began=began, asked=frozenset(ask.person for ask in asks))
    listing = await made.observe(http, known)
    # An attribute that the vendor shows for nobody is still observed where it lists whole records
    frame = frame_of(listing.accounts, _readable(dep, target) if listing.complete else ())
    notes = listing.notes if listing.unlistable is None else (*listing.notes, listing.unlistable)
    if remember and listing.complete:
        await dep.frames.keep_observed(target, frame)
    return Observation(frame, complete=listing.complete, began=began, notes=notes)


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
