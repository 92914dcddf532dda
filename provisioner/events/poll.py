"""Reading back on schedule what targets know of people besides their accounts' attributes.

Enrolments that changed since the last reading, Tribe memberships, recommended next actions: the same facts that
webhooks tell, so that a webhook that never came is made up for. A target that cannot be read is passed over until the
next time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl
import structlog

from provisioner.errors import TargetError
from provisioner.model.event import Fact, moment_of
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import is_fault, log_fault, named
from provisioner.targets.capabilities import ReadsBack, ReadsBackOf

#: Accounts up to which each is asked for by itself; for more, everything is read again.
_ONE_BY_ONE: Final = 50
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReadBack:
    """How many facts were new, by target, and what could not be read, and why; how many requests that took."""

    new: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)


async def read_back(dep: Deployment, targets: Collection[str] | None = None) -> ReadBack:
    """Read from every enabled target what it shows of linked people, and record it.

    Args:
        targets: only these.

    Raises:
        StoreError: Redis does not answer.
    """
    result = ReadBack()
    for target in [name for name in dep.targets if targets is None or name in targets]:
        work = f"readback:{target}"
        try:
            await _read_target(dep, target, result)
        except TargetError as exc:
            result.failed[target] = exc.message
            log.warning("not_read_back", target=target, code=exc.code)
        except BaseException as exc:
            if not is_fault(exc, stopping=True):
                raise
            result.failed[target] = f"reading back ended with {named(exc)}"
            log_fault("not_read_back", exc, target=target)
            await dep.faults.note(work, named(exc))
        else:
            if work in await dep.faults.of([work]):
                await dep.faults.clear(work)
    return result


async def _read_target(dep: Deployment, target: str, result: ReadBack) -> None:
    made = dep.targets[target]
    if not isinstance(made, ReadsBack) or (await dep.health.of(target)).blocked:
        return
    frame = await dep.ledger.frame(target, ())
    people = {account: person for account, person in frame.select("_account", "_person").iter_rows() if account}
    mark, moment, http = await dep.inbound.mark(target), await dep.clock.now(), dep.reading(target)
    late = _adopted_since(frame, moment_of(mark)) if isinstance(made, ReadsBackOf) else []
    try:
        read = await made.read_back(http, sorted(people), mark if len(late) <= _ONE_BY_ONE else None, moment)
        older: Mapping[str, Sequence[Fact]] = {}
        if isinstance(made, ReadsBackOf) and 0 < len(late) <= _ONE_BY_ONE and read.failed is None:
            try:
                older = await made.read_back_of(http, late)
            except TargetError as exc:
                # By the mark it is known whom to ask for by themselves
                read = replace(read, mark=mark, failed=exc)
    finally:
        result.requests[target] = http.requests
    count = 0
    now = await dep.clock.now()
    for account, facts in (*read.facts.items(), *older.items()):
        if account in people:
            count += await dep.inbound.keep_facts(target, people[account], facts, now)
    await dep.inbound.keep_mark(target, read.mark)
    result.new[target] = count
    log.info("read_back", target=target, count=count)
    if read.failed is not None:
        raise read.failed


def _adopted_since(frame: pl.DataFrame, since: float | None) -> list[str]:
    """The accounts that were linked after the last reading and not made by us: what they know may be older than it."""
    if since is None:
        return []
    late = frame.filter(~pl.col("_created") & (pl.col("_linked") > since) & pl.col("_account").is_not_null())
    return sorted(late["_account"].to_list())
