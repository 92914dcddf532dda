"""Changes of several accounts that share further requests afterwards, such as those of a board or a group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeGuard

from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Outcome, Temporary, Unauthorised, Unclear
from provisioner.settings.targets import TargetSettings
from provisioner.targets.concurrently import each
from provisioner.targets.responses import Failure

#: Accounts that are changed side by side.
AT_ONCE: Final = 4
#: Accounts of one call of `write`, at most.
_MOST: Final = 50
#: At the allowed rate, all that a worker's senders have claimed is over in these seconds.
_OVER_IN: Final = 40.0
_SENDERS: Final = 8


def shared_batch_size(settings: TargetSettings, *, fewest: int, requests_each: float) -> int:
    """How many accounts one call of `write` changes: enough to share a request, and as many as are over soon.

    Args:
        fewest: as many as that, however slow the target is; never more than its `batch_size`.
        requests_each: that an account takes besides the shared ones.
    """
    rate = min(one.limit / one.window for one in settings.rate_limit)
    return min(settings.batch_size, _MOST, max(fewest, int(rate * _OVER_IN / _SENDERS / requests_each)))


def stops(outcome: Outcome) -> TypeGuard[Unauthorised | Temporary]:
    """Whether an outcome holds for every further request, too: credentials that are refused, or a rate limit."""
    return isinstance(outcome, Unauthorised) or (isinstance(outcome, Temporary) and outcome.limited)


async def until_stopped(
    operations: Sequence[Operation], change: Callable[[Operation], Awaitable[Outcome]]
) -> tuple[list[Outcome], Failure | None]:
    """Change each account for itself; the outcomes, and what stopped the rest, if anything did.

    Credentials that are refused, or a rate limit, would stop every further request too: what has not begun gets that
    outcome and is not sent.
    """
    stop: list[Failure] = []

    async def unless_stopped(operation: Operation) -> Outcome:
        if stop:
            return stop[0]
        outcome = await change(operation)
        if stops(outcome):
            stop.append(outcome)
        return outcome

    return await each(operations, unless_stopped, limit=AT_ONCE), stop[0] if stop else None


def unfinished(operation: Operation, failure: Failure, rest: str) -> Outcome:
    """The outcome of a change whose rest failed: it has to be done again. Whoever was made is looked up first.

    Args:
        rest: what is missing, such as ``the boards are still to be entered``.
    """
    if operation.kind is not Kind.CREATE:
        return failure
    return Unclear(failure.code, f"created, but {rest}: {failure.message}")
