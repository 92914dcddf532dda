"""`simulate`: what other settings would have done with the kept rosters, against what a sync really did."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from provisioner.model.simulation import Simulation
from provisioner.runs.simulate import simulate
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.settings import Settings, load
from tests.cli.calling import Answer, call
from tests.decisions.conftest import Opened, company
from tests.support.harness import sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio
READING = {"gate": {"max_age": "3650d"}}
OPEN = {"leavers": {"percent": 100}, "updates": {"percent": 100}, "window": "0s"}
PEOPLE = 20


def changed(dep: Deployment, tmp_path: Path, change: Mapping[str, Any]) -> Settings:
    """The running settings with others in the sections that `change` has."""
    del dep
    document = yaml.safe_load((tmp_path / "provisioner.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(merged(document, change)), encoding="utf-8")
    return load(path, environ={}).settings


def merged(document: Any, change: Mapping[str, Any]) -> Any:
    return {
        **document,
        **{
            name: merged(document.get(name) or {}, value) if isinstance(value, Mapping) else value
            for name, value in change.items()
        },
    }


async def two_days(dep: Deployment, roster: Path, **second: Any) -> dict[str, Any]:
    """A first roster yesterday, and a second one today; the JSON of today's run."""
    roster.write_text(company(PEOPLE))
    await sync_once(dep)
    RedisContents(dep).age_roster(1)
    roster.write_text(company(second.pop("people", PEOPLE), **second))
    return await sync_once(dep)


def planned(document: Mapping[str, Any], side: str, day: int = -1) -> dict[str, dict[str, int]]:
    parts = document["days"][day][side]["targets"]
    return {name: {kind: count for kind, count in part["planned"].items() if count} for name, part in parts.items()}


async def test_the_running_settings_bring_what_the_sync_brought(
    opened: Opened, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    moved = {3: {"last_name": "Other", "job_title": "Manager"}, 4: {"department": "Sales"}}
    async with opened(reading=READING, guards=OPEN) as dep:
        run = await two_days(dep, roster, people=PEOPLE + 2, gone=(1, 2), changes=moved)
        contents = RedisContents(dep).values()
        before = {name: switchboard.counts(name) for name in dep.targets}
        found = await simulate(dep, changed(dep, tmp_path, {}), "other.yaml")
        assert RedisContents(dep).values() == contents
        assert {name: switchboard.counts(name) for name in dep.targets} == before
    assert msgspec.convert(json.loads(json.dumps(found)), Simulation, strict=True) == found
    really = {
        name: {kind: count for kind, count in part["planned"].items() if count} for name, part in run["targets"].items()
    }
    assert planned(found, "running") == planned(found, "other") == really
    assert not any(planned(found, "other", 0).values())
    assert (found["people"], found["exit_code"], found["kept"], len(found["days"])) == ([], 0, 2, 2)
    assert found["notes"] == []


async def test_another_mapping_names_who_differs_and_since_when(opened: Opened, roster: Path, tmp_path: Path) -> None:
    async with opened(reading=READING, guards=OPEN, only=("tribal_habits",)) as dep:
        await two_days(dep, roster, people=PEOPLE + 1, gone=(1,))
        attributes = {"role_1": "CASE WHEN employee_id = 'W0005' THEN 'Manager' ELSE 'Learner' END"}
        other = changed(dep, tmp_path, {"targets": {"tribal_habits": {"attributes": attributes}}})
        found = await simulate(dep, other, "other.yaml")
    first, second = (day["day"] for day in found["days"])
    assert planned(found, "running", 0) == {"tribal_habits": {}}
    assert planned(found, "other", 0) == {"tribal_habits": {"role": 1}}
    assert planned(found, "running") == planned(found, "other") == {"tribal_habits": {"create": 1, "leave": 1}}
    assert found["people"] == [
        {
            "target": "tribal_habits",
            "person": "W0005",
            "first": first,
            "last": second,
            "account": None,
            "attributes": {"role_1": {"running": "Learner", "other": "Manager"}},
        }
    ]


async def test_gate_and_guards_say_what_they_would_have_held(opened: Opened, roster: Path, tmp_path: Path) -> None:
    async with opened(reading=READING, guards={"window": "0s"}, only=("traitly",)) as dep:
        await two_days(dep, roster)
        degraded = await simulate(
            dep, changed(dep, tmp_path, {"roster": {"employed": "employee_id < 'W0010'"}}), "other.yaml"
        )
        held = await simulate(
            dep, changed(dep, tmp_path, {"targets": {"traitly": {"scope": "employee_id < 'W0010'"}}}), "other.yaml"
        )
        rejected = await simulate(
            dep, changed(dep, tmp_path, {"roster": {"employed": "manager_email = 'x'"}}), "o.yaml"
        )
    side = degraded["days"][0]["other"]
    assert side["roster"]["status"] == "degraded"
    assert "10 people are newly leaving" in side["roster"]["reasons"][0]
    assert side["targets"]["traitly"]["held"] == {"leave": 10, "event": 10}
    assert degraded["exit_code"] == held["exit_code"] == 4
    assert held["days"][0]["other"]["roster"]["status"] == "clean"
    assert "10 leavers are more than the limit of 2" in held["days"][0]["other"]["targets"]["traitly"]["guards"][0]
    assert {one["person"] for one in held["people"]} == {f"W{number:04d}" for number in range(10, 20)}
    assert all(one["account"] == {"running": "active", "other": "left"} for one in held["people"])
    assert rejected["exit_code"] == 3
    assert rejected["days"][0]["other"] == {
        "roster": {**rejected["days"][0]["other"]["roster"], "status": "rejected", "people": 0, "rejected": PEOPLE},
        "targets": {},
    }


async def test_the_command_says_plainly_what_it_cannot_say(opened: Opened, roster: Path, tmp_path: Path) -> None:
    async with opened(reading=READING, guards=OPEN, only=("traitly",)) as dep:
        other = tmp_path / "other.yaml"
        config = tmp_path / "provisioner.yaml"
        document = yaml.safe_load(config.read_text(encoding="utf-8"))
        other.write_text(
            yaml.safe_dump(
                merged(document, {"roster": {"pick": "employee_id", "columns": {"desk": "UPPER(location)"}}})
            ),
            encoding="utf-8",
        )

        async def simulated(*words: str) -> Answer:
            return await called("--config", str(other), *words)

        async def called(*words: str) -> Answer:
            return await asyncio.to_thread(call, "simulate", *words, PROVISIONER_CONFIG=str(config))

        nothing = await simulated("--json")
        assert (nothing.code, nothing.document["error"]["code"]) == (2, "usage")
        assert "no clean roster yet" in nothing.out
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        one = await simulated("--last", "5")
        assert one.code == 0, one.err
        for said in (
            "5 clean rosters were asked for, and 1 is kept",
            "Only one clean roster is kept",
            "No account would differ",
        ):
            assert said in one.out
        assert "roster.pick" in one.out
        assert (await simulated("--last", "0")).code == 2
        shown = (await simulated("--json")).document
        assert set(shown) == {"config", "kept", "days", "people", "notes", "exit_code"}
        assert (await called()).code == 2
        assert (await called("--config", "missing.yaml")).code == 2
        other.write_text(yaml.safe_dump(merged(document, {"targets": {"traitly": {"scope": "no_such = 'x'"}}})))
        wrong = await simulated("--json")
        assert (wrong.code, wrong.document["error"]["code"]) == (2, "configuration")
        assert "no_such" in wrong.out
