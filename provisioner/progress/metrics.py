"""Figures for Prometheus, computed from Redis when asked, so that they are right with any number of processes."""

from __future__ import annotations

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
from provisioner.store.runs.counters import counts
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
    now = await dep.clock.now()
    moments: dict[str, float] = {}
    if first:
        started = await dep.runs.get(run, "started")
        moments |= {"last": now, "length": now - float(started or now)}
    if status == "succeeded":
        moments["succeeded"] = now
    await dep.figures.note_end(status, counts=first, moments=moments)


async def take(dep: Deployment) -> Snapshot:
    """Look once.

    Raises:
        StoreError: Redis does not answer.
    """
    now = await dep.clock.now()
    figures = await dep.figures.deployed()
    ended = figures.ended
    verdict, roster = await newest_roster(dep)
    targets = {name: await _target(dep, name, now) for name in dep.targets}
    faults = {f"deliver:{name}": one.health.fault for name, one in targets.items() if one.health.fault.count}
    faults |= await dep.faults.standing()
    return Snapshot(
        now=now,
        ended=ended.operations,
        requests=ended.requests,
        limited=ended.limited,
        runs=ended.runs,
        last_run=ended.last,
        last_length=ended.length,
        last_success=ended.succeeded,
        vitals=await vitals(dep.heartbeats, dep.settings),
        verdict=verdict,
        roster=roster,
        leaver_promise=dep.settings.slo.leaver.total_seconds(),
        targets=targets,
        roster_age=max(0.0, now - figures.written) if figures.written else None,
        memory=figures.memory,
        faults={work: fault.count for work, fault in faults.items()},
    )


async def _target(dep: Deployment, target: str, now: float) -> TargetFigures:
    plan = await dep.health.list(target, "plan")
    left = await dep.figures.left(target)
    return TargetFigures(
        health=await dep.health.of(target),
        backlog=await dep.queue.backlog(target),
        parked=left.parked,
        pace=await dep.pace_of(target).status(),
        links=await dep.ledger.size(target),
        leavers=left.leavers,
        oldest_leaver=max(0.0, now - left.oldest[1]) if left.oldest else 0.0,
        held=counts(await dep.runs.target(plan[0], target), "held") if plan else {},
    )


async def newest_roster(dep: Deployment) -> tuple[str | None, dict[str, int]]:
    """The verdict on the newest roster that a run about everybody read, and its figures; None if there is none."""
    for read in await dep.figures.rosters(await dep.runs.recent(_LOOKED_AT)):
        if read.read and not read.people:
            figures = {name: int(read.document.get(name) or 0) for name in ("rows", "people", "rejected")}
            return verdict_on(read.document, read.status), figures
    return None, {}


def verdict_on(roster: Mapping[str, Any], status: str) -> str:
    """The gate's verdict, from a run's document: clean, degraded, accepted (degraded, and let pass) or rejected."""
    if status == "rejected":
        return "rejected"
    if not roster.get("degraded"):
        return "clean"
    return "accepted" if roster.get("accepted") else "degraded"


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
