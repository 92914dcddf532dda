"""mtribes, met for the first time: what the first run would overwrite is held and named until somebody approves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.decisions import Choice, decide_about
from provisioner.model.run_document import exit_code
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, plan_once, sync_once

pytestmark = pytest.mark.anyio
PEOPLE = 12
#: So wide that no other guard holds what a first contact must.
WIDE = {"updates": {"percent": 100}, "removals": {"percent": 100}}


def user(number: int, **changes: Any) -> dict[str, Any]:
    """Somebody of the company, as the roster has them."""
    return {
        "id": f"W{number:04d}",
        "name": f"First{number} Last{number}",
        "email": f"p{number}@example.com",
        "tags": ["department/engineering", "country/australia"],
        **changes,
    }


@pytest.fixture
def users(switchboard: Switchboard) -> Switchboard:
    """Ten of twelve are there; of three the name or the email is another, one has no name, one another tag."""
    changes: dict[int, dict[str, Any]] = {
        0: {"name": "Known As Zero"},
        1: {"email": "one@elsewhere.example"},
        2: {"name": "Two", "email": "two@elsewhere.example"},
        3: {"name": ""},
        4: {"tags": ["hand/made"]},
    }
    switchboard.seed("mtribes", [user(number, **changes.get(number, {})) for number in range(10)])
    return switchboard


def names(board: Switchboard) -> dict[str, Any]:
    return {one["id"]: one["name"] for one in board.accounts("mtribes")}


async def mtribes(dep: Deployment, **request: Any) -> dict[str, Any]:
    run = await sync_once(dep, **request)
    return {**run["targets"]["mtribes"], "run": run["run"], "exit": exit_code(run)}


async def test_the_first_run_holds_what_it_would_overwrite_and_names_it(
    opened: Opened, users: Switchboard, roster: Path
) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=("mtribes",), guards=WIDE) as dep:
        planned = await plan_once(dep)
        assert (exit_code(planned), planned["targets"]["mtribes"]["held"]) == (4, {"update": 3})
        first = await mtribes(dep)
        # Who is not there is made, what is empty is filled, and what others added stays
        assert (first["exit"], first["adopted"], first["held"]) == (4, 10, {"update": 3})
        assert first["succeeded"] == {"create": 2, "update": 2}
        (guard,) = first["guards"]
        assert "name of 2, email of 2; W0000, W0001, W0002" in guard
        assert guard.endswith("held until approved.")
        assert names(users)["W0000"] == "Known As Zero"
        # The space is known by now, and these three are held all the same
        again = await mtribes(dep)
        assert (again["exit"], again["held"]) == (4, {"update": 3})
        approved = await decide_about(dep, again["run"], "approved", Choice(people=("W0000", "W0001")), by="test")
        assert len(approved.done) == 2
        await drain(dep)
        assert names(users)["W0000"] == "First0 Last0"
        last = await mtribes(dep)
        assert (last["held"], last["unchanged"]) == ({"update": 1}, PEOPLE - 1)
        # Whoever changes from now on is a mover like any other
        roster.write_text(company(PEOPLE, changes={5: {"last_name": "Married"}, 2: {"last_name": "Other"}}))
        moved = await mtribes(dep)
        assert (moved["succeeded"], moved["held"]) == ({"update": 1}, {"update": 1})
        assert (names(users)["W0005"], names(users)["W0002"]) == ("First5 Married", "Two")


async def test_a_trial_of_one_person_does_not_end_the_first_contact(
    opened: Opened, users: Switchboard, roster: Path
) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=("mtribes",), guards=WIDE) as dep:
        assert (await mtribes(dep, people=("W0011",)))["succeeded"] == {"create": 1}
        one = await mtribes(dep, people=("W0000",))
        assert (one["exit"], one["held"]) == (4, {"update": 1})
        assert (await mtribes(dep))["held"] == {"update": 3}
        # Nor does one afterwards let out what is held
        assert (await mtribes(dep, people=("W0001",)))["held"] == {"update": 1}
        assert names(users)["W0000"] == "Known As Zero"


async def test_an_account_that_agrees_and_one_that_is_empty_are_not_held(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    switchboard.seed("mtribes", [user(number) for number in range(6)])
    roster.write_text(company(PEOPLE))
    async with opened(only=("mtribes",)) as dep:
        first = await mtribes(dep)
        assert (first["exit"], first["adopted"], first["unchanged"]) == (0, 6, 6)
        assert (first["succeeded"], first["notes"]) == ({"create": 6}, [])


async def test_the_other_products_say_it_and_hold_where_the_settings_do(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    known = {"last_name": "By hand", "email": "p0@example.com", "active": True}
    switchboard.seed("tribal_habits", [{"user_name": "W0000", "first_name": "First0", **known}])
    roster.write_text(company(PEOPLE))
    async with opened(only=("tribal_habits",)) as dep:
        planned = (await plan_once(dep))["targets"]["tribal_habits"]
        assert planned["held"] == {}
        assert any(note.startswith("First contact: ") for note in planned["notes"])
    async with opened(only=("tribal_habits",), guards={"overwrites": {"percent": 0, "absolute": 0}}) as dep:
        planned = (await plan_once(dep))["targets"]["tribal_habits"]
        assert planned["held"] == {"update": 1}
