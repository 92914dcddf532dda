"""One request from its claim to its record: asked again whether it may leave, sent under its lease, and recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from provisioner.dispatch.leases import Lease, renewed
from provisioner.dispatch.leaver_recheck import REASON, Recheck
from provisioner.dispatch.record import Recorder
from provisioner.dispatch.tag_merge import Tagging
from provisioner.dispatch.write import Applying
from provisioner.errors import UNEXPECTED, ClaimLostError
from provisioner.model.outcome import Done, Outcome, Temporary
from provisioner.progress.run_trace import trace_of
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import is_fault, log_fault, named
from provisioner.runtime.rate_limit import TargetPace, TargetSlot
from provisioner.runtime.tracing import during
from provisioner.store.queue.operations import Claim
from provisioner.targets.http import Http

#: Seconds of lease that are left to what was sent when recording that fails; then it is unclear.
_FAILED: Final = 5.0


@dataclass(frozen=True, slots=True)
class Answered:
    """How a request went: the seconds that the target took over it, and whether it did all that was asked for."""

    seconds: float
    good: bool


class Requests:
    """Carries out what was claimed, for one delivery."""

    def __init__(
        self,
        dep: Deployment,
        target: str,
        pace: TargetPace,
        recorder: Recorder,
        applying: Applying,
        *,
        stopped: Callable[[], bool],
    ) -> None:
        self._dep, self._target, self._pace = dep, target, pace
        self._recorder, self._applying, self._stopped = recorder, applying, stopped
        self._recheck, self._tagging = Recheck(dep, target), Tagging(dep, target)
        self._traces: dict[str, str | None] = {}

    async def carry_out(self, claims: list[Claim], slot: TargetSlot, *, asked: float, sender: int) -> Answered | None:
        """Send one request and record what became of it; None if nothing of it was sent.

        Args:
            sender: the number of whoever sends it, of all that do so at once in this delivery.
            asked: when the claims were asked for (`since_boot`).

        Raises:
            StoreError: Redis does not answer.
        """
        async with renewed(self._dep, self._target, claims, asked) as lease:
            with during(await self._trace(claims[0].run), self._target):
                return await self._work(claims, slot, lease, asked=asked, sender=sender)

    async def _trace(self, run: str) -> str | None:
        """The trace of the run that a request is for."""
        if run not in self._traces:
            self._traces[run] = await trace_of(self._dep.runs, run)
        return self._traces[run]

    async def _work(
        self, claims: list[Claim], slot: TargetSlot, lease: Lease, *, asked: float, sender: int
    ) -> Answered | None:
        http: Http | None = None
        due = claims
        answered: Answered | None = None
        try:
            try:
                pace = self._pace.prepaid(slot, lease)
                run, attempt = claims[0].run, claims[0].attempts
                http = self._dep.http(self._target, pace, fence=lease, run=run, attempt=attempt, sender=sender)
                due = await self._tagging.ready(await self._still_due(claims))
                if not due:
                    return None
                lease.narrow(due)
                await lease.ensure()
                began = time.monotonic()
                outcomes = await self._applying.send(http, due)
                answered = Answered(time.monotonic() - began, all(isinstance(one, Done) for one in outcomes))
            except ClaimLostError:
                await lease.put_off(sent=http is not None and http.writes > 0)
                await self._tagging.over(due)
                return None
            except BaseException as exc:
                if not is_fault(exc, stopping=self._stopped()):
                    raise
                # Nothing was sent: what fails while it is being sent is an outcome
                person = due[0].operation.person
                log_fault("not_sent", exc, target=self._target, person=person, count=len(due))
                waits: Outcome = Temporary(UNEXPECTED, f"{self._target}: preparing the change ended with {named(exc)}")
                outcomes = [waits] * len(due)
            lease.ending()
            try:
                await self._recorder.conclude(due, outcomes, http.requests if http else 0, asked=asked)
                await self._tagging.over(due)
            except BaseException as exc:
                if is_fault(exc, stopping=self._stopped()):
                    await self._dep.queue.renew(self._target, claims[0].token, _FAILED, due)
                raise
        finally:
            if http is None or not http.requests:
                await slot.unused()
        return answered

    async def _still_due(self, claims: list[Claim]) -> list[Claim]:
        """Before a leaver's operation is sent, the newest clean snapshot must still say so."""
        refused = await self._recheck.refused(claim.operation for claim in claims)
        for claim in claims:
            if claim.operation.id in refused:
                await self._dep.queue.drop(claim, {"code": "no_longer_leaving", "message": REASON})
        return [claim for claim in claims if claim.operation.id not in refused]
