"""Members of a shared set that we took away, until a listing shows whether they went. Pure.

A vendor may add what is sent to what is there. Then what we took away stays, and would look like something that others
added: a leaver would keep their tags, and nobody would be told.
"""

from __future__ import annotations

from provisioner.model.attributes import Type, canonical, members
from provisioner.model.operation import Operation
from provisioner.planning.rewrite_loops import known_loops

_NAME = "{}:gone"


def withdrawn_of(name: str) -> str:
    """The name under which the ledger keeps what we last took away of a set, and when."""
    return _NAME.format(name)


def withdrawal(operation: Operation, name: str, sent: float) -> dict[str, str]:
    """What the ledger learns of it by an accepted change of that set.

    Args:
        sent: when the change left (epoch seconds).
    """
    wanted = {one.lower() for one in members(operation.wanted.get(name))}
    gone = [one for one in members(operation.before.get(name)) if one.lower() not in wanted]
    return {withdrawn_of(name): f"{sent:.3f} {canonical(gone, Type.SET)}" if gone else ""}


def still_ours(kept: str | None, name: str, last_read: float | None, loops: str | None) -> frozenset[str]:
    """What of it is still ours to take away, in lower case.

    That is so as long as no listing was read since it was sent, and as long as the listings since have shown it without
    a break. Whoever adds it again later has added something of their own.

    Args:
        kept: by the ledger, under `withdrawn_of`.
        last_read: when the listing before this one was read (epoch seconds), None if there is none.
        loops: what the ledger knows of changes that do not stay.
    """
    if not kept:
        return frozenset()
    sent, _, gone = kept.partition(" ")
    first_look = last_read is not None and last_read < float(sent)
    if not first_look and name not in known_loops(loops):
        return frozenset()
    return frozenset(one.lower() for one in members(gone))
