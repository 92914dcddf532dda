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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from provisioner.dispatch.leases import LEASE, Lease, renewed
from provisioner.dispatch.leaver_recheck import REASON, Recheck
from provisioner.dispatch.outcome_spool import Spool, Spooled
from provisioner.dispatch.redis_loss import note_position, remembers
from provisioner.dispatch.retry_policy import Fail, Park, Quarantine, Succeed, decide, is_poisoned
from provisioner.dispatch.tag_merge import Tagging, learnt_tags
from provisioner.dispatch.write import Applying
from provisioner.errors import UNEXPECTED, ClaimLostError, OriginError, StoreError, UnexpectedError
from provisioner.model.operation import Kind
from provisioner.model.outcome import Done, Outcome, Temporary, Unclear
from provisioner.planning.ledger_update import failure_patch, is_refused_whole, ledger_patch
from provisioner.planning.refused_once import set_once
from provisioner.planning.rewrite_loops import shown_by_answer
from provisioner.progress.quarantine import WINDOW, judge, quarantine, recovers
from provisioner.progress.run_status import refresh
from provisioner.progress.run_trace import trace_of
from provisioner.runtime.clock import since_boot
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import is_fault, log_fault, named
from provisioner.runtime.origins import check_origin
from provisioner.runtime.rate_limit import TargetSlot
from provisioner.runtime.tracing import during
from provisioner.store.queue.operations import Claim, End
from provisioner.targets.capabilities import tag_attribute
from provisioner.targets.http import DEADLINE, Http

log = structlog.get_logger(__name__)

#: Seconds of work per nudge; what is left is done by the next one.
BUDGET: Final = 10.0
#: Requests under way at once, per nudge and target.
SENDERS: Final = 8
#: Seconds until the next look at a target that must not be written to.
_BLOCKED: Final = 60.0
#: Seconds until the next look where nothing of what is ready could be taken.
_NOTHING_TAKEN: Final = 1.0
#: Seconds of lease that are left to what was sent when recording that fails; then it is unclear.
_FAILED: Final = 5.0
#: Seconds for which what was refused for its credentials is put aside; the quarantine holds it longer.
_REFUSED: Final = 30.0


@dataclass(frozen=True, slots=True)
class Again:
    """When the target wants the next nudge: in `seconds`, or not at all (None)."""

    seconds: float | None


