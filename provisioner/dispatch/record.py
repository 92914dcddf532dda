"""What became of one request's operations: decided, recorded in one round trip, and judged for the target's health.

While Redis does not answer, what a vendor acknowledged is kept in a file and recorded before anything new is claimed.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from provisioner.dispatch.outcome_spool import Spool, Spooled
from provisioner.dispatch.retry_policy import Fail, Park, Quarantine, Succeed, decide, is_poisoned
from provisioner.dispatch.tag_merge import learnt_tags
from provisioner.errors import UNEXPECTED, StoreError
from provisioner.model.outcome import Done, Outcome, Temporary, Unclear
from provisioner.planning.ledger_update import failure_patch, is_refused_whole, ledger_patch
from provisioner.planning.refused_once import set_once
from provisioner.planning.rewrite_loops import shown_by_answer
from provisioner.progress.quarantine import WINDOW, judge, quarantine
from provisioner.runtime.clock import since_boot
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import is_fault, log_fault, named
from provisioner.store.queue.operations import Claim, End
from provisioner.targets.capabilities import tag_attribute

log = structlog.get_logger(__name__)

#: Seconds for which what was refused for its credentials is put aside; the quarantine holds it longer.
_REFUSED: Final = 30.0


class Recorder:
    """Records the outcomes of one delivery.

    Attributes:
        blocked: writing to the target has to stop.
        lost: Redis does not answer; nothing new may begin.
        concluded: what became of some request was recorded.
    """

    def __init__(self, dep: Deployment, target: str, *, stopped: Callable[[], bool]) -> None:
        self.blocked, self.concluded = False, False
        self.lost: StoreError | None = None
        self._dep, self._target, self._stopped = dep, target, stopped
        self._made = dep.targets[target]
        self._once = set_once(self._made.settings.attributes)
        self._spool = Spool(dep.settings.data_dir)
        #: Successes that are not noted yet, and whether it is noted that the target answers.
        self._good, self._reached = 0, False

    async def conclude(self, claims: Sequence[Claim], outcomes: list[Outcome], requests: int, *, asked: float) -> None:
        """Record what became of one request.

        Args:
            requests: how many HTTP requests it took.
            asked: when the claims were asked for (`since_boot`); their `claimed` is by Redis's clock.
        """
        now = claims[0].claimed + since_boot() - asked
        if is_poisoned(outcomes, claims[0].attempts):
            code = getattr(outcomes[0], "code", "")
            log.warning("batch_halved", target=self._target, rows=len(claims), code=code)
            await self._halve(claims, requests=requests)
        else:
            await self._record(claims, outcomes, now, requests=requests)
        self.concluded = self.concluded or any(getattr(one, "code", "") != UNEXPECTED for one in outcomes)
        if requests and self.lost is None and await self._judged(outcomes, now):
            self.blocked = True

    async def note_good(self) -> None:
        """Note the successes that are not noted yet."""
        good, self._good = self._good, 0
        if good:
            await self._dep.health.count_outcomes(self._target, good, 0, window=WINDOW)

    async def _judged(self, outcomes: Sequence[Outcome], now: float) -> bool:
        """Note the outcomes of one request; whether writing has to stop.

        Successes alone never stop it, so they are noted with the next other outcome, or at the end.
        """
        if self._reached and all(isinstance(one, Done) for one in outcomes):
            self._good += len(outcomes)
            return False
        if all(isinstance(one, Temporary) and one.unreached for one in outcomes):
            self._reached = False
            return await judge(self._dep, self._target, outcomes, now) is not None
        good, self._good, self._reached = self._good, 0, True
        return await judge(self._dep, self._target, outcomes, now, earlier=good) is not None

    async def _halve(self, claims: Sequence[Claim], *, requests: int) -> None:
        """Give a batch back as two, at once: who claimed meanwhile would take a part of a half for a whole one."""
        half, mark = len(claims) // 2, secrets.token_hex(4)
        ends = [
            End.given(claim, f"{claim.group.split('#')[0]}#{mark}{'a' if place < half else 'b'}")
            for place, claim in enumerate(claims)
        ]
        await self._dep.queue.record(ends, claims[0].run, self._target, requests=requests, together=True)

    async def _record(self, claims: Sequence[Claim], outcomes: Sequence[Outcome], now: float, *, requests: int) -> None:
        """Record all outcomes of one request in one round trip."""
        final: list[Spooled] = []
        parked: list[End] = []
        refused: str | None = None
        for claim, outcome in zip(claims, outcomes, strict=True):
            try:
                end, said = self._ending(claim, outcome, now)
            except BaseException as exc:
                if not is_fault(exc, stopping=self._stopped()):
                    raise
                log_fault("not_recorded", exc, target=self._target, person=claim.operation.person, count=1)
                unknown = Unclear(UNEXPECTED, f"{self._target}: recording the change ended with {named(exc)}")
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
                await quarantine(self._dep, self._target, refused, now, unreachable=False)

    def _ending(self, claim: Claim, outcome: Outcome, now: float) -> tuple[Spooled | End, str | None]:
        """How one operation ends or goes on, and why the target refused our credentials, if it did."""
        patience = self._made.settings.retry.for_.total_seconds()
        chance = random.random()  # noqa: S311 - spreads retries, guards nothing
        match decide(outcome, tries=claim.attempts, age=now - claim.since, patience=patience, chance=chance):
            case Succeed(done):
                return self._success(claim, done), None
            case Fail(code, message):
                one = claim.operation
                log.warning("operation_failed", target=self._target, person=one.person, id=one.id, code=code)
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
            attributes = {name: self._made.attribute(name) for name in done.unkept}
            patch["unkept"] = shown_by_answer(claim.operation.after, done.unkept, attributes, claim.claimed)
        tags = learnt_tags(claim.operation, tag_attribute(self._made), claim.claimed)
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
                await self._dep.queue.record(ends, run, self._target, requests=requests)
        if self.lost is not None:
            for outcome in final:
                await self._spool_away(outcome)

    async def _spool_away(self, outcome: Spooled) -> None:
        operation = outcome.claim.operation
        try:
            await asyncio.to_thread(self._spool.add, outcome)
        except OSError as exc:
            # Its lease runs out, and it is unclear then
            log.error("outcome_not_kept", target=self._target, person=operation.person, reason=exc.strerror)
        else:
            log.warning("outcome_spooled", target=self._target, person=operation.person, id=operation.id)
