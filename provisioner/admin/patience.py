"""Waiting for what is under way, up to a deadline: `forget`, `link`, `unlink` and `rekey` change nothing beneath it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Final, TypeVar

from provisioner.errors import ProvisionerError
from provisioner.store.people.hand_links import Changed
from provisioner.store.queue.plans import PlanStore
from provisioner.store.runs.documents import RunStore
from provisioner.store.runs.locks import Hold

T = TypeVar("T")

#: Seconds for which the end of a plan or a request that is under way is awaited.
PATIENCE: Final = 60.0
#: Seconds between looks.
_POLL: Final = 0.2


async def awaited(look: Callable[[], Awaitable[T | None]], patience: float, late: ProvisionerError) -> T:
    """What a look finds, once it finds anything but None.

    Args:
        patience: seconds after which nothing more is waited for.
        late: raised then.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while (found := await look()) is None:
        if asyncio.get_running_loop().time() >= deadline:
            raise late
        await asyncio.sleep(_POLL)
    return found


async def settled(change: Callable[[], Awaitable[Changed]], patience: float, late: ProvisionerError) -> Changed:
    """What came of a change of somebody's link, once nothing is being sent about them; the rest as in `awaited`."""

    async def changed() -> Changed | None:
        found = await change()
        return None if found.verdict == "sending" else found

    return await awaited(changed, patience, late)


async def entered(stack: AsyncExitStack, lock: AbstractAsyncContextManager[Hold | None]) -> Hold | None:
    """The lock, which is ours until the stack closes; None if somebody has it."""
    attempt = AsyncExitStack()
    hold = await attempt.enter_async_context(lock)
    if hold is None:
        await attempt.aclose()
    else:
        stack.push_async_exit(attempt)
    return hold


async def finish_installing(runs: RunStore, plans: PlanStore, targets: Collection[str]) -> None:
    """Bring plans to their end whose planner died while it installed them.

    The rest would otherwise be installed later, about people as they were known before. Call it while nobody can plan.
    """
    for run in await runs.unfinished():
        for target in await runs.targets(run):
            if target in targets:
                await plans.resume(run, target)