class _Wave:
    """One nudge's work on one target."""

    def __init__(
        self, dep: Deployment, target: str, *, urgent: bool, doubtful: frozenset[Kind], stopped: Callable[[], bool]
    ) -> None:
        self.dep, self.target, self.urgent, self._stopped = dep, target, urgent, stopped
        self.made = dep.targets[target]
        self._once = set_once(self.made.settings.attributes)
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
        self._applying = Applying(self.made, doubtful, stopped)
        #: Successes that are not noted yet, and whether it is noted that the target answers.
        self._good, self._reached = 0, False
        self._spool = Spool(dep.settings.data_dir)
        #: Operations per request by group, and whether what became of any request was recorded.
        self._sizes: dict[str, int] = {}
        self._traces: dict[str, str | None] = {}
        self.concluded = False
        #: Whether a claim found nothing that it could take.
        self.idle = False

    @property
    def over(self) -> bool:
        return self.blocked or self.lost is not None or self._stopped() or time.monotonic() >= self.until

    async def roll(self) -> None:
        """Send with several senders; cancelled, they begin nothing more, but finish their work in progress.

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
            errors += [error for task in ended if (error := _error_of(task)) is not None]
        if errors:
            raise errors[0]

    def _another(self) -> None:
        if len(self._at_work) < SENDERS and not self._enough and not self.over:
            self._at_work.add(asyncio.ensure_future(self.sender()))

    async def sender(self) -> None:
        """Send until there is nothing to send, no slot, or no time left.

        A Redis that does not answer ends all senders, but none of them before it has kept its work in progress.
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
        asked = since_boot()
        try:
            claims = await self.dep.queue.claim(
                self.target,
                lease=LEASE,
                token=secrets.token_hex(8),
                limits=self._sizes,
                size=self._size,
                urgent=self.urgent,
            )
        finally:
            if not claims:
                await slot.unused()
        if not claims:
            self.idle = True
            return False
        self._another()
        self.runs.update(claim.run for claim in claims)
        async with renewed(self.dep, self.target, claims, asked) as lease:
            with during(await self._trace(claims[0].run), self.target):
                await self._work(claims, slot, lease, asked=asked)
        return True

    async def _trace(self, run: str) -> str | None:
        """The trace of the run that a request is for."""
        if run not in self._traces:
            self._traces[run] = await trace_of(self.dep.runs, run)
        return self._traces[run]

    def _size(self, group: str) -> int:
        self._sizes[group] = size = self.made.batch_size(group)
        return size

    def _is_fault(self, exc: BaseException) -> bool:
        return is_fault(exc, stopping=self._stopped())

    async def _work(self, claims: list[Claim], slot: TargetSlot, lease: Lease, *, asked: float) -> None:
        http: Http | None = None
        due = claims
        try:
            try:
                pace = self.pace.prepaid(slot, lease)
                http = self.dep.http(self.target, pace, fence=lease, run=claims[0].run, attempt=claims[0].attempts)
                due = await self._tagging.ready(await self._still_due(claims))
                if not due:
                    return
                lease.narrow(due)
                await lease.ensure()
                outcomes = await self._applying.send(http, due)
            except ClaimLostError:
                await lease.put_off(sent=http is not None and http.writes > 0)
                await self._tagging.over(due)
                return
            except BaseException as exc:
                if not self._is_fault(exc):
                    raise
                # Nothing was sent: what fails while it is being sent is an outcome
                self._log("not_sent", exc, due)
                waits: Outcome = Temporary(UNEXPECTED, f"{self.target}: preparing the change ended with {named(exc)}")
                outcomes = [waits] * len(due)
            lease.ending()
            try:
                await self._conclude(due, outcomes, http.requests if http else 0, asked=asked)
                await self._tagging.over(due)
            except BaseException as exc:
                if self._is_fault(exc):
                    await self.dep.queue.renew(self.target, claims[0].token, _FAILED, due)
                raise
        finally:
            if http is None or not http.requests:
                await slot.unused()

    def _log(self, event: str, exc: BaseException, claims: Sequence[Claim]) -> None:
        log_fault(event, exc, target=self.target, person=claims[0].operation.person, count=len(claims))

    async def _still_due(self, claims: list[Claim]) -> list[Claim]:
        """Before a leaver's operation is sent, the newest clean snapshot must still say so."""
        refused = await self.recheck.refused(claim.operation for claim in claims)
        for claim in claims:
            if claim.operation.id in refused:
                await self.dep.queue.drop(claim, {"code": "no_longer_leaving", "message": REASON})
        return [claim for claim in claims if claim.operation.id not in refused]

    async def _conclude(self, claims: Sequence[Claim], outcomes: list[Outcome], requests: int, *, asked: float) -> None:
        """Record what became of one request.

        Args:
            requests: how many HTTP requests it took.
            asked: when the claims were asked for (`since_boot`); their `claimed` is by Redis's clock.
        """
        now = claims[0].claimed + since_boot() - asked
        if is_poisoned(outcomes, claims[0].attempts):
            log.warning("batch_halved", target=self.target, rows=len(claims), code=getattr(outcomes[0], "code", ""))
            await self._halve(claims, requests=requests)
        else:
            await self._record(claims, outcomes, now, requests=requests)
        self.concluded = self.concluded or any(getattr(one, "code", "") != UNEXPECTED for one in outcomes)
        if requests and self.lost is None and await self._judged(outcomes, now):
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
        final: list[Spooled] = []
        parked: list[End] = []
        refused: str | None = None
        for claim, outcome in zip(claims, outcomes, strict=True):
            try:
                end, said = self._ending(claim, outcome, now)
            except BaseException as exc:
                if not self._is_fault(exc):
                    raise
                self._log("not_recorded", exc, [claim])
                unknown = Unclear(UNEXPECTED, f"{self.target}: recording the change ended with {named(exc)}")
                end, said = self._ending(claim, unknown, now)
            refused = said or refused
            if isinstance(end, Spooled):
                final.append(end)
            else:
                parked.append(end)
        await self._keep(final, parked, claims[0].run, requests)
        if refused is not None:
            self.blocked = True
            with self._losing():
                await quarantine(self.dep, self.target, refused, now, unreachable=False)

    def _ending(self, claim: Claim, outcome: Outcome, now: float) -> tuple[Spooled | End, str | None]:
        """How one operation ends or goes on, and why the target refused our credentials, if it did."""
        patience = self.made.settings.retry.for_.total_seconds()
        chance = random.random()  # noqa: S311 - spreads retries, guards nothing
        match decide(outcome, tries=claim.attempts, age=now - claim.since, patience=patience, chance=chance):
            case Succeed(done):
                return self._success(claim, done), None
            case Fail(code, message):
                one = claim.operation
                log.warning("operation_failed", target=self.target, person=one.person, id=one.id, code=code)
                error = {"code": code, "message": message}
                refused = is_refused_whole(one, outcome)
                return Spooled(claim, failure_patch(one, outcome, self._once), None, error, refused), None
            case Park(seconds, code, message, unclear, spend):
                error = {"code": code, "message": message}
                return End.parked(claim, seconds, error, unclear=unclear, spend=spend), None
            case Quarantine(code, message):
                error = {"code": code, "message": message}
                return End.parked(claim, _REFUSED, error, unclear=False, spend=False), message

    def _success(self, claim: Claim, done: Done) -> Spooled:
        patch = ledger_patch(claim.operation, done, self._once)
        if done.unkept:
            attributes = {name: self.made.attribute(name) for name in done.unkept}
            patch["unkept"] = shown_by_answer(claim.operation.after, done.unkept, attributes, claim.claimed)
        tags = learnt_tags(claim.operation, tag_attribute(self.made), claim.claimed)
        if tags:
            patch["values"] = {**patch.get("values", {}), **tags}
        return Spooled(claim, patch, done.account or claim.operation.account, note=done.note or "")

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """Remember that Redis does not answer, and go on with its other work."""
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


