"""Held operations: what holds them, who lets them go, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.admin.decisions import Choice, decide_about, pause, resume
from provisioner.errors import UsageError
from provisioner.model.run_document import exit_code
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, sync_once

pytestmark = pytest.mark.anyio
ONLY = ("tribal_habits",)
EVERYBODY = Choice()


def active(switchboard: Switchboard) -> set[str]:
    return {one["user_name"] for one in switchboard.accounts("tribal_habits") if one["active"]}


async def test_a_guard_holds_all_leavers_while_joiners_still_arrive(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(30))
        await sync_once(dep)
        roster.write_text(company(31, gone=(0, 1, 2, 3)))
        run = await sync_once(dep)
        target = run["targets"]["tribal_habits"]
        assert (target["held"], target["succeeded"]) == ({"leave": 4}, {"create": 1})
        assert run["status"] == "held"
        assert exit_code(run) == 4
        assert "4 leavers are more than the limit of 3 (of 30 linked accounts)" in target["guards"][0]
        assert len(active(switchboard)) == 31
        decided = await decide_about(dep, run["run"], "approved", EVERYBODY, by="test", reason="known")
        assert len(decided.done) == 4
        await drain(dep)
        after = await dep.runs.document(run["run"])
        assert after is not None
        assert (after["status"], after["targets"]["tribal_habits"]["succeeded"]["leave"]) == ("succeeded", 4)
        assert active(switchboard) == {f"W{number:04d}" for number in range(4, 31)}


async def test_some_are_approved_by_name_and_the_rest_stays_held(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        roster.write_text(company(20, gone=(0, 1, 2, 3, 4)))
        run = await sync_once(dep)
        await decide_about(dep, run["run"], "approved", Choice(people=("W0001", "W0003", "W0004")), by="test")
        await drain(dep)
        after = await dep.runs.document(run["run"])
        assert after is not None
        assert after["targets"]["tribal_habits"]["held"] == {"leave": 2}
        assert after["status"] == "held"
        assert active(switchboard) == {f"W{n:04d}" for n in (0, 2, *range(5, 20))}


async def test_an_approval_lives_across_runs(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        roster.write_text(company(20, gone=(0, 1, 2)))
        first = await sync_once(dep)
        second = await sync_once(dep)
        assert second["targets"]["tribal_habits"]["held"] == {"leave": 3}
        # Approving the older run reaches the same operations, which the newer plan still wants
        decided = await decide_about(dep, first["run"], "approved", EVERYBODY, by="test")
        assert {one["run"] for one in decided.done} == {second["run"]}
        await drain(dep)
        assert len(active(switchboard)) == 17


async def test_what_the_newest_plan_no_longer_wants_is_refused(opened: Opened, roster: Path) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        roster.write_text(company(20, gone=(0, 1, 2)))
        held = await sync_once(dep)
        roster.write_text(company(20))
        await sync_once(dep)
        decided = await decide_about(dep, held["run"], "approved", EVERYBODY, by="test")
        assert not decided.done
        assert {one.person for one in decided.refused} == {"W0000", "W0001", "W0002"}
        assert all("no longer wants it" in one.reason for one in decided.refused)


async def test_a_rejection_is_silent_until_the_row_changes(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        roster.write_text(company(20, gone=(0, 1, 2)))
        held = await sync_once(dep)
        await decide_about(dep, held["run"], "rejected", Choice(people=("W0000", "W0001")), by="test", reason="mistake")
        again = await sync_once(dep)
        target = again["targets"]["tribal_habits"]
        # One leaver is left to count, which the guard lets pass; two stay refused
        assert target["rejected"] == {"leave": 2}
        assert target["planned"]["leave"] == sum(
            sum(target[name].values()) for name in ("succeeded", "failed", "held", "rejected")
        )
        assert {"W0000", "W0001"} <= active(switchboard)


async def test_a_failed_operation_is_sent_again_by_hand(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(3))
        switchboard.fault("tribal_habits", match={"method": "POST"}, times=None, status=422, body={"message": "no"})
        run = await sync_once(dep)
        assert run["targets"]["tribal_habits"]["failed"] == {"create": 3}
        assert exit_code(run) == 5
        switchboard.clear_faults("tribal_habits")
        decided = await decide_about(dep, run["run"], "retried", EVERYBODY, by="test")
        assert len(decided.done) == 3
        await drain(dep)
        after = await dep.runs.document(run["run"])
        assert after is not None
        assert (after["status"], after["targets"]["tribal_habits"]["succeeded"]) == ("succeeded", {"create": 3})


async def test_unknown_runs_people_and_targets_are_named(opened: Opened, roster: Path) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(2))
        run = await sync_once(dep)
        with pytest.raises(UsageError, match="no run"):
            await decide_about(dep, "nowhere", "approved", EVERYBODY, by="test")
        with pytest.raises(UsageError, match="no held operation of W0001"):
            await decide_about(dep, run["run"], "approved", Choice(people=("W0001",)), by="test")
        with pytest.raises(UsageError, match="did you mean 'tribal_habits'"):
            await decide_about(dep, run["run"], "approved", Choice(target="tribal_habit"), by="test")


async def test_an_approval_that_expires_between_two_looks_lets_nothing_out(opened: Opened, roster: Path) -> None:
    """What was approved waits for a paused target; the plan after the approval's end holds it once more."""
    async with opened(only=("traitly",), guards={"leavers": {"percent": 5}}) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        roster.write_text(company(20, gone=(3, 4, 5)))
        run = (await sync_once(dep))["run"]
        await pause(dep, "traitly", by="ann")
        decided = await decide_about(dep, run, "approved", Choice("traitly", ("W0003",)), by="ann")
        (leave,) = [one for one in decided.done if one["kind"] == "leave"]
        look = await sync_once(dep)
        assert look["targets"]["traitly"]["held"]["leave"] == 2
        kept = (await dep.health.decisions("traitly"))[leave["id"]]
        over = dep.settings.guards_of("traitly").approval.total_seconds() + 1
        await dep.health.decide("traitly", leave["id"], {**kept, "at": kept["at"] - over})
        look = await sync_once(dep)
        assert look["targets"]["traitly"]["held"]["leave"] == 3
        await resume(dep, "traitly", by="ann")
        await drain(dep)
        document = await dep.runs.document(look["run"])
        assert document is not None
        assert document["targets"]["traitly"]["held"]["leave"] == 3
