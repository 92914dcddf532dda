"""Whoever left and keeps an account is unfinished, whatever became of any operation, and every place says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from provisioner.admin.decisions import Choice, decide_about, pause, resume, take_back
from provisioner.admin.leaver_receipts import receipt, unfinished
from provisioner.admin.linking import unlink
from provisioner.admin.person_report import story
from provisioner.admin.worklists import table_rows, to_do
from provisioner.model.run_document import exit_code
from provisioner.progress import metrics
from provisioner.runs import lifecycle
from provisioner.runs.follow_up import follow_up
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, plan_once, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio

T = "traitly"
BOTH = ("tribal_habits", "traitly")
PEOPLE = 20


async def figures(dep: Deployment) -> dict[str, int]:
    found = await metrics.take(dep)
    return {name: one.leavers for name, one in found.targets.items()}


async def is_unfinished(dep: Deployment, person: str, target: str, status: str, document: dict[str, Any]) -> str:
    """The receipt, the list, the figures and the exit code say so; what the receipt says."""
    found = await receipt(dep, person)
    assert found is not None
    assert found["finished_at"] is None
    assert found["targets"][target]["status"] == status
    assert [one["person"] for one in await unfinished(dep, (target,))] == [person]
    rows = table_rows(await to_do(dep, tuple(dep.targets)))
    assert (target, person, "leaver") in {(one["target"], one["person"], one["what"]) for one in rows}
    assert (await figures(dep))[target] == 1
    assert exit_code(document) in (4, 5)
    assert document["status"] != "succeeded"
    return str(found["targets"][target]["message"])


async def ready(dep: Deployment, roster: Path, **more: Any) -> None:
    roster.write_text(company(PEOPLE, **more))
    assert (await sync_once(dep))["status"] == "succeeded"


async def test_of_a_target_that_cannot_be_reached(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened(only=BOTH) as dep:
        await ready(dep, roster)
        switchboard.fault(T, times=None, drop="before")
        roster.write_text(company(PEOPLE, gone=(3,)))
        document = await sync_once(dep)
        said = await is_unfinished(dep, "W0003", T, "waiting", document)
        assert said == "traitly cannot be reached"
        assert (await figures(dep))["tribal_habits"] == 0
        switchboard.clear_faults(T)
        await resume(dep, T, by="test")
        await sync_once(dep)
        over = await receipt(dep, "W0003")
        assert over is not None
        assert over["finished_at"] is not None
        assert (await figures(dep))[T] == 0


async def test_of_a_quarantined_target(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened(only=BOTH) as dep:
        await ready(dep, roster)
        switchboard.fault(T, times=None, status=401)
        roster.write_text(company(PEOPLE, gone=(3,)))
        document = await sync_once(dep)
        assert document["targets"][T]["status"] == "quarantined"
        assert await is_unfinished(dep, "W0003", T, "waiting", document) == "traitly is quarantined"


async def test_of_a_paused_target(opened: Opened, roster: Path) -> None:
    async with opened(only=BOTH) as dep:
        await ready(dep, roster)
        await pause(dep, T, by="test")
        roster.write_text(company(PEOPLE, gone=(3,)))
        document = await sync_once(dep)
        await is_unfinished(dep, "W0003", T, "pending", document)


async def test_of_a_listing_that_is_not_believed(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened(only=(T,)) as dep:
        await ready(dep, roster)
        RedisContents(dep).age_links(T, 3600)
        accounts = switchboard.state(T)["accounts"]
        switchboard.reset(T)
        switchboard.options(T, rate_limit=20000, rate_window=1)
        switchboard.seed(T, [one for one in accounts if one["customer_id"] > "W0009"])
        roster.write_text(company(PEOPLE, gone=(3,)))
        document = await sync_once(dep)
        assert document["targets"][T]["error"]["code"] == "listing_shrank"
        await is_unfinished(dep, "W0003", T, "waiting", document)


async def test_of_a_protected_account(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,)) as dep:
        await ready(dep, roster)
        dep.specs[T].settings.__dict__["protect"] = "customer_id = 'W0003'"
        roster.write_text(company(PEOPLE, gone=(3,)))
        planned = await plan_once(dep)
        document = await sync_once(dep)
        assert "protected" in await is_unfinished(dep, "W0003", T, "waiting", document)
        assert exit_code(planned) == exit_code(document) == 4
        assert document["targets"][T]["leavers_left"] == 1


async def kept_by_protection(dep: Deployment, roster: Path) -> None:
    """Somebody left whose account we do not touch; every run ends with 4."""
    await ready(dep, roster)
    dep.specs[T].settings.__dict__["protect"] = "customer_id = 'W0003'"
    roster.write_text(company(PEOPLE, gone=(3,)))
    for _ in range(2):
        document = await sync_once(dep)
        said = await is_unfinished(dep, "W0003", T, "waiting", document)
        assert exit_code(document) == 4
        assert "by hand in traitly" in said
        assert "provisioner unlink W0003 traitly" in said


async def is_settled(dep: Deployment, status: str) -> None:
    document = await sync_once(dep)
    assert exit_code(document) == exit_code(await plan_once(dep)) == 0
    found = await receipt(dep, "W0003")
    assert found is not None
    assert found["finished_at"] is not None
    assert found["targets"][T]["status"] == status
    assert not any((await to_do(dep, (T,))).values())
    assert (await figures(dep))[T] == 0


async def test_a_protected_account_is_settled_by_unlinking_it(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,)) as dep:
        await kept_by_protection(dep, roster)
        await unlink(dep, "W0003", T, by="bob")
        assert (await figures(dep))[T] == 0, "at once, and not after the next run"
        await is_settled(dep, "no account")


async def test_a_protected_account_is_settled_in_the_target(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=(T,)) as dep:
        await kept_by_protection(dep, roster)
        account = next(one for one in switchboard.state(T)["accounts"] if one["customer_id"] == "W0003")
        switchboard.seed(T, [{**account, "plan": "Leaver"}])
        await is_settled(dep, "done")


async def test_an_account_that_is_protected_no_more_leaves(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,)) as dep:
        await kept_by_protection(dep, roster)
        dep.specs[T].settings.__dict__["protect"] = "FALSE"
        await is_settled(dep, "done")


async def test_of_a_target_that_the_run_was_not_about(opened: Opened, roster: Path) -> None:
    async with opened(only=BOTH) as dep:
        await ready(dep, roster)
        roster.write_text(company(PEOPLE, gone=(3,)))
        document = await sync_once(dep, targets=("tribal_habits",))
        assert exit_code(document) == 0
        found = await receipt(dep, "W0003")
        assert found is not None
        assert found["finished_at"] is None
        assert {name: one["status"] for name, one in found["targets"].items()} == {
            "tribal_habits": "done",
            T: "waiting",
        }
        assert await figures(dep) == {"tribal_habits": 0, T: 1}


async def test_who_comes_back_is_unfinished_no_more(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened(only=(T,)) as dep:
        await ready(dep, roster)
        switchboard.fault(T, times=None, drop="before")
        roster.write_text(company(PEOPLE, gone=(3,)))
        await sync_once(dep)
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        assert await unfinished(dep) == []
        found = await receipt(dep, "W0003")
        assert found is not None
        assert found["targets"][T]["status"] == "as it was"


async def test_a_leave_that_was_refused_does_not_hold_itself(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    """In a small company one leaver is the limit, and what the vendor refused took nobody's access away."""
    async with opened(only=(T,), guards={"leavers": {"percent": 5}}) as dep:
        await ready(dep, roster)
        switchboard.fault(T, match={"method": "POST"}, status=400, body={"error": "no"}, times=None)
        roster.write_text(company(PEOPLE, gone=(3,)))
        assert (await sync_once(dep))["targets"][T]["failed"]["leave"] == 1
        switchboard.clear_faults(T)
        document = await sync_once(dep)
        assert document["targets"][T]["succeeded"]["leave"] == 1, document["targets"]
        # From now on it counts
        roster.write_text(company(PEOPLE, gone=(3, 4)))
        assert (await sync_once(dep))["targets"][T]["held"]["leave"] == 1


