"""What is forgotten in time: operations, runs, receipts, expired decisions, and what guards no longer ask for."""

from __future__ import annotations

import json
from typing import Final

import structlog

from provisioner.model.operation import FINAL, Status
from provisioner.planning.guards import COVERS
from provisioner.runtime.context import Deployment
from provisioner.store.people.receipts import ReceiptStore
from provisioner.store.redis import keys
from provisioner.store.redis.connection import redis_errors
from provisioner.store.runs.documents import LISTED

log = structlog.get_logger(__name__)

#: Seconds between two sweeps.
EVERY: Final = 3600
#: Runs that one sweep goes through at most; the next one takes the rest.
_RUNS: Final = 500
_CHUNK: Final = 500
#: Over for good; a held operation still waits for someone.
_OVER: Final = frozenset(status.value for status in FINAL - {Status.HELD})


async def sweep(dep: Deployment, *, now: float | None = None) -> bool:
    """Trim history once an hour; False if that was done already.

    Args:
        now: epoch seconds to take for the present, by Redis's clock otherwise.

    Raises:
        StoreError: Redis does not answer; what was begun is finished by a later sweep.
    """
    with redis_errors():
        if not await dep.redis.set(keys.SWEPT, "1", nx=True, ex=EVERY):
            return False
        moment = await dep.runs.now() if now is None else now
        for target in dep.targets:
            await _trim_counts(dep, target, moment)
            await _trim_decisions(dep, target, moment)
        retention = dep.settings.retention
        operations = await _trim_operations(dep, moment - retention.operations.total_seconds())
        runs = await _trim_runs(dep, moment - retention.runs.total_seconds())
        await ReceiptStore(dep.redis).forget_before(moment - retention.runs.total_seconds())
    if operations or runs:
        log.info("history_trimmed", operations=operations, runs=runs)
    return True


async def _trim_counts(dep: Deployment, target: str, now: float) -> None:
    window = dep.settings.guards_of(target).window.total_seconds()
    for guard in COVERS:
        await dep.redis.zremrangebyscore(keys.sent(target, guard), "-inf", now - max(window, 86400.0))


async def _trim_decisions(dep: Deployment, target: str, now: float) -> None:
    """Approvals go when they have expired. A rejection stands for as long as anybody could remember why."""
    approval = dep.settings.guards_of(target).approval.total_seconds()
    kept = {"approved": approval, "rejected": dep.settings.retention.runs.total_seconds()}
    decisions = await dep.health.decisions(target)
    old = [name for name, made in decisions.items() if now - made["at"] > kept.get(made["verdict"], approval)]
    if old:
        await dep.redis.hdel(keys.decisions(target), *old)


async def _trim_operations(dep: Deployment, before: float) -> int:
    """Forget operations that are over, of runs from before a moment; how many."""
    done_to = float(await dep.redis.get(keys.TRIMMED) or 0)
    found = await dep.redis.zrangebyscore(keys.RUNS, f"({done_to}", before, start=0, num=_RUNS, withscores=True)
    count = 0
    for run, moment in found:
        for target in await dep.runs.targets(run.decode()):
            count += await _trim_part(dep, run.decode(), target)
        await dep.redis.set(keys.TRIMMED, repr(moment))
    return count


async def _trim_part(dep: Deployment, run: str, target: str) -> int:
    count = 0
    names = [name.decode() for name in await dep.redis.zrange(keys.run_operations(run, target), 0, -1)]
    for start in range(0, len(names), _CHUNK):
        some = names[start : start + _CHUNK]
        async with dep.redis.pipeline(transaction=False) as pipe:
            for name in some:
                pipe.hmget(keys.operation(run, target, name), ["status", "person"])
            rows = await pipe.execute()
        async with dep.redis.pipeline(transaction=True) as pipe:
            for name, (status, person) in zip(some, rows, strict=True):
                if status is not None and status.decode() not in _OVER:
                    continue
                pipe.delete(keys.operation(run, target, name))
                pipe.zrem(keys.run_operations(run, target), name)
                if status is not None:
                    pipe.zrem(keys.run_by_status(run, target, status.decode()), name)
                for listed in LISTED:
                    pipe.zrem(keys.run_by_status(run, target, listed), name)
                if person is not None:
                    pipe.lrem(keys.history(person.decode()), 0, f"{target}|{run}|{name}")
                count += 1
            await pipe.execute()
    return count


async def _trim_runs(dep: Deployment, before: float) -> int:
    """Forget whole runs from before a moment; how many."""
    found = await dep.redis.zrangebyscore(keys.RUNS, "-inf", before, start=0, num=_RUNS)
    for raw in found:
        run = raw.decode()
        targets = json.loads(await dep.redis.hget(keys.run(run), "targets") or "[]")
        for target in targets:
            await _trim_part(dep, run, target)
            left = [name.decode() for name in await dep.redis.zrange(keys.run_operations(run, target), 0, -1)]
            gone = [keys.operation(run, target, name) for name in left]
            gone += [keys.run_operations(run, target), keys.run_target(run, target), keys.stage(run, target)]
            gone += [keys.run_by_status(run, target, status.value) for status in Status]
            gone += [keys.run_by_status(run, target, listed) for listed in LISTED]
            await dep.redis.delete(*gone)
        await dep.redis.delete(keys.run(run), keys.rejects(run), keys.run_beginning(run))
        await dep.frames.drop_for_run(run)
        await dep.redis.zrem(keys.RUNS, run)
    return len(found)
