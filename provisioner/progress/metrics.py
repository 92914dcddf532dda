"""Figures for Prometheus, computed from Redis when asked, so that they are right with any number of processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from provisioner.model.operation import Kind
from provisioner.progress.vitals import Vitals, vitals
from provisioner.runtime.context import Deployment
from provisioner.store.queue.operations import Backlog
from provisioner.store.queue.rate_limit import PaceStatus
from provisioner.store.redis import keys
from provisioner.store.redis.connection import redis_errors
from provisioner.store.runs.documents import counts
from provisioner.store.runs.target_health import Health

#: Runs that are looked through for the newest roster.
_LOOKED_AT: Final = 20


@dataclass(frozen=True, slots=True)
class TargetFigures:
    """One target now. `oldest_leaver` is in seconds, 0 if every leaver is finished; `held` is by kind."""

    health: Health
    backlog: Backlog
    parked: int
    pace: PaceStatus
    links: int
    leavers: int
    oldest_leaver: float
    held: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The deployment now.

    `ended` maps (target, kind, outcome) to how many operations ever ended so; `requests` counts those sent, and
    `limited` the answers of 429, by target; `runs` counts ended runs by status; times are epoch seconds, None: never.
    `roster` is the newest roster's figures, with its verdict (clean, degraded or rejected); `roster_age` is since when
    the last believed one was written, in seconds. `memory` is how much Redis uses, and may use, in bytes. `faults`
    are the unexpected failures in a row, by work of the workers.
    """

    now: float
    ended: Mapping[tuple[str, str, str], int]
    requests: Mapping[str, int]
    limited: Mapping[str, int]
    runs: Mapping[str, int]
    last_run: float | None
    last_length: float | None
    last_success: float | None
    vitals: Vitals
    verdict: str | None
    roster: Mapping[str, int]
    leaver_promise: float
    targets: Mapping[str, TargetFigures] = field(default_factory=dict)
    roster_age: float | None = None
    memory: tuple[int, int] | None = None
    faults: Mapping[str, int] = field(default_factory=dict)


async def note_end(dep: Deployment, run: str, status: str, *, first: bool) -> None:
    """Remember that a run came to an end, or that its status changed afterwards.

    Args:
        first: it had not ended before, so it counts.
    """
    now = await dep.runs.now()
    fields: dict[str, str | float] = {}
    if first:
        started = await dep.runs.get(run, "started")
        fields |= {"last": now, "length": now - float(started or now)}
    if status == "succeeded":
        fields["succeeded"] = now
    with redis_errors():
        if first:
            await dep.redis.hincrby(keys.ENDED, f"runs|{status}", 1)
        if fields:
            await dep.redis.hset(keys.ENDED, mapping=fields)


async def take(dep: Deployment) -> Snapshot:
    """Look once.

    Raises:
        StoreError: Redis does not answer.
    """
    now = await dep.runs.now()
    with redis_errors():
        async with dep.redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.TOTALS)
            pipe.hgetall(keys.ENDED)
            pipe.hmget(keys.ROSTER, ["modified", "taken"])
            pipe.info("memory")
            totals, ended, (modified, taken), memory = await pipe.execute()
    operations: dict[tuple[str, str, str], int] = {}
    plain: dict[str, dict[str, int]] = {"requests": {}, "limited": {}}
    for name, count in totals.items():
        parts = name.decode().split("|")
        if len(parts) == 3:
            operations[(parts[0], parts[1], parts[2])] = int(count)
        elif parts[1] in plain:
            plain[parts[1]][parts[0]] = int(count)
    facts = {name.decode(): value.decode() for name, value in ended.items()}
    verdict, roster = await newest_roster(dep)
    targets = {name: await _target(dep, name, now) for name in dep.targets}
    faults = {f"deliver:{name}": one.health.fault for name, one in targets.items() if one.health.fault.count}
    faults |= await dep.faults.standing()
    return Snapshot(
        now=now,
        ended=operations,
        requests=plain["requests"],
        limited=plain["limited"],
        runs={name.partition("|")[2]: int(count) for name, count in facts.items() if name.startswith("runs|")},
        last_run=_number(facts.get("last")),
        last_length=_number(facts.get("length")),
        last_success=_number(facts.get("succeeded")),
        vitals=await vitals(dep.redis, dep.settings),
        verdict=verdict,
        roster=roster,
        leaver_promise=dep.settings.slo.leaver.total_seconds(),
        targets=targets,
        roster_age=_age(now, modified, taken),
        memory=(int(memory["used_memory"]), int(memory["maxmemory"] or memory["total_system_memory"])),
        faults={work: fault.count for work, fault in faults.items()},
    )