async def refused(dep: Deployment, roster: Path) -> dict[str, Any]:
    """One of three held leaves is rejected, the two others are approved; the run."""
    await ready(dep, roster)
    roster.write_text(company(PEOPLE, gone=(3, 4, 5)))
    run = await sync_once(dep)
    assert run["targets"][T]["held"]["leave"] == 3
    await decide_about(dep, run["run"], "rejected", Choice(people=("W0003",)), by="ann", reason="she stays on")
    await decide_about(dep, run["run"], "approved", Choice(people=("W0004", "W0005")), by="ann")
    await drain(dep)
    document = await dep.runs.document(run["run"])
    assert document is not None
    return cast("dict[str, Any]", document)


async def test_of_a_rejected_leave(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,)) as dep:
        first = await refused(dep, roster)
        said = await is_unfinished(dep, "W0003", T, "rejected", first)
        assert "rejected by ann" in said
        assert "she stays on" in said
        again = await sync_once(dep)
        assert again["targets"][T]["rejected"]["leave"] == 1
        await is_unfinished(dep, "W0003", T, "rejected", again)
        found = (await to_do(dep, (T,)))["rejections"]
        assert {(one["person"], one["kind"], one["by"], one["reason"]) for one in found} == {
            ("W0003", "leave", "ann", "she stays on"),
            ("W0003", "event", "ann", "she stays on"),
        }
        told = await story(dep, "W0003")
        assert {one["by"] for one in told["rejections"]} == {"ann"}
        assert exit_code(await plan_once(dep)) == 4


