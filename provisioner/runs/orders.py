"""What a run may send: all that is wanted, only what somebody reviewed, or the way back from another run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

import polars as pl

from provisioner.errors import UsageError
from provisioner.model.operation import Status
from provisioner.model.plan_file import ReviewedOperation
from provisioner.model.run_document import LeftOutRow, RunDocument
from provisioner.model.wording import counted
from provisioner.planning.plan import plan_target
from provisioner.planning.reviewed import Reviewed, left_out, row
from provisioner.planning.spec import Observation, Planning
from provisioner.planning.target_plan import TargetPlan
from provisioner.planning.undo import UndoPlan, image_row, plan_undo
from provisioner.planning.undo_images import Undo
from provisioner.runs.known_snapshot import of_people
from provisioner.runs.undo import staying_of, undo_of
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import Snapshot
from provisioner.store.queue.plans import Counted
from provisioner.store.runs.counters import counts
from provisioner.store.runs.documents import Request, RunStore
from provisioner.store.runs.reviewed import ReviewedStore


@dataclass(frozen=True, slots=True)
class Orders:
    """What one target's part of a run may send; without `reviewed` and `undo` everything that is wanted."""

    reviewed: Reviewed | None = None
    undo: Undo | None = None

    @property
    def narrow(self) -> bool:
        """Whether the plan takes the place of what stands in its own operations' slots only."""
        return self.reviewed is not None or self.undo is not None

    @property
    def names(self) -> tuple[str, ...]:
        """Attributes that the plan needs besides those of the mapping."""
        images = self.undo.images.values() if self.undo else ()
        return tuple(dict.fromkeys(name for one in images for name in (*one.before, *one.after)))

    def narrowed(self, snapshot: Snapshot) -> Snapshot:
        """The people whom the part is about: of an undo those whom the run changed in this target."""
        return snapshot if self.undo is None else of_people(snapshot, tuple(self.undo.images))

    def replaced(self, snapshot: Snapshot) -> tuple[str, ...]:
        """The people whose account operations the plan takes the place of; of a plan for everybody none are named."""
        if self.reviewed is None:
            return snapshot.keys or ()
        return tuple(dict.fromkeys(one["person"] for one in self._asked(snapshot)))

    def all_left_out(self, target: str, reason: str) -> list[LeftOutRow]:
        """Everything that was asked for, where the target cannot be planned."""
        if self.undo is not None:
            return [image_row(target, one, reason) for one in self.undo.images.values()]
        return [] if self.reviewed is None else [row(one, reason) for one in self.reviewed.operations.values()]

    async def plan(
        self,
        dep: Deployment,
        target: str,
        snapshot: Snapshot,
        observed: Observation,
        ledger: pl.DataFrame,
        circumstances: Planning,
    ) -> tuple[TargetPlan, list[LeftOutRow]]:
        """The plan that the orders ask for, and what an undo leaves out."""
        spec, compiled = dep.specs[target], dep.compiled(target, snapshot.columns)
        if self.undo is None:
            circumstances = replace(circumstances, reviewed=self.reviewed)
            plan = await asyncio.to_thread(
                plan_target, spec, compiled, snapshot.people, observed, ledger, circumstances
            )
            return plan, []
        more = {name: dep.targets[target].attribute(name) for name in self.names if name not in spec.attributes}
        spec = replace(spec, attributes={**spec.attributes, **more})
        circumstances = replace(circumstances, undo=self.undo.run)
        undone = await asyncio.to_thread(
            plan_undo, spec, compiled, snapshot.people, observed, ledger, circumstances, self.undo
        )
        unsent = await _unsent(dep.runs, self.undo.run, target)
        notes = (*undone.plan.notes, *unsent, *_of_undo(self.undo, undone))
        return replace(undone.plan, notes=notes), undone.left_out

    def settled(
        self, snapshot: Snapshot, plan: TargetPlan, left: list[LeftOutRow]
    ) -> tuple[TargetPlan, list[LeftOutRow]]:
        """The plan with a note of what nobody reviewed, and what is left out of what was asked for.

        Args:
            left: of `plan`.
        """
        if self.reviewed is None:
            return plan, left
        said = {one.person: one.sentence for one in plan.todos}
        said |= {one.person: "whose account it is, is in conflict; see `provisioner todos`" for one in plan.conflicts}
        kept = (one.id for one in plan.operations)
        rows = left_out(self._asked(snapshot), kept, plan.unreviewed, said, plan.unbelieved)
        if count := plan.unreviewed.count:
            more = f"{count} more operations are wanted and not in the reviewed plan: an ordinary sync sends them."
            plan = replace(plan, notes=(*plan.notes, more))
        return plan, rows

    def _asked(self, snapshot: Snapshot) -> Iterable[ReviewedOperation]:
        people = None if snapshot.keys is None else set(snapshot.keys)
        found = self.reviewed.operations.values() if self.reviewed else ()
        return (one for one in found if people is None or one["person"] in people)


