"""One delivery: how many requests of a target are under way at once in this process, and for how long it goes on.

A slot of the pace is taken first, then the most urgent work is claimed under a lease and marked as being sent, then it
is sent, then what became of it is recorded. Killed at any point, nothing is lost: an expired lease on something that
was being sent makes it unclear, and unclear work is looked up first where a second send would hurt.
"""

from __future__ import annotations

import asyncio
import heapq
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from provisioner.dispatch.in_flight import MOST, Learnt
from provisioner.dispatch.leases import LEASE
from provisioner.dispatch.outcome_spool import Spool
from provisioner.dispatch.record import Recorder
from provisioner.dispatch.redis_loss import note_position, remembers
from provisioner.dispatch.request import Requests
from provisioner.dispatch.write import Applying
from provisioner.errors import OriginError, StoreError, UnexpectedError
from provisioner.model.operation import Kind
from provisioner.progress.quarantine import recovers
from provisioner.progress.run_status import refresh
from provisioner.runtime.clock import since_boot
from provisioner.runtime.context import Deployment
from provisioner.runtime.origins import check_origin
from provisioner.store.queue.operations import Claim
from provisioner.targets.http import DEADLINE

log = structlog.get_logger(__name__)

#: Seconds of work per nudge; what is left is done by the next one.
BUDGET: Final = 10.0
#: Seconds for which a delivery waits for a slot, where nobody else wants its process.
LONGEST_WAIT: Final = 3.0
#: Seconds by which the next delivery comes before its slot is free, so that no slot waits for a message.
_EARLY: Final = 1.0
#: Seconds between looks whether somebody else wants the process, while a slot is waited for.
_LOOK: Final = 0.05
#: Seconds between two calls for a further process.
_CALL: Final = 1.0
#: Times as much work as is under way, from which on a further process is called.
_WORTH_A_CALL: Final = 2
#: Seconds until the next look at a target that must not be written to.
_BLOCKED: Final = 60.0
#: Seconds until the next look where nothing of what is ready could be taken.
_NOTHING_TAKEN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Again:
    """When the target wants the next nudge: in `seconds`, or not at all (None)."""

    seconds: float | None


def _never() -> bool:
    return False


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Place:
    """The process that a delivery is carried out in, and its place among those that deliver to the same target.

    Attributes:
        stopped: asked between requests; true ends the delivery early, with nothing left in progress.
        give_way: whether other work waits for this process, which is counted on to come free once it heard a yes; yes
            wherever nobody can say.
        helping: beside another delivery of this target, so it ends as soon as the process is wanted elsewhere, no slot
            is free, or the target does not do what it is asked for.
        learnt: what this process knows of its targets.
        call: calls for a further process, which this one has more work for than it can do.
    """

    stopped: Callable[[], bool] = _never
    give_way: Callable[[], bool] = _always
    helping: bool = False
    learnt: Learnt = field(default_factory=Learnt)
    call: Callable[[], Awaitable[None]] | None = None


