"""How long runs will take at the configured rates, and whether the schedule leaves them that time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import polars as pl

from provisioner.errors import ConfigurationError
from provisioner.model.check_result import Line
from provisioner.planning.compiled import compile_target
from provisioner.planning.desired import MEMBER, STANDING, standings
from provisioner.planning.spec import TargetSpec
from provisioner.progress.vitals import ago
from provisioner.runs.estimate import UsualDurations, usual_durations
from provisioner.settings import Cron, Settings
from provisioner.targets.base import Target
from provisioner.targets.capabilities import Incremental

#: Times of a schedule that are looked at; the shortest time between two of them counts.
_TIMES: Final = 50


def durations(
    settings: Settings, specs: Mapping[str, TargetSpec], targets: Mapping[str, Target[Any]], people: pl.DataFrame
) -> list[Line]:
    """One line for each target that can say how it lists.

    Args:
        people: the roster's people, as the next run would read them.
    """
    now = datetime.now(UTC)
    lines: list[Line] = []
    for name, target in targets.items():
        try:
            found = standings(compile_target(specs[name], people.columns), people)
        except ConfigurationError:
            # What is wrong with its expressions is said where they are tried
            continue
        members = int((found[STANDING] == MEMBER).sum())
        usual = usual_durations(target, settings.targets[name].rate_limit, members)
        if usual is not None:
            lines.append(_line(name, target, settings, members, usual, now))
    return lines


def _line(
    name: str, target: Target[Any], settings: Settings, members: int, usual: UsualDurations, now: datetime
) -> Line:
    rates = " and ".join(str(rate) for rate in settings.targets[name].rate_limit)
    facts = (
        f"{name}, {members} people at {rates}: an unchanged run takes {_about(usual.unchanged)}, a first load "
        f"{_about(usual.first_load)}, the run after it {_about(usual.after_load)}."
    )
    # Between full runs such a target shows only what changed
    times = settings.schedule
    path, cron = ("schedule.full", times.full) if isinstance(target, Incremental) else ("schedule.sync", times.sync)
    between = _shortest(cron, settings, now)
    if between is None or usual.unchanged <= between:
        return Line("durations", "ok", facts)
    return Line(
        "durations",
        "warn",
        f"{facts} {path} begins one every {ago(between)}, so runs wait for each other.",
        f"Let {path} begin fewer; or raise targets.{name}.rate_limit, if the vendor allows more.",
    )


def _about(seconds: float) -> str:
    if seconds < 60:
        return "less than a minute"
    if seconds < 2 * 3600:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"


def _shortest(cron: Cron | None, settings: Settings, now: datetime) -> float | None:
    """Seconds between the two nearest times of a schedule, None if it has no two."""
    if cron is None:
        return None
    times = list(_times(cron, settings, now))
    return min(((later - one).total_seconds() for one, later in pairwise(times)), default=None)


def _times(cron: Cron, settings: Settings, now: datetime) -> Iterator[datetime]:
    moment: datetime | None = now
    for _ in range(_TIMES):
        moment = cron.next(moment, settings.zone) if moment is not None else None
        if moment is None:
            return
        yield moment.astimezone(UTC)