async def test_a_rejection_is_taken_back(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,)) as dep:
        await refused(dep, roster)
        again = await sync_once(dep)
        back = await take_back(dep, again["run"], Choice(T, ("W0003",)), by="bob", reason="she left after all")
        assert {one["kind"] for one in back.done} == {"leave", "event"}
        assert (await to_do(dep, (T,)))["rejections"] == []
        document = await dep.runs.document(again["run"])
        assert document is not None
        assert document["targets"][T]["held"]["leave"] == 1
        assert document["targets"][T]["rejected"].get("leave", 0) == 0
        await decide_about(dep, again["run"], "approved", Choice(T, ("W0003",)), by="bob")
        await drain(dep)
        over = await receipt(dep, "W0003")
        assert over is not None
        assert over["finished_at"] is not None


async def test_a_rejection_that_was_taken_back_is_planned_again(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,), guards={"window": "0s"}) as dep:
        run = await refused(dep, roster)
        await take_back(dep, run["run"], Choice(T, ("W0003",)), by="bob")
        document = await sync_once(dep)
        assert document["targets"][T]["succeeded"]["leave"] == 1


async def test_a_rejection_ends_when_any_column_of_the_row_changes(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,), guards={"window": "0s"}) as dep:
        await refused(dep, roster)
        # No expression of the mapping reads this column
        roster.write_text(company(PEOPLE, gone=(3, 4, 5), changes={3: {"end_date": "2020-01-31"}}))
        document = await sync_once(dep)
        assert document["targets"][T]["succeeded"]["leave"] == 1
        assert (await to_do(dep, (T,)))["rejections"] == []


async def test_what_is_rejected_by_a_degraded_roster_is_listed(opened: Opened, roster: Path) -> None:
    """The last clean roster has another row of that person."""
    async with opened(only=(T,), guards={"window": "0s"}) as dep:
        await ready(dep, roster)
        roster.write_text(company(PEOPLE, gone=tuple(range(9))))
        document = await sync_once(dep)
        assert document["roster"]["degraded"]
        await decide_about(dep, document["run"], "rejected", Choice(T, ("W0003",)), by="bob")
        found = (await to_do(dep, (T,)))["rejections"]
        assert {(one["person"], one["kind"]) for one in found} == {("W0003", "leave"), ("W0003", "event")}


async def test_a_rejection_ends_with_time(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,), guards={"window": "0s", "rejection": "1s"}) as dep:
        await refused(dep, roster)
        await asyncio.sleep(1.1)
        assert (await to_do(dep, (T,)))["rejections"] == []
        document = await sync_once(dep)
        assert document["targets"][T]["succeeded"]["leave"] == 1


