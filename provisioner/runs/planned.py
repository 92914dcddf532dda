"""A plan for one target, made from its roster, its ledger and what it shows, and not installed yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from provisioner.model.run_document import LeftOutRow
from provisioner.planning.desired import PERSON, desired_accounts
from provisioner.planning.first_free import chosen_attributes, names_wanted
from provisioner.planning.leaver_steps import days_of_leaving
from provisioner.planning.refused_once import refused_of, set_once
from provisioner.planning.spec import ACCOUNT, Observation
from provisioner.planning.target_plan import TargetPlan
from provisioner.planning.withdrawn import withdrawn_of
from provisioner.runs.deleted_accounts import without_deleted
from provisioner.runs.existing_enrolments import without_existing
from provisioner.runs.observe import Seen, asks_of, observe
from provisioner.runs.orders import EVERYTHING, Orders, counted_of
from provisioner.runs.plan_context import plan_context
from provisioner.runs.same_person import disputed, identities
from provisioner.runs.unlisted_values import unlisted_values
from provisioner.runtime.clock import day_in
from provisioner.runtime.context import Deployment
from provisioner.runtime.origins import check_origin
from provisioner.store.people.snapshots import Snapshot
from provisioner.store.queue.plans import Counted
from provisioner.store.runs.target_health import HealthStore
from provisioner.targets.answer_shapes import AnswerShapes
from provisioner.targets.base import Ask
from provisioner.targets.http import Http

#: People up to whom each is looked up by themselves; more are found by listing everybody.
LOOKED_UP: Final = 50


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan with what it is based on. `moves` are keys of the ledger and those under which they go on."""

    plan: TargetPlan
    seen: Seen
    requests: int
    ledger: pl.DataFrame = field(repr=False)
    #: What each guard counted of others, and since when (epoch seconds).
    counted: Mapping[str, Counted] = field(default_factory=dict)
    moves: Mapping[str, str] = field(default_factory=dict)
    #: Of what the run was asked to send, what the plan has not.
    left_out: Sequence[LeftOutRow] = ()

    @property
    def observation(self) -> Observation:
        """What the target was seen to hold."""
        return self.seen.observation

    def noted(self, notes: Iterable[str]) -> Planned:
        """The same, with more notes on the plan."""
        return replace(self, plan=replace(self.plan, notes=(*self.plan.notes, *notes)))


async def make_plan(
    dep: Deployment,
    target: str,
    snapshot: Snapshot,
    *,
    full: bool = False,
    decided: Mapping[str, int] | None = None,
    orders: Orders = EVERYTHING,
    heard: AnswerShapes | None = None,
) -> Planned:
    """Observe a target and plan it; `plan` and `sync` share this.

    Args:
        heard: takes the shapes of the answers.
        full: list every account, whatever is remembered.
        decided: see `Planning`.
        orders: what of it may be sent.

    Raises:
        TargetError: it could not be read.
        ConfigurationError: an expression does not fit the roster's columns.
    """
    await check_origin(dep.origins, dep.settings, target)
    spec, settings = dep.specs[target], dep.settings
    compiled = dep.compiled(target, snapshot.columns)
    names = [*spec.settings.attributes, *spec.settings.leaver, *([spec.ends_attribute] if spec.ends_attribute else [])]
    names += [*(withdrawn_of(name) for name in spec.shared), *orders.names]
    names += [refused_of(name) for name in sorted(set_once(spec.settings.attributes))]
    now = await dep.clock.now()
    today, today_utc = day_in(settings.zone, now)
    few = snapshot.keys is not None and len(snapshot.keys) <= LOOKED_UP
    http: Http = dep.reading(target, lane="urgent" if few else "bulk", heard=heard.note if heard else None)
    asks = None
    if few:
        links = await dep.ledger.frame(target, names, snapshot.keys)
        desired = desired_accounts(
            spec, compiled, snapshot.people, today=today, today_utc=today_utc, ends=settings.roster.ends is not None
        )
        # Which names are free only a listing of everybody tells
        if not names_wanted(spec, desired.frame, links):
            asks = asks_of(desired.frame, links, spec.settings.match)
    seen = await observe(dep, target, http, asks=asks, full=full)
    observed = seen.observation
    base = await _base(dep.health, target) if asks is not None else None
    # Read after the observation began, so that nothing recorded meanwhile is overlooked
    if asks is not None and base is not None and await _settled(dep.health, target, asks, observed):
        ledger = await dep.ledger.frame(target, names, snapshot.keys)
    else:
        ledger = await dep.ledger.frame(target, names)
    who = identities(target, snapshot, ledger)
    ledger = who.ledger
    others = _others(ledger, snapshot, base)
    circumstances = replace(
        await plan_context(dep, target, snapshot, who.moves, now, orders),
        others=others,
        decided=decided or {},
        unsettled=who.unsettled,
        alike=who.alike,
        unfamiliar=snapshot.unfamiliar,
        newcomers=await dep.rekeys.newcomers(),
        returned=who.returned,
        disputed=await disputed(dep, target, snapshot),
        left=days_of_leaving(ledger, await dep.receipts.since(target), settings.zone),
        promised=await dep.promised_names.of(target) if chosen_attributes(spec) else {},
    )
    telling, perhaps = await unlisted_values(dep, target, snapshot, ledger, now)
    circumstances = replace(circumstances, telling=telling, perhaps=perhaps)
    plan, left = await orders.plan(dep, target, snapshot, observed, ledger, circumstances)
    plan = await without_deleted(dep.last_outcomes, dep.runs, target, plan, observed)
    plan, left = orders.settled(snapshot, await without_existing(dep, target, http, plan), left)
    counted = await counted_of(dep, target, snapshot, plan, circumstances, orders)
    return Planned(plan, seen, http.requests, ledger, counted, who.moves, left)


async def _base(health: HealthStore, target: str) -> int | None:
    """How many linked accounts, not in leaver state, there were to be after the newest plan of everybody."""
    found = await health.list(target, "base")
    return int(found[0]) if found else None


async def _settled(health: HealthStore, target: str, asks: Sequence[Ask], observed: Observation) -> bool:
    """Whether whose account is whose depends on nobody but those who are asked for: each of them has a link, the linked
    account is there, and the newest plan of everybody found no conflict about it."""
    accounts = {ask.account for ask in asks}
    if None in accounts or not accounts <= set(observed.frame[ACCOUNT].to_list()):
        return False
    disputed = {conflict["person"] for conflict in await health.list(target, "conflicts")}
    return disputed.isdisjoint(ask.person for ask in asks)


def _others(ledger: pl.DataFrame, snapshot: Snapshot, base: int | None) -> int:
    """Linked accounts, not in leaver state, of those whom a run about some people is not about."""
    if snapshot.keys is None:
        return 0
    linked = ledger.filter(pl.col(ACCOUNT).is_not_null() & (pl.col("_state") != "left"))
    others = linked.filter(~pl.col(PERSON).is_in(list(snapshot.keys))).height
    return others if base is None else max(others, base - (linked.height - others))
