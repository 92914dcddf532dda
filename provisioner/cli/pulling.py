"""`pull`: reading back now what targets know of people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from provisioner.cli.awaiting import worker_answers
from provisioner.cli.runs import Json, Targets, longest_wait, wait_for
from provisioner.cli.session import ANSWERS_WITHIN, log, settings_and_logs, who
from provisioner.errors import WorkerError
from provisioner.settings import Settings


def pull(
    target: Targets = None,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="Longest wait: 90s, 30m, 1h.")] = "1h",
    as_json: Json = False,
) -> int:
    """Read back what targets know of people, and rewrite the write-back table; writes to no vendor."""
    settings = settings_and_logs()
    ends = time.monotonic() + longest_wait(timeout)
    run = asyncio.run(_start(settings, target, ends=ends))
    return wait_for(settings, run, ends=ends, as_json=as_json)


async def _start(settings: Settings, targets: Sequence[str] | None, *, ends: float) -> str:
    from provisioner.events.pull import request_pull
    from provisioner.runtime.audit import record
    from provisioner.runtime.context import Deployment
    from provisioner.worker.wakeups import nudge_pull

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        dep.chosen(targets)
        await worker_answers(settings, otherwise="nothing was started", ends=ends)
        run = await request_pull(dep, tuple(dict.fromkeys(targets)) if targets else None)
        await record(dep.audit, who(), "pull requested", facts={"run": run, "targets": targets})
        try:
            await asyncio.to_thread(nudge_pull, settings, run)
        except WorkerError as exc:
            # The run is on record, and the tick looks for such every few seconds
            log.warning("nudge_lost", run=run, error=str(exc))
    return run
