"""Who did what: every decision and order of a person, whether by the page, the HTTP API or the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from provisioner.logs import clean
from provisioner.runtime.context import Deployment

#: Names that are written out; of the rest, the count says enough.
_NAMED: Final = 50


async def record(
    dep: Deployment,
    by: str,
    action: str,
    *,
    people: tuple[str, ...] | None = None,
    reason: str | None = None,
    facts: Mapping[str, Any],
) -> None:
    """Write down what a person did.

    Args:
        by: who: ``web:<name>``, ``api:<name>`` or ``cli:<user>``.
        action: ``run requested``, ``approved``, ``rejected``, ``retried``, ``paused``, ``resumed``, ``linked``,
            ``unlinked``, ``roster pushed``, ``signed in``, ``signed out``.
        people: keys of the persons it was about, if it was about some.
        reason: why, in their words.
        facts: what else says what it was about; None is left out.

    Raises:
        StoreError: Redis does not answer.
    """
    # Addresses may hold credentials, and reasons what they please; the trail is kept for ever
    told: dict[str, Any] = {
        name: clean(value) if isinstance(value, str) else value for name, value in facts.items() if value is not None
    }
    if people is not None:
        told |= {"people": list(people[:_NAMED]), "count": len(people)}
    if reason:
        told["reason"] = clean(reason)
    await dep.audit.add(by, action, told)


async def audit(dep: Deployment, limit: int, before: str | None = None) -> list[dict[str, Any]]:
    """The newest actions first: ``id``, ``at``, ``by``, ``action``, and what each was about.

    Args:
        before: the ``id`` of an entry, to go on behind it.

    Raises:
        StoreError: Redis does not answer.
    """
    return await dep.audit.newest(limit, before)
