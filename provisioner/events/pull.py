"""Pulling: a run that writes to no vendor. It reads back what targets know of people and rewrites the write-back table.

Besides what `poll` reads, targets that show what changed since (`Incremental`) are asked for it, so that read-only
attributes of the table, such as the last sign-in, are as new as the pull.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import structlog

from provisioner.errors import ConfigurationError, TargetError, UsageError
from provisioner.events.poll import read_back
from provisioner.planning.spec import ACCOUNT
from provisioner.progress.run_status import refresh
from provisioner.progress.run_trace import trace_of
from provisioner.progress.writeback import export
from provisioner.runs.observe import observe
from provisioner.runs.target_lock import held
from provisioner.runtime import tracing
from provisioner.runtime.context import Deployment
from provisioner.store.runs.documents import Request
from provisioner.targets.capabilities import Incremental

log = structlog.get_logger(__name__)

#: The trigger of such a run, and the stage of a part that is still to be read.
TRIGGER: Final = "pull"
PULLING: Final = "pulling"


async def request_pull(dep: Deployment, targets: Sequence[str] | None = None) -> str:
    """Record a pull that somebody or something asks for; its id.

    Raises:
        UsageError: an asked target does not exist.
    """
    chosen = dep.chosen(targets)
    run = await dep.runs.create(Request(trigger=TRIGGER, targets=tuple(targets) if targets else None), stage="begun")
    trace = tracing.begun()
    await dep.runs.set(run, {"targets": json.dumps(chosen), **({"trace": trace} if trace else {})})
    for target in chosen:
        stage = PULLING if dep.enabled(target) else "skipped"
        await dep.runs.set_target(run, target, {"status": "running", "stage": stage})
    log.info("pull_requested", run=run, targets=list(chosen))
    return run


async def carry_out_pull(dep: Deployment, run: str) -> None:
    """Read each target that is still to be read, write the table, and end the run. Begun again, it goes on.

    Raises:
        StoreError: Redis does not answer; the tick goes on.
    """
    for target in await dep.runs.targets(run):
        if (await dep.runs.own_part(run, target)).get("stage") == PULLING:
            with tracing.during(await trace_of(dep.runs, run), target):
                await _pull(dep, run, target)
    if dep.settings.writeback.url:
        try:
            await export(dep)
        except (ConfigurationError, UsageError) as exc:
            # The end of the run asks for the table once more, and says what is wrong then
            log.warning("table_not_written", run=run, code=exc.code)
    await refresh(dep, run)


async def _pull(dep: Deployment, run: str, target: str) -> None:
    fields: dict[str, str | int] = {"stage": "pulled"}
    health = await dep.health.of(target) if target in dep.targets else None
    if health is not None and health.status:
        fields = {"stage": "refused", "outcome": health.status}
    elif health is not None:
        result = await read_back(dep, (target,))
        requests, failed = result.requests.get(target, 0), result.failed.get(target)
        try:
            requests += 0 if failed else await _read_again(dep, run, target)
        except TargetError as exc:
            failed = str(exc)
        if failed:
            error = {"code": "not_read_back", "message": f"{target}: {failed}", "exit": TargetError.exit_code}
            fields |= {"stage": "refused", "outcome": "failed", "error": json.dumps(error)}
        if count := result.new.get(target):
            fields["notes"] = json.dumps([f"{count} new facts about people."])
        fields["requests"] = requests
    await dep.runs.set_target(run, target, fields)


async def _read_again(dep: Deployment, run: str, target: str) -> int:
    """Lay read-only attributes of the table over the accounts as remembered; how many requests that took.

    Raises:
        TargetError: the target cannot be read.
    """
    names = _read_only(dep, target)
    if not names or not isinstance(dep.targets[target], Incremental):
        return 0
    http = dep.reading(target)
    async with held(dep.locks, target, run) as hold:
        last = await dep.frames.remembered(target) if hold is not None else None
        # Whoever holds it reads the target now
        if hold is not None and last is not None:
            frame, reading = last
            newer = (await observe(dep, target, http)).observation.frame
            shown = [name for name in names if name in newer.columns and name in frame.columns]
            laid = frame.update(newer.select(ACCOUNT, *shown), on=ACCOUNT, how="left", include_nulls=True)
            await hold.ensure()
            await dep.frames.keep_observed(target, laid, reading)
    return http.requests


def _read_only(dep: Deployment, target: str) -> list[str]:
    """The attributes of the table that the target shows and that nobody writes."""
    found: list[str] = []
    for source in dep.settings.writeback.columns.values():
        name, _, attribute = source.partition(".")
        known = dep.targets[target].catalogue.get(attribute) if name == target else None
        if known is not None and known.read_only and known.observed:
            found.append(attribute)
    return found