async def test_ids_do_not_depend_on_the_clock(opened: Opened, roster: Path) -> None:
    async with opened(only=BOTH) as dep:
        await ready(dep, roster)
        roster.write_text(company(PEOPLE + 2, gone=(3,)))
        first = await plan_once(dep)
        await asyncio.sleep(1.1)
        second = await plan_once(dep)
        ids = [{(one["kind"], one["id"]) for one in plan["operations"]} for plan in (first, second)]
        assert ids[0] == ids[1]
        assert "event" in {kind for kind, _ in ids[0]}


async def overtaken(dep: Deployment, roster: Path, *, gone: tuple[int, ...]) -> str:
    """A run whose leaves are overtaken by updates that are being sent: they are over, and it is not planned again."""
    await ready(dep, roster)
    roster.write_text(company(PEOPLE, changes={number: {"location": "Perth"} for number in gone}))
    older = await lifecycle.request_run(dep, Request("manual"))
    assert await lifecycle.begin(dep, older) == (T,)
    await lifecycle.plan(dep, older, T)
    claims = await dep.queue.claim(T, lease=600, token="t", limits={"*": 50})
    assert len(claims) == len(gone)
    roster.write_text(company(PEOPLE, gone=gone))
    run = await lifecycle.request_run(dep, Request("manual"))
    assert await lifecycle.begin(dep, run) == (T,)
    await lifecycle.plan(dep, run, T)
    assert await follow_up(dep) == [], "they are still being sent"
    for claim in claims:
        await dep.queue.give_back(claim)
    return run


async def test_what_a_guard_would_hold_is_held_when_it_is_planned_again(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,)) as dep:
        run = await overtaken(dep, roster, gone=(3, 4, 5))
        await drain(dep)
        document = await dep.runs.document(run)
        assert document is not None
        assert document["status"] == "held"
        assert document["targets"][T]["held"]["leave"] == 3
        decided = await decide_about(dep, run, "approved", Choice(people=("W0003", "W0004", "W0005")), by="test")
        assert sum(one["kind"] == "leave" for one in decided.done) == 3
        await drain(dep)
        document = await dep.runs.document(run)
        assert document is not None
        assert document["status"] == "succeeded"


async def test_who_leaves_by_an_unknown_status_meanwhile_is_planned_again_with_that_doubt(
    opened: Opened, roster: Path
) -> None:
    async with opened(only=(T,)) as dep:
        run = await overtaken(dep, roster, gone=(3,))
        roster.write_text(company(PEOPLE, changes={3: {"employment_status": "seconded"}}))
        await lifecycle.begin(dep, await lifecycle.request_run(dep, Request("manual")))
        assert len(await follow_up(dep)) == 1
        follow = await dep.runs.part_field(run, T, "follow")
        assert follow is not None
        snapshot = await dep.frames.for_run(follow)
        assert snapshot is not None
        assert "W0003" in snapshot.unfamiliar


async def test_whoever_asks_twice_is_answered_once(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,)) as dep:
        run = await overtaken(dep, roster, gone=(3,))
        assert len(await follow_up(dep)) == 1
        assert await follow_up(dep) == []
        assert RedisContents(dep).overtaken() == RedisContents(dep).overtaken(run, T) == set()
        await drain(dep)
        follow = await dep.runs.part_field(run, T, "follow")
        assert follow is not None
        await lifecycle.plan(dep, follow, T)
        await drain(dep)
        assert (await dep.runs.get(run, "status")) == "succeeded"


async def test_of_a_target_that_was_taken_out_nobody_is_planned_again(opened: Opened, roster: Path) -> None:
    async with opened(only=BOTH) as dep:
        roster.write_text(company(PEOPLE))
    async with opened(only=(T,)) as dep:
        run = await overtaken(dep, roster, gone=(3,))
    async with opened(only=("tribal_habits",)) as dep:
        assert await follow_up(dep) == []
        assert await dep.runs.get(run, "status") != "running"
