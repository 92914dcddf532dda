"""Real processes: a roster that was pushed, one that somebody names over HTTP, and a secret inside a file."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from provisioner.example import ROSTER
from provisioner.example import content as example
from tests.e2e.site import ROOT, Site, deployment, eventually
from tests.support.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

OPERATOR, VIEWER = "operator-token-0123456789", "viewer-token-0123456789"
KEY = "sandbox-tribal-habits-key"
SCHEDULE = {"sync": "0 3 * * *", "full": None, "watch_roster": None}


class Web:
    """The web process of a deployment."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def ask(
        self, method: str, path: str, body: bytes | dict[str, Any] | None = None, *, token: str = OPERATOR
    ) -> tuple[int, str]:
        """Status and text of an answer."""
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        kind = "application/json" if isinstance(body, dict) else "application/octet-stream"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
        request = urllib.request.Request(self._base + path, content, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()
        except OSError:
            return 0, ""

    def finished(self, run: str) -> dict[str, Any]:
        """A run at its end."""

        def look() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(self.ask("GET", f"/api/runs/{run}", token=VIEWER)[1])
            return found if found["status"] != "running" else {}

        return eventually(look)

    def push(self, content: bytes) -> dict[str, Any]:
        """Push a roster; the run that reads it, at its end."""
        status, text = self.ask("PUT", "/api/roster", content)
        assert status == 202, text
        return self.finished(json.loads(text)["run"])


def checked(site: Site) -> dict[str, dict[str, Any]]:
    """The lines of `check`, in which no secret is."""
    done = subprocess.run(
        [sys.executable, "-m", "provisioner", "check", "--json"],
        cwd=ROOT,
        env=site.environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert KEY.encode() not in done.stdout + done.stderr
    return {line["subject"]: line for line in json.loads(done.stdout)["checks"]}


def test_sources(tmp_path: Path) -> None:
    folder = tmp_path / "named"
    folder.mkdir()
    port = free_port()
    web = {
        "port": port,
        "token": OPERATOR,
        "users": [{"name": "vera", "token": VIEWER, "role": "viewer"}],
        "rosters": [str(folder)],
    }
    with deployment(tmp_path, web=web, schedule=SCHEDULE) as site:
        page, worker = Web(port), site.start_worker()
        try:
            with site.running("web"):
                eventually(lambda: page.ask("GET", "/healthz")[0] == 200)
                _a_file_stays_in(site, page, folder)
                _a_push_is_dropped(site, page)
        finally:
            worker.stop()
        for log in tmp_path.glob("*.log"):
            assert KEY not in log.read_text(errors="replace"), log


def _a_file_stays_in(site: Site, page: Web, folder: Path) -> None:
    secret = site.folder / "api_key"
    secret.write_text(f"{KEY}\n")
    status, text = page.ask("POST", "/api/runs", {"roster": str(secret)})
    assert (status, json.loads(text)["code"]) == (422, "roster_not_allowed")

    # Allowed by a mistake, and shaped like a table; what the settings hold stays hidden even then
    leak = folder / "leak.csv"
    for content in (f"{KEY}\n", f"a,{KEY}\n1,2\n", f"employee_id,{KEY} x\n1,2\n"):
        leak.write_text(content)
        run = json.loads(page.ask("POST", "/api/runs", {"roster": str(leak)})[1])["run"]
        done = page.finished(run)
        assert (done["status"], KEY in json.dumps(done)) == ("rejected", False)
    (folder / "out.csv").symlink_to(secret)
    run = json.loads(page.ask("POST", "/api/runs", {"roster": str(folder / "out.csv")})[1])["run"]
    assert "web.rosters" in page.finished(run)["error"]["message"]
    audit = site.call("audit")["audit"]
    assert [one["roster"] for one in audit[:2]] == [str(folder / "out.csv"), str(leak)]

    # The key of a bad row is named, unless it is a secret
    site.roster.write_bytes(example(ROSTER) + f"{KEY},,,,,,,,,,,,\n{KEY},,,,,,,,,,,,\n".encode())
    lines = checked(site)
    assert lines["roster source"]["verdict"] == "ok"
    assert "[hidden]" in lines["roster"]["message"]
    site.write(ROSTER)


def _a_push_is_dropped(site: Site, page: Web) -> None:
    rejected = page.push(b"\0" * 4096)
    assert rejected["status"] == "rejected"
    assert "not kept" in rejected["error"]["message"]
    assert site.call("plan")["roster"]["source"]["kind"] == "url"

    good = page.push(example(ROSTER))
    assert good["roster"]["source"]["kind"] == "push"
    lines = checked(site)
    assert "roster --drop-push" in lines["roster source"]["message"]
    assert lines["roster"]["message"].startswith("the roster pushed at ")
    assert "pushed at" in page.ask("GET", f"/api/runs/{good['run']}")[1]
    # HR's file goes bad, and nobody reads it
    site.roster.write_bytes(b"\0" * 100)
    assert site.call("plan")["roster"]["source"] == good["roster"]["source"]
    dropped = site.call("roster", "--drop-push")
    assert (dropped["kind"], dropped["dropped"]) == ("url", good["roster"]["source"]["since"])
    assert site.call("audit")["audit"][0]["action"] == "push dropped"
    assert checked(site)["roster"]["verdict"] == "fail"
