"""`link` and `unlink`: whose account is whose, settled by a person. Nothing is written to the vendor.

The next plan takes it from there: a linked account is brought to what the roster says, and an account that was unlinked
is not matched to that person again.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import polars as pl
import structlog

from provisioner.admin.patience import PATIENCE, awaited, entered, finish_installing, settled
from provisioner.errors import ProvisionerError, UsageError
from provisioner.model.account import LedgerEntry, State
from provisioner.model.attributes import fold
from provisioner.planning.claims import folded
from provisioner.planning.spec import ACCOUNT
from provisioner.planning.whose import Named, identifier_type
from provisioner.progress.run_status import refresh
from provisioner.runs.known_as import known_as
from provisioner.runs.target_lock import held
from provisioner.runtime.audit import record
from provisioner.runtime.context import Deployment
from provisioner.runtime.origins import check_origin
from provisioner.store.people.hand_links import Changed

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HandLink:
    """What was settled: `linked` or not. `dropped` operations had been planned without it and were not sent."""

    person: str
    target: str
    account: str
    linked: bool
    dropped: int = 0


async def link(
    dep: Deployment, person: str, target: str, account: str, *, by: str, patience: float = PATIENCE
) -> HandLink:
    """Say that an account is a person's.

    Args:
        by: who says so, for the audit trail.
        patience: seconds for which the end of what is under way is awaited.

    Raises:
        UsageError: the person, the target or the account is unknown; the account is another person's, or the person
            has another account there.
        ProvisionerError: what is under way did not end in time; nothing was changed.
    """
    _check_target(dep, target)
    await check_origin(dep.origins, dep.settings, target)
    person = await known_as(dep, person)
    await _check_person(dep, person)
    async with _still(dep, target, patience):
        known, state = await _account(dep, target, account)
        await _check_owner(dep, target, person, known)
        changed = await settled(
            lambda: dep.hand_links.link(target, person, known, state), patience, _busy(_sending(target))
        )
        if changed.verdict == "other":
            entry = await dep.ledger.entry(target, person)
            raise _has_another(person, target, entry)
    return await _told(dep, HandLink(person, target, known, linked=True), changed, by)


async def unlink(dep: Deployment, person: str, target: str, *, by: str, patience: float = PATIENCE) -> HandLink:
    """Say that the account that a person is linked to is not theirs; no plan matches the two again.

    Raises:
        UsageError: the target is unknown, or the person has no link there.
        ProvisionerError: what is under way did not end in time; nothing was changed.
    """
    _check_target(dep, target)
    if await dep.ledger.entry(target, person) is None:
        # One of two spellings of a person may be meant, so the very text goes first
        person = await known_as(dep, person)
    async with _still(dep, target, patience):
        entry = await dep.ledger.entry(target, person)
        if entry is None:
            raise UsageError(
                f"{person!r} has no account in {target}.", remedy=f"`provisioner why {person}` shows which they have."
            )
        store = dep.hand_links
        changed = await settled(lambda: store.unlink(target, person, entry.account), patience, _busy(_sending(target)))
        if changed.verdict == "other":
            raise ProvisionerError(
                f"The link of {person!r} in {target} changed in this moment; nothing was unlinked.",
                remedy="Look at it again, then ask again.",
            )
    return await _told(dep, HandLink(person, target, entry.account, linked=False), changed, by)


def _check_target(dep: Deployment, target: str) -> None:
    dep.chosen([target])
    if target not in dep.specs:
        raise UsageError(f"The target {target!r} is not enabled.", remedy=f"Set targets.{target}.enabled.")


async def _check_person(dep: Deployment, person: str) -> None:
    people = await dep.frames.known()
    if people is not None and person in people["_key"]:
        return
    for target in dep.specs:
        if await dep.ledger.entry(target, person) is not None:
            return
    raise UsageError(
        f"There is no person {person!r}: neither in the last clean roster nor in the ledger.",
        remedy=f"Use a value of the column {dep.settings.roster.key_name!r}; only a run brings the roster here.",
    )


async def _account(dep: Deployment, target: str, account: str) -> tuple[str, State]:
    """The account's identifier as the target spells it, and the state that a link to it begins with."""
    spec = dep.specs[target]
    type_ = identifier_type(spec.attributes)
    frame = await dep.frames.observed(target)
    if frame is None:
        # The vendor cannot list, so nobody here can say which accounts there are
        return account, "active"
    same = frame.filter(folded(pl.col(ACCOUNT), type_) == fold(account, type_))
    if same.height == 1:
        activity = spec.activity if spec.activity in same.columns else None
        inactive = activity is not None and same[activity][0] == "false"
        return str(same[ACCOUNT][0]), "left" if inactive else "active"
    if account in await dep.health.list(target, "orphans"):
        return account, "active"
    raise UsageError(
        f"{target} has shown no account {account!r}.",
        remedy="`provisioner orphans` lists accounts without a person; a new one is known after the next sync.",
    )


async def _check_owner(dep: Deployment, target: str, person: str, account: str) -> None:
    links = await dep.ledger.frame(target, ())
    owners = Named(links.select(ACCOUNT, "_person").iter_rows(), identifier_type(dep.specs[target].attributes))
    others = [other for other in owners.by(account) if other != person]
    if others:
        raise UsageError(
            f"The account {account!r} in {target} belongs to {', '.join(map(repr, others))}.",
            remedy=f"If that is wrong: provisioner unlink {others[0]} {target}",
        )
    entry = await dep.ledger.entry(target, person)
    if entry is not None and entry.account != account:
        raise _has_another(person, target, entry)


def _has_another(person: str, target: str, entry: LedgerEntry | None) -> UsageError:
    other = f" {entry.account!r}" if entry else ""
    return UsageError(
        f"{person!r} has another account in {target}{other}.",
        remedy=f"If that is wrong: provisioner unlink {person} {target}",
    )


@asynccontextmanager
async def _still(dep: Deployment, target: str, patience: float) -> AsyncIterator[None]:
    """Let nobody plan the target while the context lasts."""
    name = f"link-{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        await awaited(
            lambda: entered(stack, held(dep.locks, target, name)), patience, _busy(f"a run is planning {target}")
        )
        await finish_installing(dep.runs, dep.plans, (target,))
        yield


def _sending(target: str) -> str:
    return f"{target} is being sent something about this person"


def _busy(what: str) -> ProvisionerError:
    return ProvisionerError(f"Nothing was changed: {what}.", remedy="Ask again when that is over.")


async def _told(dep: Deployment, done: HandLink, changed: Changed, by: str) -> HandLink:
    for run in dict.fromkeys(changed.runs):
        await refresh(dep, run)
    action = "linked" if done.linked else "unlinked"
    await record(dep.audit, by, action, people=(done.person,), facts={"target": done.target, "account": done.account})
    log.info(action, target=done.target, by=by, dropped=len(changed.runs))
    return HandLink(done.person, done.target, done.account, done.linked, len(changed.runs))
