"""Claim, send, record: the only place from which anything is written to a vendor.

A slot of the pace is taken first, then the most urgent work is claimed under a lease and marked as being sent, then it
is sent, then what became of it is recorded. Killed at any point, nothing is lost: an expired lease on something that
was being sent makes it unclear, and unclear work is looked up first where a second send would hurt.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog

from provisioner.delivery.decide import Fail, Park, Quarantine, Succeed, decide, is_poisoned
from provisioner.delivery.deployment import Deployment
from provisioner.delivery.finishing import refresh
from provisioner.delivery.pace import TargetSlot
from provisioner.delivery.recheck import Recheck
from provisioner.errors import TargetError
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Temporary, Unclear
from provisioner.store.queue import Claim
from provisioner.targets.http import DEADLINE, Http

log = structlog.get_logger(__name__)

#: Seconds of work per nudge; what is left is done by the next one.
BUDGET: Final = 10.0
#: Seconds of a lease: longer than any request may take, renewed while work is in hand.
LEASE: Final = DEADLINE * 2
#: Requests under way at once, per nudge and target.
SENDERS: Final = 8
#: Connection failures in a row that mean the target is away.
UNREACHABLE_AFTER: Final = 5
_PROBE_FIRST, _PROBE_LAST = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Again:
    """When the target wants the next nudge: in `seconds`, or not at all (None)."""

    seconds: float | None


class _Wave:
    """One nudge's work on one target."""

    def __init__(self, dep: Deployment, target: str, *, urgent: bool, stopped: Callable[[], bool]) -> None:
        self.dep, self.target, self.urgent, self._stopped = dep, target, urgent, stopped
        self.made = dep.targets[target]
        self.pace = dep.pace_of(target, lane="urgent" if urgent else "bulk")
        self.until = time.monotonic() + BUDGET
        self.wait: float | None = None
        self.blocked = False
        self.runs: set[str] = set()
        self.recheck = Recheck(dep, target)

    @property
    def over(self) -> bool:
        return self.blocked or self._stopped() or time.monotonic() >= self.until

    async def sender(self) -> None:
        while not self.over:
            slot = await self.pace.try_slot(DEADLINE)
            if isinstance(slot, float):
                self.wait = slot if self.wait is None else min(self.wait, slot)
                return
            claims: list[Claim] = []
            try:
                claims = await self.dep.queue.claim(
                    self.target, lease=LEASE, token=secrets.token_hex(8), limits=self._limits(), urgent=self.urgent
                )
            finally:
                if not claims:
                    await slot.unused()
            if not claims:
                return
            self.runs.update(claim.run for claim in claims)
            async with _renewed(self.dep, self.target, claims):
                await self._work(claims, slot)

    def _limits(self) -> Mapping[str, int]:
        return {group: self.made.batch_size(group) for group in ("leave", "save", "event", "*")}

    async def _work(self, claims: list[Claim], slot: TargetSlot) -> None:
        http = self.dep.http(self.target, self.pace.prepaid(slot))
        try:
            due = await self._still_due(claims)
            if due:
                outcomes = await self._send(http, due)
                await self._conclude(due, outcomes)
        finally:
            if not http.requests:
                await slot.unused()
            else:
                await self.dep.runs.add_requests(claims[0].run, self.target, http.requests)

    async def _still_due(self, claims: list[Claim]) -> list[Claim]:
        """Before a leaver's operation is sent, the newest clean snapshot must still say so."""
        due = []
        for claim in claims:
            reason = await self.recheck.refuses(claim.operation)
            if reason is None:
                due.append(claim)
            else:
                await self.dep.queue.drop(claim, {"code": "no_longer_leaving", "message": reason})
        return due

    async def _send(self, http: Http, claims: Sequence[Claim]) -> list[Outcome]:
        operations = [claim.operation for claim in claims]
        if len(claims) == 1 and claims[0].unclear and operations[0].kind in self.made.hurts_twice:
            try:
                settled = await self.made.settle(http, operations[0])
            except TargetError as exc:
                return [Unclear(exc.code, exc.message)]
            if settled is not None:
                return [settled]
        try:
            return list(await self.made.apply(http, operations))
        except TargetError as exc:
            return [Unclear(exc.code, exc.message)] * len(operations)

    async def _conclude(self, claims: Sequence[Claim], outcomes: list[Outcome]) -> None:
        if is_poisoned(outcomes, claims[0].attempts):
            log.warning("batch_halved", target=self.target, rows=len(claims), code=getattr(outcomes[0], "code", ""))
            await self._halve(claims)
            return
        now = await self.dep.runs.now()
        answered = False
        for claim, outcome in zip(claims, outcomes, strict=True):
            answered = answered or not (isinstance(outcome, Temporary) and outcome.unreached)
            await self._record(claim, outcome, now)
        if answered:
            await self.dep.health.reached(self.target)

    async def _halve(self, claims: Sequence[Claim]) -> None:
        half, mark = len(claims) // 2, secrets.token_hex(4)
        for part, members in (("a", claims[:half]), ("b", claims[half:])):
            for claim in members:
                await self.dep.queue.give_back(claim, group=f"{claim.group.split('#')[0]}#{mark}{part}")

    async def _record(self, claim: Claim, outcome: Outcome, now: float) -> None:
        patience = self.made.settings.retry.for_.total_seconds()
        decision = decide(
            outcome,
            tries=claim.attempts,
            age=now - claim.since,
            patience=patience,
            chance=random.random(),  # noqa: S311 - spreads retries, guards nothing
        )
        operation, queue = claim.operation, self.dep.queue
        match decision:
            case Succeed(done):
                await queue.done(claim, ledger_patch(operation, done), done.account or operation.account)
            case Fail(code, message):
                await queue.fail(claim, {"code": code, "message": message})
                log.warning("operation_failed", target=self.target, person=operation.person, id=operation.id, code=code)
            case Park(seconds, code, message, unclear, spend, unreached):
                await queue.park(claim, seconds, {"code": code, "message": message}, unclear=unclear, spend=spend)
                if unreached:
                    await self._unreached(message, now)
            case Quarantine(code, message):
                await queue.park(claim, 30.0, {"code": code, "message": message}, unclear=False, spend=False)
                await self._quarantine(message, now, unreachable=False)

    async def _unreached(self, message: str, now: float) -> None:
        if await self.dep.health.failed(self.target) >= UNREACHABLE_AFTER:
            await self._quarantine(message, now, unreachable=True)

    async def _quarantine(self, message: str, now: float, *, unreachable: bool) -> None:
        self.blocked = True
        await quarantine(self.dep, self.target, message, now, unreachable=unreachable)