async def _unsent(runs: RunStore, run: str, target: str) -> list[str]:
    """What is said of a run that still has something to send, which an undo cannot know."""
    fields = await runs.target(run, target)
    waiting = (counts(fields, one) for one in (Status.PENDING, Status.SENDING, Status.WAITING, Status.HELD))
    count = sum(sum(one.values()) for one in waiting)
    if not count:
        return []
    some = counted(count, "operation here that is", "operations here that are")
    said = f"Run {run} still has {some} held or not sent. What it sends later is not taken back"
    return [f"{said}: reject what is held (provisioner reject {run}), and undo it once nothing of it is under way."]


def _of_undo(undo: Undo, undone: UndoPlan) -> list[str]:
    """What an undo says of the time after it."""
    count = len(undone.plan.operations)
    if not count:
        return [f"There is nothing to take back of run {undo.run} here."]
    held = sum(undone.plan.tally[Status.HELD].values())
    notes = [
        f"For {undone.again} of {count} people roster and mapping still want what run {undo.run} "
        "brought about: the next ordinary sync brings it about again. Correct them before it, or pause the target once "
        "the undo is done."
        if undone.again
        else "The roster and the mapping agree with what is brought back; the next ordinary sync leaves it as it is."
    ]
    if held:
        some = counted(held, "operation is", "operations are")
        notes.append(f"{some} held. Approve before the next ordinary sync, which takes their place.")
    return notes


#: What a run may send without any orders.
EVERYTHING: Final = Orders()


async def orders_of(dep: Deployment, request: Request, target: str) -> Orders:
    """What a run may send to a target.

    Raises:
        UsageError: the reviewed plan is not kept any more.
    """
    if request.undo is not None:
        return Orders(undo=await undo_of(dep.done, dep.runs, request, target))
    if request.plan is None:
        return EVERYTHING
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
    """By guard what the plan relies on; see `Counted`."""
    now = circumstances.now.timestamp()
    if snapshot.keys is None and not orders.narrow:
        in_place = circumstances.in_place
        return {guard: Counted(now, count, in_place=in_place.get(guard, 0)) for guard, count in plan.room.items()}
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
    """A run's document with what the run leaves out of what it was asked to send, and what no undo takes back."""
    if "undo" in document:
        request = await dep.runs.request(document["run"])
        staying = await staying_of(dep, request) if request else []
        return {**document, "left_out": await left_out_of(dep.runs, dep.reviewed, document["run"]), "stays": staying}
    if "reviewed" in document:
        return {**document, "left_out": await left_out_of(dep.runs, dep.reviewed, document["run"])}
    return document


async def keep_left_out(dep: Deployment, run: str, target: str, rows: Iterable[LeftOutRow]) -> int:
    """Note what a run's part leaves out, each with its reason; how many operations that are."""
    found = list(rows)
    if found:
        ttl = int(dep.settings.retention.runs.total_seconds())
        await dep.reviewed.keep_left_out(run, target, found, ttl)
        await dep.runs.set_target(run, target, {"left_out": len(found)})
    return len(found)


async def left_out_of(runs: RunStore, reviewed: ReviewedStore, run: str) -> list[LeftOutRow]:
    """What a run leaves out of what it was asked to send, with what its follow-ups leave out."""
    targets = await runs.targets(run)
    rows = [await reviewed.left_out(holder, target) for target in targets for holder in await runs.holders(run, target)]
    return list(chain.from_iterable(rows))
