"""Writes deploy/grafana/provisioner.json from the panels below; the figures are those of `/metrics`.

::

    python scripts/make_dashboard.py            write the file
    python scripts/make_dashboard.py --check    exit with 1 if it is not current
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).parents[1] / "deploy" / "grafana" / "provisioner.json"
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24


@dataclass(frozen=True, slots=True)
class Line:
    """One query, and how its series are named in the legend."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: `width` and `height` in Grafana's grid, which is 24 wide; `warn` and `alarm` colour the figure."""

    title: str
    meaning: str
    lines: tuple[Line, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    warn: float | None = None
    alarm: float | None = None


#: Every web process tells the same figures, so the largest of them is taken.
PANELS: Final = (
    Panel(
        "Oldest leaver",
        "Since when the leaver who waits longest has been planned; the promise is slo.leaver.",
        (Line("max(provisioner_leaver_age_seconds)", "age"),),
        kind="stat",
        unit="s",
        width=4,
        height=5,
        warn=1800,
        alarm=3600,
    ),
    Panel(
        "Leavers with access",
        "People whose leave is planned and not finished.",
        (Line("sum(max by (target) (provisioner_leavers_unfinished))", "people"),),
        kind="stat",
        width=4,
        height=5,
        warn=1,
    ),
    Panel(
        "Held",
        "Operations that wait for approval.",
        (Line("sum(max by (target, kind) (provisioner_held))", "operations"),),
        kind="stat",
        width=4,
        height=5,
        warn=1,
    ),
    Panel(
        "Stopped targets",
        "Targets that are paused, in quarantine or cannot be reached.",
        (Line("sum(max by (target, why) (provisioner_target_stopped))", "targets"),),
        kind="stat",
        width=4,
        height=5,
        warn=1,
        alarm=2,
    ),
    Panel(
        "Roster age",
        "Since the last believed roster was written.",
        (Line("min(provisioner_roster_age_seconds)", "age"),),
        kind="stat",
        unit="s",
        width=4,
        height=5,
        warn=2 * 86400,
        alarm=3 * 86400,
    ),
    Panel(
        "Last success",
        "Since a run last succeeded.",
        (Line("time() - max(provisioner_last_success_timestamp_seconds)", "ago"),),
        kind="stat",
        unit="s",
        width=4,
        height=5,
        warn=6 * 3600,
        alarm=86400,
    ),
    Panel(
        "Backlog",
        "Operations on their way, by target and state.",
        (Line("max by (target, state) (provisioner_backlog)", "{{target}} {{state}}"),),
    ),
    Panel(
        "Operations",
        "Operations that ended, by outcome.",
        (
            Line(
                "sum by (outcome) (max by (target, kind, outcome) "
                "(increase(provisioner_operations_total[$__rate_interval])))",
                "{{outcome}}",
            ),
        ),
    ),
    Panel(
        "Changes",
        "Operations that succeeded, by kind.",
        (
            Line(
                "sum by (kind) (max by (target, kind) "
                '(increase(provisioner_operations_total{outcome="succeeded"}[$__rate_interval])))',
                "{{kind}}",
            ),
        ),
    ),
    Panel(
        "Age of the oldest leaver",
        "By target.",
        (
            Line("max by (target) (provisioner_leaver_age_seconds)", "{{target}}"),
            Line("max(provisioner_leaver_promise_seconds)", "promise"),
        ),
        unit="s",
    ),
    Panel(
        "Requests",
        "HTTP requests a second, by target.",
        (Line("max by (target) (rate(provisioner_requests_total[$__rate_interval]))", "{{target}}"),),
        unit="reqps",
    ),
    Panel(
        "Use of the rate limit",
        "Slots taken, as a share of the limit in force.",
        (Line("max by (target, window) (provisioner_pace_used / provisioner_pace_limit)", "{{target}} {{window}}"),),
        unit="percentunit",
    ),
    Panel(
        "Answers of 429",
        "Within an hour, by target; none is expected.",
        (Line("max by (target) (increase(provisioner_limited_total[1h]))", "{{target}}"),),
    ),
    Panel(
        "Links",
        "Accounts that belong to a person, by target.",
        (Line("max by (target) (provisioner_links)", "{{target}}"),),
    ),
    Panel(
        "Roster",
        "Rows, people and rejected rows of the newest roster.",
        (Line("max by (what) (provisioner_roster_rows)", "{{what}}"),),
    ),
    Panel(
        "Runs",
        "Runs that ended, by status.",
        (Line("max by (status) (increase(provisioner_runs_total[$__rate_interval]))", "{{status}}"),),
    ),
    Panel(
        "Length of a run",
        "Of the run that ended last.",
        (Line("max(provisioner_last_run_duration_seconds)", "length"),),
        unit="s",
    ),
    Panel(
        "Beat and workers",
        "Workers that answer, and seconds since beat ticked and since a worker carried out a tick.",
        (
            Line("max(provisioner_workers)", "workers"),
            Line("min(provisioner_beat_age_seconds)", "beat's tick"),
            Line("min(provisioner_tick_age_seconds)", "tick carried out"),
        ),
    ),
    Panel(
        "Redis",
        "How full it is.",
        (
            Line(
                "100 * max(provisioner_redis_memory_bytes) / max(provisioner_redis_memory_limit_bytes)",
                "percent of Redis's memory",
            ),
        ),
    ),
)


def dashboard(panels: Sequence[Panel] = PANELS) -> dict[str, Any]:
    """The dashboard as Grafana imports it; panels flow from left to right in rows as high as their highest one."""
    placed = []
    x = y = row = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > _WIDTH:
            x, y, row = 0, y + row, 0
        placed.append(_panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height}))
        x, row = x + panel.width, max(row, panel.height)
    return {
        "uid": "provisioner",
        "title": "provisioner",
        "tags": ["provisioner"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "annotations": {"list": []},
        "panels": placed,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.warn is not None:
        steps.append({"color": "orange", "value": panel.warn})
    if panel.alarm is not None:
        steps.append({"color": "red", "value": panel.alarm})
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.meaning,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _SOURCE,
                "expr": line.expression,
                "legendFormat": line.legend,
            }
            for place, line in enumerate(panel.lines)
        ],
    }


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description="Write the Grafana dashboard.")
    parser.add_argument("--check", action="store_true", help="only say whether the file is current")
    if parser.parse_args().check:
        if FILE.exists() and FILE.read_text(encoding="utf-8") == text():
            return 0
        print(f"{FILE.name} is not current: run scripts/make_dashboard.py", file=sys.stderr)
        return 1
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
