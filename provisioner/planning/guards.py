"""What must wait for someone's approval: more changes of one kind than anybody expects of a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Final

from msgspec import structs

from provisioner.model.operation import REMOVALS, Kind, Operation, PlannedState
from provisioner.planning.spec import Planning
from provisioner.settings import GuardLimit, GuardSettings

_NOBODY: Final[Mapping[str, str]] = {}
#: Guard → the kinds that it covers.
COVERS: Mapping[str, tuple[Kind, ...]] = {
    "leavers": (Kind.LEAVE,),
    "updates": (Kind.UPDATE, Kind.ROLE),
    "creates": (Kind.CREATE,),
    "rejoins": (Kind.REJOIN,),
}
#: What overwrites an account; of a leave the guard of leavers is.
OVERWRITES: Final = (Kind.UPDATE, Kind.ROLE, Kind.REJOIN)
#: The guards that count what others decided, too.
WINDOWED: Final = (*COVERS, REMOVALS)


@dataclass(frozen=True, slots=True)
class Measure:
    """A guard with its numbers; one that is exceeded holds."""

    guard: str
    count: int
    sent: int
    limit: int
    base: int
    decided: int = 0

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that it holds."""
        return COVERS[self.guard]

    @property
    def together(self) -> int:
        """How many it counts, those of others included."""
        return self.count + self.sent + self.decided

    @property
    def room(self) -> int:
        """How many more may go out besides this plan; below 0 it holds."""
        return self.limit - self.together

    @property
    def finding(self) -> str:
        """What was counted, and how it compares with the limit."""
        parts = [f"{self.count} {self.guard}"]
        parts += [f"{self.sent} sent or decided without approval in the window"] if self.sent else []
        parts += [f"{self.decided} that the same run holds"] if self.decided else []
        are = "are" if len(parts) == 1 else f"make {self.together},"
        return f"{' and '.join(parts)} {are} more than the limit of {self.limit} (of {self.base} linked accounts)"

    @property
    def sentence(self) -> str:
        """The sentence for the operator while this guard holds operations."""
        return f"{self.finding}: held until approved."


def limit_of(limit: GuardLimit, base: int) -> int:
    """How many go out without approval: min(absolute, max(1, floor(percent × base ÷ 100)))."""
    share = max(1, floor(limit.percent * base / 100 + 1e-9))
    return share if limit.absolute is None else min(limit.absolute, share)


def measured(
    settings: GuardSettings,
    planned: Mapping[Kind, int],
    sent: Mapping[str, int],
    base: int,
    decided: Mapping[str, int] | None = None,
) -> dict[str, Measure]:
    """By guard that has a limit, what it counts, whether it is exceeded or not.

    Args:
        planned: how many operations of each kind count in this plan.
        sent: by guard, how many others went out without approval within the window, or are decided and wait.
        base: linked accounts not in leaver state, this plan's adoptions included.
        decided: by guard, what the runs that this one continues hold.
    """
    found: dict[str, Measure] = {}
    for guard, kinds in COVERS.items():
        limit: GuardLimit | None = getattr(settings, guard)
        if limit is not None:
            count = sum(planned.get(kind, 0) for kind in kinds)
            before, more = sent.get(guard, 0), (decided or {}).get(guard, 0)
            found[guard] = Measure(guard, count, before, limit_of(limit, base), base, more)
    return found


def tripped(found: Mapping[str, Measure]) -> dict[Kind, Measure]:
    """The kinds that are held whole; see `measured`."""
    return {kind: one for one in found.values() if one.count and one.room < 0 for kind in one.kinds}


def counts(operation: Operation, circumstances: Planning) -> bool:
    """Whether an operation counts for a guard: not what somebody decided about, nor what counts as sent already."""
    counted = operation.counted and not operation.fails and operation.id not in circumstances.gone_out
    return counted and not decided(operation, circumstances)


def decided(operation: Operation, circumstances: Planning) -> bool:
    """Whether somebody approved or rejected it."""
    return operation.id in circumstances.approved or _refused(operation, circumstances)


def guarded(
    operations: Sequence[Operation],
    trips: Mapping[Kind, Measure],
    circumstances: Planning,
    removing: Mapping[str, str] = _NOBODY,
    overwriting: Mapping[str, str] = _NOBODY,
) -> list[Operation]:
    """Operations with what each must wait for; whatever follows a held one waits with it.

    Args:
        operations: with all that follow one another.
        trips: of `tripped`.
        removing: by person why their update has to wait for what it would take away.
        overwriting: by person why a change of their account has to wait for what it would overwrite.
    """
    approved = circumstances.approved
    held: dict[str, str] = {}
    no: set[str] = set()
    result: list[Operation] = []
    for operation in operations:
        reason = operation.hold
        if operation.id not in approved:
            if operation.kind in trips and operation.counted:
                reason = trips[operation.kind].sentence
            if operation.kind is Kind.UPDATE and operation.person in removing:
                reason = removing[operation.person]
            if operation.kind in OVERWRITES and operation.person in overwriting:
                reason = overwriting[operation.person]
            if operation.kind is Kind.LEAVE and circumstances.removals_wait:
                reason = circumstances.removals_wait
        else:
            reason = None
        if operation.follows in held:
            reason = held[operation.follows]
        refused = _refused(operation, circumstances) or operation.follows in no
        if refused:
            no.add(operation.id)
        if reason:
            held[operation.id] = reason
        # What somebody approved counts for no guard, now or later
        counted = operation.counted and operation.id not in approved
        if (reason, refused, counted) != (operation.hold, operation.refused, operation.counted):
            operation = structs.replace(
                operation, state=PlannedState(reason, refused, operation.fails), counted=counted
            )
        result.append(operation)
    return result


def _refused(operation: Operation, circumstances: Planning) -> bool:
    rejected = circumstances.rejected
    return operation.id in rejected and rejected[operation.id] in (None, operation.row)
