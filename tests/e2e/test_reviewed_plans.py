"""A plan that is written, reviewed and applied by the commands, with a worker that really runs."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.site import ROOT, Site, with_worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def markdown(site: Site) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "provisioner", "plan", "--markdown"],
        cwd=ROOT,
        env=site.environment,
        capture_output=True,
        timeout=60,
    )
    return done.stdout.decode()


def test_a_plan_is_written_reviewed_and_applied(tmp_path: Path) -> None:
    with with_worker(tmp_path) as site:
        site.call("sync", "--wait")
        site.write("day_two.csv")
        file = tmp_path / "plan.json"
        site.forget_requests()
        said = site.call("plan", "--out", str(file))
        text = file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        plan = json.loads(text)
        assert said["digest"] == plan["digest"]
        assert {one["id"] for one in plan["operations"]} == {one["id"] for one in said["operations"]}
        site.call("plan", "--out", str(file))
        assert file.read_text() == text
        shown = markdown(site)
        assert shown.startswith(f"### Plan: {len(plan['operations'])} operations")
        assert f"`provisioner sync --plan {plan['digest']} --wait`" in shown
        assert set(site.writes().values()) == {0}

        file.write_text(text.replace(plan["operations"][0]["person"], "W99999", 1))
        refused = site.call("sync", "--plan", str(file), "--wait", code=2)
        assert "was changed since it was written" in refused["error"]["message"]
        assert set(site.writes().values()) == {0}

        file.write_text(text)
        document = site.call("sync", "--plan", str(file), "--wait")
        assert document["reviewed"] == plan["digest"]
        assert document["left_out"] == []
        assert site.wrong("day_two.csv") == []

        site.forget_requests()
        again = site.call("sync", "--plan", plan["digest"], "--wait", code=4)
        assert len(again["left_out"]) == len(plan["operations"])
        assert site.call("show", again["run"])["left_out"] == again["left_out"]
        assert set(site.writes().values()) == {0}
        unknown = site.call("sync", "--plan", f"sha256:{'0' * 64}", code=2)
        assert "No plan" in unknown["error"]["message"]
        both = site.call("sync", "--plan", str(file), "--target", "traitly", code=2)
        assert both["error"]["code"] == "usage"
