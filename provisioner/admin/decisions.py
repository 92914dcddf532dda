"""What people decide: held operations released or dropped, failed ones sent again, targets paused and resumed.

A decision is about operations that the newest plan still wants. An operation's id names the change wherever it was
planned, so a decision on an older run reaches the same operation of the newest one; what is no longer wanted is
refused, each with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from provisioner.errors import UsageError
from provisioner.logs import clean
from provisioner.model.decision_document import DecisionDocument, KeptDecision
from provisioner.model.operation import Kind
from provisioner.model.operation_document import OperationDocument, RunOperation
from provisioner.planning.creations import PERHAPS_KNOWN
from provisioner.progress.notifications import quarantine_over
from provisioner.progress.run_status import refresh
from provisioner.roster.identity import fold_key
from provisioner.roster.statuses import statuses_of
from provisioner.runtime.audit import record
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.people.snapshots import FrameStore
from provisioner.store.runs.documents import RunStore

log = structlog.get_logger(__name__)

Verdict = Literal["approved", "rejected", "retried"]
_ACTS_ON = {"approved": "held", "rejected": "held", "retried": "failed", "restored": "rejected"}
#: What an operation whose rejection was taken back waits for, as an error.
_TAKEN_BACK = {
    "code": "held",
    "message": "its rejection was taken back: approve it, or the next run sends it if no guard holds it.",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which operations of a run are meant: of a target or all, of some people or all, by their ids or all."""

    target: str | None = None
    people: tuple[str, ...] | None = None
    ids: frozenset[str] | None = None

    def covers(self, document: OperationDocument) -> bool:
        """Whether an operation is meant."""
        if self.ids is not None and document["id"] not in self.ids:
            return False
        return self.people is None or fold_key(document["person"]) in map(fold_key, self.people)


