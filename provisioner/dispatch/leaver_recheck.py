"""The last question before a removal: does the newest clean roster still say that this person leaves?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from provisioner.model.operation import Kind, Operation
from provisioner.planning.desired import LEAVER, PERSON, STANDING, desired_accounts
from provisioner.runtime.context import Deployment

#: Why such a leave is dropped.
REASON: Final = "the newest roster no longer says that this person leaves"


class Recheck:
    """Answers for one target, reading the newest snapshot at most once per digest."""

    def __init__(self, dep: Deployment, target: str) -> None:
        self._dep, self._target = dep, target
        self._digest: str | None = None
        self._leavers: frozenset[str] = frozenset()

    async def refused(self, operations: Iterable[Operation]) -> frozenset[str]:
        """The ids of those leaves that must not be sent; other kinds always may."""
        # That a run is taken back is no word of the roster
        leaves = [one for one in operations if one.kind is Kind.LEAVE and not one.undoes]
        if not leaves:
            return frozenset()
        newest, moment = await self._dep.frames.newest()
        doubted = [leave for leave in leaves if leave.snapshot != newest and moment > leave.planned]
        if doubted and newest != self._digest:
            self._leavers, self._digest = await self._leaving(), newest
        return frozenset(leave.id for leave in doubted if leave.person not in self._leavers)

    async def _leaving(self) -> frozenset[str]:
        people = await self._dep.frames.known()
        if people is None:
            return frozenset()
        spec = self._dep.specs[self._target]
        today, today_utc = await self._dep.clock.today()
        desired = desired_accounts(
            spec, self._dep.compiled(self._target, None), people, today=today, today_utc=today_utc, ends=False
        )
        return frozenset(desired.frame.filter(desired.frame[STANDING] == LEAVER)[PERSON].to_list())