def _error_of(task: asyncio.Future[None]) -> BaseException | None:
    if task.cancelled():
        return UnexpectedError("A sender was cancelled, though nobody asked for it.")
    return task.exception()


async def deliver(
    dep: Deployment, target: str, *, urgent: bool = False, stopped: Callable[[], bool] = lambda: False
) -> Again:
    """Work on one target's queue for at most `BUDGET` seconds; never sleeps for a slot.

    Args:
        urgent: single-person work only, by the slots that are kept for it.
        stopped: asked between requests; true ends the work early, with nothing left in progress.

    Raises:
        StoreError: Redis does not answer; what vendors acknowledged meanwhile is kept on disk.
    """
    if not dep.enabled(target):
        return Again(None)
    try:
        await check_origin(dep.origins, dep.settings, target)
    except OriginError as exc:
        log.error("not_sent", target=target, code=exc.code, error=str(exc))
        return Again(_BLOCKED)
    health = await dep.health.of(target)
    if health.fault.count and (left := health.fault.due - await dep.clock.now()) > 0:
        return Again(left)
    memory = await remembers(dep)
    await Spool(dep.settings.data_dir).replay(dep.queue)
    if health.paused:
        return Again(None)
    if health.quarantined and not await recovers(dep, target):
        return Again(_BLOCKED)
    wave = _Wave(dep, target, urgent=urgent, doubtful=memory.doubtful, stopped=stopped)
    try:
        await wave.roll()
    finally:
        await note_position(dep.queue, dep.settings)
    await wave.note_good()
    for run in wave.runs:
        await refresh(dep, run)
    if health.fault.count and wave.concluded:
        await dep.faults.clear_target(target)
        for run in wave.runs:
            await refresh(dep, run)
    health = await dep.health.of(target)
    if health.blocked:
        return Again(None if health.paused else _BLOCKED)
    backlog = await dep.queue.backlog(target)
    if backlog.ready:
        # Where nothing of it could be taken, it waits for the work of others
        return Again(wave.wait or (_NOTHING_TAKEN if wave.idle and not wave.runs else 0.0))
    return Again(backlog.next_due)
