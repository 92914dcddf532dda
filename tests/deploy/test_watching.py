"""Alerts, dashboard and runbook: about figures that there are, tried by Prometheus's own tool, none without advice."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from provisioner.cli.commands import COMMANDS
from provisioner.progress.metrics import registry, take
from provisioner.runtime.context import Deployment
from provisioner.settings import load
from tests.cli.calling import write_settings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ALERTS: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
RUNBOOK = (DEPLOY / "runbook.md").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "provisioner.json").read_text())
PROMTOOL = shutil.which("promtool")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))


def exported() -> set[str]:
    """The names under which figures are told; counters get their ending from the library."""
    source = (ROOT / "provisioner" / "progress" / "metrics.py").read_text(encoding="utf-8")
    names = set(re.findall(r'"(provisioner_[a-z_]+)"', source))
    counters = set(re.findall(r'CounterMetricFamily\(\s*"(provisioner_[a-z_]+)"', source))
    return (names - counters) | {f"{name}_total" for name in counters}


def used(expression: str) -> set[str]:
    return set(re.findall(r"\bprovisioner_[a-z_]+", expression))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_is_about_figures_that_there_are(alert: dict[str, Any]) -> None:
    assert used(alert["expr"]) <= exported()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_has_its_advice(alert: dict[str, Any]) -> None:
    section = SECTIONS[alert["alert"]]
    for part in ("**Means.**", "**Look at.**", "**Do.**"):
        assert part in section
    assert alert["annotations"]["runbook_url"] == f"runbook.md#{alert['alert'].lower()}"
    assert alert["labels"]["severity"] in ("critical", "warning")


def test_no_advice_is_about_nothing() -> None:
    assert set(SECTIONS) == {alert["alert"] for alert in ALERTS}


def test_the_runbook_names_commands_and_options_that_there_are() -> None:
    named = re.findall(r"`provisioner ([a-z]+)([^`]*)`", RUNBOOK)
    assert {name for name, _ in named} <= set(COMMANDS)
    assert len(named) > 20


def test_every_alert_is_tried_both_ways() -> None:
    tests = yaml.safe_load((DEPLOY / "prometheus" / "alerts.test.yaml").read_text())["tests"]
    tried = {test["name"] for test in tests}
    assert tried == {f"{alert['alert']} {how}" for alert in ALERTS for how in ("fires", "keeps still")}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize("words", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts.test.yaml")])
def test_prometheus_agrees(words: tuple[str, ...]) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *words], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_current() -> None:
    subprocess.run([sys.executable, str(ROOT / "scripts" / "make_dashboard.py"), "--check"], check=True)


def test_every_panel_shows_figures_that_there_are() -> None:
    for panel in DASHBOARD["panels"]:
        assert panel["description"]
        for line in panel["targets"]:
            assert used(line["expr"])
            assert used(line["expr"]) <= exported(), panel["title"]


def test_figures_that_nobody_else_asks_for_are_told(redis_url: str, tmp_path: Path) -> None:
    settings = load(write_settings(tmp_path, redis_url=redis_url), environ={}).settings

    async def told() -> str:
        async with Deployment.open(settings) as dep:
            await dep.frames.note_roster({"modified": await dep.clock.now() - 5000})
            return generate_latest(registry(await take(dep))).decode()

    figures = dict(line.rsplit(" ", 1) for line in asyncio.run(told()).splitlines() if not line.startswith("#"))
    assert 5000 <= float(figures["provisioner_roster_age_seconds"]) < 6000
    used_, limit = (float(figures[f"provisioner_redis_memory_{name}"]) for name in ("bytes", "limit_bytes"))
    assert 0 < used_ < limit


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        taken |= cells
