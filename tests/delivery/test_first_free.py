"""User names that nobody else has, from the settings to the vendor's accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import plan_once, sync_once

pytestmark = pytest.mark.anyio

#: All of them are called Ana Silva.
ALIKE = {number: {"first_name": "Ana", "last_name": "Silva"} for number in range(6)}
SETTINGS: dict[str, Any] = {
    "kind": "tribal_habits",
    "api_key": "sandbox-tribal-habits-key",
    "match": ["email"],
    "attributes": {
        "user_name": {"first_free": ["LOWER(first_name)", "LOWER(first_name || last_name)"]},
        "first_name": "first_name",
        "last_name": "last_name",
        "email": "LOWER(work_email)",
        "active": "TRUE",
    },
    "leaver": {"active": "FALSE"},
}


@pytest.fixture
def target(sandbox: SandboxServer) -> dict[str, Any]:
    return {**SETTINGS, "base_url": f"{sandbox.url}/tribal_habits", "rate_limit": "20000/second"}


def names(switchboard: Switchboard) -> dict[str, str]:
    """By email."""
    return {one["email"]: one["user_name"] for one in switchboard.accounts("tribal_habits")}


def wanted(document: dict[str, Any]) -> dict[str, str]:
    return {one["person"]: one["after"]["user_name"] for one in document["operations"]}


async def _sync(dep: Deployment, **request: Any) -> dict[str, Any]:
    part: dict[str, Any] = (await sync_once(dep, **request))["targets"]["tribal_habits"]
    return part


async def test_plan_and_sync_choose_alike_and_names_are_kept_for_ever(
    opened: Opened, roster: Path, switchboard: Switchboard, target: dict[str, Any]
) -> None:
    switchboard.seed("tribal_habits", [{"user_name": "ANA", "email": "stranger@example.com", "first_name": "S"}])
    roster.write_text(company(3, changes=ALIKE))
    async with opened(only=("tribal_habits",), targets={"tribal_habits": target}) as dep:
        planned = await plan_once(dep)
        assert wanted(planned) == {"W0000": "anasilva", "W0001": "anasilva2", "W0002": "anasilva3"}
        assert await dep.promised_names.of("tribal_habits") == {}
        assert (await _sync(dep))["succeeded"] == {"create": 3}
        assert sorted(names(switchboard).values()) == ["ANA", "anasilva", "anasilva2", "anasilva3"]
        # Another name in the roster is no other user name, and a newcomer by themselves takes the next one
        roster.write_text(company(4, changes={**ALIKE, 0: {"first_name": "Eva", "last_name": "Silva"}}))
        assert (await _sync(dep, people=("W0003",)))["succeeded"] == {"create": 1}
        assert names(switchboard)["p3@example.com"] == "anasilva4"
        part = await _sync(dep)
        assert part["todo"] == 0
        assert names(switchboard)["p0@example.com"] == "anasilva"
        assert await dep.promised_names.of("tribal_habits") == {}
        roster.write_text(company(5, gone=(1,), changes=ALIKE))
        await _sync(dep)
        # A leaver's name is nobody else's
        assert names(switchboard)["p4@example.com"] == "anasilva5"


async def test_creates_that_wait_keep_their_names_and_ids_while_others_join(
    opened: Opened, roster: Path, target: dict[str, Any]
) -> None:
    late = dict.fromkeys((4, 5), ALIKE[0])
    roster.write_text("\n".join([company(6).splitlines()[0], *company(6, changes=late).splitlines()[5:]]) + "\n")
    guards = {"creates": {"percent": 0, "absolute": 0}}
    async with opened(only=("tribal_habits",), targets={"tribal_habits": {**target, "guards": guards}}) as dep:
        assert (await _sync(dep))["held"] == {"create": 2}
        before = await dep.runs.standing("tribal_habits", "W0004", ["account"])
        # Those who join come first by their keys, and choose after them
        roster.write_text(company(6, changes=ALIKE))
        planned = wanted(await plan_once(dep))
        assert (planned["W0004"], planned["W0005"]) == ("ana", "anasilva")
        assert sorted(planned.values()) == ["ana", "anasilva", "anasilva2", "anasilva3", "anasilva4", "anasilva5"]
        assert (await _sync(dep))["held"] == {"create": 6}
        after = await dep.runs.standing("tribal_habits", "W0004", ["account"])
        assert [one["id"] for one in after] == [one["id"] for one in before]
        assert after[0]["after"]["user_name"] == "ana"


async def test_somebody_alone_is_held_against_everybody_who_is_there(
    opened: Opened, roster: Path, switchboard: Switchboard, target: dict[str, Any]
) -> None:
    """Their own account shows nothing of the names of others, so everybody is listed."""
    switchboard.seed("tribal_habits", [{"user_name": "ana", "email": "stranger@example.com", "first_name": "S"}])
    roster.write_text(company(1, changes=ALIKE))
    async with opened(only=("tribal_habits",), targets={"tribal_habits": target}) as dep:
        await _sync(dep)
        roster.write_text(company(2, changes=ALIKE))
        await _sync(dep, people=("W0001",))
        assert names(switchboard) == {
            "stranger@example.com": "ana",
            "p0@example.com": "anasilva",
            "p1@example.com": "anasilva2",
        }
