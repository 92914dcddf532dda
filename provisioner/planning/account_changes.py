"""The operations on existing accounts: from rows to `AccountChange` values; see docs/decision-table.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import polars as pl

from provisioner.model.account import State
from provisioner.model.operation import FREE, AccountChange, Kind, PlannedState, operation_id
from provisioner.planning.change_rows import NONE, ChangeRow, rows_of
from provisioner.planning.creations import row_digest
from provisioner.planning.desired import FUTURE, LEAVER, MEMBER, STANDING
from provisioner.planning.diff import any_of, enforced, fixed, stepwise
from provisioner.planning.leaver_steps import LEFT
from provisioner.planning.rewrite_loops import CODE, LOOPS, Counted, Loop, Stopped, Watch, known_loops
from provisioner.planning.spec import Planning, TargetSpec

LinkRow = tuple[str, str, State, str, str, int]
Places = tuple[int, ...]
_NO_LOOPS: Final[Mapping[str, Loop]] = {}


@dataclass(frozen=True, slots=True)
class Changes:
    """What follows from the differences: operations, links and states to record, to-dos, reported drift, what the
    ledger is to know of changes that do not stay, and those that are written no more; people with an open to-do on
    details, which are not read in each run; people whose role is written again, which is no new fact."""

    operations: tuple[AccountChange, ...]
    links: tuple[LinkRow, ...]
    todos: tuple[tuple[str, str], ...]
    drift: tuple[tuple[str, str], ...]
    loops: tuple[Counted, ...] = ()
    stopped: tuple[Stopped, ...] = ()
    reread: tuple[str, ...] = ()
    same_role: frozenset[str] = frozenset()


def changes(
    spec: TargetSpec, frame: pl.DataFrame, names: Sequence[str], circumstances: Planning, watch: Watch
) -> Changes:
    """Decide what each difference means.

    Args:
        frame: as `differing` left it, with `_protected`.
        watch: counts what does not stay.
    """
    members = enforced(spec, names, MEMBER)
    leavers = enforced(spec, names, LEAVER)
    unwritable = fixed(spec, names)
    state = pl.col("_state").fill_null("new")
    touchy = frame.select(
        ((pl.col(STANDING) == MEMBER) & (any_of(frame, members) | any_of(frame, unwritable) | (state != "active")))
        | any_of(frame, names, "r:")
        | ((pl.col(STANDING) == LEAVER) & (any_of(frame, leavers) | (state != "left")))
        | ((pl.col(STANDING) == FUTURE) & (pl.col("_matched") != "link"))
        | (pl.col("_matched") != "link")
        | pl.col(LOOPS).is_not_null()
        | ((pl.col(STANDING) == LEAVER) & (pl.col(LEFT).is_null() & stepwise(spec)))
    ).to_series()
    work = _Work(spec, names, members, leavers, unwritable, circumstances, watch)
    # To copy so wide a frame costs more than to look
    for row in rows_of(spec, frame if touchy.all() else frame.filter(touchy), work.names):
        work.consider(row)
    return Changes(
        tuple(work.operations),
        tuple(work.links),
        tuple(work.todos),
        tuple(work.drift),
        tuple(work.loops),
        tuple(work.stopped),
        tuple(work.reread),
        frozenset(work.same_role),
    )


class _Work:
    """The decision table, applied to one row after another; see docs/decision-table.md.

    Attributes are identified by their place in `names`, which is sorted.
    """

    def __init__(
        self,
        spec: TargetSpec,
        names: Sequence[str],
        members: Sequence[str],
        leavers: Sequence[str],
        fixed: Sequence[str],
        circumstances: Planning,
        watch: Watch,
    ) -> None:
        self.names = tuple(sorted(names))
        self._spec, self._circumstances, self._watch = spec, circumstances, watch
        self._moment = circumstances.now.timestamp()
        places = {name: place for place, name in enumerate(self.names)}
        # What is changed is listed in the order of the mapping
        self._members, self._leavers, self._fixed = (
            _marked([places[name] for name in some]) for some in (members, leavers, fixed)
        )
        self._every = _marked(range(len(self.names)))
        self._attributes = [spec.attributes[name] for name in self.names]
        self._unlisted = frozenset(place for place, attribute in enumerate(self._attributes) if not attribute.observed)
        self._telling = [places[name] for name in circumstances.telling if name in places]
        self._roles = frozenset(place for place, attribute in enumerate(self._attributes) if attribute.role)
        # The value of an attribute that only we ourselves map must not pass for something that we set
        mapped = {*spec.settings.attributes, *spec.settings.leaver}
        self._mapped = [(places[name], name, name in mapped) for name in names]
        self._image_of = cache(self._image)
        self._activity = places.get(spec.activity or "")
        self._stepwise = stepwise(spec)
        self.operations: list[AccountChange] = []
        self.links: list[LinkRow] = []
        self.todos: list[tuple[str, str]] = []
        self.drift: list[tuple[str, str]] = []
        self.loops: list[Counted] = []
        self.stopped: list[Stopped] = []
        self.reread: list[str] = []
        self.same_role: list[str] = []
        self._told_role = places.get(spec.role_attribute or "")

    def consider(self, row: ChangeRow) -> None:
        state: State | None
        if row.standing == LEAVER:
            state = self._leaver(row)
        elif row.standing == MEMBER:
            state = self._member(row)
        else:
            # Whoever starts later, or is known too little of, is adopted as found: to be active again is a rejoin
            state = "left" if self._inactive(row) and row.matched != "link" else row.state
        told = row.standing == LEAVER and state == "left" and self._steps_unknown(row)
        if row.matched != "link" or (state and state != row.state) or told:
            now = state or row.state or "active"
            left, step = (row.left_on or "", row.due) if now == "left" and row.standing == LEAVER else ("", 0)
            self.links.append((row.person, row.account, now, row.matched, left, step))

    def _steps_unknown(self, row: ChangeRow) -> bool:
        """Whether the ledger has not the steps that are brought about, or an earlier version's entry no day."""
        return self._stepwise and row.state == "left" and (row.left is None or row.step < row.due)

    def _leaver(self, row: ChangeRow) -> State | None:
        """Returns the state to record at once, None where an operation's success will."""
        changed = self._leavers(row.differs)
        loops = self._counted(row, changed, left=row.state == "left")
        if not changed:
            return "left"
        if row.untouchable:
            self.todos.append((row.person, self._kept(row, f"is {row.untouchable} and is never touched")))
            return None
        if row.protected:
            self.todos.append((row.person, self._kept(row, "is protected")))
            return None
        if row.state == "left" and row.step >= row.due:
            stays = self._without_stopped(row, changed, loops)
            drifted, fails = bool(among(changed, row.drifted)), ""
            if not stays:
                names = self._named(changed)
                fails = f"{CODE}: the account of a leaver did not keep {names}, which was accepted; see the to-dos."
            self._change(row, Kind.UPDATE, stays or changed, drifted=drifted, fails=fails)
        else:
            # A later step is of somebody who left: what it takes away counts, their first leave is no news
            self._change(row, Kind.LEAVE, changed, counted=not self._has_left(row, changed))
        return None

    def _has_left(self, row: ChangeRow, changed: Places) -> bool:
        """Whether the target shows the account in leaver state already, with a value that no member is given.

        The rest of the leave takes away no access, so no guard has to count it.
        """
        if not row.seen or not self._unlisted.issuperset(changed):
            return False
        return any(row.differs[place] == "0" and row.wanted[place] for place in self._telling)

    def _kept(self, row: ChangeRow, why: str) -> str:
        """A leaver's account that we leave as it is, with the ways in which the leave is settled."""
        return (
            f"left, but the account {why}. Deactivate or demote it by hand in {self._spec.name}; if it is to stay, "
            f"`provisioner unlink {row.person} {self._spec.name}` says that it is not theirs."
        )

    def _member(self, row: ChangeRow) -> State | None:
        changed = self._members(row.differs)
        if row.again:
            changed = (*changed, *self._every(row.again))
        if row.untouchable:
            if changed:
                self.todos.append((row.person, f"the account is {row.untouchable} and is never touched."))
            return None
        for place in self._fixed(row.differs):
            if row.known[place] == "1" or self._attributes[place].late:
                self._advise(row, place)
        loops = self._counted(row, changed)
        if row.protected:
            changed = self._spared(row, changed)
        changed = self._without_stopped(row, changed, loops)
        inactive = self._inactive(row)
        if row.state == "left" or (row.state is None and inactive):
            if not changed:
                return "active"
            was = self._circumstances.returned.get(row.person)
            self._change(row, Kind.REJOIN, changed, reason=f"is back, was {was}" if was else None)
            return None
        # What an undo makes active again we deactivated ourselves
        if inactive and self._activity in changed and not self._circumstances.undo:
            return self._deactivated(row, changed)
        self._update(row, changed, loops)
        return "active"

    def _inactive(self, row: ChangeRow) -> bool:
        return self._activity is not None and row.held[self._activity] == "false"

    def _named(self, places: Iterable[int]) -> str:
        return ", ".join(self.names[place] for place in places)

    def _spared(self, row: ChangeRow, changed: Places) -> Places:
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

    def _deactivated(self, row: ChangeRow, changed: Places) -> State:
        """Somebody else deactivated it while our ledger says active."""
        sentence = "somebody deactivated the account; it is not reactivated without approval."
        self.drift.append((row.person, sentence))
        if self._spec.settings.drift == "correct":
            self._change(row, Kind.REJOIN, changed, drifted=True, hold=f"{self._spec.name}: {sentence}")
        return "active"

    def _is_rewrite(self, loops: Mapping[str, Loop], place: int) -> bool:
        """Whether it was written and never shown so."""
        loop = loops.get(self.names[place])
        return loop is not None and not loop.by_hand

    def _counted(self, row: ChangeRow, changed: Places, *, left: bool = False) -> Mapping[str, Loop]:
        """What of the account does not stay, counted in; `left`: the ledger says that it is in leaver state."""
        if not row.seen or not (row.loops or among(changed, row.drifted)):
            return _NO_LOOPS
        known = known_loops(row.loops)
        loops = {
            name: self._watch.count(
                known.get(name), row.account, name, row.wanted[place], row.held[place], row.recorded or 0.0
            )
            for place, name in ((place, self.names[place]) for place in among(changed, row.drifted))
        }
        # For a leaver it is reported in each run, since nothing else says that the leave is not done
        if loops != known or (left and loops):
            self.loops.append(Counted(row.person, loops, left=left))
        return loops

    def _without_stopped(self, row: ChangeRow, changed: Places, loops: Mapping[str, Loop]) -> Places:
        """What is still written; of the rest there is a to-do."""
        if not loops:
            return changed
        stays = []
        for place in changed:
            name = self.names[place]
            loop = loops.get(name)
            if loop is None or not loop.stopped:
                stays.append(place)
                continue
            self.stopped.append(Stopped(row.person, name, row.wanted[place], row.held[place], loop.since))
        return tuple(stays)

    def _update(self, row: ChangeRow, changed: Places, loops: Mapping[str, Loop]) -> None:
        drifted = among(changed, row.drifted)
        if drifted:
            self.drift.append((row.person, f"changed in the target behind our back: {self._named(drifted)}."))
            if self._spec.settings.drift == "report":
                changed = tuple(place for place in changed if place not in drifted)
        if changed:
            kind = Kind.ROLE if self._roles.issuperset(changed) else Kind.UPDATE
            # What may only be late or spelt otherwise must not hold up what really changes
            again = {self.names[place] for place in changed if self._is_rewrite(loops, place)}
            self._change(
                row,
                kind,
                changed,
                drifted=bool(drifted) and self._spec.settings.drift == "correct",
                counted=len(again) < len(changed),
            )

    def _advise(self, row: ChangeRow, place: int) -> None:
        name = self.names[place]
        late = self._attributes[place].late
        if late:
            self.todos.append((row.person, f"{name} was mapped after the account was there: {late}."))
            return
        if self._attributes[place].detail:
            self.reread.append(row.person)
        what = (self._attributes[place].advice or f"change {name} in {self._spec.name} by hand").rstrip(".")
        self.todos.append((row.person, f"{name} differs and cannot be changed by us: {what}."))

    def _change(
        self,
        row: ChangeRow,
        kind: Kind,
        changed: Places,
        *,
        drifted: bool = False,
        hold: str | None = None,
        counted: bool = True,
        fails: str = "",
        reason: str | None = None,
    ) -> None:
        spec, names, wants, holds = self._spec, self.names, row.wanted, row.held
        if self._told_role in among(changed, row.drifted):
            self.same_role.append(row.person)
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
            AccountChange(
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
                owned=NONE
                if not row.owned
                else {name: value or None for name, value in row.owned.items() if value is not None},
                reason=reason or row.reason,
                counted=known and counted,
                state=PlannedState(hold, fails=fails) if hold or fails else FREE,
                snapshot=self._circumstances.snapshot,
                planned=self._moment,
                undoes=self._circumstances.undo,
                left_on=row.left_on or "" if kind is Kind.LEAVE else "",
                step=row.due if kind is Kind.LEAVE else 0,
                further=kind is Kind.LEAVE and row.state == "left",
                row=row.digest or row_digest(row.standing, wants),
            )
        )

    def _image(self, differs: str, known: str, changed: Places) -> tuple[tuple[tuple[int, str, bool, bool], ...], bool]:
        """The image of an account after a change, and whether any value that changes was known before.

        The image has for each attribute its place, its name, whether it takes the wanted value, and whether it keeps
        the held one otherwise.
        """
        image = tuple(
            (place, name, differs[place] == "0" or place in changed, mapped and known[place] == "1")
            for place, name, mapped in self._mapped
        )
        return image, bool(among(changed, known))


def _marked(places: Sequence[int]) -> Callable[[str], Places]:
    """Which of some places a pattern marks, worked out once for each pattern."""
    return cache(lambda pattern: among(places, pattern))


def among(places: Sequence[int], pattern: str) -> Places:
    return tuple([place for place in places if pattern[place] == "1"])
