"""Is this the deployment that the ledger belongs to? Whoever is configured otherwise may not use it.

Redis keeps of each target where its accounts are: kind, address, and which account of the vendor's. A worker or command
with other settings (test settings on production's Redis, a deployment that was forgotten when the address changed)
would take one system's people for another's, so it is refused. `was` in the target's settings names an earlier name or
address, whose ledger goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog

from provisioner.errors import OriginError
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.settings.targets import TargetSettings
from provisioner.store.people.origins import OriginStore

log = structlog.get_logger(__name__)


def origin_of(settings: Settings, target: str) -> dict[str, Any]:
    """Where a target's accounts are (`kind`, `address`, `account`), and by what people are known (`key`, `match`)."""
    own = settings.targets[target]
    return {
        "kind": own.kind,
        "address": own.base_url.lower(),
        "account": "/".join(str(getattr(own, name)) for name in own.same_account),
        "key": settings.roster.key,
        "match": list(own.match),
    }


_PLACE = ("kind", "address", "account")


def _place(origin: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(origin.get(name) for name in _PLACE)


async def check_origin(store: OriginStore, settings: Settings, target: str) -> None:
    """Return if a target is where the ledger has it. Changes nothing.

    Raises:
        OriginError: it is elsewhere.
        StoreError: Redis does not answer.
    """
    _compare(settings, target, await store.of(target))


def _compare(settings: Settings, target: str, known: dict[str, Any] | None) -> None:
    ours = origin_of(settings, target)
    if known is not None and _place(known) != _place(ours) and not _moved(settings.targets[target], known, ours):
        raise _elsewhere(target, known, ours)


async def foreign(dep: Deployment) -> OriginError | None:
    """The error of a deployment none of whose targets is where the ledger has it: its roster is another's as well."""
    found: list[OriginError] = []
    for target in dep.targets:
        known = await dep.origins.of(target)
        if known is None:
            continue
        try:
            _compare(dep.settings, target, known)
        except OriginError as exc:
            found.append(exc)
        else:
            return None
    return found[0] if found else None


async def claim_origin(dep: Deployment, target: str) -> None:
    """The same, and note the origin where none is noted; what is known under a target's earlier name comes along.

    Raises:
        OriginError: it is elsewhere, or something is still being sent under its earlier name.
        StoreError: Redis does not answer.
    """
    await check_origin(dep.origins, dep.settings, target)
    own, ours = dep.settings.targets[target], origin_of(dep.settings, target)
    for old in own.was:
        if old in dep.settings.targets or not await dep.ledger.size(old) or await dep.ledger.size(target):
            continue
        _compare(dep.settings, target, await dep.origins.of(old))
        if await dep.origins.sending(old):
            raise OriginError(
                target, f"something is still being sent as {old}.", remedy="Stop the workers with the old settings."
            )
        await dep.origins.rename(old, target)
        log.warning("target_renamed", target=target, was=old)
    known = await dep.origins.of(target)
    if known != ours and await dep.origins.note(target, ours, instead=known):
        log.info("origin_noted", target=target, address=ours["address"])


def _moved(own: TargetSettings, known: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Whether the settings say that a target was at the known address before."""
    return known.get("kind") == ours["kind"] and known.get("address") in {text.lower().rstrip("/") for text in own.was}


def _elsewhere(target: str, known: dict[str, Any], ours: dict[str, Any]) -> OriginError:
    def shown(origin: dict[str, Any]) -> str:
        account = f", account {origin['account']}" if origin.get("account") else ""
        return f"{origin.get('kind')} at {origin.get('address')}{account}"

    return OriginError(
        target,
        f"the ledger in this Redis is about {shown(known)}, these settings are about {shown(ours)}. "
        "Nothing is read or sent.",
        remedy="Another deployment uses this Redis: give each its own (redis_url), or stop the one that was forgotten. "
        f"If the product has moved, add its old address to targets.{target}.was.",
    )


async def remarks(origins: OriginStore, settings: Settings, target: str) -> list[str]:
    """What every run says about a target's ledger: it is known by other things than before, or others have no owner."""
    found = [*await changed(origins, settings, target), *ownerless(settings, await origins.ledgers())]
    for sentence in found:
        log.warning("ledger", target=target, warning=sentence)
    return found


async def changed(store: OriginStore, settings: Settings, target: str) -> list[str]:
    """Sentences about what people are known by now and were not before."""
    known, ours = await store.of(target), origin_of(settings, target)
    if known is None:
        return []
    found = []
    if known.get("key") != ours["key"]:
        found.append(
            f"roster.key was {known.get('key')} and is {ours['key']}: whoever has another value there counts as "
            "somebody new, and as gone. Name the old column as roster.previous_key."
        )
    if known.get("match") != ours["match"]:
        before, now = (", ".join(origin.get("match") or ()) for origin in (known, ours))
        found.append(
            f"targets.{target}.match was {before} and is {now}: links stay, and accounts without one are matched again."
        )
    return found


def ownerless(settings: Settings, ledgers: dict[str, int]) -> list[str]:
    """Sentences about ledgers with people that belong to no configured target."""
    owned = {*settings.targets, *_earlier(settings.targets.values())}
    return [
        f"The ledger of {name} has {count} linked people, and no target of that name is configured: whoever leaves "
        f"keeps access there. If it was renamed, add `was: [{name}]` to the target; if it is out of service, keep it "
        "with enabled: false."
        for name, count in ledgers.items()
        if name not in owned
    ]


def _earlier(targets: Iterable[TargetSettings]) -> set[str]:
    return {name for own in targets for name in own.was}
