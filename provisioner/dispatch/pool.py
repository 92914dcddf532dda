"""Claim, send, record: the only place from which anything is written to a vendor.

A slot of the pace is taken first, then the most urgent work is claimed under a lease and marked as being sent, then it
is sent, then what became of it is recorded. Killed at any point, nothing is lost: an expired lease on something that
was being sent makes it unclear, and unclear work is looked up first where a second send would hurt. What a vendor
acknowledged while Redis was away is kept in a file and recorded before anything new is claimed.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog

from provisioner.dispatch.leaver_recheck import REASON, Recheck
from provisioner.dispatch.outcome_spool import Spool, Spooled
from provisioner.dispatch.redis_loss import remembers
from provisioner.dispatch.retry_policy import Fail, Park, Quarantine, Succeed, decide, is_poisoned
from provisioner.dispatch.tag_merge import Tagging, learnt_tags
from provisioner.errors import ProvisionerError, StoreError, TargetError
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary, Unclear
from provisioner.progress.quarantine import WINDOW, judge, quarantine, recovers
from provisioner.progress.run_status import refresh
from provisioner.runtime.context import Deployment
from provisioner.runtime.rate_limit import TargetSlot
from provisioner.store.queue.operations import Claim, End
from provisioner.targets.concurrently import each
from provisioner.targets.http import DEADLINE, Http
from provisioner.targets.responses import as_outcome

log = structlog.get_logger(__name__)

#: Seconds of work per nudge; what is left is done by the next one.
BUDGET: Final = 10.0
#: Seconds of a lease: longer than any request may take, renewed while work is in hand.
LEASE: Final = DEADLINE * 2
#: Requests under way at once, per nudge and target.
SENDERS: Final = 8
#: Seconds until the next look at a target that must not be written to.
_BLOCKED: Final = 60.0
#: Seconds for which what was refused for its credentials is put aside; the quarantine holds it longer.
_REFUSED: Final = 30.0
#: Look-ups at once before unclear operations are sent again.
_LOOKUPS: Final = 4


@dataclass(frozen=True, slots=True)
class Again:
    """When the target wants the next nudge: in `seconds`, or not at all (None)."""

    seconds: float | None


class _Wave:
    """One nudge's work on one target."""

    def __init__(self, dep: Deployment, target: str, *, urgent: bool, wary: bool, stopped: Callable[[], bool]) -> None:
        self.dep, self.target, self.urgent, self._stopped = dep, target, urgent, stopped
        self.made = dep.targets[target]
        self.pace = dep.pace_of(target, lane="urgent" if urgent else "bulk")
        self.until = time.monotonic() + BUDGET
        self.wait: float | None = None
        self.blocked = False
        self.lost: StoreError | None = None
        self.runs: set[str] = set()
        # No more of them begin once one of them found nothing to send, or no slot
        self._at_work: set[asyncio.Future[None]] = set()
        self._enough = False
        self.recheck = Recheck(dep, target)
        self._tagging = Tagging(dep, target)
        # What Redis forgot was perhaps sent before it did
        self._doubtful = frozenset({Kind.ENROL}) if wary else frozenset()
        #: Successes that are not noted yet, and whether it is noted that the target answers.
        self._good, self._reached = 0, False
        self._spool = Spool(dep.settings.data_dir)

    @property
    def over(self) -> bool:
        return self.blocked or self.lost is not None or self._stopped() or time.monotonic() >= self.until

    async def roll(self) -> None:
        """Send with several senders; cancelled, they begin nothing more, but finish what they have in hand.

        Raises:
            StoreError: Redis does not answer.
        """
        senders = asyncio.ensure_future(self._senders())
        try:
            await asyncio.shield(senders)
        except asyncio.CancelledError:
            self.blocked = True
            await senders
            raise
        if self.lost is not None:
            raise self.lost

    async def _senders(self) -> None:
        """One sender at first; each that finds work lets another one begin, so that who has none asks but once."""
        self._another()
        errors: list[BaseException] = []
        while self._at_work:
            ended, _ = await asyncio.wait(self._at_work, return_when=asyncio.FIRST_COMPLETED)
            # Others may have begun while this waited
            self._at_work -= ended
            errors += [error for task in ended if (error := task.exception()) is not None]
        if errors:
            raise errors[0]

    def _another(self) -> None:
        if len(self._at_work) < SENDERS and not self._enough and not self.over:
            self._at_work.add(asyncio.ensure_future(self.sender()))

    async def sender(self) -> None:
        """Send until there is nothing to send, no slot, or no time left.

        A Redis that does not answer ends all senders, but none of them before it has kept what it had in hand.
        """
        try:
            while not self.over and await self._one_request():
                pass
            self._enough = True
        except StoreError as exc:
            self.lost = exc

    async def _one_request(self) -> bool:
        slot = await self.pace.try_slot(DEADLINE)
        if isinstance(slot, float):
            self.wait = slot if self.wait is None else min(self.wait, slot)
            return False
        claims: list[Claim] = []
        asked = time.monotonic()
        try:
            claims = await self.dep.queue.claim(
                self.target, lease=LEASE, token=secrets.token_hex(8), limits=self._limits(), urgent=self.urgent
            )
        finally:
            if not claims:
                await slot.unused()
        if not claims:
            return False
        self._another()
        self.runs.update(claim.run for claim in claims)
        async with _renewed(self.dep, self.target, claims):
            await self._work(claims, slot, asked=asked)
        return True

    def _limits(self) -> Mapping[str, int]:
        return {group: self.made.batch_size(group) for group in ("leave", "save", "event", "*")}

    async def _work(self, claims: list[Claim], slot: TargetSlot, *, asked: float) -> None:
        http = self.dep.http(self.target, self.pace.prepaid(slot))
        try:
            due = await self._tagging.ready(await self._still_due(claims))
            if due and time.monotonic() > asked + LEASE - DEADLINE:
                # The process was held up, and its lease may have ended meanwhile
                for claim in due:
                    await self.dep.queue.give_back(claim)
            elif due:
                outcomes = await self._send(http, due)
                await self._conclude(due, outcomes, http, asked=asked)
                await self._tagging.over(due)
        finally:
            if not http.requests:
                await slot.unused()

    async def _still_due(self, claims: list[Claim]) -> list[Claim]:
        """Before a leaver's operation is sent, the newest clean snapshot must still say so."""
        refused = await self.recheck.refused(claim.operation for claim in claims)
        for claim in claims:
            if claim.operation.id in refused:
                await self.dep.queue.drop(claim, {"code": "no_longer_leaving", "message": REASON})
        return [claim for claim in claims if claim.operation.id not in refused]

    async def _send(self, http: Http, claims: Sequence[Claim]) -> list[Outcome]:
        """Send what was claimed together, but look up first what may have been done and hurts if done twice."""
        places = [place for place, claim in enumerate(claims) if self._hurts_again(claim)]
        looked = await each(places, lambda place: self._settle(http, claims[place].operation), limit=_LOOKUPS)
        outcomes = {place: found for place, found in zip(places, looked, strict=True) if found is not None}
        rest = [place for place in range(len(claims)) if place not in outcomes]
        if rest:
            try:
                applied = await self.made.apply(http, [claims[place].operation for place in rest])
            except TargetError as exc:
                applied = [Unclear(exc.code, exc.message)] * len(rest)
            except ProvisionerError:
                raise
            except Exception as exc:
                # An answer of a kind that nobody thought of must not stop the others, and is not known to be a refusal
                log.exception("send_failed", target=self.target, rows=len(rest))
                applied = [Unclear("unexpected", f"sending ended with {type(exc).__name__}")] * len(rest)
            outcomes |= zip(rest, applied, strict=True)
        return [outcomes[place] for place in range(len(claims))]

    def _hurts_again(self, claim: Claim) -> bool:
        kind = claim.operation.kind
        return kind in self.made.hurts_twice and (claim.unclear or kind in self._doubtful)

    async def _settle(self, http: Http, operation: Operation) -> Outcome | None:
        try:
            return await self.made.settle(http, operation)
        except TargetError as exc:
            # A refused look-up says nothing lasting about the operation itself
            outcome = as_outcome(exc)
            return Unclear(outcome.code, outcome.message) if isinstance(outcome, Permanent) else outcome

    async def _conclude(self, claims: Sequence[Claim], outcomes: list[Outcome], http: Http, *, asked: float) -> None:
        """Record what became of one request.

        Args:
            asked: the monotonic time at which the claims were asked for, whose `claimed` is by Redis's clock.
        """
        now = claims[0].claimed + time.monotonic() - asked
        if is_poisoned(outcomes, claims[0].attempts):
            log.warning("batch_halved", target=self.target, rows=len(claims), code=getattr(outcomes[0], "code", ""))
            await self._halve(claims, requests=http.requests)
        else:
            await self._record(claims, outcomes, now, requests=http.requests)
        if http.requests and self.lost is None and await self._judged(outcomes, now):
            self.blocked = True

    async def _judged(self, outcomes: Sequence[Outcome], now: float) -> bool:
        """Note the outcomes of one request; whether writing has to stop.

        Successes alone never stop it, so they are noted with the next other outcome, or at the end.
        """
        if self._reached and all(isinstance(one, Done) for one in outcomes):
            self._good += len(outcomes)
            return False
        if all(isinstance(one, Temporary) and one.unreached for one in outcomes):
            self._reached = False
            return await judge(self.dep, self.target, outcomes, now) is not None
        good, self._good, self._reached = self._good, 0, True
        return await judge(self.dep, self.target, outcomes, now, earlier=good) is not None

    async def note_good(self) -> None:
        """Note the successes that are not noted yet."""
        good, self._good = self._good, 0
        if good:
            await self.dep.health.count_outcomes(self.target, good, 0, window=WINDOW)

    async def _halve(self, claims: Sequence[Claim], *, requests: int) -> None:
        """Give a batch back as two, at once: who claimed meanwhile would take a part of a half for a whole one."""
        half, mark = len(claims) // 2, secrets.token_hex(4)
        ends = [
            End.given(claim, f"{claim.group.split('#')[0]}#{mark}{'a' if place < half else 'b'}")
            for place, claim in enumerate(claims)
        ]
        await self.dep.queue.record(ends, claims[0].run, self.target, requests=requests, together=True)

    async def _record(self, claims: Sequence[Claim], outcomes: Sequence[Outcome], now: float, *, requests: int) -> None:
        """Record all outcomes of one request in one round trip."""
        patience = self.made.settings.retry.for_.total_seconds()
        final: list[Spooled] = []
        parked: list[End] = []
        refused: str | None = None
        for claim, outcome in zip(claims, outcomes, strict=True):
            chance = random.random()  # noqa: S311 - spreads retries, guards nothing
            decision = decide(outcome, tries=claim.attempts, age=now - claim.since, patience=patience, chance=chance)
            match decision:
                case Succeed(done):
                    final.append(self._success(claim, done))
                case Fail(code, message):
                    one = claim.operation
                    log.warning("operation_failed", target=self.target, person=one.person, id=one.id, code=code)
                    patch = never_again(one, outcome)
                    final.append(Spooled(claim, patch, None, {"code": code, "message": message}))
                case Park(seconds, code, message, unclear, spend):
                    error = {"code": code, "message": message}
                    parked.append(End.parked(claim, seconds, error, unclear=unclear, spend=spend))
                case Quarantine(code, message):
                    refused = message
                    error = {"code": code, "message": message}
                    parked.append(End.parked(claim, _REFUSED, error, unclear=False, spend=False))
        await self._keep(final, parked, claims[0].run, requests)
        if refused is not None:
            self.blocked = True
            with self._losing():
                await quarantine(self.dep, self.target, refused, now, unreachable=False)

    def _success(self, claim: Claim, done: Done) -> Spooled:
        patch = ledger_patch(claim.operation, done)
        tags = learnt_tags(claim.operation, self.made.tagged)
        if tags:
            patch["values"] = {**patch.get("values", {}), **tags}
        return Spooled(claim, patch, done.account or claim.operation.account)

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """Remember that Redis does not answer, and go on with what else is in hand."""
        try:
            yield
        except StoreError as exc:
            self.lost = exc

    async def _keep(self, final: Sequence[Spooled], parked: Sequence[End], run: str, requests: int) -> None:
        """Record in Redis; what is final is kept on disk while it does not answer.

        What is parked is not: its lease runs out, and it is unclear then.
        """
        if self.lost is None:
            with self._losing():
                ends = [*(outcome.end for outcome in final), *parked]
                await self.dep.queue.record(ends, run, self.target, requests=requests)
        if self.lost is not None:
            for outcome in final:
                await self._spool_away(outcome)

    async def _spool_away(self, outcome: Spooled) -> None:
        operation = outcome.claim.operation
        try:
            await asyncio.to_thread(self._spool.add, outcome)
        except OSError as exc:
            # Its lease runs out, and it is unclear then
            log.error("outcome_not_kept", target=self.target, person=operation.person, reason=exc.strerror)
        else:
            log.warning("outcome_spooled", target=self.target, person=operation.person, id=operation.id)


