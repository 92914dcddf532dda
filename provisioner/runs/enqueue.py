"""One run's part for a target: from its plan to operations in the queue, or to why there are none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import structlog

from provisioner.errors import (
    HoldLostError,
    ProvisionerError,
    StoreError,
    TargetError,
)
from provisioner.model.attributes import natural_values
from provisioner.model.operation import Kind, Operation, Status
from provisioner.model.unconfirmed import at_stake
from provisioner.planning.first_free import chosen_attributes, promises
from provisioner.planning.guards import COVERS
from provisioner.planning.target_plan import TargetPlan
from provisioner.progress.quarantine import recover
from provisioner.runs.answer_watch import noted
from provisioner.runs.drift_report import drift_list
from provisioner.runs.forecast import predicted
from provisioner.runs.not_planned import not_planned, refused
from provisioner.runs.observe import keep
from provisioner.runs.orders import EVERYTHING, Orders, keep_left_out
from provisioner.runs.plan_context import decided_before
from provisioner.runs.plan_figures import base_after, lists_of, part_of
from provisioner.runs.planned import LOOKED_UP, Planned, make_plan
from provisioner.runs.put_back import ends, forgotten, put_back
from provisioner.runs.target_lock import held
from provisioner.runtime.context import Deployment
from provisioner.runtime.origins import claim_origin, remarks
from provisioner.store.admin.position import WENT_BACK_WAY_OUT
from provisioner.store.people.snapshots import Snapshot
from provisioner.store.queue.entries import Entry, guard_of
from provisioner.store.runs.documents import RunStore
from provisioner.store.runs.locks import Hold
from provisioner.store.runs.target_health import HealthStore
from provisioner.targets.answer_shapes import AnswerShapes

log = structlog.get_logger(__name__)

#: How often a plan is made until its guards have counted what others decided meanwhile.
_MOST_COUNTS: Final = 5


async def plan_and_install(
    dep: Deployment,
    run: str,
    target: str,
    read: Callable[[], Awaitable[Snapshot | None]],
    *,
    urgent: bool,
    full: bool = False,
    orders: Orders = EVERYTHING,
) -> bool:
    """One run's part for one target, up to the queue.

    Args:
        read: the people to plan from, None if the run is over. Read under the lock: a run that joins this one must
            find its roster in it.
        urgent: a run about some people; it waits for no other run.
        full, orders: see `make_plan`.

    Returns False if another run or task holds the target now, so that this one has to come again.
    """
    async with held(dep.locks, target, run, urgent=urgent) as hold:
        if hold is None:
            return False
        if not await to_be_planned(dep.runs, run, target):
            return True
        if not urgent:
            await dep.runs.set_target(run, target, {"stage": "planning"})
        snapshot = await read()
        if snapshot is None:
            return True
        try:
            return await _guarded_install(dep, run, target, orders.narrowed(snapshot), hold, orders, full=full)
        except HoldLostError:
            return False


async def to_be_planned(runs: RunStore, run: str, target: str) -> bool:
    """Whether a run's own part for a target is still to be planned; one that joined another run's is not."""
    fields = await runs.own_part(run, target)
    return fields.get("stage") in ("queued", "planning") and "joined" not in fields


async def _guarded_install(
    dep: Deployment, run: str, target: str, snapshot: Snapshot, hold: Hold, orders: Orders, *, full: bool
) -> bool:
    """Plan and install, or note why not; False if others decided about people again and again meanwhile, or if it waits
    for a look at the target after Redis was put back.

    Raises:
        HoldLostError: the target was lost to another task meanwhile, which does it.
    """
    if await dep.plans.resume(run, target) is not None:
        # Whoever began it was killed: what it predicted is kept, and another plan of the same run would differ from it
        unbelieved = "error" in await dep.runs.target(run, target)
        await dep.runs.set_target(run, target, {"stage": "unbelieved" if unbelieved else "delivering"})
        log.info("plan_resumed", run=run, target=target)
        return True
    found = await put_back(dep, target, snapshot, narrow=orders.narrow)
    if found.waits:
        await dep.runs.set_target(run, target, {"notes": json.dumps([WENT_BACK_WAY_OUT])})
        return False
    heard = AnswerShapes()
    try:
        said = await remarks(dep.origins, dep.settings, target)
        await claim_origin(dep, target)
        decided = await decided_before(dep, run, target)
        for attempt in range(_MOST_COUNTS):
            planned = await make_plan(
                dep,
                target,
                snapshot,
                full=full or found.ends,
                decided=decided,
                orders=orders,
                heard=heard,
            )
            said = [*said, *await noted(dep, target, heard)]
            heard = AnswerShapes()
            planned = planned.noted((*said, *found.notes))
            await hold.ensure()
            # Whatever is planned while the target waits for its look may record that somebody left
            first = found.ends and not attempt
            if found.unseen and await forgotten(dep, target, snapshot, planned.plan, planned.ledger, first=first):
                continue
            await recover(dep, target)
            # A new plan is tried at once, whatever older ones ended with
            await dep.faults.clear_target(target)
            await keep(dep, target, planned.seen, believed=planned.plan.unbelieved is None)
            if await install(dep, run, target, snapshot, planned, hold, orders):
                await ends(dep, target, found, planned.plan)
                return True
        return False
    except StoreError:
        # Says nothing about the target: the tick takes this part up again when Redis is back
        raise
    except ProvisionerError as exc:
        await hold.ensure()
        # What changed in the answers may be why it could not be read
        await noted(dep, target, heard)
        await keep_left_out(dep, run, target, orders.all_left_out(target, exc.message))
        if isinstance(exc, TargetError):
            await refused(dep, run, target, exc)
        else:
            await not_planned(dep.runs, run, target, exc, "failed")
    return True


async def install(
    dep: Deployment, run: str, target: str, snapshot: Snapshot, planned: Planned, hold: Hold, orders: Orders
) -> bool:
    """Put a plan into the queue, and its figures into the run; False if its guards have to count again."""
    plan = planned.plan
    rows = set(snapshot.people["_key"].filter(snapshot.people["_key"].is_in(list(planned.moves))))
    for old, new in planned.moves.items():
        await dep.ledger.rename(target, old, new)
        if old not in rows:
            # Whoever has a row of their own still has their own story too
            await dep.rekeys.person(old, new)
    said = {"predicted": json.dumps(await asyncio.to_thread(predicted, dep, target, plan, planned.requests))}
    await dep.runs.set_target(run, target, part_of(plan) | said)
    await keep_left_out(dep, run, target, planned.left_out)
    await dep.runs.add_requests(run, target, planned.requests)
    links: list[dict[str, Any]] = [
        {"person": link.person, "account": link.account, "state": link.state}
        | ({"matched": link.matched} if link.matched != "link" else {})
        | ({"left": link.left, "step": link.step} if link.left else {})
        for link in plan.links
    ]
    links += [{"person": person, "enrolled": list(codes)} for person, codes in plan.enrolled.items()]
    links += [{"person": person, "shown": True} for person in plan.shown]
    links += [one.to_json() for one in plan.loops]
    if not plan.unbelieved and orders.undo is None:
        # Before the links are there: who is linked would not be taken for new
        await _keep_overwriting(dep.health, target, snapshot, plan, orders)
    dropped = await dep.plans.install(
        run,
        target,
        plan.operations,
        partial(_entry, dep, target, plan.removing),
        links,
        began=planned.observation.began,
        people=snapshot.keys,
        urgent=snapshot.keys is not None and not (orders.undo and len(snapshot.keys) > LOOKED_UP),
        leavers=plan.leavers,
        accountless=plan.accountless,
        unsettled=plan.unsettled,
        roster=(snapshot.taken, snapshot.digest),
        hold=hold,
        counted=planned.counted,
        beside=orders.narrow,
    )
    if dropped is None:
        return False
    await hold.ensure()
    if snapshot.keys is None and orders.narrow:
        # What was not reviewed is still wanted: the plan takes no other's place, and says nothing of drift
        some: dict[str, Any] = {name: rows for name, rows in lists_of(plan).items() if name != "drift"}
        await dep.health.keep_lists(target, {**some, "reread": [*plan.reread], "base": [base_after(plan)]})
    elif snapshot.keys is None:
        lists: dict[str, Any] = {**lists_of(plan), "reread": [*plan.reread], "plan": [run], "base": [base_after(plan)]}
        if plan.unbelieved:
            # What is not believed says nothing of what changed: the list stays as it was
            del lists["drift"]
        else:
            lists["values"] = [plan.values]
            lists["drift"] = await drift_list(dep, run, snapshot, planned.observation, planned.ledger, plan)
        if chosen_attributes(dep.specs[target]):
            await dep.promised_names.forget_made(target, planned.observation.began)
        before = await dep.health.list(target, "plan")
        await dep.health.keep_lists(target, lists)
        for older in before:
            if older != run and await dep.runs.exists(older):
                await dep.lifecycle.replace_part(older, target, run)
    elif not plan.unbelieved and orders.undo is None:
        found = lists_of(plan)
        mine = {name: [one for one in found[name] if one["person"] in snapshot.keys] for name in ("conflicts", "todos")}
        await dep.health.replace_in_lists(target, snapshot.keys, mine)
    await dep.runs.set_target(run, target, {"stage": "unbelieved" if plan.unbelieved else "delivering"})
    log.info(
        "planned",
        run=run,
        target=target,
        operations=len(plan.operations),
        held=sum(plan.tally[Status.HELD].values()),
        dropped=dropped,
    )
    return True


async def _keep_overwriting(
    health: HealthStore, target: str, snapshot: Snapshot, plan: TargetPlan, orders: Orders
) -> None:
    """Keep whose account, there before us, a first contact would overwrite."""
    rows = [{"person": person} for person in plan.overwriting]
    if snapshot.keys is None and not orders.narrow:
        await health.keep_lists(target, {"overwriting": rows})
    else:
        await health.replace_in_lists(target, snapshot.keys or plan.overwriting, {"overwriting": rows})


def _entry(dep: Deployment, target: str, removing: Mapping[str, int], operation: Operation) -> Entry:
    attributes = dep.specs[target].attributes
    return Entry(
        operation,
        group=dep.targets[target].group(operation),
        guard=guard_of(operation.kind, COVERS) if operation.counted and not operation.hold else "",
        shown={
            "before": natural_values(operation.before, attributes),
            "after": natural_values(operation.after, attributes),
        },
        stake=at_stake(operation, attributes),
        removes=removing.get(operation.person, 0) if operation.kind is Kind.UPDATE else 0,
        names=promises(dep.specs[target], operation.after) if operation.kind is Kind.CREATE else {},
    )