class _Delivery:
    """One nudge's work on one target."""

    def __init__(self, dep: Deployment, target: str, place: Place, *, urgent: bool, doubtful: frozenset[Kind]) -> None:
        self.dep, self.target, self.urgent, self._place = dep, target, urgent, place
        self.made = dep.targets[target]
        self.pace = dep.pace_of(target, lane="urgent" if urgent else "bulk")
        self.recorder = Recorder(dep, target, stopped=place.stopped)
        # What Redis forgot was perhaps sent before it did
        applying = Applying(self.made, doubtful, place.stopped)
        self._requests = Requests(dep, target, self.pace, self.recorder, applying, stopped=place.stopped)
        self.until = time.monotonic() + BUDGET
        self.runs: set[str] = set()
        #: When a slot may be free, if the last sender to ask found none; whether any sender ever found none; and
        #: whether a claim found nothing that it could take.
        self._slot_due: float | None = None
        self._slots_missing = self._idle = False
        self._in_flight = place.learnt.at(target)
        self._senders_at_work: set[asyncio.Future[None]] = set()
        self._sending = 0
        #: Numbers that no sender has, the lowest first: so those who have some share few connections.
        self._numbers = list(range(MOST))
        # No more senders begin once one of them found nothing to send, or no slot
        self._enough = self._waiting = self._leaving = False
        self._called = time.monotonic()
        #: Operations per request by group.
        self._sizes: dict[str, int] = {}

    @property
    def again(self) -> float:
        """Seconds until the next delivery should come, if there is work that is ready."""
        if self._place.helping and (self._leaving or self._slots_missing):
            # It is the first seat that knows when help is of use again
            return _NOTHING_TAKEN
        if self._slot_due is None:
            # Where nothing of it could be taken, it waits for the work of others
            return _NOTHING_TAKEN if self._idle and not self.runs else 0.0
        left = self._slot_due - time.monotonic()
        return max(0.0, left if self._place.give_way() else left - _EARLY)

    @property
    def over(self) -> bool:
        """Whether nothing new may begin."""
        recorder, place = self.recorder, self._place
        if recorder.blocked or recorder.lost is not None or self._leaving or place.stopped():
            return True
        return time.monotonic() >= self.until or (place.helping and place.give_way())

    async def roll(self) -> None:
        """Send with several senders; cancelled, they begin nothing more, but finish their work in progress.

        Raises:
            StoreError: Redis does not answer.
        """
        senders = asyncio.ensure_future(self._senders())
        try:
            await asyncio.shield(senders)
        except asyncio.CancelledError:
            self.recorder.blocked = True
            await senders
            raise
        if self.recorder.lost is not None:
            raise self.recorder.lost

    async def _senders(self) -> None:
        """One sender at first; each that finds work lets another one begin, so that who has none asks but once."""
        self._another()
        errors: list[BaseException] = []
        while self._senders_at_work:
            ended, _ = await asyncio.wait(self._senders_at_work, return_when=asyncio.FIRST_COMPLETED)
            # Others may have begun while this waited
            self._senders_at_work -= ended
            errors += [error for task in ended if (error := _error_of(task)) is not None]
        if errors:
            raise errors[0]

    def _another(self) -> None:
        if self._sending < self._in_flight.width and not (self._enough or self._waiting or self.over):
            self._sending += 1
            self._senders_at_work.add(asyncio.ensure_future(self.sender(heapq.heappop(self._numbers))))

    async def sender(self, number: int) -> None:
        """Send until there is nothing to send, no slot, no time left, or fewer are to be under way.

        A Redis that does not answer ends all senders, but none of them before it has kept its work in progress.
        """
        try:
            while not self.over and self._sending <= self._in_flight.width:
                if not await self._one_request(number):
                    self._enough = self._enough or not self._waiting
                    break
                await self._call_for_another_process()
        except StoreError as exc:
            self.recorder.lost = exc
        finally:
            self._sending -= 1
            heapq.heappush(self._numbers, number)

    async def _one_request(self, sender: int) -> bool:
        """Send one request; false if there is no slot or nothing to send, so that its sender ends."""
        while isinstance(slot := await self.pace.try_slot(DEADLINE), float):
            if not await self._waited(slot):
                return False
        self._slot_due = None
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
            self._idle = True
            return False
        self._another()
        self.runs.update(claim.run for claim in claims)
        answered = await self._requests.carry_out(claims, slot, asked=asked, sender=sender)
        if answered is not None:
            self._in_flight.answered(answered.seconds, good=answered.good)
            self._leaving = self._leaving or (self._place.helping and not answered.good)
        return True

    async def _waited(self, seconds: float) -> bool:
        """Wait until a slot may be free, as one for all senders; false at once where that would keep the process from
        anybody, and as soon as it does.

        Args:
            seconds: until then.
        """
        place, until = self._place, time.monotonic() + seconds
        self._slot_due, self._slots_missing = until, True
        if self._waiting or self._enough or place.helping or seconds > LONGEST_WAIT or until >= self.until:
            return False
        self._waiting = True
        try:
            while (left := until - time.monotonic()) > 0:
                if self.over or place.give_way():
                    return False
                await asyncio.sleep(min(left, _LOOK))
        finally:
            self._waiting = False
        return not self.over

    async def _call_for_another_process(self) -> None:
        """Call for a further process if this one is busy, no slot was missing, and there is much more to do."""
        call, now = self._place.call, time.monotonic()
        if call is None or self._slots_missing or now - self._called < _CALL or not self._in_flight.full:
            return
        self._called = now
        under_way = self._sending * max(self._sizes.values(), default=1)
        if not self.over and (await self.dep.queue.backlog(self.target)).ready > _WORTH_A_CALL * under_way:
            await call()

    def _size(self, group: str) -> int:
        self._sizes[group] = size = self.made.batch_size(group)
        return size


def _error_of(task: asyncio.Future[None]) -> BaseException | None:
    if task.cancelled():
        return UnexpectedError("A sender was cancelled, though nobody asked for it.")
    return task.exception()


async def deliver(dep: Deployment, target: str, *, urgent: bool = False, place: Place | None = None) -> Again:
    """Work on one target's queue for at most `BUDGET` seconds; waits for a slot only while nobody wants its process.

    Args:
        urgent: single-person work only, by the slots that are kept for it.
        place: what carries it out; None: a process that waits for nothing and learns nothing.

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
    if health.quarantined and ((place and place.helping) or not await recovers(dep, target)):
        return Again(_BLOCKED)
    delivery = _Delivery(dep, target, place or Place(), urgent=urgent, doubtful=memory.doubtful)
    try:
        await delivery.roll()
    finally:
        await note_position(dep.queue, dep.settings)
    await delivery.recorder.note_good()
    for run in delivery.runs:
        await refresh(dep, run)
    if health.fault.count and delivery.recorder.concluded:
        await dep.faults.clear_target(target)
        for run in delivery.runs:
            await refresh(dep, run)
    health = await dep.health.of(target)
    if health.blocked:
        return Again(None if health.paused else _BLOCKED)
    backlog = await dep.queue.backlog(target)
    if backlog.ready:
        return Again(delivery.again)
    return Again(backlog.next_due)
