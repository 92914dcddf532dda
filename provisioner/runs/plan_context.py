"""What a plan has to know of guards, decisions and hand-made links before it is made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from provisioner.model.operation import REMOVALS, Status
from provisioner.planning.guards import COVERS, WINDOWED
from provisioner.planning.spec import Planning
from provisioner.runs.orders import Orders
from provisioner.runtime.clock import day_in
from provisioner.runtime.context import Deployment
from provisioner.store.people.hand_links import HandLinkStore
from provisioner.store.people.snapshots import Snapshot
from provisioner.store.runs.counters import counts
from provisioner.store.runs.target_health import rejections

#: Operations that went out and are known by name: where a retry of more is counted twice, no guard is a small one.
_MOST_SENT: Final = 1000


async def _apart(hand_links: HandLinkStore, target: str, moves: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """The accounts that were unlinked by hand, by the keys under which people go on."""
    apart = await hand_links.apart(target)
    renamed = {moves.get(person, person): accounts for person, accounts in apart.items()}
    return {**renamed, **{person: accounts for person, accounts in apart.items() if person not in moves}}


async def plan_context(
    dep: Deployment, target: str, snapshot: Snapshot, moves: Mapping[str, str], now: float, orders: Orders
) -> Planning:
    """What a plan of one target has to know besides people, accounts and ledger.

    Args:
        moves: keys under which people of the ledger go on.
        now: epoch seconds by Redis's clock.
    """
    guards = dep.settings.guards_of(target)
    window = guards.window.total_seconds()
    sent: dict[str, int] = {}
    in_place: dict[str, int] = {}
    gone_out: set[str] = set()
    # A plan for everybody takes the place of whatever is not sent, but for what a newer roster decided
    unsent = window > 0 and (snapshot.keys is not None or orders.narrow)
    replaced = orders.replaced(snapshot)
    for guard in WINDOWED if window else ():
        # First what waits: what is sent in between is counted twice rather than not at all
        if unsent:
            waiting = await dep.health.unsent(target, guard, replaced)
        else:
            waiting = in_place[guard] = await dep.health.in_place(target, guard, snapshot.taken, snapshot.digest)
        before = await dep.health.sent(target, guard, now - window)
        if before:
            gone_out |= {*await dep.health.sent_ids(target, guard, now - window, _MOST_SENT)}
        sent[guard] = waiting + before
    decisions = await dep.health.decisions(target)
    approval = guards.approval.total_seconds()
    values, overwriting = [await dep.health.list(target, name) for name in ("values", "overwriting")]
    standing_rejections = rejections(decisions, guards.rejection.total_seconds(), now)
    return Planning(
        now=datetime.fromtimestamp(now, UTC),
        today=day_in(dep.settings.zone, now)[0],
        ends=dep.settings.roster.ends is not None,
        snapshot=snapshot.digest,
        removals_wait=snapshot.removals_wait,
        sent=sent,
        gone_out=frozenset(gone_out),
        in_place=in_place,
        approved=frozenset(
            key for key, made in decisions.items() if made["verdict"] == "approved" and now - made["at"] <= approval
        ),
        # An earlier version's decision names no person, and its row is digested otherwise
        rejected={key: made["row"] if "person" in made else None for key, made in standing_rejections.items()},
        apart=await _apart(dep.hand_links, target, {**snapshot.renamed, **moves}),
        values=(values or [0])[0] if snapshot.keys is not None else 0,
        first_contact=not values,
        overwriting=frozenset(moves.get(one["person"], one["person"]) for one in overwriting),
    )


async def decided_before(dep: Deployment, run: str, target: str) -> dict[str, int]:
    """By guard, what the runs that this one follows hold: the parts of one plan count as one.

    What they have not sent is counted with everybody's, unless the guards have no window.
    """
    found = dict.fromkeys(WINDOWED, 0)
    statuses = [Status.HELD]
    if not dep.settings.guards_of(target).window:
        statuses += [Status.PENDING, Status.WAITING]
    while (parent := await dep.runs.get(run, "parent")) is not None:
        fields = await dep.runs.own_part(parent, target)
        for guard, kinds in COVERS.items():
            unsent = (counts(fields, status) for status in statuses)
            found[guard] += sum(one.get(kind, 0) for one in unsent for kind in kinds)
        found[REMOVALS] += await dep.health.held_removals(parent, target)
        run = parent
    return found