def never_again(operation: Operation, outcome: Outcome) -> dict[str, Any]:
    """What the ledger learns by a failure: that a record was perhaps made which could not be found again."""
    perhaps = isinstance(outcome, Unclear) or (isinstance(outcome, Permanent) and outcome.perhaps)
    return {"enrolled": [operation.token]} if perhaps and operation.slot.startswith("knowledge:") else {}


def ledger_patch(operation: Operation, done: Done) -> dict[str, Any]:
    """What the ledger learns by a success; known-empty values are the empty text."""
    if operation.kind is Kind.EVENT:
        return {"paid": [operation.reason]}
    if operation.kind is Kind.ENROL:
        return {"enrolled": [operation.token]}
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
    if operation.carries and done.carried:
        patch["enrolled"] = [enrolment["enrolment_code"] for enrolment in operation.carries]
    if operation.owes and not done.adopted:
        patch["owe"] = dict(operation.owes)
    return patch


@asynccontextmanager
async def _renewed(dep: Deployment, target: str, claims: Sequence[Claim]) -> AsyncIterator[None]:
    over = False

    async def renew() -> None:
        while not over:
            await asyncio.sleep(LEASE / 6)
            try:
                await dep.queue.renew(target, claims[0].token, LEASE, claims)
            except StoreError as exc:
                log.warning("lease_not_renewed", target=target, reason=exc.message)

    renewal = asyncio.create_task(renew())
    try:
        yield
    finally:
        # A client that is cancelled while its time runs out tells of the latter only, so the word is given twice
        over = True
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)


async def deliver(
    dep: Deployment, target: str, *, urgent: bool = False, stopped: Callable[[], bool] = lambda: False
) -> Again:
    """Work on one target's queue for at most `BUDGET` seconds; never sleeps for a slot.

    Args:
        urgent: single-person work only, by the slots that are kept for it.
        stopped: asked between requests; true ends the work early, with nothing left in hand.

    Raises:
        StoreError: Redis does not answer; what vendors acknowledged meanwhile is kept on disk.
    """
    if not dep.enabled(target):
        return Again(None)
    memory = await remembers(dep)
    await Spool(dep.settings.data_dir).replay(dep)
    health = await dep.health.of(target)
    if health.paused:
        return Again(None)
    if health.quarantined and not await recovers(dep, target):
        return Again(_BLOCKED)
    wave = _Wave(dep, target, urgent=urgent, wary=memory.lost, stopped=stopped)
    await wave.roll()
    await wave.note_good()
    for run in wave.runs:
        await refresh(dep, run)
    health = await dep.health.of(target)
    if health.blocked:
        return Again(None if health.paused else _BLOCKED)
    backlog = await dep.queue.backlog(target)
    if backlog.ready:
        return Again(wave.wait or 0.0)
    return Again(backlog.next_due)
