"""The guard over leavers counts those that Redis forgot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provisioner.dispatch.outcome_spool import Spool
from provisioner.dispatch.pool import deliver
from provisioner.dispatch.redis_loss import remembers
from provisioner.errors import StoreError
from provisioner.runs import lifecycle
from provisioner.sandbox import Switchboard
from provisioner.store.queue.operations import QueueStore
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import company
from tests.delivery.put_back.forgetting import (
    PEOPLE,
    look_of_a_roster_read_before,
    plans,
    put_back,
    two_left_and_redis_forgot,
)
from tests.support.harness import sync_once
from tests.support.redis_contents import RedisContents
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("alone", [False, True], ids=["by the look", "by a run that comes before it"])
async def test_the_guard_counts_leaves_that_redis_forgot(
    opened: Callable[..., Any],
    server: RedisServer,
    roster: Path,
    switchboard: Switchboard,
    tmp_path: Path,
    alone: bool,
) -> None:
    async with opened("traitly", guards={"leavers": {"percent": 100, "absolute": 2}}) as dep:
        await two_left_and_redis_forgot(server, dep, roster, tmp_path)
        if alone:
            # It finds them in leaver state and records that, before the look
            await sync_once(dep, people=("W0001", "W0002"))
        roster.write_text(company(PEOPLE, gone=(1, 2, 3)))
        document = await sync_once(dep)
        assert document["targets"]["traitly"]["held"]["leave"] == 1, document
        assert plans(switchboard)["W0003"] == "Employee"
        assert "2 sent or decided" in str(document["targets"]["traitly"])
        assert "and 2 sent or decided" in str(document["targets"]["traitly"])


@pytest.mark.parametrize("alone", [False, True], ids=["the look", "a run about some before it"])
async def test_the_guard_counts_forgotten_leaves_that_no_listing_shows_whole(
    opened: Callable[..., Any],
    server: RedisServer,
    roster: Path,
    switchboard: Switchboard,
    tmp_path: Path,
    *,
    alone: bool,
) -> None:
    """They are sent once more, since nobody knows of their boards; whoever leaves besides them is held."""
    guest = 5

    def guests() -> set[str]:
        return {one["email"] for one in switchboard.accounts("habitate") if one["role_id"] == guest}

    guards = {"leavers": {"percent": 100, "absolute": 3}, "updates": {"percent": 100}}
    async with opened("habitate", guards=guards) as dep:
        roster.write_text(company(2 * PEOPLE))
        await sync_once(dep)

        async def left() -> None:
            roster.write_text(company(2 * PEOPLE, gone=(1, 2)))
            assert (await sync_once(dep))["targets"]["habitate"]["succeeded"]["leave"] == 2

        await put_back(server, dep, tmp_path / "copy", left)
        await remembers(dep)
        roster.write_text(company(2 * PEOPLE, gone=(1, 2, 3, 4)))
        if alone:
            await sync_once(dep, people=("W0003",))
        document = await sync_once(dep)
        figures = document["targets"]["habitate"]
        assert (figures["planned"]["leave"], figures["held"]) == (4, {"leave": 2}), figures
        assert "2 leavers and 2 sent or decided" in str(figures)
        assert guests() == {"p1@example.com", "p2@example.com"}
        # Each of them alone would be within the limit; together they would not
        await sync_once(dep, people=("W0003",))
        document = await sync_once(dep, people=("W0004",))
        assert document["targets"]["habitate"]["held"] == {"leave": 1}
        assert guests() == {"p1@example.com", "p2@example.com", "p3@example.com"}


async def test_who_leaves_before_the_look_is_counted_by_it(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    """The limit was used up by what Redis forgot, which a run about one person cannot know."""
    async with opened("traitly", guards={"leavers": {"percent": 100, "absolute": 2}}) as dep:
        await two_left_and_redis_forgot(server, dep, roster, tmp_path)
        await look_of_a_roster_read_before(
            dep, roster, company(PEOPLE, gone=(1, 2)), company(PEOPLE, gone=(1, 2, 3)), "W0003"
        )
        assert plans(switchboard)["W0003"] == "Employee"
        held = await sync_once(dep)
        assert held["targets"]["traitly"]["held"]["leave"] == 1


@pytest.mark.parametrize("known", [False, True])
async def test_the_guard_counts_leaves_whose_outcomes_were_kept_on_disk(
    opened: Callable[..., Any],
    server: RedisServer,
    roster: Path,
    switchboard: Switchboard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    known: bool,
) -> None:
    """Redis goes while leaves are sent, and comes back in a state from before, which may know their plan."""

    async def gone(*_: object, **__: object) -> list[bool]:
        raise StoreError("Redis does not answer.")

    async with opened("traitly", guards={"leavers": {"percent": 100, "absolute": 2}}) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        RedisContents(dep).forget_sent("traitly", "leavers")

        async def plan() -> None:
            roster.write_text(company(PEOPLE, gone=(1, 2)))
            run = await lifecycle.request_run(dep, Request(trigger="manual"))
            for target in await lifecycle.begin(dep, run):
                await lifecycle.plan(dep, run, target)

        async def left() -> None:
            if not known:
                await plan()
            with monkeypatch.context() as patched:
                patched.setattr(QueueStore, "record", gone)
                with pytest.raises(StoreError):
                    await deliver(dep, "traitly")

        if known:
            await plan()
        await put_back(server, dep, tmp_path / "copy", left)
        await remembers(dep)
        assert [plans(switchboard)[f"W000{number}"] for number in (1, 2)] == ["Leaver", "Leaver"]
        assert await Spool(dep.settings.data_dir).replay(dep.queue) == 2
        assert await dep.health.sent("traitly", "leavers", 0) == 2
        roster.write_text(company(PEOPLE, gone=(1, 2, 3)))
        document = await sync_once(dep)
        assert document["targets"]["traitly"]["held"]["leave"] == 1, document
        assert plans(switchboard)["W0003"] == "Employee"
