"""Who did what: every decision and order of a person, whether by the page, the HTTP API or the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from provisioner.logs import clean
from provisioner.store.admin.audit import AuditStore

#: Names that are written out; of the rest, the count says enough.
_NAMED: Final = 50


async def record(
    trail: AuditStore,
    by: str,
    action: str,
    *,
    people: tuple[str, ...] | None = None,
    reason: str | None = None,
    facts: Mapping[str, Any],
) -> None:
    """Write down what a person did.

    Args:
        trail: where it is kept.
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
    entry: dict[str, Any] = {
        name: clean(value) if isinstance(value, str) else value for name, value in facts.items() if value is not None
    }
    if people is not None:
        entry |= {"people": list(people[:_NAMED]), "count": len(people)}
    if reason:
        entry["reason"] = clean(reason)
    await trail.add(by, action, entry)
