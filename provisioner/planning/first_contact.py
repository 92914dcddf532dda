"""The first plan for accounts that are there already: what it would overwrite that we never wrote, and the hold. Pure.

A first contact lasts until a plan about everybody stands on a listing that is believed. Whoever is adopted meanwhile
stays new until their account is written once, or holds what the mapping wants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from provisioner.model.attributes import Attribute, Type, fold, members
from provisioner.model.operation import Kind, Operation
from provisioner.model.wording import counted
from provisioner.planning.correlate import LEDGER_ROW
from provisioner.planning.desired import PERSON
from provisioner.planning.guards import OVERWRITES, limit_of
from provisioner.planning.spec import Planning, TargetSpec

#: People whom the sentence names.
_NAMED: Final = 3


def new_accounts(pairs: pl.DataFrame, ledger: pl.DataFrame, circumstances: Planning) -> frozenset[str]:
    """The people whose account was there before us, and of which nothing was ever written by us.

    Args:
        pairs: of `Correlation`.
        ledger: see `plan_target`.
    """
    found = set(pairs.filter(pl.col(LEDGER_ROW).is_null())[PERSON]) if circumstances.first_contact else set[str]()
    if circumstances.overwriting:
        written = [pl.col(name).is_not_null() for name in ledger.columns if name.startswith("l:")]
        known = set(ledger.filter(pl.any_horizontal(written))[PERSON]) if written else set[str]()
        found |= circumstances.overwriting & set(pairs[PERSON]) - known
    return frozenset(found)


def overwritten(operation: Operation, attributes: Mapping[str, Attribute]) -> tuple[str, ...]:
    """The attributes whose value an operation would overwrite, and the sets from which it would take members."""
    if operation.kind not in OVERWRITES:
        return ()
    return tuple(
        name
        for name, before in operation.before.items()
        if before and _loses(before, operation.after.get(name), attributes[name].type)
    )


def _loses(before: str, after: str | None, type_: Type) -> bool:
    if type_ is not Type.SET:
        return fold(before, type_) != fold(after, type_)
    return not {one.lower() for one in members(before)} <= {one.lower() for one in members(after)}


@dataclass(frozen=True, slots=True)
class Overwrites:
    """The guard `overwrites`, which holds; `people` with the attributes that would be overwritten of each."""

    people: Mapping[str, tuple[str, ...]]
    limit: int
    base: int

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that it holds."""
        return OVERWRITES

    @property
    def sentence(self) -> str:
        """The sentence for the operator while this guard holds operations."""
        return f"{self.finding}: held until approved."

    @property
    def finding(self) -> str:
        """What would be overwritten, and of whom."""
        return (
            f"First contact: {said(self.people)}, more than the limit of {self.limit} (of {self.base} linked accounts)"
        )


def said(people: Mapping[str, tuple[str, ...]]) -> str:
    """What would be overwritten, in a clause; values are in the operations alone."""
    times = Counter(name for names in people.values() for name in names)
    named = ", ".join(f"{name} of {count}" for name, count in times.most_common())
    some = ", ".join(sorted(people)[:_NAMED]) + (" and others" if len(people) > _NAMED else "")
    found = counted(len(people), "account")
    return f"values that we never wrote would be overwritten in {found} found there ({named}; {some})"


def too_many_overwrites(
    spec: TargetSpec, overwriting: Mapping[str, tuple[str, ...]], undecided: Collection[str], base: int
) -> Overwrites | None:
    """The guard, if it holds.

    Args:
        overwriting: by person what would be overwritten.
        undecided: those of them about whom nobody decided.
        base: linked accounts not in leaver state.
    """
    guards = spec.settings.guards
    people = {person: names for person, names in overwriting.items() if person in undecided}
    if guards is None or guards.overwrites is None or not people:
        return None
    limit = limit_of(guards.overwrites, base)
    return Overwrites(people, limit, base) if len(people) > limit else None


def note_of(spec: TargetSpec, overwriting: Mapping[str, tuple[str, ...]], held: Overwrites | None) -> tuple[str, ...]:
    """What a run says of a first contact that is not held."""
    if held or not overwriting:
        return ()
    return (f"First contact: {said(overwriting)}. targets.{spec.name}.guards.overwrites can hold them.",)
