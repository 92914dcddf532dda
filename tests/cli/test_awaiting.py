"""Commands that follow a run give a starting worker time, and do not wait for one that never comes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from provisioner.admin.decisions import Choice, decide_about
from tests.cli.calling import call
from tests.decisions.conftest import Opened, company, opened, roster, sandbox, switchboard
from tests.support.harness import sync_once

__all__ = ["opened", "roster", "sandbox", "switchboard"]


def test_an_approval_holds_though_no_worker_answers_who_would_follow_it(
    opened: Opened, roster: Path, tmp_path: Path
) -> None:
    roster.write_text(company(20))

    async def held() -> str:
        async with opened(only=("traitly",), guards={"leavers": {"percent": 10}}) as dep:
            await sync_once(dep)
            roster.write_text(company(20, gone=(0, 1, 2, 3, 4)))
            return str((await sync_once(dep))["run"])

    run = asyncio.run(held())
    answer = call("approve", run, "--all", "--wait", "--json", PROVISIONER_CONFIG=str(tmp_path / "provisioner.yaml"))
    assert answer.code == 1
    assert "waiting up to 15 s" in answer.err
    assert answer.document["error"]["code"] == "no_worker"
    assert "what was approved goes out when one does" in answer.document["error"]["message"]

    async def again() -> int:
        async with opened(only=("traitly",), guards={"leavers": {"percent": 10}}) as dep:
            decided = await decide_about(dep, run, "approved", Choice(None, None), by="test", reason="")
            assert len(decided.refused) in (0, 5)
            return (await dep.queue.backlog("traitly")).ready

    # It was decided all the same, and nothing is left to decide
    assert asyncio.run(again()) == 5
