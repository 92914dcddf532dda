"""What is set once, and the target refused when we made the account: the ledger remembers the refused value. Pure.

So the same value is not asked for in each run, another one is, and an account that we did not make, or whose value was
taken, keeps what the target makes of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from provisioner.model.operation import AccountChange, Kind, Operation
from provisioner.model.outcome import Permanent
from provisioner.settings import AttributeRule

_NAME = "{}:refused"


def refused_of(name: str) -> str:
    """The name under which the ledger keeps the value of an attribute that was refused; empty once one was taken."""
    return _NAME.format(name)


def set_once(rules: Mapping[str, AttributeRule]) -> frozenset[str]:
    """The attributes that are set once, and then the target's own."""
    return frozenset(name for name, rule in rules.items() if rule.authority == "create_only")


def remembered(operation: Operation, refusal: Permanent, once: Collection[str]) -> dict[str, str]:
    """What the ledger learns of refused values.

    Args:
        once: see `set_once`.
    """
    if not isinstance(operation, AccountChange):
        return {}
    sent = operation.wanted if operation.kind is Kind.CREATE else operation.after
    return {refused_of(name): value for name in refusal.refused if name in once and (value := sent.get(name))}


def forgotten(operation: Operation, once: Collection[str]) -> dict[str, str]:
    """What the ledger learns of them by a success: what was sent was taken.

    An account that was made for the first time has none.

    Args:
        once: see `set_once`.
    """
    if not isinstance(operation, AccountChange) or (operation.kind is Kind.CREATE and not operation.drift):
        return {}
    return {refused_of(name): "" for name in operation.after if name in once}
