"""Nothing of before is sent until a run about everybody has looked at the target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from provisioner.admin.decisions import resume
from provisioner.admin.leaver_receipts import receipt
from provisioner.dispatch.redis_loss import QUIET, remembers
from provisioner.sandbox import Switchboard
from provisioner.store.admin.position import WENT_BACK, WENT_BACK_WAY_OUT
from tests.decisions.conftest import company
from tests.delivery.put_back.forgetting import PEOPLE, boards_of, look_of_a_roster_read_before, plans, put_back
from tests.support.harness import drain, due_now, sync_once
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio


async def test_a_leave_that_was_given_up_since_is_not_sent(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    async with opened("traitly") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        switchboard.fault("traitly", match={"method": "POST"}, status=503, times=None)
        roster.write_text(company(PEOPLE, gone=(1,)))
        await sync_once(dep)

        async def stays() -> None:
            roster.write_text(company(PEOPLE))
            await sync_once(dep)
            switchboard.clear_faults("traitly")

        await put_back(server, dep, tmp_path / "copy", stays)
        await due_now(dep, "traitly")
        with structlog.testing.capture_logs() as logs:
            await drain(dep)
        assert plans(switchboard)["W0001"] == "Employee"
        (said,) = [one for one in logs if one["event"] == "redis_went_back"]
        assert said["changes"] > 0
        health = await dep.health.of("traitly")
        assert (health.quarantined, health.reason) == (True, WENT_BACK)
        assert QUIET - 10 < (await remembers(dep)).quiet <= QUIET
        # Neither a person nor a run about one lets it go
        await resume(dep, "traitly", by="test")
        roster.write_text(company(PEOPLE, changes={2: {"last_name": "Changed"}}))
        document = await sync_once(dep, people=("W0002",))
        part = document["targets"]["traitly"]
        assert (part["status"], part["notes"]) == ("running", [WENT_BACK_WAY_OUT])
        await drain(dep)
        assert plans(switchboard)["W0001"] == "Employee"
        whole = await sync_once(dep)
        assert whole["status"] == "succeeded"
        assert WENT_BACK_WAY_OUT in whole["targets"]["traitly"]["notes"]
        assert plans(switchboard)["W0001"] == "Employee"
        assert not (await dep.health.of("traitly")).quarantined
        again = await sync_once(dep)
        assert (again["status"], again["targets"]["traitly"]["notes"]) == ("succeeded", [])


async def test_what_was_told_since_is_not_told_again(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    """An event that was owed then was sent since; no listing shows it."""
    async with opened("traitly") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        switchboard.fault("traitly", match={"method": "POST", "path_prefix": "/api/v1/event"}, status=503, times=None)
        roster.write_text(company(PEOPLE, gone=(1,)))
        await sync_once(dep)

        async def told() -> None:
            switchboard.clear_faults("traitly")
            await due_now(dep, "traitly")
            await drain(dep)

        before = len(switchboard.state("traitly")["events"])
        await put_back(server, dep, tmp_path / "copy", told)
        assert len(switchboard.state("traitly")["events"]) == before + 1
        await sync_once(dep)
        await due_now(dep, "traitly")
        await drain(dep)
        assert len(switchboard.state("traitly")["events"]) == before + 1


async def test_who_was_enrolled_since_is_not_enrolled_again(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    async with opened("tribal_habits") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)

        async def enrolled() -> None:
            roster.write_text(company(PEOPLE, changes={1: {"department": "Sales"}}))
            assert (await sync_once(dep))["targets"]["tribal_habits"]["succeeded"]["enrol"] == 1

        await put_back(server, dep, tmp_path / "copy", enrolled)
        there = switchboard.state("tribal_habits")["enrolments"]
        await drain(dep)
        await sync_once(dep)
        assert switchboard.state("tribal_habits")["enrolments"] == there


async def test_who_leaves_before_the_look_leaves_every_board_that_redis_forgot(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    """A move that Redis forgot put them on a board of which a run about one person cannot know."""

    moves = {1: {"department": "Sales"}}
    async with opened("habitate") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)

        async def moved() -> None:
            roster.write_text(company(PEOPLE, changes=moves))
            await sync_once(dep)
            assert boards_of(switchboard, "p1@example.com") == {"Sales"}

        await put_back(server, dep, tmp_path / "copy", moved)
        await remembers(dep)
        others = company(PEOPLE, changes=moves)
        await look_of_a_roster_read_before(dep, roster, others, company(PEOPLE, changes=moves, gone=(1,)), "W0001")
        assert boards_of(switchboard, "p1@example.com") == set()
        found = await receipt(dep, "W0001")
        assert found is not None
        assert found["finished_at"] is not None


@pytest.mark.parametrize("copied", ["since", "before"])
async def test_boards_that_redis_forgot_are_left(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path, copied: str
) -> None:
    """No listing shows them, and the ledger knows an older board, or nobody's."""
    everything = {"leavers": {"percent": 100}, "updates": {"percent": 100}}
    async with opened("habitate", guards=everything) as dep:
        roster.write_text(company(PEOPLE))
        if copied == "since":
            await sync_once(dep)
        else:
            roster.write_text(company(1))
            await sync_once(dep)

        async def moved() -> None:
            sales = {1: {"department": "Sales"}, 2: {"department": "Sales"}, 3: {"department": "Sales"}}
            roster.write_text(company(PEOPLE, changes=sales))
            await sync_once(dep)
            roster.write_text(company(PEOPLE, gone=(3,), changes=sales))
            await sync_once(dep)

        await put_back(server, dep, tmp_path / "copy", moved)
        assert boards_of(switchboard, "p1@example.com") == boards_of(switchboard, "p2@example.com") == {"Sales"}
        await remembers(dep)
        # Of Sales nobody is left but a leaver
        roster.write_text(company(PEOPLE, gone=(1, 3), changes={3: {"department": "Sales"}}))
        document = await sync_once(dep)
        assert document["status"] == "succeeded", document
        assert [boards_of(switchboard, f"p{one}@example.com") for one in (0, 1, 2, 3)] == [
            {"Engineering"},
            set(),
            {"Engineering"},
            set(),
        ]
        roles = {one["email"]: one["role_id"] for one in switchboard.accounts("habitate")}
        assert roles["p1@example.com"] == roles["p3@example.com"] != roles["p0@example.com"]
        writes = switchboard.counts("habitate")["writes"]
        again = await sync_once(dep)
        assert (again["status"], switchboard.counts("habitate")["writes"]) == ("succeeded", writes)
