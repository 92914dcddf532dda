"""What a run will do about one target, and what it leaves alone and why: the planner's answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from provisioner.model.account import State
from provisioner.model.operation import ACCOUNT_KINDS, Kind, Operation, Status
from provisioner.planning.correlate import Conflict
from provisioner.planning.desired import Fault
from provisioner.planning.first_contact import Overwrites
from provisioner.planning.guards import Measure
from provisioner.planning.listing_trust import Code
from provisioner.planning.reviewed import Unreviewed
from provisioner.planning.rewrite_loops import Counted
from provisioner.planning.shared_sets import TooManyRemovals


@dataclass(frozen=True, slots=True)
class Link:
    """What the ledger must learn without any request: an adoption, or a state that is already so; of somebody who left
    also the day, and how many steps are brought about."""

    person: str
    account: str
    state: State
    matched: str
    left: str = ""
    step: int = 0


@dataclass(frozen=True, slots=True)
class Todo:
    """A thing that only a person can settle, with what to do. `linked`: the person has an account here. `code` names
    the kind of thing and `about` what it is about, for programs."""

    person: str
    sentence: str
    linked: bool = True
    code: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """Everything that a run will do about one target, and everything that it will leave alone and why.

    `operations` are in the order of delivery; where they are very many, each batch of people is by itself (see
    `provisioner.model.operation_batches`). `tally` counts them, by `Operation.planned_status` and by kind. `base` is
    what guards measure by. `unbelieved` is the sentence for a listing that is not believed and `disbelief` its code:
    then `operations` are but the leaves of accounts that were seen.
    `enrolled` are, by person, enrolments that were found to exist already. `shown` are people whose account is shown
    for the first time since it was made again. `loops` is what the ledger is to know of changes that do not stay, and
    `stopped` are the people and attributes of which nothing is written for that. `leavers` are those who leave and have
    an account that the ledger, after the plan's links, does not say to be left, or that does not show it; for
    `leavers_left` of them the plan has no leave. The `accountless` leave and have none. Of the `unsettled` nobody can
    say whether they leave. `reread` are people whose details the next run reads again, since they have an open to-do.
    `room` is, by guard, how many operations of others may go out unapproved besides it. `removing` is, by person, how
    many values that we never wrote their update would take away without approval; `values` is how many there are to
    measure that by. `unreviewed` is
    what was not reviewed. `overwriting` are people of a first contact whose account would be overwritten.
    """

    target: str
    operations: Sequence[Operation] = ()
    links: tuple[Link, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    todos: tuple[Todo, ...] = ()
    faults: tuple[Fault, ...] = ()
    drift: tuple[Todo, ...] = ()
    orphans: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    guards: tuple[Measure | TooManyRemovals | Overwrites, ...] = ()
    notes: tuple[str, ...] = ()
    observed: int = 0
    linked: int = 0
    adopted: int = 0
    unchanged: int = 0
    base: int = 0
    unbelieved: str | None = None
    disbelief: Code = "listing_shrank"
    enrolled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leavers: frozenset[str] = frozenset()
    accountless: frozenset[str] = frozenset()
    leavers_left: int = 0
    unsettled: frozenset[str] = frozenset()
    shown: tuple[str, ...] = ()
    loops: tuple[Counted, ...] = ()
    stopped: frozenset[tuple[str, str]] = frozenset()
    reread: tuple[str, ...] = ()
    room: Mapping[str, int] = field(default_factory=dict)
    unreviewed: Unreviewed = field(default_factory=Unreviewed)
    removing: Mapping[str, int] = field(default_factory=dict)
    values: int = 0
    overwriting: tuple[str, ...] = ()

    tally: Mapping[Status, Mapping[Kind, int]] = field(init=False)

    def __post_init__(self) -> None:
        """Count the operations once, as there may be very many."""
        tally: dict[Status, Counter[Kind]] = {
            status: Counter() for status in (Status.PENDING, Status.HELD, Status.REJECTED, Status.FAILED)
        }
        for operation in self.operations:
            tally[operation.planned_status][operation.kind] += 1
        object.__setattr__(self, "tally", tally)

    @property
    def planned(self) -> dict[Kind, int]:
        """How many operations of each kind."""
        return {kind: sum(counts.get(kind, 0) for counts in self.tally.values()) for kind in Kind}

    @property
    def touched(self) -> int:
        """How many accounts that are there are changed."""
        return sum(self.planned[kind] for kind in ACCOUNT_KINDS if kind is not Kind.CREATE)
