"""What must wait for someone's approval: more changes of one kind than anybody expects of a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor

from provisioner.model.operation import Kind
from provisioner.settings import GuardLimit, GuardSettings

#: Guard → the kinds that it covers.
COVERS: Mapping[str, tuple[Kind, ...]] = {
    "leavers": (Kind.LEAVE,),
    "updates": (Kind.UPDATE, Kind.ROLE),
    "creates": (Kind.CREATE,),
    "rejoins": (Kind.REJOIN,),
}


@dataclass(frozen=True, slots=True)
class Tripped:
    """A guard that holds, with its numbers."""

    guard: str
    count: int
    sent: int
    limit: int
    base: int

    @property
    def sentence(self) -> str:
        """What the operator reads."""
        before = f", with {self.sent} sent without approval in the window" if self.sent else ""
        return (
            f"{self.count} {self.guard} are more than the limit of {self.limit} "
            f"(of {self.base} linked accounts{before}): held until approved."
        )


def limit_of(limit: GuardLimit, base: int) -> int:
    """How many go out without approval: min(absolute, max(1, floor(percent × base ÷ 100)))."""
    share = max(1, floor(limit.percent * base / 100 + 1e-9))
    return share if limit.absolute is None else min(limit.absolute, share)


def tripped(
    settings: GuardSettings, planned: Mapping[Kind, int], sent: Mapping[str, int], base: int
) -> dict[Kind, Tripped]:
    """The kinds that are held whole.

    Args:
        planned: how many operations of each kind count in this plan.
        sent: by guard, how many went out without approval within the window.
        base: linked accounts not in leaver state, this plan's adoptions included.
    """
    held: dict[Kind, Tripped] = {}
    for guard, kinds in COVERS.items():
        limit: GuardLimit | None = getattr(settings, guard)
        count = sum(planned.get(kind, 0) for kind in kinds)
        if limit is None or not count:
            continue
        allowed, before = limit_of(limit, base), sent.get(guard, 0)
        if count + before > allowed:
            for kind in kinds:
                held[kind] = Tripped(guard, count, before, allowed, base)
    return held
