"""The plan of the way back: what a run changed becomes what it was, by the same steps and guards as any plan. Pure.

What is wanted of an account are the values from before the run, of what the run changed only. A create becomes a leave,
a leave a rejoin of whoever is employed by the newest roster, a rejoin a leave. What holds another value by now than the
run gave it was changed by somebody since, and is left alone. There are no events and no enrolments: that a change is
taken back is no fact about a person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date
from typing import Any, Final

import polars as pl

from provisioner.model.attributes import Attribute, Type, canonical, fold
from provisioner.model.operation import Kind, Operation
from provisioner.model.run_document import LeftOutRow
from provisioner.model.unconfirmed import parted
from provisioner.planning.build import Material, drafted
from provisioner.planning.compiled import CompiledTarget
from provisioner.planning.correlate import correlate
from provisioner.planning.creations import Gone
from provisioner.planning.desired import DIGEST, LEAVER, MEMBER, PERSON, REASON, STANDING, Desired, desired_accounts
from provisioner.planning.diff import Held, differing, hold, names_of
from provisioner.planning.leaver_steps import DUE, LEFT_ON
from provisioner.planning.listing_trust import trust_of
from provisioner.planning.new_accounts import settling
from provisioner.planning.plan import assemble, drifting, protected
from provisioner.planning.rewrite_loops import Watch
from provisioner.planning.shared_sets import foreign_removals, merged, removal_base, too_many_removals
from provisioner.planning.side_changes import due_records
from provisioner.planning.spec import ACCOUNT, Observation, Planning, TargetSpec
from provisioner.planning.standing_todos import without_unfit
from provisioner.planning.taken_values import without_taken
from provisioner.planning.target_plan import TargetPlan
from provisioner.planning.undo_images import CHANGES_STATE, Image, Undo
from provisioner.settings import AttributeRule
from provisioner.settings.leaver import steps_of

_LEFT: Final = "leaves by the newest roster, so nothing is given back"


@dataclass(slots=True)
class UndoPlan:
    """The way back in one target: its plan, what of the run is not taken back and why, and for how many people roster
    and mapping still want what the run brought about."""

    plan: TargetPlan
    left_out: list[LeftOutRow]
    again: int


@dataclass(slots=True)
class _Kept:
    """What is not taken back: by person, with what it is about."""

    reasons: dict[str, list[str]] = field(default_factory=dict)

    def add(self, person: str, reason: str) -> None:
        self.reasons.setdefault(person, []).append(reason)


def plan_undo(
    spec: TargetSpec,
    compiled: CompiledTarget,
    people: pl.DataFrame,
    observation: Observation,
    ledger: pl.DataFrame,
    circumstances: Planning,
    undo: Undo,
) -> UndoPlan:
    """Plan the way back in one target.

    Args:
        spec: with every attribute that an image names.
        people, ledger: see `plan_target`; of the people whom the run changed.
    """
    kept = _Kept()
    mapped = _mapped(spec, compiled, people, circumstances)
    leaving = people.filter(pl.col("_key").is_in([one.person for one in _created(undo)]))
    # Of a created account nothing stays, whichever step it would be in
    long_ago = replace(circumstances, left=dict.fromkeys(leaving["_key"].to_list(), date.min))
    left = _mapped(spec, compiled, leaving.with_columns(pl.lit("leaver").alias("_verdict")), long_ago)
    wanted = _wanted(spec, undo, mapped, left, ledger, kept, circumstances.today)
    own = _enforcing(spec, names_of(wanted))
    desired = Desired(wanted, ())
    young = settling(spec, ledger, circumstances)
    found = correlate(wanted, observation, ledger, (), spec.attributes, circumstances.apart, young)
    for person in found.missing:
        kept.add(person, "its account is not there any more")
    trust = trust_of(own, desired, found, observation, ledger, circumstances, {})
    held = hold(own, wanted, found.pairs, observation, ledger, {})
    frame = _restored(own, held.frame, held.names, undo, kept)
    frame = merged(own, frame, held.names, {})
    frame, unfit = without_unfit(own, differing(own, Held(frame, held.names)))
    frame, taken = without_taken(own, frame, observation.frame)
    for person, sentence in (*unfit, *taken):
        kept.add(person, sentence)
    frame = frame.with_columns(protected(own, compiled, observation, frame))
    none = ledger.clear()
    material = Material(
        frame,
        wanted.clear(),
        none.select(PERSON, ACCOUNT, "_owed"),
        none.select(PERSON, ACCOUNT),
        due_records((), found.pairs, ledger),
    )
    moment = circumstances.now.timestamp()
    watch = Watch.over(own.attributes, observation, drifting(frame, held.names), moment)
    foreign = foreign_removals(own, frame, held.names)
    drafts, aside = drafted(
        own, material, held.names, Gone(frozenset(), {}), circumstances, watch, foreign, {}, believed=True
    )
    for person, sentence in aside.todos:
        kept.add(person, sentence)
    if trust.unbelieved:
        drafts = ()
    values = removal_base(own, found.pairs, observation, held.names, circumstances)
    removals = too_many_removals(own, aside.removals, values, circumstances)
    plan = assemble(own, desired, found, drafts, aside, (), (), observation, ledger, circumstances, trust,
                    shown=(), removals=removals, values=values,
                    removing=dict.fromkeys(foreign, removals.sentence) if removals else {})  # fmt: skip
    plan = replace(
        plan, links=(), todos=(), drift=(), orphans=(), missing=(), loops=(), reread=(), adopted=0,
        leavers=frozenset(), accountless=frozenset(), leavers_left=0, unsettled=frozenset(undo.images),
    )  # fmt: skip
    return UndoPlan(plan, _rows(spec, undo, plan, frame, kept, trust.unbelieved), _again(own, mapped, plan.operations))


def _created(undo: Undo) -> Iterable[Image]:
    return (one for one in undo.images.values() if one.kind is Kind.CREATE)


def _mapped(spec: TargetSpec, compiled: CompiledTarget, people: pl.DataFrame, circumstances: Planning) -> pl.DataFrame:
    today_utc = circumstances.now.astimezone(UTC).date()
    return desired_accounts(
        spec,
        compiled,
        people,
        today=circumstances.today,
        today_utc=today_utc,
        ends=circumstances.ends,
        left=circumstances.left,
    ).frame


def _wanted(
    spec: TargetSpec,
    undo: Undo,
    mapped: pl.DataFrame,
    left: pl.DataFrame,
    ledger: pl.DataFrame,
    kept: _Kept,
    today: date,
) -> pl.DataFrame:
    """What accounts should hold again, as a desired frame; who is not in it is in `kept`."""
    standings: Mapping[str, str] = dict(mapped.select(PERSON, STANDING).iter_rows())
    digests: Mapping[str, str] = dict(mapped.select(PERSON, DIGEST).iter_rows())
    overlays = {row[PERSON]: row for row in left.iter_rows(named=True)}
    entries = {
        person: (account, state) for person, account, state in ledger.select(PERSON, ACCOUNT, "_state").iter_rows()
    }
    rows: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    for person, image in undo.images.items():
        account, state = entries.get(person, (None, None))
        reason = _refused(spec, image, account, state, standings.get(person), in_roster=person in overlays)
        if reason:
            kept.add(person, reason)
            continue
        if image.kind is Kind.CREATE:
            overlay = overlays[person]
            values = {name: overlay[f"w:{name}"] for name in names_of(left) if overlay[f"w:{name}"] is not None}
        else:
            values = {name: value or "" for name, value in image.before.items()}
        names |= dict.fromkeys(values)
        gone = image.kind in (Kind.CREATE, Kind.REJOIN)
        rows.append(
            {
                PERSON: person,
                STANDING: LEAVER if gone else MEMBER,
                REASON: f"undo of run {undo.run}",
                DIGEST: digests.get(person, ""),
                DUE: len(steps_of(spec.settings.leaver)) if image.kind is Kind.CREATE else 1,
                LEFT_ON: today.isoformat(),
                **{f"w:{name}": value for name, value in values.items()},
            }
        )
    columns = [PERSON, STANDING, REASON, DIGEST, DUE, LEFT_ON, *(f"w:{name}" for name in names)]
    return pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in columns},
        schema={name: pl.Int64 if name == DUE else pl.String for name in columns},
    )


def _refused(
    spec: TargetSpec, image: Image, account: str | None, state: str | None, standing: str | None, *, in_roster: bool
) -> str | None:
    """Why nothing of it is taken back, None if it is."""
    if account is None:
        return "is not linked to an account any more"
    if image.account is not None and image.account != account:
        return f"is linked to another account by now, {account}"
    if image.kind is Kind.CREATE:
        if state == "left":
            return None if spec.settings.leaver else "the account is left already"
        if not spec.settings.leaver:
            return f"the account stays: {spec.name} has no `leaver` that says what a left account is"
        return None if in_roster else "is not in the roster, so nobody can say what a left account is"
    if image.kind is Kind.REJOIN:
        return None
    if image.kind is Kind.LEAVE:
        if standing == LEAVER:
            return _LEFT
        return None if standing == MEMBER else "is not employed by the newest roster, so nothing is given back"
    return _LEFT if standing == LEAVER or state == "left" else None


def _enforcing(spec: TargetSpec, names: Collection[str]) -> TargetSpec:
    """The target as the way back needs it: what an image holds is written, and nothing follows from it."""
    settings = spec.settings
    rules = {}
    for name in names:
        rule = settings.attributes.get(name) or settings.leaver.get(name) or AttributeRule.model_validate("NULL")
        rules[name] = rule.model_copy(update={"authority": "roster"})
    settings = settings.model_copy(
        update={"attributes": {**settings.attributes, **rules}, "leaver": {**settings.leaver, **rules}}
    )
    return replace(spec, settings=settings, facts={}, enrolments=(), knowledge_rules=(), bundled_enrolments=0)


def _restored(spec: TargetSpec, frame: pl.DataFrame, names: Sequence[str], undo: Undo, kept: _Kept) -> pl.DataFrame:
    """The frame with what is wanted of each account, now that it is known what it holds."""
    wanted: dict[str, list[str | None]] = {name: [] for name in names}
    for row in frame.iter_rows(named=True):
        image = undo.images[row[PERSON]]
        found: dict[str, str | None] = {}
        changed: list[str] = []
        for name in names:
            found[name] = row[f"w:{name}"]
            if found[name] is None:
                continue
            attribute = spec.attributes[name]
            if image.kind is not Kind.CREATE and (why := _unknowable(attribute, image.before.get(name))):
                kept.add(image.person, f"{name}: {why}")
                found[name] = None
                continue
            value, since = _value(spec, attribute, image, row, force=undo.force)
            found[name] = value
            if since:
                changed.append(name)
        if changed:
            kept.add(image.person, f"{', '.join(changed)}: changed by somebody since, and not overwritten")
        if changed and image.kind in CHANGES_STATE:
            found = dict.fromkeys(names)
        for name in names:
            wanted[name].append(found[name])
    return frame.with_columns(pl.Series(f"w:{name}", values, dtype=pl.String) for name, values in wanted.items())


def _unknowable(attribute: Attribute, before: str | None) -> str | None:
    """Why the value from before cannot be written."""
    if attribute.identifier or not attribute.on_update:
        return "cannot be changed once an account exists"
    if before is None and not attribute.observed:
        return "nobody can say what it was before: the target does not show it"
    return None


def _value(
    spec: TargetSpec, attribute: Attribute, image: Image, row: Mapping[str, Any], *, force: bool
) -> tuple[str | None, bool]:
    """What is wanted of one attribute, None to leave it alone; and whether somebody changed it since."""
    name = attribute.name
    held, known, wanted = row[f"h:{name}"], row[f"k:{name}"], row[f"w:{name}"]
    before, after = image.before.get(name), image.after.get(name)
    if image.kind is Kind.CREATE:
        given = name in image.after
        since = given and known and not force and not _same(attribute, held, after, wanted)
        return (None, True) if since else (wanted, False)
    if attribute.type is Type.SET:
        ours = _is_shared(spec, attribute)
        if force and not ours:
            return wanted, False
        # Of a set that others fill too only our own part is ours to change; `merged` lays it over what is held
        now = row[f"l:{name}"] if ours else held
        return _swapped(now, before, after), False
    if not known or _same(attribute, held, after) or force:
        return wanted, False
    return (None, False) if _same(attribute, held, before) else (None, True)


def _is_shared(spec: TargetSpec, attribute: Attribute) -> bool:
    rule = spec.settings.attributes.get(attribute.name)
    return attribute.merge and (attribute.name in spec.shared or (rule is not None and rule.set == "merge"))


def _same(attribute: Attribute, held: str | None, *others: str | None) -> bool:
    return fold(held or None, attribute.type) in {fold(one or None, attribute.type) for one in others}


def _swapped(now: str | None, before: str | None, after: str | None) -> str:
    """A set without what the run added and with what it took away; of what nobody can be sure, as it was before."""
    old, doubtful_then = parted(before)
    sure, doubtful = parted(now)
    new = parted(after)[0]
    rest = [name for key, name in sure.items() if key in old or key in doubtful_then or key not in new]
    back = [name for key, name in old.items() if key not in new or key in doubtful]
    return canonical([*rest, *back], Type.SET) or ""


def _rows(
    spec: TargetSpec, undo: Undo, plan: TargetPlan, frame: pl.DataFrame, kept: _Kept, unbelieved: Any
) -> list[LeftOutRow]:
    """What of the run is not taken back. Whose account is as it was before needs nothing, and is none of it."""
    planned = {one.person for one in plan.operations}
    flags = [column for column in frame.columns if column.startswith("d:")]
    differs = set(frame.filter(pl.any_horizontal(flags))[PERSON]) if flags else set()
    rows: list[LeftOutRow] = []
    for person, image in undo.images.items():
        reasons = kept.reasons.get(person, [])
        if person not in planned and person in differs:
            reasons = [unbelieved.sentence] if unbelieved else reasons or ["drift is only reported here"]
        rows += [image_row(spec.name, image, reason) for reason in dict.fromkeys(reasons)]
    return rows


def image_row(target: str, image: Image, reason: str) -> LeftOutRow:
    """What is not taken back of one person's account, and why."""
    return {"id": image.id, "target": target, "person": image.person, "kind": image.kind.value, "reason": reason}


def _again(spec: TargetSpec, mapped: pl.DataFrame, operations: Iterable[Operation]) -> int:
    """For how many people the newest roster and the mapping want otherwise what an operation brings back."""
    rows = {row[PERSON]: row for row in mapped.iter_rows(named=True)}
    return sum(_wants_otherwise(spec, rows.get(one.person), one) for one in operations)


def _wants_otherwise(spec: TargetSpec, row: Mapping[str, Any] | None, one: Operation) -> bool:
    if row is None:
        return False
    if one.kind is Kind.LEAVE:
        return bool(row[STANDING] == MEMBER)
    for name, value in one.after.items():
        wanted = row.get(f"w:{name}")
        if wanted is not None and not _same(spec.attributes[name], wanted, value):
            return True
    return False
