"""`why`: what happened to a person in every kept run, each try and answer, and the webhooks about them."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from provisioner.admin.erase import forget
from provisioner.admin.person_report import story
from provisioner.cli.render import person_history
from provisioner.events import process
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.targets.capabilities import read_event
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio
ONLY = ("tribal_habits", "traitly")
COMPLETED = {
    "event": "enrolment_completed",
    "enrolment_id": 7,
    "enrolment_data": {
        "user_name": "W0002",
        "email": "p2@example.com",
        "progress": 100,
        "status": "completed",
        "knowledge_type": "topic",
        "knowledge_id": 77,
        "knowledge_title": "Safety",
    },
}


async def tell(dep: Deployment) -> None:
    """A webhook comes twice, and is handled."""
    event = read_event(dep.targets["tribal_habits"], COMPLETED)
    for _ in range(2):
        await dep.inbound.accept(
            "tribal_habits", digest=event.digest, event=event.name, known=event.known, body=json.dumps(COMPLETED)
        )
    await process.work(dep)
    await drain(dep)


async def test_every_run_tells_what_was_wanted_tried_and_answered(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(5))
        first = await sync_once(dep)
        await sync_once(dep)
        await tell(dep)
        switchboard.fault("traitly", match={"method": "POST"}, times=1, status=503, body={"message": "come back"})
        roster.write_text(company(5, changes={2: {"last_name": "Anew"}}))
        second = await sync_once(dep)
        await drain(dep, within=10)
        found = await story(dep, "W0002")
        assert set(found["runs"]) >= {first["run"], second["run"]}, "a run that had nothing to do is not among them"
        assert found["runs"][second["run"]]["trigger"] == "manual"
        update = next(one for one in found["operations"] if one["run"] == second["run"] and one["target"] == "traitly")
        assert update["after"] == {"name": "First2 Anew"}
        assert [(one["attempt"], one["code"]) for one in update["tries"]] == [(1, "unavailable")]
        assert update["attempts"] == 2
        assert [(one["target"], one["event"], one["own"]) for one in found["heard"]] == [
            ("tribal_habits", "enrolment_completed", False)
        ]
        text = StringIO()
        person_history.timeline(Console(file=text, width=200), found, ZoneInfo("UTC"))
        told = text.getvalue()
        assert told.index(second["run"]) < told.index("webhook of tribal_habits: enrolment_completed")
        assert told.index("webhook of tribal_habits") < told.index(first["run"])
        assert "    wanted: name: First2 Last2 → First2 Anew" in told
        assert "try 1 at" in told
        assert "come back" in told
        assert "answer (try 2): acknowledged by the target, account W0002" in told


async def test_nothing_of_it_is_left_of_whoever_is_forgotten(opened: Opened, roster: Path) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(5))
        await sync_once(dep)
        await tell(dep)
        count, seconds = RedisContents(dep).person_events("W0002")
        assert count == 1
        assert 0 < seconds <= dep.settings.retention.runs.total_seconds()
        await forget(dep, "W0002", by="test")
        assert RedisContents(dep).person_events("W0002")[0] == 0


async def test_a_leaver_s_receipt_is_told(opened: Opened, roster: Path) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        roster.write_text(company(20, gone=(2,)))
        await sync_once(dep)
        text = StringIO()
        out = Console(file=text, width=200)
        found = await story(dep, "W0002")
        person_history.receipt(out, found["receipt"], ZoneInfo("UTC"))
        person_history.receipt(out, (await story(dep, "W0003"))["receipt"], ZoneInfo("UTC"))
        told = text.getvalue()
        assert told.count("Leaver, asked for since") == 1
        assert "finished" in told
        assert "not finished" not in told
        roster.write_text(company(20, gone=(2, 3, 4, 5)))
        await sync_once(dep)
        person_history.receipt(out, (await story(dep, "W0003"))["receipt"], ZoneInfo("UTC"))
        assert "not finished: accounts below that are not done still exist" in text.getvalue()
