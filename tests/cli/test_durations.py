"""What `check` says of how long runs will take."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calling import call

SETTINGS = """
redis_url: redis://127.0.0.1:1/0
roster: {{url: roster.csv, key: id, employed: "status = 'active'"}}
schedule: {{sync: "{sync}"}}
targets:
  habitate:
    base_url: http://127.0.0.1:1
    allow_http: true
    username: provisioner
    api_key: k
    rate_limit: {rate}
    scope: "id <> 'E0'"
    match: [email]
    attributes: {{email: id || '@example.com', username: id, first_name: id, last_name: id}}
    leaver: {{role: "'Guest'"}}
"""


@pytest.mark.parametrize(
    ("sync", "rate", "verdict", "facts"),
    [
        ("*/30 * * * *", "120/minute", "ok", "less than a minute, a first load about 16 min, the run after it about"),
        ("*/30 * * * *", "10/hour", "warn", "about 4.0 h, a first load about 200.0 h"),
        ("0 3 * * *", "10/hour", "ok", "about 4.0 h"),
    ],
)
def test_check_foretells_how_long_runs_take_and_whether_the_schedule_leaves_them_the_time(
    sync: str, rate: str, verdict: str, facts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"E{number},active" for number in range(2001)]
    Path("roster.csv").write_text("\n".join(["id,status", *rows, "G,left", ""]), encoding="utf-8")
    Path("settings.yaml").write_text(SETTINGS.format(sync=sync, rate=rate), encoding="utf-8")
    lines = call("--config", "settings.yaml", "check", "--json").document["checks"]
    (found,) = [line for line in lines if line["subject"] == "durations"]
    assert found["verdict"] == verdict
    assert found["message"].startswith(f"habitate, 2000 people at {rate}: an unchanged run takes ")
    assert facts in found["message"]
    assert ("schedule.sync" in found["message"]) == (verdict == "warn")
