"""Accounts as targets show them, and the ledger's entry that links one to a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from provisioner.model.ledger_document import LedgerDocument

State = Literal["active", "left"]


@dataclass(frozen=True, slots=True)
class Account:
    """One observed account: its identifier and its attributes as canonical text.

    `values` may hold more than we manage (ids, times, statuses). `untouchable` says why nobody may change it
    (a bot, ourselves, a banned member), None for an ordinary account.
    """

    id: str
    values: Mapping[str, str | None]
    untouchable: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """Our lasting record of one link.

    `state` is what we last brought about: `active` or `left`. `values` is what the target last acknowledged.
    `created` tells accounts that we made from those that we adopted; `matched` how the link came about. `owed` are
    facts whose event has not been accepted yet (fact → epoch seconds of the fact), `enrolled` the enrolment codes
    sent, `recorded` the epoch seconds of the last change, `version` grows by one with each. `perhaps` are, by attribute
    that is a set, the members (lower case) of which nobody can say whether they are in it (see `model.unsure`).
    `linked` is when the link began or its account was made again (epoch seconds). `makes` is how often in a row we made
    the account without any listing showing it in between. `loops` are, by attribute, the runs in a row that observed
    something else than was acknowledged (see `planning.rewrite_loops`), for as long as they do. `left` is the day on
    which the person left this target (ISO), and `step` how many steps of `leaver` were brought about since.
    """

    person: str
    account: str
    state: State = "active"
    values: Mapping[str, str | None] = field(default_factory=dict)
    created: bool = False
    matched: str = ""
    owed: Mapping[str, int] = field(default_factory=dict)
    enrolled: tuple[str, ...] = ()
    version: int = 0
    recorded: float = 0.0
    perhaps: Mapping[str, Sequence[str]] = field(default_factory=dict)
    linked: float = 0.0
    makes: int = 0
    loops: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    left: str = ""
    step: int = 1

    @property
    def finished(self) -> bool:
        """Whether a leaver's account is in leaver state: that was acknowledged, and no run saw otherwise."""
        return self.state == "left" and not self.loops

    def to_json(self) -> LedgerDocument:
        """The form in which it lies in Redis; the person is the key next to it."""
        document: LedgerDocument = {
            "account": self.account,
            "state": self.state,
            "values": dict(self.values),
            "created": self.created,
            "matched": self.matched,
            "owed": dict(self.owed),
            "enrolled": list(self.enrolled),
            "version": self.version,
            "recorded": self.recorded,
        }
        if self.perhaps:
            document["perhaps"] = {name: list(those) for name, those in self.perhaps.items()}
        if self.linked:
            document["linked"] = self.linked
        if self.makes:
            document["makes"] = self.makes
        if self.loops:
            document["loops"] = {name: list(row) for name, row in self.loops.items()}
        if self.left:
            document["left"], document["step"] = self.left, self.step
        return document

    @classmethod
    def from_json(cls, person: str, document: Mapping[str, Any]) -> LedgerEntry:
        """The inverse of `to_json`; empty collections may have come back as lists from Lua."""
        return cls(
            person=person,
            account=document["account"],
            state=document.get("state", "active"),
            values=document.get("values") or {},
            created=bool(document.get("created")),
            matched=document.get("matched", ""),
            owed=document.get("owed") or {},
            enrolled=tuple(document.get("enrolled") or ()),
            version=int(document.get("version", 0)),
            recorded=float(document.get("recorded", 0.0)),
            perhaps=document.get("perhaps") or {},
            linked=float(document.get("linked", 0.0)),
            makes=int(document.get("makes", 0)),
            loops=document.get("loops") or {},
            left=document.get("left", ""),
            step=int(document.get("step", 1)),
        )
