"""The operations on existing accounts, and the creations: from flagged rows to `Operation` values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import polars as pl
from msgspec import Struct

from provisioner.model.account import State
from provisioner.model.operation import Kind, Operation, digest, operation_id
from provisioner.planning.claims import folded
from provisioner.planning.desired import DIGEST, FUTURE, LEAVER, MEMBER, PERSON, REASON, STANDING
from provisioner.planning.diff import any_of, enforced, fixed, names_of
from provisioner.planning.spec import ACCOUNT, UNTOUCHABLE, Planning, TargetSpec

#: The reason of a create that waits since the person may have an account under another key.
PERHAPS_KNOWN: Final = "perhaps known under another key"

LinkRow = tuple[str, str, State, str]
Values = tuple[str | None, ...]
Places = tuple[int, ...]
_NONE: Final[Mapping[str, str | None]] = {}


@dataclass(frozen=True, slots=True)
class Changes:
    """What follows from the differences: operations, links and states to record, to-dos, and reported drift."""

    operations: tuple[Operation, ...]
    links: tuple[LinkRow, ...]
    todos: tuple[tuple[str, str], ...]
    drift: tuple[tuple[str, str], ...]

    @staticmethod
    def creations(
        spec: TargetSpec, rows: pl.DataFrame, gone: Collection[str], circumstances: Planning
    ) -> list[Operation]:
        """One `create` per row, with all that the account takes to be right."""
        names = sorted(names_of(rows))
        merging = [name for name in names_of(rows) if spec.attributes[name].on_create and spec.attributes[name].merge]
        creatable = [(place, name) for place, name in enumerate(names) if spec.attributes[name].on_create]
        operations = []
        moment = circumstances.now.timestamp()
        people = zip(rows.select(PERSON, STANDING, DIGEST).iter_rows(), _values(rows, "w", names), strict=True)
        for (person, standing, row), wanted in people:
            after: dict[str, str | None] = {name: wanted[place] for place, name in creatable if wanted[place]}
            lost = person in gone
            alike = circumstances.alike.get(person)
            operations.append(
                Operation(
                    id=operation_id(spec.name, person, Kind.CREATE, {}, after),
                    target=spec.name,
                    person=person,
                    kind=Kind.CREATE,
                    account=None,
                    before={},
                    after=after,
                    drift=lost,
                    wanted=after,
                    owned={name: after.get(name) for name in merging},
                    reason="its account is gone" if lost else PERHAPS_KNOWN if alike else "joiner",
                    hold=alike.sentence if alike else None,
                    snapshot=circumstances.snapshot,
                    planned=moment,
                    row=row or row_digest(standing, wanted),
                )
            )
        return operations


def row_digest(standing: str, wanted: Sequence[str | None]) -> str:
    """A digest of what the roster says of a person here, where the snapshot has none of their whole row.

    Args:
        wanted: the wanted values, in the order of their attributes' names.
    """
    return digest((standing, wanted), size=8)


def changes(spec: TargetSpec, frame: pl.DataFrame, names: Sequence[str], circumstances: Planning) -> Changes:
    """Decide what each difference means.

    Args:
        frame: as `differing` left it, with `_protected`.
    """
    members = enforced(spec, names, MEMBER)
    leavers = enforced(spec, names, LEAVER)
    unwritable = fixed(spec, names)
    state = pl.col("_state").fill_null("new")
    touchy = frame.select(
        ((pl.col(STANDING) == MEMBER) & (any_of(frame, members) | any_of(frame, unwritable) | (state != "active")))
        | ((pl.col(STANDING) == LEAVER) & (any_of(frame, leavers) | (state != "left")))
        | ((pl.col(STANDING) == FUTURE) & (pl.col("_matched") != "link"))
        | (pl.col("_matched") != "link")
    ).to_series()
    work = _Work(spec, names, members, leavers, unwritable, circumstances)
    # To copy so wide a frame costs more than to look
    for row in _rows(spec, frame if touchy.all() else frame.filter(touchy), work.names):
        work.consider(row)
    return Changes(tuple(work.operations), tuple(work.links), tuple(work.todos), tuple(work.drift))


class _Row(Struct, gc=False):
    """One person and their account; values stand at the places of their attributes' names.

    `known`, `differs` and `drifted` are patterns with a sign for each place, ``1`` where it is so: they are few, and
    what follows from one is worked out once.
    """

    person: str
    account: str
    standing: str
    reason: str
    state: State | None
    matched: str
    untouchable: str | None
    protected: bool
    seen: bool
    digest: str
    wanted: Values
    held: Values
    known: str
    differs: str
    drifted: str
    owned: Mapping[str, str | None]
    carried: Mapping[str, str | None]


_ABOUT = (PERSON, ACCOUNT, STANDING, REASON, "_state", "_matched", UNTOUCHABLE, "_protected", "_seen", DIGEST)


def _rows(spec: TargetSpec, frame: pl.DataFrame, names: Sequence[str]) -> Iterator[_Row]:
    """The rows one by one: values as tuples, since a mapping of all columns would cost more than all that follows."""
    owned = [name for name in names if f"own:{name}" in frame.columns]
    carried = [name for name in spec.carried if f"o:{name}" in frame.columns]
    patterns = (
        _pattern(pl.col(f"k:{name}") for name in names).alias("known"),
        _pattern(pl.col(f"d:{name}") for name in names).alias("differs"),
        _pattern(_drifted(spec, name, owned=name in owned) for name in names).alias("drifted"),
    )
    sides = zip(
        frame.select(*_ABOUT, *patterns).iter_rows(),
        *(_values(frame, side, names) for side in ("w", "h")),
        _values(frame, "own", owned),
        _values(frame, "o", carried),
        strict=True,
    )
    for about, wanted, held, ours, along in sides:
        person, account, standing, reason, state, matched, untouchable, protected, seen, row, *patterns_ = about
        known, differs, drifted = patterns_
        yield _Row(
            person, account, standing, reason, state, matched, untouchable, protected, seen, row,
            wanted, held, known, differs, drifted,
            dict(zip(owned, ours, strict=True)) if owned else _NONE,
            dict(zip(carried, along, strict=True)) if carried else _NONE,
        )  # fmt: skip


def _pattern(flags: Iterable[pl.Expr]) -> pl.Expr:
    signs = [pl.when(flag).then(pl.lit("1")).otherwise(pl.lit("0")) for flag in flags]
    return pl.concat_str(signs) if signs else pl.lit("")


def _drifted(spec: TargetSpec, name: str, *, owned: bool) -> pl.Expr:
    """Whether we once brought about what is wanted now, and the target shows something else."""
    acknowledged, wanted = pl.col(f"l:{name}"), pl.col(f"own:{name}" if owned else f"w:{name}")
    type_ = spec.attributes[name].type
    same = acknowledged.eq_missing(wanted) | folded(acknowledged, type_).eq_missing(folded(wanted, type_))
    return pl.col("_seen") & acknowledged.is_not_null() & same


def _values(frame: pl.DataFrame, side: str, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Values of one side, row by row."""
    if not names:
        return (() for _ in range(frame.height))
    return frame.select(f"{side}:{name}" for name in names).iter_rows()


