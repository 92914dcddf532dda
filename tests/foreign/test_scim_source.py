"""Our service of SCIM, judged by scim2-tester and driven by scim2-client, against real processes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.pushed import Pushed, pushed
from tests.foreign.environments import HERE, python_of
from tests.scim.conftest import TOKEN


def _said(it: Pushed, what: str) -> Any:
    """What the client of others says."""
    command = [python_of("scim_source"), HERE / "scim_client.py", what, it.url, TOKEN]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=800)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.mark.timeout(900)
def test_the_tester_finds_nothing_wrong(tmp_path: Path) -> None:
    # It pushes people without an externalId, and takes it away from others
    with pushed(tmp_path, only=("tribal_habits",), reading={"key": "COALESCE(employee_id, id)"}) as it:
        found = _said(it, "check")
    wrong = [one for one in found if one["status"] != "SUCCESS"]
    assert wrong == []
    assert len(found) > 100


def test_days_by_the_client(tmp_path: Path) -> None:
    # Twelve people, of whom three leave
    wide = {"leavers": {"percent": 100}}
    with pushed(tmp_path, guards=wide, reading={"gate": {"max_leaving": "100%"}}) as it:
        said = _said(it, "days")
        assert said == {"title": "Sales Manager", "listed": 11, "deactivated": False, "came_back": True}
        everybody = {f"E{number}" for number in range(12)}

        def done() -> bool:
            accounts = it.accounts()
            gone = {key for key, active in accounts.items() if not active}
            # Who was deleted before any run met them gets no account
            return everybody - {"E1", "E2"} <= set(accounts) <= everybody and gone == {"E1", "E2"} & set(accounts)

        it.come_to(done)
        run = it.site.call("sync", "--wait", "--timeout", "60s")
        assert (run["status"], run["roster"]["people"]) == ("succeeded", 12)
        assert done()
        before = it.site.writes()
        it.site.call("sync", "--wait", "--timeout", "60s")
        assert it.site.writes() == before
        roles = {one["user_name"]: one["role_1"] for one in it.site.switchboard.accounts("tribal_habits")}
        assert roles["E0"] == "Manager"
