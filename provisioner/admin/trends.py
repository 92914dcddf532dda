"""How the last weeks went: runs, failures, what was held, and how long leavers took. Reads what retention keeps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Final

from provisioner.model.trends import TrendDay, Trends
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.people.receipts import Receipt

#: Days that are looked at.
DAYS: Final = 90
#: Of the runs and of the receipts of these days, so many of the newest are looked at.
MOST_RUNS: Final = 5000
MOST_RECEIPTS: Final = 5000
_DAY: Final = 86_400


async def trends(dep: Deployment) -> Trends:
    """The last `DAYS` days, today included.

    Raises:
        StoreError: Redis does not answer.
    """
    zone = dep.settings.zone
    now = await dep.clock.now()
    today = datetime.fromtimestamp(now, zone).date()
    first = today - timedelta(days=DAYS - 1)
    begins = datetime(first.year, first.month, first.day, tzinfo=zone).timestamp()
    days: dict[date, TrendDay] = {
        day: {"day": day.isoformat(), "runs": {}, "held": 0, "done": 0, "failed": 0, "leavers": []}
        for day in (first + timedelta(days=number) for number in range(DAYS))
    }
    for hour, status, count in await dep.figures.hours(int(begins // _DAY), DAYS + 2):
        found = days.get(datetime.fromtimestamp(hour, zone).date())
        if found is not None and status == "succeeded":
            found["done"] += count
        elif found is not None and status == "failed":
            found["failed"] += count
    ended = await dep.figures.began_since(begins, MOST_RUNS)
    for run in ended:
        found = days.get(datetime.fromtimestamp(run.started, zone).date())
        if found is not None:
            found["runs"][run.status] = found["runs"].get(run.status, 0) + 1
            found["held"] += run.held
    receipts = await dep.receipts.changed_since(begins, MOST_RECEIPTS, dep.targets)
    for finished, took in _times(receipts):
        found = days.get(datetime.fromtimestamp(finished, zone).date())
        if found is not None:
            found["leavers"].append(took)
    for found in days.values():
        found["leavers"].sort()
    oldest = min((run.started for run in ended), default=begins)
    last = min((_last(one) for one in receipts.values()), default=begins)
    return {
        "days": list(days.values()),
        "promise": dep.settings.slo.leaver.total_seconds(),
        "runs_since": _day(dep.settings, oldest) if len(ended) >= MOST_RUNS else None,
        "leavers_since": _day(dep.settings, last) if len(receipts) >= MOST_RECEIPTS else None,
    }


def _times(receipts: Mapping[str, Receipt]) -> list[tuple[float, float]]:
    """Of each leaver who is finished, when that was (epoch seconds), and how many seconds it took."""
    done = [one for one in receipts.values() if one.leaves and not one.unfinished]
    return [(_last(one), max(0.0, _last(one) - min(leave.since for leave in one.leaves.values()))) for one in done]


def _last(receipt: Receipt) -> float:
    return max((leave.at for leave in receipt.leaves.values()), default=0.0)


def _day(settings: Settings, moment: float) -> str:
    return datetime.fromtimestamp(moment, settings.zone).date().isoformat()
