"""What the overview shows. However large a run is, it reads the same few figures of each target."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from provisioner.model.run_document import RosterDocument, RunDocument, RunPart
from provisioner.progress.metrics import verdict_on
from provisioner.progress.vitals import Vitals, vitals
from provisioner.runs.estimate import finish_estimate
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.settings.cron import next_time
from provisioner.store.runs.figures import FigureStore
from provisioner.store.runs.target_health import Health

#: Days of the chart.
DAYS: Final = 14
_RUNS: Final = 8


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target: `state` in a word, `backlog` operations on their way, `finish` in seconds (None while it is stopped),
    `part` of the newest run that planned it, `oldest` the longest unfinished leaver as (person, seconds)."""

    name: str
    kind: str
    enabled: bool
    state: str
    health: Health
    backlog: int
    finish: float | None
    run: str | None
    part: RunPart | None
    leavers: int
    oldest: tuple[str, float] | None


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of the chart, its parts in the units of the drawing, from the bottom up."""

    day: str
    done: int
    failed: int
    x: int
    done_y: float
    done_height: float
    failed_y: float
    failed_height: float


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it."""

    now: float
    targets: tuple[TargetView, ...]
    runs: tuple[RunDocument, ...]
    bars: tuple[Bar, ...]
    most: int
    next_run: str | None
    roster: RosterDocument | None
    verdict: str | None
    promise: float
    vitals: Vitals


async def look(dep: Deployment) -> Overview:
    """Look once.

    Raises:
        StoreError: Redis does not answer.
    """
    now = await dep.clock.now()
    documents = [await dep.runs.document(run) for run in await dep.runs.recent(_RUNS)]
    runs = tuple(one for one in documents if one is not None)
    newest = next((one for one in runs if one["roster"]), None)
    read = newest["roster"] if newest else None
    schedule = dep.settings.schedule
    upcoming = next_time((schedule.sync, schedule.full), datetime.fromtimestamp(now, UTC), dep.settings.zone)
    bars, most = await chart(dep.figures, dep.settings, now)
    return Overview(
        now=now,
        targets=tuple([await _target(dep, name, now) for name in dep.settings.targets]),
        runs=runs,
        bars=bars,
        most=most,
        next_run=upcoming.isoformat() if upcoming else None,
        roster=read,
        verdict=verdict_on(read, newest["status"]) if newest and read else None,
        promise=dep.settings.slo.leaver.total_seconds(),
        vitals=await vitals(dep.heartbeats, dep.settings),
    )


async def _target(dep: Deployment, name: str, now: float) -> TargetView:
    enabled = dep.enabled(name)
    health = await dep.health.of(name)
    plan = await dep.health.list(name, "plan")
    document = await dep.runs.document(plan[0]) if plan else None
    left = await dep.figures.left(name)
    backlog = await dep.queue.backlog(name)
    part = document["targets"].get(name) if document else None
    state = "disabled" if not enabled else health.status or "healthy"
    if state == "healthy" and part and part["status"] in ("failed", "held"):
        state = str(part["status"])
    return TargetView(
        name=name,
        kind=dep.settings.targets[name].kind,
        enabled=enabled,
        state=state,
        health=health,
        backlog=backlog.ready + backlog.leased + left.parked,
        finish=await finish_estimate(dep, name) if enabled else None,
        run=plan[0] if plan else None,
        part=part,
        leavers=left.leavers,
        oldest=(left.oldest[0], max(0.0, now - left.oldest[1])) if left.oldest else None,
    )


#: The drawing's measures.
_STEP: Final = 22
_TOP: Final = 64.0


async def chart(figures: FigureStore, settings: Settings, now: float) -> tuple[tuple[Bar, ...], int]:
    """Changes per day in the organisation's time, and the most on one day."""
    today = datetime.fromtimestamp(now, settings.zone).date()
    days = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    first = int(now // 86400) - DAYS
    counts = {day: {"succeeded": 0, "failed": 0} for day in days}
    for begins, status, count in await figures.hours(first, DAYS + 2):
        local = datetime.fromtimestamp(begins, settings.zone).date()
        if local in counts and status in counts[local]:
            counts[local][status] += count
    most = max((sum(found.values()) for found in counts.values()), default=0)
    bars = []
    for place, (day_, found) in enumerate(counts.items()):
        done, failed = (found[name] * _TOP / most if most else 0.0 for name in ("succeeded", "failed"))
        bars.append(
            Bar(
                day=f"{day_:%a %d %b}",
                done=found["succeeded"],
                failed=found["failed"],
                x=place * _STEP,
                done_y=round(_TOP - done, 1),
                done_height=round(done, 1),
                failed_y=round(_TOP - done - failed, 1),
                failed_height=round(failed, 1),
            )
        )
    return tuple(bars), most
