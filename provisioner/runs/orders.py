"""What a run may send of what its plans want: all of it, or only what somebody reviewed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from provisioner.errors import UsageError
from provisioner.model.plan_file import ReviewedOperation
from provisioner.model.run_document import LeftOutRow, RunDocument
from provisioner.planning.plan import TargetPlan
from provisioner.planning.reviewed import Reviewed, left_out, row
from provisioner.planning.spec import Planning
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import Snapshot
from provisioner.store.queue.plans import Counted
from provisioner.store.runs.documents import Request


@dataclass(frozen=True, slots=True)
class Orders:
    """What one target's part of a run may send; without `reviewed` everything that is wanted."""

    reviewed: Reviewed | None = None

    @property
    def narrow(self) -> bool:
        """Whether the plan takes the place of what stands in its own operations' slots only."""
        return self.reviewed is not None

    def replaced(self, snapshot: Snapshot) -> tuple[str, ...]:
        """The people whose account operations the plan takes the place of; of a plan for everybody none are named."""
        if self.reviewed is None:
            return snapshot.keys or ()
        return tuple(dict.fromkeys(one["person"] for one in self._asked(snapshot)))

    def left_out(self, snapshot: Snapshot, plan: TargetPlan) -> list[LeftOutRow]:
        """What was reviewed and is not in the plan."""
        if self.reviewed is None:
            return []
        said = {one.person: one.sentence for one in plan.todos}
        said |= {one.person: "whose account it is, is in conflict; see `provisioner todos`" for one in plan.conflicts}
        kept = (one.id for one in plan.operations)
        return left_out(self._asked(snapshot), kept, plan.unreviewed, said, plan.unbelieved)

    def all_left_out(self, reason: str) -> list[LeftOutRow]:
        """Everything that was reviewed, where the target cannot be planned."""
        return [] if self.reviewed is None else [row(one, reason) for one in self.reviewed.operations.values()]

    def noted(self, plan: TargetPlan) -> TargetPlan:
        """The plan with a note of what it was not asked to send."""
        count = plan.unreviewed.count
        if not count:
            return plan
        note = f"{count} more operations are wanted and not in the reviewed plan: the next ordinary sync sends them."
        return replace(plan, notes=(*plan.notes, note))

    def _asked(self, snapshot: Snapshot) -> Iterable[ReviewedOperation]:
        people = None if snapshot.keys is None else set(snapshot.keys)
        found = self.reviewed.operations.values() if self.reviewed else ()
        return (one for one in found if people is None or one["person"] in people)


#: What a run may send without any orders.
EVERYTHING: Final = Orders()


async def orders_of(dep: Deployment, request: Request, target: str) -> Orders:
    """What a run may send to a target.

    Raises:
        UsageError: the reviewed plan is not kept any more.
    """
    if request.plan is None:
        return Orders()
    plan = await dep.reviewed.plan(request.plan)
    if plan is None:
        raise unknown_plan(dep, request.plan)
    return Orders(reviewed=Reviewed.of(plan, target))


def unknown_plan(dep: Deployment, digest: str) -> UsageError:
    """The error for a digest of which no plan is kept."""
    days = dep.settings.retention.plans.total_seconds() / 86400
    return UsageError(
        f"No plan {digest} is kept.",
        remedy=f"Plans are kept for {days:g} days. Give its file: provisioner sync --plan FILE; or plan again.",
    )


async def counted_of(
    dep: Deployment, target: str, snapshot: Snapshot, plan: TargetPlan, circumstances: Planning, orders: Orders
) -> dict[str, Counted]:
    """By guard what the plan stands on; see `Counted`."""
    now = circumstances.now.timestamp()
    if snapshot.keys is None and not orders.narrow:
        return {guard: Counted(now, count) for guard, count in plan.room.items()}
    since = now - dep.settings.guards_of(target).window.total_seconds()
    sent = circumstances.sent
    if not orders.narrow:
        return {guard: Counted(since, count) for guard, count in sent.items()}
    own = {guard: await dep.health.unsent(target, guard) for guard in sent}
    but = orders.replaced(snapshot)
    others = {guard: await dep.health.unsent(target, guard, but) for guard in sent}
    return {guard: Counted(since, count + own[guard] - others[guard], whole=True) for guard, count in sent.items()}


async def with_plan(dep: Deployment, request: Request, digest: str) -> Request:
    """The request for a run that applies a reviewed plan, which is kept for it from now on.

    Raises:
        UsageError: no such plan is kept, or it names targets that the settings do not have.
    """
    plan = await dep.reviewed.plan(digest)
    if plan is None:
        raise unknown_plan(dep, digest)
    targets, people = plan["asked"]["targets"], plan["asked"]["people"]
    asked = replace(request, targets=tuple(targets), people=None if people is None else tuple(people), plan=digest)
    dep.chosen(asked.targets)
    await dep.reviewed.keep(digest, plan, dep.settings.retention.plans.total_seconds())
    return asked


async def with_left_out(dep: Deployment, document: RunDocument) -> RunDocument:
    """A run's document with what the run leaves out of what it was asked to send."""
    asked = "reviewed" in document or "undo" in document
    return {**document, "left_out": await left_out_of(dep, document["run"])} if asked else document


async def keep_left_out(dep: Deployment, run: str, target: str, rows: Iterable[LeftOutRow]) -> int:
    """Note what a run's part leaves out, each with its reason; how many operations that are."""
    found = list(rows)
    if found:
        ttl = int(dep.settings.retention.runs.total_seconds())
        await dep.reviewed.keep_left_out(run, target, found, ttl)
        await dep.runs.set_target(run, target, {"left_out": len(found)})
    return len(found)


async def left_out_of(dep: Deployment, run: str) -> list[LeftOutRow]:
    """What a run leaves out of what it was asked to send, with what its follow-ups leave out."""
    targets = await dep.runs.targets(run)
    rows = [
        await dep.reviewed.left_out(holder, target)
        for target in targets
        for holder in await dep.runs.holders(run, target)
    ]
    return list(chain.from_iterable(rows))
