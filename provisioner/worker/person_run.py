"""A run about some people in one go, so that it waits for no wake-up between its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from provisioner.dispatch.pool import deliver
from provisioner.progress.run_status import refresh
from provisioner.runs.lifecycle import begin, plan_part
from provisioner.runtime.context import Deployment


async def carry_through(dep: Deployment, run: str, *, stopped: Callable[[], bool]) -> None:
    """Begin the run, then plan and deliver all its targets at once.

    Args:
        stopped: asked between requests; true ends the deliveries early.
    """

    async def one(target: str) -> None:
        await plan_part(dep, run, target)
        await deliver(dep, target, urgent=True, stopped=stopped)

    targets = await begin(dep, run)
    await asyncio.gather(*(one(target) for target in targets))
    await refresh(dep, run)
