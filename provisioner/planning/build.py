"""From rows to operations, a batch of people at a time: what changes, what is created, and what follows from either."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import polars as pl
from msgspec import structs

from provisioner.model.operation import Kind, Operation
from provisioner.model.operation_batches import gathered
from provisioner.planning.account_changes import LinkRow, changes
from provisioner.planning.creations import Gone
from provisioner.planning.creations import creations as creations_of
from provisioner.planning.desired import PERSON
from provisioner.planning.first_contact import overwritten
from provisioner.planning.guards import counts, decided
from provisioner.planning.reviewed import Unreviewed, only_reviewed
from provisioner.planning.rewrite_loops import Counted, Stopped, Watch
from provisioner.planning.shared_sets import Removal
from provisioner.planning.side_changes import DueRecord, enrolments, events, knowledge
from provisioner.planning.spec import Planning, TargetSpec

#: People of a batch, of whom each has an operation or a few.
PEOPLE: Final = 50_000


@dataclass(frozen=True, slots=True)
class Material:
    """What operations are made from, about everybody or about the people of one batch.

    `changed` as `differing` left it, with `_protected`; `creates` are rows of the desired frame; `owed` entries of the
    ledger, `_person`, `_account` and `_owed`, which still owe an event; `due` enrolments, see `due_enrolments`;
    `records` external knowledge that is due, by person.
    """

    changed: pl.DataFrame
    creates: pl.DataFrame
    owed: pl.DataFrame
    due: pl.DataFrame
    records: Sequence[DueRecord]

    def batches(self) -> Iterator[Material]:
        """The same by batches of people, who are distinguished by the order of their keys."""
        frames = (self.changed, self.creates, self.owed, self.due)
        if sum(frame.height for frame in frames) + len(self.records) <= PEOPLE:
            yield self
            return
        recorded = pl.Series(PERSON, [record.person for record in self.records], dtype=pl.String)
        persons = pl.concat([*(frame[PERSON] for frame in frames), recorded]).unique().sort()
        records = sorted(self.records, key=lambda record: record.person)
        keys = [record.person for record in records]
        for low, high in pairwise([*persons.gather_every(PEOPLE).to_list(), None]):
            within, end = pl.col(PERSON) >= low, len(keys)
            if high is not None:
                within, end = within & (pl.col(PERSON) < high), bisect_left(keys, high)
            changed, creates, owed, due = (frame.filter(within) for frame in frames)
            yield Material(changed, creates, owed, due, records[bisect_left(keys, low) : end])


@dataclass(slots=True)
class Aside:
    """What is found out besides the operations: links and states to record, to-dos, reported drift, how many operations
    of each kind count for a guard, whose account was made and never shown, what did not stay, whose details are to be
    read again, what nobody reviewed, and what would be taken away that we never wrote, `removing` how many values of
    whom. `overwriting` is by person what would be overwritten of an account that was there before us; about the
    `undecided` of them nobody decided."""

    links: list[LinkRow] = field(default_factory=list)
    todos: list[tuple[str, str]] = field(default_factory=list)
    drift: list[tuple[str, str]] = field(default_factory=list)
    reread: list[str] = field(default_factory=list)
    counted: Counter[Kind] = field(default_factory=Counter)
    unkept: list[tuple[str, str]] = field(default_factory=list)
    removals: Counter[Removal] = field(default_factory=Counter)
    removing: dict[str, int] = field(default_factory=dict)
    overwriting: dict[str, tuple[str, ...]] = field(default_factory=dict)
    undecided: set[str] = field(default_factory=set)
    loops: list[Counted] = field(default_factory=list)
    stopped: list[Stopped] = field(default_factory=list)
    unreviewed: Unreviewed = field(default_factory=Unreviewed)


def drafted(
    spec: TargetSpec,
    material: Material,
    names: Sequence[str],
    gone: Gone,
    circumstances: Planning,
    watch: Watch,
    foreign: Mapping[str, Sequence[Removal]],
    contested: Mapping[str, str],
    new: Collection[str] = (),
    *,
    believed: bool,
) -> tuple[Sequence[Operation], Aside]:
    """The operations that follow, no guard applied, by batches of people; and what was found out besides them.

    Args:
        names: the attributes that `material.changed` speaks of.
        gone: whose linked account is not there any more.
        foreign: by person what an update would take away that we never wrote.
        contested: by person, why their leave waits.
        new: of `new_accounts`.
        believed: if not, there are but the leaves of accounts that were seen.
    """
    aside = Aside()

    def batch(part: Material) -> list[Operation]:
        changed = changes(spec, part.changed, names, circumstances, watch)
        creations = creations_of(spec, part.creates, gone, circumstances)
        failing = [one for one in creations if one.fails]
        ours = [*changed.operations, *(one for one in creations if not one.fails)]
        if not believed:
            ours = [one for one in ours if one.kind is Kind.LEAVE]
        waits = {one.person for one in ours if one.kind is Kind.LEAVE and one.person in contested}
        if waits:
            ours = [
                one.held(contested[one.person]) if one.kind is Kind.LEAVE and one.person in waits else one
                for one in ours
            ]
        emitted = events(spec, ours, part.owed, circumstances, changed.same_role)
        owes = {one.follows: {one.reason: int(one.after["created_at"] or 0)} for one in emitted if one.follows}
        operations: list[Operation] = [
            structs.replace(one, owes=owes[one.id]) if one.id in owes else one for one in ours
        ]
        if believed:
            aside.links += changed.links
            aside.todos += changed.todos
            aside.todos += [(person, contested[person]) for person in sorted(waits)]
            aside.drift += changed.drift
            aside.loops += changed.loops
            aside.stopped += changed.stopped
            aside.reread += changed.reread
            operations += emitted
            operations += enrolments(spec, part.due, operations, circumstances)
            operations += knowledge(spec, part.records, operations, circumstances)
            operations += failing
            aside.unkept += [(one.person, (one.planned_error or {})["message"]) for one in failing]
        if circumstances.reviewed is not None:
            operations = only_reviewed(circumstances.reviewed, operations, aside.unreviewed)
        for one in operations:
            if one.kind is Kind.UPDATE and one.person in foreign and not decided(one, circumstances):
                aside.removals.update(foreign[one.person])
                aside.removing[one.person] = len(foreign[one.person])
            if one.person in new and (losing := overwritten(one, spec.attributes)):
                aside.overwriting[one.person] = losing
                if not decided(one, circumstances):
                    aside.undecided.add(one.person)
        aside.counted.update(one.kind for one in operations if counts(one, circumstances))
        return operations

    return gathered(map(batch, material.batches())), aside
