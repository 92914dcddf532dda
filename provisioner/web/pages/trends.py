"""The page of the last 90 days: runs, failures, what was held, and how long leavers took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from provisioner.admin.trends import trends
from provisioner.model.trends import TrendDay
from provisioner.web.auth.access import SignedIn
from provisioner.web.rendering import render, span
from provisioner.web.web_context import Deployed

router = APIRouter()
#: The drawing's measures: each day's place, the bar's width within it, and the height of the highest.
STEP: Final = 10
_HEIGHT: Final = 80.0
#: Statuses of runs that are drawn as failed.
_BROKEN: Final = ("failed", "rejected")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a bar, in the units of the drawing; `name` is what it stands for, and its class."""

    name: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of a chart, its parts from the bottom up, and what it says in words."""

    x: int
    said: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: `most` is what its highest bar stands for; `limit` where a line is drawn, if it is within the chart."""

    name: str
    bars: tuple[Bar, ...]
    most: float
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Week:
    """Seven days in figures; `usual` and `longest` are seconds that leavers took, `late` how many took too long."""

    begins: str
    runs: int
    failed_runs: int
    held: int
    done: int
    failed: int
    leavers: int
    usual: float | None
    longest: float | None
    late: int


@router.get("/trends")
async def page(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """All of it, drawn and as a table."""
    del session
    found = await trends(dep)
    days, promise = found["days"], found["promise"]
    return render(
        request,
        "trends.html",
        found=found,
        runs=_chart("Runs a day", days, [_runs(day) for day in days]),
        changes=_chart("Changes a day", days, [{"done": day["done"], "failed": day["failed"]} for day in days]),
        leavers=_leavers(days, promise),
        weeks=weeks(days, promise),
        width=STEP * len(days),
        height=_HEIGHT,
    )


def _runs(day: TrendDay) -> dict[str, int]:
    broken = sum(day["runs"].get(status, 0) for status in _BROKEN)
    everything = sum(day["runs"].values())
    held = min(day["held"], everything - broken)
    return {"done": everything - broken - held, "held": held, "failed": broken}


def _chart(name: str, days: Sequence[TrendDay], rows: Sequence[dict[str, int]]) -> Chart:
    most = max((sum(row.values()) for row in rows), default=0)
    bars = []
    for place, (day, row) in enumerate(zip(days, rows, strict=True)):
        parts, top = [], _HEIGHT
        for part, count in row.items():
            height = round(count * _HEIGHT / most, 1) if most else 0.0
            top -= height
            if count:
                parts.append(Part(part, round(top, 1), height))
        said = ", ".join(f"{count} {part}" for part, count in row.items() if count) or "none"
        bars.append(Bar(place * STEP, f"{date.fromisoformat(day['day']):%a %d %b}: {said}", tuple(parts)))
    return Chart(name, tuple(bars), most)


def _leavers(days: Sequence[TrendDay], promise: float) -> Chart:
    """The leaver who took longest, of each day on which one was finished."""
    longest = [day["leavers"][-1] if day["leavers"] else None for day in days]
    most = max((one for one in longest if one is not None), default=0.0)
    bars = []
    for place, (day, took) in enumerate(zip(days, longest, strict=True)):
        name = f"{date.fromisoformat(day['day']):%a %d %b}"
        if took is None:
            bars.append(Bar(place * STEP, f"{name}: none", ()))
            continue
        # Somebody who took no time at all is seen as well
        height = max(1.5, round(took * _HEIGHT / most, 1)) if most else 1.5
        part = Part("failed" if took > promise else "done", round(_HEIGHT - height, 1), height)
        said = f"{name}: {len(day['leavers'])} finished, the longest after {span(took)}"
        bars.append(Bar(place * STEP, said, (part,)))
    limit = round(_HEIGHT - promise * _HEIGHT / most, 1) if most > promise else None
    return Chart("Leavers' time to done", tuple(bars), most, limit)


def weeks(days: Sequence[TrendDay], promise: float) -> list[Week]:
    """The days in sevens, the newest first; the oldest may have fewer."""
    found = []
    for end in range(len(days), 0, -7):
        some = days[max(0, end - 7) : end]
        times = sorted(took for day in some for took in day["leavers"])
        found.append(
            Week(
                begins=some[0]["day"],
                runs=sum(sum(day["runs"].values()) for day in some),
                failed_runs=sum(day["runs"].get(status, 0) for day in some for status in _BROKEN),
                held=sum(day["held"] for day in some),
                done=sum(day["done"] for day in some),
                failed=sum(day["failed"] for day in some),
                leavers=len(times),
                usual=median(times) if times else None,
                longest=times[-1] if times else None,
                late=sum(took > promise for took in times),
            )
        )
    return found