async def _target(dep: Deployment, target: str, now: float) -> TargetFigures:
    plan = await dep.health.list(target, "plan")
    with redis_errors():
        async with dep.redis.pipeline(transaction=False) as pipe:
            pipe.zcard(keys.parked(target))
            pipe.zcard(keys.leavers(target))
            pipe.zrange(keys.leavers(target), 0, 0, withscores=True)
            parked, leavers, oldest = await pipe.execute()
    return TargetFigures(
        health=await dep.health.of(target),
        backlog=await dep.queue.backlog(target),
        parked=int(parked),
        pace=await dep.pace_of(target).status(),
        links=await dep.ledger.size(target),
        leavers=int(leavers),
        oldest_leaver=max(0.0, now - float(oldest[0][1])) if oldest else 0.0,
        held=counts(await dep.runs.target(plan[0], target), "held") if plan else {},
    )


async def newest_roster(dep: Deployment) -> tuple[str | None, dict[str, int]]:
    """The verdict on the newest roster that a run about everybody read, and its figures; None if there is none."""
    runs = await dep.runs.recent(_LOOKED_AT)
    with redis_errors():
        async with dep.redis.pipeline(transaction=False) as pipe:
            for run in runs:
                pipe.hmget(keys.run(run), ["roster", "status", "request"])
            found = await pipe.execute()
    for text, status, request in found:
        if text is None or (request is not None and json.loads(request).get("people") is not None):
            continue
        document: dict[str, Any] = json.loads(text)
        return verdict_on(document, (status or b"").decode()), {
            name: int(document.get(name) or 0) for name in ("rows", "people", "rejected")
        }
    return None, {}


def verdict_on(roster: Mapping[str, Any], status: str) -> str:
    """The gate's verdict, from a run's document: clean, degraded, accepted (degraded, and let pass) or rejected."""
    if status == "rejected":
        return "rejected"
    if not roster.get("degraded"):
        return "clean"
    return "accepted" if roster.get("accepted") else "degraded"


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _age(now: float, modified: bytes | None, taken: bytes | None) -> float | None:
    """Since when the last believed roster was written, or if nobody says so, read; None if there is none."""
    moment = float(modified or 0) or float(taken or 0)
    return max(0.0, now - moment) if moment else None


def registry(found: Snapshot) -> CollectorRegistry:
    """The figures as Prometheus takes them."""
    made = CollectorRegistry(auto_describe=False)
    made.register(_Figures(found))
    return made


class _Figures(Collector):
    def __init__(self, found: Snapshot) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        yield from _work(self._found)
        yield from _runs(self._found)
        yield from _targets(self._found.targets)


def _work(found: Snapshot) -> Iterator[Metric]:
    operations = CounterMetricFamily(
        "provisioner_operations", "Operations that ended.", labels=["target", "kind", "outcome"]
    )
    for labels, count in found.ended.items():
        operations.add_metric(list(labels), count)
    yield operations
    requests = CounterMetricFamily("provisioner_requests", "HTTP requests sent to a target.", labels=["target"])
    limited = CounterMetricFamily("provisioner_limited", "Answers of 429 from a target.", labels=["target"])
    for target in found.targets:
        requests.add_metric([target], found.requests.get(target, 0))
        limited.add_metric([target], found.limited.get(target, 0))
    yield requests
    yield limited