class _Work:
    """The decision table, applied to one row after another; see docs/decision-table.md.

    Attributes are told by their place in `names`, which is sorted.
    """

    def __init__(
        self,
        spec: TargetSpec,
        names: Sequence[str],
        members: Sequence[str],
        leavers: Sequence[str],
        fixed: Sequence[str],
        circumstances: Planning,
    ) -> None:
        self.names = tuple(sorted(names))
        self._spec, self._circumstances = spec, circumstances
        self._moment = circumstances.now.timestamp()
        places = {name: place for place, name in enumerate(self.names)}
        # What is changed is told in the order of the mapping
        self._members, self._leavers, self._fixed = (
            _marked([places[name] for name in some]) for some in (members, leavers, fixed)
        )
        self._attributes = [spec.attributes[name] for name in self.names]
        self._roles = frozenset(place for place, attribute in enumerate(self._attributes) if attribute.role)
        # What stands in an attribute that only we ourselves map must not pass for something that we set
        mapped = {*spec.settings.attributes, *spec.settings.leaver}
        self._mapped = [(places[name], name, name in mapped) for name in names]
        self._image_of = cache(self._image)
        self._activity = places.get(spec.activity or "")
        self.operations: list[Operation] = []
        self.links: list[LinkRow] = []
        self.todos: list[tuple[str, str]] = []
        self.drift: list[tuple[str, str]] = []

    def consider(self, row: _Row) -> None:
        state: State | None
        if row.standing == LEAVER:
            state = self._leaver(row)
        elif row.standing == MEMBER:
            state = self._member(row)
        else:
            # Whoever starts later, or is known too little of, is adopted as found: to be active again is a rejoin
            state = "left" if self._inactive(row) and row.matched != "link" else row.state
        if row.matched != "link" or (state and state != row.state):
            self.links.append((row.person, row.account, state or row.state or "active", row.matched))

    def _leaver(self, row: _Row) -> State | None:
        """Returns the state to record at once, None where an operation's success will."""
        changed = self._leavers(row.differs)
        if not changed:
            return "left"
        if row.untouchable:
            self.todos.append((row.person, self._kept(row, f"is {row.untouchable} and is never touched")))
            return None
        if row.protected:
            self.todos.append((row.person, self._kept(row, "is protected")))
            return None
        if row.state == "left":
            self._change(row, Kind.UPDATE, changed, drifted=bool(_among(changed, row.drifted)))
        else:
            self._change(row, Kind.LEAVE, changed)
        return None

    def _kept(self, row: _Row, why: str) -> str:
        """A leaver's account that we leave as it is, with the ways in which the leave is settled."""
        return (
            f"left, but the account {why}. Deactivate or demote it by hand in {self._spec.name}; if it is to stay, "
            f"`provisioner unlink {row.person} {self._spec.name}` says that it is not theirs."
        )

    def _member(self, row: _Row) -> State | None:
        changed = self._members(row.differs)
        if row.untouchable:
            if changed:
                self.todos.append((row.person, f"the account is {row.untouchable} and is never touched."))
            return None
        for place in _among(self._fixed(row.differs), row.known):
            self._advise(row, place)
        if row.protected:
            changed = self._spared(row, changed)
        inactive = self._inactive(row)
        if row.state == "left" or (row.state is None and inactive):
            if not changed:
                return "active"
            was = self._circumstances.returned.get(row.person)
            self._change(row, Kind.REJOIN, changed, reason=f"is back, was {was}" if was else None)
            return None
        if inactive and self._activity in changed:
            return self._deactivated(row, changed)
        self._update(row, changed)
        return "active"

    def _inactive(self, row: _Row) -> bool:
        return self._activity is not None and row.held[self._activity] == "false"

    def _named(self, places: Iterable[int]) -> str:
        return ", ".join(self.names[place] for place in places)

    def _spared(self, row: _Row, changed: Places) -> Places:
        """What may be changed of a protected account: neither a role nor that it is active."""
        kept = [
            place
            for place in changed
            if place in self._roles or (place == self._activity and row.wanted[place] == "false")
        ]
        if kept:
            self.todos.append(
                (row.person, f"{self._named(kept)} should change, but the account is protected. Change it by hand.")
            )
        return tuple(place for place in changed if place not in kept)

    def _deactivated(self, row: _Row, changed: Places) -> State:
        """Somebody else deactivated it while our ledger says active."""
        sentence = "somebody deactivated the account; it is not reactivated without approval."
        self.drift.append((row.person, sentence))
        if self._spec.settings.drift == "correct":
            self._change(row, Kind.REJOIN, changed, drifted=True, hold=f"{self._spec.name}: {sentence}")
        return "active"

    def _update(self, row: _Row, changed: Places) -> None:
        drifted = _among(changed, row.drifted)
        if drifted:
            self.drift.append((row.person, f"changed in the target behind our back: {self._named(drifted)}."))
            if self._spec.settings.drift == "report":
                changed = tuple(place for place in changed if place not in drifted)
        if changed:
            kind = Kind.ROLE if self._roles.issuperset(changed) else Kind.UPDATE
            self._change(row, kind, changed, drifted=bool(drifted) and self._spec.settings.drift == "correct")

    def _advise(self, row: _Row, place: int) -> None:
        name = self.names[place]
        what = (self._attributes[place].advice or f"change {name} in {self._spec.name} by hand").rstrip(".")
        self.todos.append((row.person, f"{name} differs and cannot be changed by us: {what}."))

    def _change(
        self,
        row: _Row,
        kind: Kind,
        changed: Places,
        *,
        drifted: bool = False,
        hold: str | None = None,
        reason: str | None = None,
    ) -> None:
        spec, names, wants, holds = self._spec, self.names, row.wanted, row.held
        before = {names[place]: holds[place] for place in changed}
        after = {names[place]: wants[place] or None for place in changed}
        image, known = self._image_of(row.differs, row.known, changed)
        wanted: dict[str, str | None] = {}
        for place, name, takes, keeps in image:
            value = wants[place]
            if takes and value is not None:
                wanted[name] = value or None
            elif keeps:
                wanted[name] = holds[place]
        self.operations.append(
            Operation(
                id=operation_id(spec.name, row.person, kind, before, after),
                target=spec.name,
                person=row.person,
                kind=kind,
                account=row.account,
                before=before,
                after=after,
                drift=drifted,
                wanted=wanted,
                observed=row.carried,
                owned=_NONE
                if not row.owned
                else {name: value or None for name, value in row.owned.items() if value is not None},
                reason=reason or row.reason,
                counted=known,
                hold=hold,
                snapshot=self._circumstances.snapshot,
                planned=self._moment,
                row=row.digest or row_digest(row.standing, wants),
            )
        )

    def _image(self, differs: str, known: str, changed: Places) -> tuple[tuple[tuple[int, str, bool, bool], ...], bool]:
        """Of each attribute whether the image takes what is wanted, and whether it else keeps what is held; beside it
        whether what is held is known of anything that changes."""
        image = tuple(
            (place, name, differs[place] == "0" or place in changed, mapped and known[place] == "1")
            for place, name, mapped in self._mapped
        )
        return image, bool(_among(changed, known))


def _marked(places: Sequence[int]) -> Callable[[str], Places]:
    """Which of some places a pattern marks, worked out once for each pattern."""
    return cache(lambda pattern: _among(places, pattern))


def _among(places: Sequence[int], pattern: str) -> Places:
    return tuple([place for place in places if pattern[place] == "1"])
