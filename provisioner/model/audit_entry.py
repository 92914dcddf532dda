"""An entry of the audit trail, as its JSON."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class AuditEntry(TypedDict):
    """What somebody did. Besides these, an entry has the facts of its action under their own names."""

    id: str
    at: str | None
    by: str
    action: str
    people: NotRequired[list[str]]
    count: NotRequired[int]
    reason: NotRequired[str]
