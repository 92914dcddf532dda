"""Changes that do not stay: what we wrote, was acknowledged, and is observed otherwise run after run. Pure.

The ledger counts, by attribute, the runs in a row that observed the same other value, each after something was written
again. At the third it is written no more until the wanted or the observed value is another one. A value that was shown
as we wrote it and changed afterwards was changed by hand, which guards count like any update.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from provisioner.model.attributes import Attribute, fold
from provisioner.model.operation import digest
from provisioner.planning.spec import ACCOUNT, Observation

#: Runs in a row that observe something else, of which the last one writes no more.
MOST: Final = 3
CODE: Final = "rewrite_loop"
#: Column of the ledger's frame: JSON by attribute, null for nearly everybody.
LOOPS: Final = "_loops"


@dataclass(frozen=True, slots=True)
class Loop:
    """One attribute of one account. `wanted` and `observed` are digests, `since` and `at` when it was first and last
    counted (epoch seconds). `by_hand`: it was shown as we wrote it before."""

    count: int
    wanted: str
    observed: str
    since: float
    at: float
    by_hand: bool = False

    @property
    def stopped(self) -> bool:
        """Whether it is written no more."""
        return self.count >= MOST

    def to_json(self) -> list[Any]:
        """The form in the ledger."""
        return [self.count, self.wanted, self.observed, self.since, self.at, int(self.by_hand)]

    @classmethod
    def from_json(cls, row: Sequence[Any]) -> Loop:
        """The inverse of `to_json`."""
        count, wanted, observed, since, at, by_hand = row
        return cls(int(count), wanted, observed, float(since), float(at), bool(by_hand))


@dataclass(frozen=True, slots=True)
class Stopped:
    """What is written no more: the attribute, what we wrote, what is shown, and since when (epoch seconds)."""

    person: str
    attribute: str
    written: str | None
    observed: str | None
    since: float


@dataclass(frozen=True, slots=True)
class Counted:
    """What the ledger is to know of a person's loops; `left`: they are those of a leave that was acknowledged."""

    person: str
    loops: Mapping[str, Loop]
    left: bool = False

    def to_json(self) -> dict[str, Any]:
        """A link as `PlanStore.install` takes it."""
        loops = {name: loop.to_json() for name, loop in self.loops.items()}
        return {"person": self.person, "loops": loops, "left": self.left}


def known_loops(text: str | None) -> dict[str, Loop]:
    """What the ledger's frame knows of one person."""
    return loops_of(json.loads(text)) if text else {}


def loops_of(rows: Mapping[str, Sequence[Any]]) -> dict[str, Loop]:
    """What an entry of the ledger knows."""
    return {name: Loop.from_json(row) for name, row in rows.items()}


def shown_by_answer(
    sent: Mapping[str, str | None], shown: Mapping[str, str | None], attributes: Mapping[str, Attribute], sent_at: float
) -> dict[str, list[Any]]:
    """What the ledger is to know of a change that was accepted, and that the answer itself shows otherwise.

    No run has observed it yet, so none is counted; but a leave is not done while it is known.

    Args:
        sent, shown: by attribute what was sent and what the answer shows.
        sent_at: when it was sent (epoch seconds), by the clock that says when it is recorded.
    """
    found: dict[str, list[Any]] = {}
    for name, value in shown.items():
        wanted, observed = (_digest(one, attributes[name]) for one in (sent.get(name), value))
        found[name] = Loop(0, wanted, observed, sent_at, sent_at).to_json()
    return found


def _digest(value: str | None, attribute: Attribute) -> str:
    return digest(fold(value, attribute.type) or "", size=8)


@dataclass(slots=True)
class Watch:
    """Counts what does not stay, for the accounts of one observation."""

    attributes: Mapping[str, Attribute]
    began: float
    now: float
    before: Mapping[str, Mapping[str, str | None]] | None

    @classmethod
    def over(
        cls, attributes: Mapping[str, Attribute], observation: Observation, accounts: pl.Series, now: float
    ) -> Watch:
        """Take what the last listing showed of the accounts of which something may have changed."""
        before: dict[str, Mapping[str, str | None]] | None = None
        if observation.last is not None:
            rows = observation.last.filter(pl.col(ACCOUNT).is_in(accounts.implode())) if accounts.len() else None
            before = {row[ACCOUNT]: row for row in rows.iter_rows(named=True)} if rows is not None else {}
        return cls(attributes, observation.began, now, before)

    def count(
        self, known: Loop | None, account: str, name: str, wanted: str | None, observed: str | None, recorded: float
    ) -> Loop:
        """One more run that observes something else than what was acknowledged.

        Args:
            recorded: when something was last acknowledged of the account (epoch seconds).
        """
        mine, theirs = (_digest(value, self.attributes[name]) for value in (wanted, observed))
        if known is None or (known.wanted, known.observed) != (mine, theirs):
            return Loop(1, mine, theirs, self.now, self.began, self._by_hand(account, name, wanted))
        # What waits for an approval, or is only reported, was not written again and says nothing
        again = self.began > known.at and recorded > known.at
        return replace(known, count=known.count + 1, at=self.began) if again and not known.stopped else known

    def _by_hand(self, account: str, name: str, wanted: str | None) -> bool:
        """Whether the last listing showed it as we wrote it; without one nobody knows."""
        if self.before is None:
            return True
        last, type_ = self.before.get(account), self.attributes[name].type
        return last is not None and fold(last.get(name), type_) == fold(wanted, type_)


def sentence(target: str, stopped: Stopped, since: str) -> str:
    """What the operator reads.

    Args:
        since: the moment as text.
    """
    return (
        f"{CODE}: {stopped.attribute} was written as {_told(stopped.written)} and accepted, and shows "
        f"{_told(stopped.observed)} in each run since {since}. It is written no more until either changes. Map what "
        f"{target} makes of it, declare its type, or settle it in {target}."
    )


def _told(value: str | None) -> str:
    return repr(value) if value else "nothing"
