"""The last question before a removal: does the newest clean roster still say that this person leaves?"""

from __future__ import annotations

from provisioner.delivery.deployment import Deployment
from provisioner.delivery.moments import day_in
from provisioner.model.operation import Kind, Operation
from provisioner.planning.desired import LEAVER, PERSON, STANDING, compile_target, desired_accounts


class Recheck:
    """Answers for one target, reading the newest snapshot at most once per digest."""

    def __init__(self, dep: Deployment, target: str) -> None:
        self._dep, self._target = dep, target
        self._digest: str | None = None
        self._leavers: frozenset[str] = frozenset()

    async def refuses(self, operation: Operation) -> str | None:
        """Why a leave must not be sent, or None if it may; other kinds always may."""
        if operation.kind is not Kind.LEAVE:
            return None
        facts = await self._dep.frames.roster()
        digest = facts.get("digest", b"").decode()
        newer = float(facts.get("taken", b"0")) > operation.planned
        if digest == operation.snapshot or not newer:
            return None
        if digest != self._digest:
            self._leavers, self._digest = await self._leaving(), digest
        if operation.person in self._leavers:
            return None
        return "the newest roster no longer says that this person leaves"

    async def _leaving(self) -> frozenset[str]:
        people = await self._dep.frames.known()
        if people is None:
            return frozenset()
        spec = self._dep.specs[self._target]
        today, today_utc = day_in(self._dep.settings.zone, await self._dep.runs.now())
        desired = desired_accounts(
            spec, compile_target(spec, None), people, today=today, today_utc=today_utc, ends=False
        )
        return frozenset(desired.frame.filter(desired.frame[STANDING] == LEAVER)[PERSON].to_list())