@dataclass(frozen=True, slots=True)
class Refused:
    """An operation that the decision did not reach, and why."""

    id: str
    target: str
    person: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decided:
    """What a decision brought about; `targets` now have work, `runs` changed."""

    done: tuple[RunOperation, ...]
    refused: tuple[Refused, ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets whose operations were decided about."""
        return tuple(dict.fromkeys(document["target"] for document in self.done))

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that now hold what was decided about."""
        return tuple(dict.fromkeys(document["run"] for document in self.done))

    def to_json(self) -> DecisionDocument:
        """For people and programs."""
        return {
            "done": [
                {
                    "id": one["id"],
                    "run": one["run"],
                    "target": one["target"],
                    "person": one["person"],
                    "kind": one["kind"],
                }
                for one in self.done
            ],
            "refused": [
                {"id": one.id, "target": one.target, "person": one.person, "reason": one.reason} for one in self.refused
            ],
        }


async def decide_about(
    dep: Deployment, run: str, verdict: Verdict, choice: Choice, *, by: str, reason: str = ""
) -> Decided:
    """Approve, reject or retry operations of a run.

    Args:
        by: who decides, for the record; `reason`: why.

    Raises:
        UsageError: there is no such run or target, or a named person has no such operation in it.
    """
    if not await dep.runs.exists(run):
        raise UsageError(f"There is no run {run!r}.", remedy="`provisioner runs` lists them.")
    targets = dep.chosen([choice.target]) if choice.target else await dep.runs.targets(run)
    done: list[RunOperation] = []
    refused: list[Refused] = []
    met: set[str] = set()
    for target in targets:
        for document in await dep.runs.operations(run, [target]):
            if not choice.covers(document) or not await _meant(dep.runs, run, target, document, verdict):
                continue
            met.add(document["person"])
            outcome = await _one(dep, run, target, document, verdict, by=by, reason=reason)
            if isinstance(outcome, Refused):
                refused.append(outcome)
            else:
                done.append(outcome)
    _all_met(choice.people, met, run, verdict)
    decided = Decided(tuple(done), tuple(refused))
    for changed in {run, *decided.runs}:
        await refresh(dep, changed)
    people = tuple(dict.fromkeys(document["person"] for document in done))
    facts = {"run": run, "targets": list(decided.targets), "refused": len(refused)}
    await record(dep.audit, by, verdict, people=people, reason=reason, facts=facts)
    log.info("decided", run=run, verdict=verdict, by=by, count=len(done), refused=len(refused))
    return decided


def _all_met(people: Sequence[str] | None, met: Collection[str], run: str, verdict: str) -> None:
    folded = set(map(fold_key, met))
    unknown = [person for person in people or () if fold_key(person) not in folded]
    if unknown:
        raise UsageError(
            f"Run {run} has no {_ACTS_ON[verdict]} operation of {', '.join(unknown)}.",
            remedy=f"`provisioner show {run} --operations` lists them.",
        )


async def _meant(runs: RunStore, run: str, target: str, document: OperationDocument, verdict: Verdict) -> bool:
    """Whether the run's operation was one to decide about, even if a newer plan has replaced it since."""
    if document["status"] == _ACTS_ON[verdict]:
        return True
    if document["status"] != "superseded":
        return False
    row = await runs.operation(run, target, document["id"])
    return verdict != "retried" and bool(json.loads((row or {}).get("doc", "{}")).get("hold"))


async def _one(
    dep: Deployment, run: str, target: str, document: OperationDocument, verdict: Verdict, *, by: str, reason: str
) -> RunOperation | Refused:
    operation_id, person = document["id"], document["person"]

    def no(why: str) -> Refused:
        return Refused(operation_id, target, person, why)

    newest = (await dep.health.list(target, "plan") or [run])[0]
    # Run ids begin with their time, so the later one sorts after; runs that planned overtaken people again belong to it
    holders = [max(run, newest), *reversed(await dep.runs.holders(run, target))]
    holders += [one for one in await dep.runs.holders(newest, target) if one not in holders]
    holder = await _holding(dep, holders, target, operation_id, _ACTS_ON[verdict]) or holders[0]
    row = await dep.runs.operation(holder, target, operation_id)
    if row is None:
        return no(f"the newest plan (run {newest}) no longer wants it")
    status = row.get("status")
    if status == "pending" and json.loads(row["doc"]).get("follows") and verdict != "rejected":
        # What it follows was released a moment ago, and took it along
        return {**document, "run": holder}
    if status != _ACTS_ON[verdict]:
        return no(f"it is {status} now (run {holder}), not {_ACTS_ON[verdict]}")
    now = await dep.clock.now()
    record = {"by": by, "at": now, "reason": reason, "verdict": verdict}
    if verdict == "rejected":
        if not await dep.queue.refuse(holder, target, operation_id, record):
            return no("it changed meanwhile")
    elif not await dep.queue.release(holder, target, operation_id, record):
        return no("something newer was decided about this person, or is on its way")
    if verdict == "approved" and json.loads(row["doc"]).get("reason") == PERHAPS_KNOWN:
        await dep.rekeys.say_new(person, {"by": by, "at": now})
    if verdict == "approved" and document["kind"] == Kind.LEAVE.value:
        await _familiar(dep.frames, dep.settings, person)
    if verdict != "retried":
        kept: KeptDecision = {
            "by": by,
            "at": now,
            "reason": reason,
            "verdict": verdict,
            "row": json.loads(row["doc"]).get("row", ""),
            "person": person,
            "kind": document["kind"],
            "run": holder,
        }
        await dep.health.decide(target, operation_id, kept)
    return {**document, "run": holder}


async def take_back(dep: Deployment, run: str, choice: Choice, *, by: str, reason: str = "") -> Decided:
    """Take rejections of a run's operations back: they are held again, and the next plan decides again.

    Args:
        by: who takes them back, for the record; `reason`: why.

    Raises:
        UsageError: there is no such run or target, or a named person has no rejected operation in it.
    """
    if not await dep.runs.exists(run):
        raise UsageError(f"There is no run {run!r}.", remedy="`provisioner runs` lists them.")
    done: dict[tuple[str, str], RunOperation] = {}
    for target in dep.chosen([choice.target]) if choice.target else await dep.runs.targets(run):
        decisions = await dep.health.decisions(target)
        for document in await dep.runs.operations(run, [target]):
            made = decisions.get(document["id"])
            if made is None or made["verdict"] != "rejected" or not choice.covers(document):
                continue
            await dep.health.undecide(target, document["id"])
            newest = (await dep.health.list(target, "plan") or [run])[0]
            for holder in dict.fromkeys((max(run, newest, made.get("run", "")), run)):
                if await dep.queue.hold_again(holder, target, document["id"], _TAKEN_BACK):
                    break
            done[(target, document["id"])] = {**document, "run": holder}
    met = {document["person"] for document in done.values()}
    _all_met(choice.people, met, run, "restored")
    decided = Decided(tuple(done.values()), ())
    for changed in {run, *decided.runs}:
        await refresh(dep, changed)
    await record(dep.audit, by, "rejection taken back", people=tuple(sorted(met)), reason=reason, facts={"run": run})
    log.info("rejection_taken_back", run=run, by=by, count=len(done))
    return decided


async def _holding(dep: Deployment, runs: Sequence[str], target: str, operation_id: str, status: str) -> str | None:
    """The first of some runs in which an operation has a status."""
    for run in runs:
        row = await dep.runs.operation(run, target, operation_id)
        if row is not None and row.get("status") == status:
            return run
    return None


async def _familiar(frames: FrameStore, settings: Settings, person: str) -> None:
    """Whoever lets somebody leave says that the status in their row means so."""
    known = await frames.known()
    if known is not None:
        await frames.add_statuses(statuses_of(known.filter(known["_key"] == person), settings.roster))


async def pause(dep: Deployment, target: str, *, by: str, reason: str = "") -> None:
    """Stop writing to a target; work in progress is finished.

    Args:
        reason: why, in their words; shown as long as the pause lasts.

    Raises:
        UsageError: there is no such target.
    """
    dep.chosen([target])
    await dep.health.pause(target, paused=True, by=by, at=await dep.clock.now(), why=clean(reason))
    await record(dep.audit, by, "paused", reason=reason, facts={"target": target})
    log.info("paused", target=target, by=by)


async def resume(dep: Deployment, target: str, *, by: str) -> None:
    """Write to a target again; ends a quarantine too.

    Raises:
        UsageError: there is no such target.
    """
    dep.chosen([target])
    await dep.health.pause(target, paused=False)
    if await dep.health.recovered(target):
        await quarantine_over(dep.notices, dep.settings, target)
    await record(dep.audit, by, "resumed", facts={"target": target})
    for run in await dep.runs.recent(50):
        if target in await dep.runs.targets(run):
            await refresh(dep, run)
    log.info("resumed", target=target, by=by)
