"""Details of accounts that a vendor shows by a request each: read aside, so that nobody who leaves waits for them.

A run reads them for a few seconds. What is left is read by the workers, a few seconds at a time, through the slots that
nobody else wants, and kept as it comes. When all is read, a run of that target follows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from provisioner.errors import TargetError, UnauthorisedError
from provisioner.model.account import Account
from provisioner.model.attributes import DETAILS_READ_AT
from provisioner.model.run_document import UnreadDetails
from provisioner.runtime.context import Deployment
from provisioner.runtime.rate_limit import TargetSlot
from provisioner.store.runs.shapes import moment
from provisioner.targets.capabilities import DefersDetails, DetailReader, Details
from provisioner.targets.concurrently import each
from provisioner.targets.http import READ_DEADLINE, Http, Pace, Slot

log = structlog.get_logger(__name__)

#: Seconds for which a run reads details, and for which one wake-up does.
WITHIN: Final = 10.0
_WAKEUP: Final = 5.0
#: Seconds more for the answers that are under way by then.
_GRACE: Final = 20.0
#: Requests under way at once, and accounts that one wake-up takes up.
_AT_ONCE: Final = 8
_TAKEN_UP: Final = 2000
#: Seconds until a target that failed is asked again; and one that answered nothing else.
_AGAIN: Final = 30.0
STUCK: Final = 300.0
#: Accounts whose details could not be read, after which no further ones are asked for.
_FAULTS: Final = 3
#: Seconds for which a read that failed waits for the slot of its next try.
_PATIENCE: Final = 10.0


class DetailReading:
    """Reads details of a target's accounts for some seconds, and keeps each as it comes.

    `found` is what was read, `again` in how many seconds a slot is free, `requests` how many were sent. `fault` is why
    reading ended early, if some details could not be read.
    """

    def __init__(
        self,
        dep: Deployment,
        target: str,
        made: DefersDetails,
        *,
        seconds: float = 0.0,
        waits: bool = True,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            seconds: how long it may take; 0: as long as a run may.
            waits: whether it waits for slots.
        """
        self.found: dict[str, Details] = {}
        self.again = 0.0
        self.requests = 0
        self.fault: TargetError | None = None
        self._dep, self._target, self._made = dep, target, made
        self._seconds, self._waits, self._stopped = seconds or WITHIN, waits, stopped
        self._pace = dep.pace_of(target, lane="spare", patience=_PATIENCE)
        self._left: list[str] = []
        self._ends = 0.0
        self._faults = 0
        self._over = False

    async def __call__(self, accounts: Sequence[str]) -> Mapping[str, Details]:
        """The details of those accounts that were reached in time; the first ones first.

        Raises:
            UnauthorisedError: the target refuses the key.
            StoreError: Redis does not answer.
        """
        if not accounts:
            return self.found
        self._left = list(reversed(accounts))
        self._ends = time.monotonic() + self._seconds
        tasks = [asyncio.create_task(self._work()) for _ in range(min(_AT_ONCE, len(accounts)))]
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._seconds, return_when=asyncio.FIRST_EXCEPTION)
            self._over = True
            if not any(task.exception() for task in done):
                # What is under way is worth an answer: else a slow vendor's would never be read
                await asyncio.wait(tasks, timeout=_GRACE, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            # A cancellation may be lost on its way: whoever misses it ends with the answer that comes next
            self._over = True
            for task in tasks:
                task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result
        return self.found

    @property
    def speed(self) -> float:
        """In how many seconds each was read; 0: unknown."""
        return self._seconds / len(self.found) if self.found and self._left else 0.0

    async def _work(self) -> None:
        handed = _Handed(self._pace)
        http = self._dep.http(self._target, handed, read_only=True)
        try:
            while self._goes_on():
                slot = await self._pace.try_slot(READ_DEADLINE)
                left = self._ends - time.monotonic()
                if isinstance(slot, TargetSlot):
                    if left <= 0 or not self._goes_on():
                        await slot.unused()
                        return
                    handed.next = slot
                    await self._read(http, self._left.pop())
                elif self._waits and slot < left and not self._over:
                    await asyncio.sleep(slot)
                else:
                    self._over, self.again = True, max(self.again, slot)
        finally:
            self.requests += http.requests

    def _goes_on(self) -> bool:
        return bool(self._left) and not self._over and not self._stopped()

    async def _read(self, http: Http, account: str) -> None:
        try:
            values = await self._made.details(http, account)
        except UnauthorisedError:
            raise
        except TargetError as exc:
            log.warning("details_not_read", target=self._target, code=exc.code)
            self._faults += 1
            self.fault = exc
            if self._faults >= _FAULTS:
                self._over = True
            return
        await self._dep.details.keep(self._target, account, values)
        self.found[account] = values


class _Handed:
    """A pace whose next slot is there already."""

    def __init__(self, pace: Pace) -> None:
        self.next: Slot | None = None
        self._pace = pace

    async def slot(self, deadline: float) -> Slot:
        """That slot, or the pace's own."""
        slot, self.next = self.next, None
        return slot if slot is not None else await self._pace.slot(deadline)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a listing took over of the details that were kept, and whose are still to be read."""

    taken: Collection[str] = field(default_factory=frozenset)
    waiting: Collection[str] = field(default_factory=frozenset)


async def settle(dep: Deployment, target: str, settled: Settled | None) -> None:
    """Remember whose details are still to be read, once the listing is remembered that holds the others."""
    if settled is not None:
        await dep.details.settle(target, settled.taken, settled.waiting)


def still_holding(
    kept: Mapping[str, Details], known: Mapping[str, Account], in_question: Collection[str], *, since: float
) -> dict[str, Details]:
    """Those of the kept details by which a listing may go.

    Args:
        known: the accounts as the last believed listing had them; what it read later than these wins.
        in_question: accounts whose details led to an open to-do: only a reading after that listing tells of it.
        since: when that listing began.
    """
    return {
        account: values
        for account, values in kept.items()
        if (account not in in_question or _read_at(values) > since)
        and (values is None or account not in known or _read_at(values) >= _read_at(known[account].values))
    }


def _read_at(values: Details) -> float:
    return float(values.get(DETAILS_READ_AT) or 0) if values else 0.0


def all_details(made: DefersDetails, http: Http) -> DetailReader:
    """Reads the details of all accounts, however long that takes; the first that cannot be read is an error."""

    async def read(accounts: Sequence[str]) -> Mapping[str, Details]:
        found = await each(accounts, partial(made.details, http), limit=_AT_ONCE)
        return dict(zip(accounts, found, strict=True))

    return read


@dataclass(frozen=True, slots=True)
class StillToBeRead:
    """What a run says of details that it has not read, and how its JSON says it."""

    note: str
    document: UnreadDetails


async def still_to_be_read(dep: Deployment, target: str, accounts: int, reading: DetailReading) -> StillToBeRead:
    """What a run says of so many accounts whose details it has not read."""
    status = await dep.pace_of(target).status()
    seconds = max(status.spare_estimate(accounts), reading.speed * accounts)
    over = await dep.clock.now() + seconds
    about = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
    then = (
        f"Then a run of {target} follows by itself."
        if follows(dep)
        else f"No run is scheduled: sync {target} again then."
    )
    failed = "" if reading.fault is None else f" Some could not be read: {reading.fault.message}"
    note = (
        f"The details of {accounts} accounts are still to be read: that takes about {about} at the rate limit, until "
        f"{datetime.fromtimestamp(over, dep.settings.zone):%Y-%m-%d %H:%M}. Leavers and roles go on from the listing "
        "meanwhile; what only details show of these accounts is left alone, and nobody is created who may have one of "
        f"them. {then}{failed}"
    )
    return StillToBeRead(note, {"accounts": accounts, "until": moment(over) or "", "follows": follows(dep)})


def follows(dep: Deployment) -> bool:
    """Whether a run follows by itself when all details are read: where no run is scheduled, people begin them."""
    return bool(dep.settings.schedule.sync or dep.settings.schedule.full)


def with_details(dep: Deployment) -> list[str]:
    """The targets whose accounts have details that are read one by one."""
    return [name for name, made in dep.targets.items() if isinstance(made, DefersDetails)]


@dataclass(frozen=True, slots=True)
class ReadOn:
    """What one wake-up did: seconds after which to go on, None if there is nothing to go on with; and whether what is
    left cannot be read now."""

    again: float | None
    stuck: bool = False


async def read_on(dep: Deployment, target: str, *, stopped: Callable[[], bool]) -> ReadOn:
    """Read some of the details that wait, for a few seconds and without waiting for a slot.

    Raises:
        StoreError: Redis does not answer.
    """
    made = dep.targets[target]
    if not isinstance(made, DefersDetails) or (await dep.health.of(target)).quarantined:
        return ReadOn(None)
    reading = DetailReading(dep, target, made, seconds=_WAKEUP, waits=False, stopped=stopped)
    try:
        await reading(await dep.details.wanted(target, _TAKEN_UP))
    except UnauthorisedError as exc:
        # The next run says so
        log.warning("details_not_read", target=target, code=exc.code)
        return ReadOn(STUCK, stuck=True)
    left, _ = await dep.details.count(target)
    log.info("details_read", target=target, count=len(reading.found), left=left)
    if not left:
        return ReadOn(None)
    if reading.fault is None:
        return ReadOn(reading.again)
    return ReadOn(max(_AGAIN, reading.again)) if reading.found else ReadOn(STUCK, stuck=True)
