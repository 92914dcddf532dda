"""Making the plan of one target: every operation from observed to desired, in the order of delivery, guards applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl

from provisioner.expressions import evaluate_predicate
from provisioner.model.attributes import natural
from provisioner.model.operation import ACCOUNT_KINDS, REMOVALS, URGENCY, Kind, Operation
from provisioner.model.operation_batches import Batch, rewritten
from provisioner.planning.build import Aside, Material, drafted
from provisioner.planning.bundling import riding
from provisioner.planning.compiled import CompiledTarget
from provisioner.planning.contested import contested, resembling
from provisioner.planning.correlate import (
    LEDGER_ROW,
    OBSERVED_ROW,
    Conflict,
    Correlation,
    correlate,
)
from provisioner.planning.creations import Gone
from provisioner.planning.desired import LEAVER, PERSON, STANDING, Desired, desired_accounts
from provisioner.planning.diff import Held, differing, hold, ours_to_clear, suspects
from provisioner.planning.first_contact import new_accounts, note_of, too_many_overwrites
from provisioner.planning.first_free import with_free_values
from provisioner.planning.guards import guarded, limit_of, measured, tripped
from provisioner.planning.joiners import creates_of
from provisioner.planning.leavers import accountless_leavers, to_settle, unfinished_leavers, unkept_leavers, unsettled
from provisioner.planning.listing_trust import Trust, doubts, recalled, trust_of
from provisioner.planning.new_accounts import CODE as NOT_KEPT
from provisioner.planning.new_accounts import never_shown, note, settling, shown_at_last
from provisioner.planning.rewrite_loops import CODE as REWRITE_LOOP
from provisioner.planning.rewrite_loops import Stopped, Watch, sentence
from provisioner.planning.set_once import sent_again
from provisioner.planning.shared_sets import (
    TooManyRemovals,
    foreign_removals,
    merged,
    removal_base,
    too_many_removals,
    yielded,
)
from provisioner.planning.side_changes import due_enrolments, due_records, owing
from provisioner.planning.spec import ACCOUNT, Alike, Observation, Planning, TargetSpec
from provisioner.planning.standing_todos import unusable, without_unfit
from provisioner.planning.taken_values import without_circles, without_taken
from provisioner.planning.target_plan import Link, TargetPlan, Todo


def plan_target(
    spec: TargetSpec,
    compiled: CompiledTarget,
    people: pl.DataFrame,
    observation: Observation,
    ledger: pl.DataFrame,
    circumstances: Planning,
) -> TargetPlan:
    """Plan one target.

    Args:
        people: see `desired_accounts`.
        ledger: `_person`, `_account`, `_state`, `_created`, `_recorded` (epoch seconds), `_owed` (JSON), `_enrolled`
            (list of codes), and ``l:<attribute>`` as last acknowledged (empty text: known to be empty).
    """
    desired = desired_accounts(
        spec,
        compiled,
        people,
        today=circumstances.today,
        today_utc=circumstances.now.astimezone(UTC).date(),
        ends=circumstances.ends,
        left=circumstances.left,
    )
    young = settling(spec, ledger, circumstances)
    found = correlate(
        desired.frame, observation, ledger, spec.settings.match, spec.attributes, circumstances.apart, young
    )
    unkept = never_shown(found.missing, ledger, observation)
    trust = trust_of(spec, desired, found, observation, ledger, circumstances, unkept)
    if trust.unbelieved:
        # By what it shows nobody is recognised; and a leave may have to carry along what it hides
        found = replace(found, pairs=found.pairs.filter(pl.col(LEDGER_ROW).is_not_null()))
        observation = recalled(observation, trust.unbelieved.hidden, ledger)
    pairs = suspects(spec, desired.frame, found.pairs, observation, ledger)
    held = hold(spec, desired.frame, pairs, observation, ledger, circumstances.perhaps)
    yields = yielded(spec, desired.frame, ledger)
    whole = merged(spec, ours_to_clear(spec, held.frame), held.names, yields, observation.last_read)
    held = Held(whole, held.names)
    frame, unfit = without_unfit(spec, differing(spec, held))
    frame, claimed = without_taken(spec, frame, observation.frame)
    frame, circling = without_circles(spec, frame, observation.frame)
    frame, refused = sent_again(spec, frame)
    claimed += [*circling, *unfit, *refused, *unusable(spec, desired.frame, found.pairs, observation)]
    frame = frame.with_columns(protected(spec, compiled, observation, frame))
    creates, clashes, blocked = creates_of(spec, desired, found)
    owned = pl.concat([found.pairs[ACCOUNT], ledger[ACCOUNT]])
    perhaps = doubts(spec, creates, observation, owned, circumstances.apart)
    creates = creates.filter(~pl.col(PERSON).is_in([doubt.person for doubt in perhaps]))
    blocked += [Todo(doubt.person, doubt.sentence, linked=False) for doubt in perhaps]
    if not trust.unbelieved:
        creates, unnamed = with_free_values(spec, creates, observation, ledger, circumstances)
        blocked += [Todo(one.person, one.sentence, linked=False) for one in unnamed]
        attributes = spec.attributes
        claims = to_settle(found.claims, desired.frame)
        blocked += [Todo(one.person, one.sentence(spec.name, attributes), linked=False) for one in claims]
        blocked += [Todo(person, sentence, linked=False) for person, sentence in circumstances.unsettled]
    material = Material(
        frame,
        creates,
        owing(spec, ledger),
        due_enrolments(spec, desired.frame, found.pairs, ledger, circumstances),
        due_records(desired.records, found.pairs, ledger),
    )
    gone, believed = Gone(frozenset(found.missing), unkept), trust.unbelieved is None
    watch = Watch.over(spec.attributes, observation, drifting(frame, held.names), circumstances.now.timestamp())
    foreign = foreign_removals(spec, frame, held.names)
    beside = resembling(spec, creates, desired, ledger, circumstances)
    circumstances = replace(circumstances, alike={**circumstances.alike, **beside}) if beside else circumstances
    claimed_by = contested(spec, desired, found, circumstances)
    new = new_accounts(found.pairs, ledger, circumstances) if believed else ()
    drafts, aside = drafted(
        spec, material, held.names, gone, circumstances, watch, foreign, claimed_by, new, believed=believed
    )
    values = removal_base(spec, found.pairs, observation, held.names, circumstances)
    removals = too_many_removals(spec, aside.removals, values, circumstances)
    if believed:
        blocked += [Todo(key, alike.sentence, linked=False) for key, alike in _waiting(creates, circumstances)]
    aside.todos += claimed if believed else ()
    blocked += [Todo(person, why, linked=False, code=NOT_KEPT) for person, why in aside.unkept]
    observation = replace(
        observation, notes=(*observation.notes, *note(spec, found.pairs, young, observation.frame[ACCOUNT]))
    )
    return assemble(
        spec, desired, found, drafts, aside, clashes, blocked, observation, ledger, circumstances, trust,
        shown=shown_at_last(found.pairs, ledger, observation.frame[ACCOUNT]),
        removals=removals,
        values=values,
        removing=dict.fromkeys(foreign, removals.sentence) if removals else {},
    )  # fmt: skip


def drifting(frame: pl.DataFrame, names: Sequence[str]) -> pl.Series:
    """The accounts that do not show something which was acknowledged."""
    flags = [pl.col(f"d:{name}") & pl.col(f"l:{name}").is_not_null() & pl.col("_seen") for name in names]
    return frame.filter(pl.any_horizontal(flags))[ACCOUNT] if flags else frame[ACCOUNT].clear()


def _looping(spec: TargetSpec, one: Stopped) -> Todo:
    since = datetime.fromtimestamp(one.since, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    type_ = spec.attributes[one.attribute].type
    about = {
        "attribute": one.attribute,
        "written": natural(one.written or None, type_),
        "observed": natural(one.observed, type_),
        "since": since,
    }
    return Todo(one.person, sentence(spec.name, one, since), code=REWRITE_LOOP, about=about)


def _waiting(creates: pl.DataFrame, circumstances: Planning) -> list[tuple[str, Alike]]:
    """Who gets no account before somebody says who they are."""
    return [(key, alike) for key in creates[PERSON] if (alike := circumstances.alike.get(key)) is not None]


def protected(spec: TargetSpec, compiled: CompiledTarget, observation: Observation, frame: pl.DataFrame) -> pl.Series:
    """Who may be neither deactivated nor demoted; unknown protects, and so does an account that was not seen."""
    if spec.settings.protect.strip().upper() == "FALSE":
        return pl.Series("_protected", [False] * frame.height, dtype=pl.Boolean)
    accounts = observation.frame.select(pl.all().gather(frame[OBSERVED_ROW]))
    missing = [name for name in compiled.protect.columns if name not in accounts.columns]
    accounts = accounts.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
    verdict = evaluate_predicate(compiled.protect, accounts).values.fill_null(value=True)
    return (verdict | ~frame["_seen"]).alias("_protected")


def assemble(
    spec: TargetSpec,
    desired: Desired,
    found: Correlation,
    drafts: Sequence[Operation],
    aside: Aside,
    clashes: tuple[Conflict, ...],
    blocked: Sequence[Todo],
    observation: Observation,
    ledger: pl.DataFrame,
    circumstances: Planning,
    trust: Trust,
    *,
    shown: tuple[str, ...],
    removals: TooManyRemovals | None,
    values: int,
    removing: Mapping[str, str],
) -> TargetPlan:
    """The plan: what was drafted, guarded and in order, and what is reported besides it."""
    unbelieved, guards = trust.unbelieved, spec.settings.guards
    links = [Link(*link) for link in aside.links]
    if not unbelieved:
        over = trust.unpaired.filter(pl.col(STANDING) == LEAVER).select(PERSON, ACCOUNT)
        links += [Link(person, account, "left", "link") for person, account in over.iter_rows()]
    if (reviewed := circumstances.reviewed) is not None:
        links = [one for one in links if one.matched == "link" or reviewed.links.get(one.person) == one.account]
    measures = measured(guards, aside.counted, circumstances.sent, trust.base, circumstances.decided) if guards else {}
    trips = tripped(measures)
    overwrites = too_many_overwrites(spec, aside.overwriting, aside.undecided, trust.base)
    overwriting = dict.fromkeys(overwrites.people, overwrites.sentence) if overwrites else {}
    todos = [Todo(person, sentence) for person, sentence in aside.todos]
    todos += [_looping(spec, one) for one in aside.stopped]
    room = {name: one.room for name, one in measures.items() if name in circumstances.sent}
    if guards and guards.removals and REMOVALS in circumstances.sent:
        taken = aside.removals.total() + circumstances.sent[REMOVALS] + circumstances.decided.get(REMOVALS, 0)
        room[REMOVALS] = limit_of(guards.removals, values) - taken
    waiting, touched = {todo.person for todo in todos}, 0
    leavers = unfinished_leavers(desired.frame, found.pairs, ledger, {link.person: link.state for link in links})
    leavers |= unkept_leavers(desired.frame, ledger, aside.loops)
    left, further = set(leavers), set[str]()

    def ordered(batch: Batch) -> Batch:
        nonlocal touched
        going = [one.person for one in batch if one.kind is Kind.LEAVE]
        left.difference_update(going)
        further.update(going)
        operations = guarded(batch, trips, circumstances, removing, overwriting)
        operations.sort(key=lambda operation: (URGENCY[operation.kind], operation.person, operation.slot))
        changed = [one.person for one in operations if one.kind in ACCOUNT_KINDS and one.account]
        touched += len(changed)
        waiting.difference_update(changed)
        return riding(spec, operations)

    operations = rewritten(drafts, ordered)
    conflicts = (*found.conflicts, *clashes)
    return TargetPlan(
        target=spec.name,
        operations=operations,
        links=tuple(links),
        conflicts=conflicts,
        todos=(*todos, *blocked),
        faults=desired.faults,
        drift=tuple(Todo(person, sentence) for person, sentence in aside.drift),
        orphans=found.orphans,
        missing=tuple(trust.missing[PERSON].to_list()),
        guards=(*dict.fromkeys(trips.values()), *(one for one in (removals, overwrites) if one)),
        notes=(*observation.notes, *note_of(spec, aside.overwriting, overwrites)),
        observed=observation.frame.height,
        linked=found.pairs.height + len(conflicts),
        adopted=found.pairs[LEDGER_ROW].null_count(),
        unchanged=found.pairs.height - touched - len(waiting),
        base=trust.base,
        reread=tuple(dict.fromkeys(aside.reread)),
        unbelieved=unbelieved.sentence if unbelieved else None,
        disbelief=unbelieved.code if unbelieved else "listing_shrank",
        # Whoever waits for a later step is as unfinished as who waits for the first
        leavers=leavers | further,
        accountless=accountless_leavers(desired.frame, found.pairs, ledger),
        leavers_left=len(left),
        unsettled=unsettled(desired.frame),
        shown=shown,
        loops=tuple(aside.loops),
        stopped=frozenset((one.person, one.attribute) for one in aside.stopped),
        unreviewed=aside.unreviewed,
        room=room,
        removing=aside.removing,
        values=values,
        overwriting=tuple(aside.overwriting),
    )
