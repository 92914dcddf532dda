"""What a target reports of a person, as `why` says it."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from rich.console import Console

from provisioner.cli.render.facts_view import facts
from provisioner.model.event import Fact
from provisioner.model.person_report import AttributeReport, LinkDocument, difference_mark
from provisioner.runtime.context import Deployment
from provisioner.settings import load
from tests.cli.calling import call, write_settings
from tests.support.redis_contents import RedisContents


def _said(told: dict[str, str | None]) -> list[str]:
    out = io.StringIO()
    facts(Console(file=out, width=160), told)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_enrolments_stand_in_a_row_each_and_the_rest_beneath_each_other() -> None:
    said = _said(
        {
            "last_completed": "Safety at work",
            "likelihood": None,
            "title.topic.78": "Safety at work",
            "progress.topic.78": "completed",
            "completed.topic.78": "2024-04-09T09:39:32+10:00",
            "progress.pathway.22": "exploring",
            "due.pathway.22": "2024-05-01",
            "likelihood.30-day Conversion": "0.4",
        }
    )
    assert said == [
        "reported by the target value",
        "last_completed Safety at work",
        "likelihood.30-day Conversion 0.4",
        "enrolled in title progress completed due",
        "pathway 22 exploring 2024-05-01",
        "topic 78 Safety at work completed 2024-04-09T09:39:32+10:00",
    ]


def test_nothing_is_said_of_nothing() -> None:
    assert _said({}) == []
    assert _said({"likelihood": None}) == []


def test_why_tells_what_the_targets_told(tmp_path: Path, redis_url: str) -> None:
    config = write_settings(tmp_path, redis_url=redis_url)

    async def go() -> None:
        async with Deployment.open(load(config, environ={}).settings) as dep:
            told = Fact("next_actions.30-day", 1.0, {"next_action": "Style Widget", "next_actions_goal": "30-day"})
            await dep.inbound.keep_facts("traitly", "E1", [told], 1.0)
            link = {"account": "E1", "state": "active", "values": {}, "owed": {}, "enrolled": [], "recorded": 1}
            RedisContents(dep).link("traitly", "E1", link)

    asyncio.run(go())
    answer = call("--config", str(config), "why", "E1")
    assert answer.code == 0, answer.err
    assert "reported by the target" in answer.out
    assert "Style Widget" in answer.out
    document = call("--config", str(config), "why", "E1", "--json").document
    assert document["facts"] == {"traitly": {"next_action": "Style Widget", "next_actions_goal": "30-day"}}


def test_what_was_written_after_the_target_was_read_is_not_called_different() -> None:
    link: LinkDocument = {
        "account": "A1",
        "state": "active",
        "matched": "",
        "created_by_us": True,
        "recorded_at": "2026-03-02T09:00:05.000Z",
        "enrolled": [],
        "unkept": {},
    }
    one: AttributeReport = {
        "attribute": "name",
        "expression": "called",
        "authority": "roster",
        "desired": "Bea",
        "observed": "Beatrice",
        "acknowledged": "Bea",
        "same": False,
    }
    assert difference_mark(link, "2026-03-02T09:00:00.000Z", one) == "unseen"
    assert difference_mark(link, "2026-03-02T09:20:00.000Z", one) == "differs"
    assert difference_mark(link, None, one) == "differs"
    assert difference_mark(link, "2026-03-02T09:00:00.000Z", {**one, "acknowledged": "Beatrice"}) == "differs"
    assert difference_mark(link, "2026-03-02T09:00:00.000Z", {**one, "same": True}) == ""
    assert difference_mark(None, "2026-03-02T09:00:00.000Z", one) == ""