async def quarantine(dep: Deployment, target: str, message: str, now: float, *, unreachable: bool) -> None:
    """Stop writing to a target, and look again first after a minute, then ever more slowly."""
    probes = (await dep.health.of(target)).probes
    probe_at = now + min(_PROBE_LAST, _PROBE_FIRST * 2.0 ** min(probes, 10))
    if await dep.health.quarantine(target, message, probe_at=probe_at, unreachable=unreachable):
        log.error("quarantined", target=target, unreachable=unreachable)


def ledger_patch(operation: Operation, done: Done) -> dict[str, Any]:
    """What the ledger learns by a success; known-empty values are the empty text."""
    if operation.kind is Kind.EVENT:
        return {"paid": [operation.reason]}
    if operation.kind is Kind.ENROL:
        return {"enrolled": [operation.after["enrolment_code"]]}
    values = {**operation.wanted, **operation.owned, **done.learnt}
    patch: dict[str, Any] = {"values": {name: value or "" for name, value in values.items()}}
    account = done.account or operation.account
    if account:
        patch["account"] = account
    if operation.kind is Kind.CREATE:
        patch |= {"state": "active", "created": not done.adopted, "matched": "adopted" if done.adopted else "created"}
    elif operation.kind is Kind.LEAVE:
        patch["state"] = "left"
    elif operation.kind is Kind.REJOIN:
        patch["state"] = "active"
    if operation.owes and not done.adopted:
        patch["owe"] = dict(operation.owes)
    return patch


@asynccontextmanager
async def _renewed(dep: Deployment, target: str, claims: Sequence[Claim]) -> AsyncIterator[None]:
    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            await dep.queue.renew(target, claims[0].token, LEASE, claims)

    renewal = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)


async def deliver(
    dep: Deployment, target: str, *, urgent: bool = False, stopped: Callable[[], bool] = lambda: False
) -> Again:
    """Work on one target's queue for at most `BUDGET` seconds; never sleeps for a slot.

    Args:
        urgent: single-person work only, by the slots that are kept for it.
        stopped: asked between requests; true ends the work early, with nothing left in hand.
    """
    if not dep.enabled(target):
        return Again(None)
    health = await dep.health.of(target)
    if health.paused:
        return Again(None)
    if health.quarantined and not await _recovers(dep, target):
        return Again(60.0)
    wave = _Wave(dep, target, urgent=urgent, stopped=stopped)
    async with asyncio.TaskGroup() as group:
        for _ in range(SENDERS):
            group.create_task(wave.sender())
    for run in wave.runs:
        await refresh(dep, run)
    if wave.blocked:
        return Again(60.0)
    backlog = await dep.queue.backlog(target)
    if backlog.ready:
        return Again(wave.wait or 0.0)
    return Again(backlog.next_due)


async def _recovers(dep: Deployment, target: str) -> bool:
    """Probe a quarantined target if its time has come."""
    health, now = await dep.health.of(target), await dep.runs.now()
    if now < health.probe_at:
        return False
    try:
        await dep.targets[target].probe(dep.reading(target))
    except TargetError as exc:
        await quarantine(dep, target, exc.message, now, unreachable=health.unreachable)
        return False
    await recover(dep, target)
    return True


async def recover(dep: Deployment, target: str) -> None:
    """End a quarantine, because the target answered as it should."""
    if await dep.health.recovered(target):
        log.info("recovered", target=target)