def _runs(found: Snapshot) -> Iterator[Metric]:
    runs = CounterMetricFamily("provisioner_runs", "Runs by the status with which they ended.", labels=["status"])
    for status, count in found.runs.items():
        runs.add_metric([status], count)
    yield runs
    moments = {
        "provisioner_last_run_timestamp_seconds": ("When a run last ended.", found.last_run),
        "provisioner_last_run_duration_seconds": ("How long it took.", found.last_length),
        "provisioner_last_success_timestamp_seconds": ("When a run last succeeded.", found.last_success),
        "provisioner_beat_age_seconds": ("Since beat last ticked.", found.vitals.signs.beat),
        "provisioner_worker_age_seconds": ("Since a worker last answered.", found.vitals.signs.worker),
        "provisioner_tick_age_seconds": ("Since a worker last carried out a tick.", found.vitals.signs.tick),
        "provisioner_leaver_promise_seconds": ("Within this time a leaver is to be finished.", found.leaver_promise),
        "provisioner_roster_age_seconds": ("Since the last believed roster was written.", found.roster_age),
    }
    for name, (meaning, figure) in moments.items():
        if figure is not None:
            yield GaugeMetricFamily(name, meaning, value=figure)
    yield GaugeMetricFamily("provisioner_workers", "Workers that answer.", value=found.vitals.alive)
    silent = GaugeMetricFamily(
        "provisioner_process_silent", "1 while a process that is needed does nothing.", labels=["process"]
    )
    for one in (found.vitals.beat, found.vitals.worker):
        silent.add_metric([one.process], int(one.verdict == "fail"))
    yield silent
    if found.memory is not None:
        used, limit = found.memory
        yield GaugeMetricFamily("provisioner_redis_memory_bytes", "Memory that Redis has taken.", value=used)
        yield GaugeMetricFamily("provisioner_redis_memory_limit_bytes", "How much it may take.", value=limit)
    faults = GaugeMetricFamily("provisioner_work_faults", "Unexpected failures in a row.", labels=["work"])
    for work, count in found.faults.items():
        faults.add_metric([work], count)
    yield faults
    verdicts = GaugeMetricFamily("provisioner_roster_verdict", "1 for the verdict on the newest.", labels=["verdict"])
    for verdict in ("clean", "accepted", "degraded", "rejected"):
        verdicts.add_metric([verdict], int(found.verdict == verdict))
    yield verdicts
    rows = GaugeMetricFamily("provisioner_roster_rows", "Rows of the newest roster.", labels=["what"])
    for what, count in found.roster.items():
        rows.add_metric([what], count)
    yield rows


def _targets(targets: Mapping[str, TargetFigures]) -> Iterator[Metric]:
    backlog = GaugeMetricFamily("provisioner_backlog", "Operations on their way.", labels=["target", "state"])
    states = GaugeMetricFamily("provisioner_target_stopped", "1 while nothing is written.", labels=["target", "why"])
    links = GaugeMetricFamily("provisioner_links", "Accounts that belong to a person.", labels=["target"])
    leavers = GaugeMetricFamily("provisioner_leavers_unfinished", "Leavers who still have access.", labels=["target"])
    oldest = GaugeMetricFamily("provisioner_leaver_age_seconds", "Age of the oldest of them.", labels=["target"])
    held = GaugeMetricFamily("provisioner_held", "Operations that wait for approval.", labels=["target", "kind"])
    blocked = GaugeMetricFamily("provisioner_pace_blocked_seconds", "Until requests may go on.", labels=["target"])
    used = GaugeMetricFamily("provisioner_pace_used", "Slots taken in a window.", labels=["target", "window"])
    limit = GaugeMetricFamily("provisioner_pace_limit", "Slots in a window.", labels=["target", "window"])
    for name, one in targets.items():
        backlog.add_metric([name, "ready"], one.backlog.ready)
        backlog.add_metric([name, "sending"], one.backlog.leased)
        backlog.add_metric([name, "waiting"], one.parked)
        states.add_metric([name, "paused"], int(one.health.paused))
        states.add_metric([name, "quarantined"], int(one.health.quarantined and not one.health.unreachable))
        states.add_metric([name, "unreachable"], int(one.health.quarantined and one.health.unreachable))
        links.add_metric([name], one.links)
        leavers.add_metric([name], one.leavers)
        oldest.add_metric([name], one.oldest_leaver)
        for kind in Kind:
            held.add_metric([name, kind.value], one.held.get(kind.value, 0))
        blocked.add_metric([name], one.pace.blocked)
        for window in one.pace.windows:
            used.add_metric([name, f"{window.seconds:g}s"], window.used)
            limit.add_metric([name, f"{window.seconds:g}s"], window.limit)
    yield from (backlog, states, links, leavers, oldest, held, blocked, used, limit)
