"""A run is taken back: values, states and accounts are as before, and what cannot be or was changed since is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.decisions import Choice, decide_about
from provisioner.admin.leaver_receipts import unfinished
from provisioner.errors import UsageError
from provisioner.runs.preview import preview
from provisioner.runs.undo import undo_request
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.reviewed.support import undone
from tests.support.harness import drain, sync_once

pytestmark = pytest.mark.anyio
KINDS = ("tribal_habits", "habitate", "traitly", "mtribes")
PEOPLE = 40
READING = {"gate": {"max_leaving": "100%", "max_age": "3650d"}}
#: Guards that let the whole of a small company through.
OPEN = {"window": "0s", "updates": {"percent": 100}, "leavers": {"percent": 100}, "removals": None}
#: What accounts tell of the moment, and not of what we hold in them.
_MOMENTS = ("role_details", "updated_at", "last_modified", "modified_at", "etag", "version", "lastModified")


def states(switchboard: Switchboard) -> dict[str, list[str]]:
    """What each stand-in holds, but for moments."""
    found = {}
    for kind in KINDS:
        rows = [
            {name: value for name, value in one.items() if name not in _MOMENTS} for one in switchboard.accounts(kind)
        ]
        found[kind] = sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)
    return found


def planned(document: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    return {
        name: {kind: count for kind, count in part["planned"].items() if count}
        for name, part in document["targets"].items()
    }


def wrong(number: int) -> dict[str, str]:
    return {"department": "Sales", "last_name": f"Wrong{number}", "job_title": "Manager"}


async def test_a_wrong_mapping_is_taken_back_exactly_and_the_undo_of_the_undo_brings_it_again(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(reading=READING, guards=OPEN) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        before = states(switchboard)
        roster.write_text(company(PEOPLE, changes={number: wrong(number) for number in range(30)}))
        changed = await sync_once(dep)
        assert changed["status"] == "succeeded"
        after = states(switchboard)
        assert all(before[kind] != after[kind] for kind in KINDS)

        writes = {kind: switchboard.counts(kind)["writes"] for kind in KINDS}
        request = await undo_request(dep, changed["run"], None, None, force=False)
        shown = await preview(dep, request)
        assert {kind: switchboard.counts(kind)["writes"] for kind in KINDS} == writes
        assert len({one["person"] for one in shown["operations"]}) == 30
        assert {one["reason"] for one in shown["operations"]} == {f"undo of run {changed['run']}"}
        notes = [note for part in shown["targets"].values() for note in part["notes"]]
        assert sum("still want what run" in note for note in notes) == 4

        first, code = await undone(dep, changed["run"])
        assert code == 0, first["left_out"]
        assert first["left_out"] == []
        assert states(switchboard) == before
        again, code = await undone(dep, first["run"])
        assert code == 0, again["left_out"]
        assert states(switchboard) == after
        assert planned(again) == planned(first)
        # The ledger knows: an ordinary sync finds nothing to do
        rest = await sync_once(dep)
        assert not any(planned(rest).values())


async def test_what_failed_on_the_way_is_taken_back_as_far_as_it_came(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(reading=READING, guards=OPEN, only=("habitate",)) as dep:
        roster.write_text(company(10))
        await sync_once(dep)
        before = states(switchboard)["habitate"]
        # There is no such board, which shows when the names are changed already
        roster.write_text(company(10, changes={number: {**wrong(number), "department": "None"} for number in (1, 2)}))
        changed = await sync_once(dep)
        assert changed["targets"]["habitate"]["failed"] == {"update": 2}
        assert states(switchboard)["habitate"] != before
        first, code = await undone(dep, changed["run"])
        assert code == 0, first["left_out"]
        assert states(switchboard)["habitate"] == before


async def test_the_next_ordinary_sync_wants_it_again_unless_the_roster_is_corrected(
    opened: Opened, roster: Path
) -> None:
    async with opened(reading=READING, guards=OPEN, only=("tribal_habits",)) as dep:
        roster.write_text(company(10))
        await sync_once(dep)
        roster.write_text(company(10, changes={1: wrong(1)}))
        changed = await sync_once(dep)
        first, _ = await undone(dep, changed["run"])
        assert "For 1 of 1 people roster and mapping still want" in " ".join(first["targets"]["tribal_habits"]["notes"])
        assert planned(await sync_once(dep)) == {"tribal_habits": {"update": 1}}
        newest = (await dep.runs.recent(1))[0]
        roster.write_text(company(10))
        second, _ = await undone(dep, newest)
        assert "agree with what is brought back" in " ".join(second["targets"]["tribal_habits"]["notes"])
        assert planned(await sync_once(dep)) == {"tribal_habits": {}}


async def test_a_create_becomes_a_leave_and_the_undo_of_that_a_rejoin(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(reading=READING, guards=OPEN) as dep:
        roster.write_text(company(10))
        await sync_once(dep)
        roster.write_text(company(12))
        made = await sync_once(dep)
        full = states(switchboard)
        first, code = await undone(dep, made["run"])
        assert code == 0, first["left_out"]
        assert all(counts == {"leave": 2} for counts in planned(first).values())
        portal = {one["user_name"]: one["active"] for one in switchboard.accounts("tribal_habits")}
        assert [name for name, active in portal.items() if not active] == ["W0010", "W0011"]
        reasons = {(one["kind"], one["target"]) for one in first["stays"]}
        assert {("create", kind) for kind in KINDS} <= reasons
        assert ("event", "traitly") in reasons
        # No fact is told by an undo, and nobody is taken for a leaver by it
        assert "event" not in planned(first)["traitly"]
        assert await unfinished(dep) == []
        second, code = await undone(dep, first["run"])
        assert code == 0, second["left_out"]
        assert all(counts == {"rejoin": 2} for counts in planned(second).values())
        assert states(switchboard) == full


async def test_a_leave_is_given_back_to_whoever_is_employed_and_to_nobody_else(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(reading=READING, guards=OPEN, only=("tribal_habits", "traitly")) as dep:
        roster.write_text(company(10))
        await sync_once(dep)
        full = states(switchboard)["tribal_habits"]
        roster.write_text(company(10, gone=(1, 2)))
        left = await sync_once(dep)
        first, code = await undone(dep, left["run"])
        assert code == 4
        assert not any(planned(first).values())
        assert {one["reason"] for one in first["left_out"]} == {"leaves by the newest roster, so nothing is given back"}
        roster.write_text(company(10, gone=(2,)))
        second, code = await undone(dep, left["run"])
        assert code == 4
        assert planned(second) == {"tribal_habits": {"rejoin": 1}, "traitly": {"rejoin": 1}}
        assert {one["person"] for one in second["left_out"]} == {"W0002"}
        active = {one["user_name"]: one["active"] for one in switchboard.accounts("tribal_habits")}
        assert active["W0001"] is True
        assert active["W0002"] is False
        roster.write_text(company(10))
        await undone(dep, left["run"], people=("W0002",))
        assert states(switchboard)["tribal_habits"] == full


async def test_what_somebody_changed_since_is_left_alone_unless_that_is_asked_for(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(reading=READING, guards=OPEN, only=("tribal_habits", "traitly")) as dep:
        roster.write_text(company(10))
        await sync_once(dep)
        before = states(switchboard)
        roster.write_text(company(10, changes={1: wrong(1), 2: wrong(2)}))
        changed = await sync_once(dep)
        portal = {one["user_name"]: one for one in switchboard.accounts("tribal_habits")}
        switchboard.seed("tribal_habits", [{**portal["W0001"], "last_name": "ByHand"}])
        first, code = await undone(dep, changed["run"], targets=("tribal_habits",))
        assert code == 4
        assert [(one["person"], one["reason"]) for one in first["left_out"]] == [
            ("W0001", "last_name: changed by somebody since, and not overwritten")
        ]
        portal = {one["user_name"]: one for one in switchboard.accounts("tribal_habits")}
        assert portal["W0001"]["last_name"] == "ByHand"
        assert portal["W0001"]["role_1"] == "Learner"
        assert portal["W0002"]["last_name"] == "Last2"
        forced, code = await undone(dep, changed["run"], force=True)
        assert code == 0, forced["left_out"]
        now = states(switchboard)
        assert {kind: now[kind] for kind in ("tribal_habits", "traitly")} == {
            kind: before[kind] for kind in ("tribal_habits", "traitly")
        }


async def test_a_guard_holds_an_undo_and_it_is_approved(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    guards = {**OPEN, "leavers": {"percent": 1}}
    async with opened(reading=READING, guards=guards, only=("tribal_habits",)) as dep:
        roster.write_text(company(10))
        await sync_once(dep)
        roster.write_text(company(14))
        made = await sync_once(dep)
        first, code = await undone(dep, made["run"])
        assert code == 4
        assert first["targets"]["tribal_habits"]["held"] == {"leave": 4}
        assert "Approve before the next ordinary sync" in " ".join(first["targets"]["tribal_habits"]["notes"])
        decided = await decide_about(dep, first["run"], "approved", Choice(), by="cli:ann")
        assert len(decided.done) == 4
        await drain(dep)
        active = [one["user_name"] for one in switchboard.accounts("tribal_habits") if one["active"]]
        assert sorted(active) == [f"W{number:04d}" for number in range(10)]


async def test_a_degraded_roster_holds_an_undo_s_leaves(opened: Opened, roster: Path) -> None:
    async with opened(reading=READING, guards=OPEN, only=("tribal_habits",)) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        roster.write_text(company(22))
        made = await sync_once(dep)
        roster.write_text(company(12))
        first, code = await undone(dep, made["run"])
        assert code == 4
        assert first["targets"]["tribal_habits"]["held"] == {"leave": 2}


async def test_only_whom_and_where_it_is_asked_for(opened: Opened, roster: Path) -> None:
    async with opened(reading=READING, guards=OPEN, only=("tribal_habits", "traitly")) as dep:
        roster.write_text(company(10))
        await sync_once(dep)
        roster.write_text(company(10, changes={1: wrong(1), 2: wrong(2)}))
        changed = await sync_once(dep)
        first, _ = await undone(dep, changed["run"], targets=("traitly",), people=("w0001",))
        assert set(first["targets"]) == {"traitly"}
        sent = await dep.runs.operations(first["run"], ("traitly",))
        assert {one["person"] for one in sent} == {"W0001"}
        with pytest.raises(UsageError, match="changed no account of W0003"):
            await undo_request(dep, changed["run"], None, ("W0003",), force=False)
        with pytest.raises(UsageError, match="There is no run"):
            await undo_request(dep, "20990101-000000", None, None, force=False)
        nothing = await sync_once(dep, people=("W0003",))
        with pytest.raises(UsageError, match="nothing to take back"):
            await undo_request(dep, nothing["run"], None, None, force=False)


async def test_what_the_run_still_has_to_send_is_named(opened: Opened, roster: Path) -> None:
    guards = {**OPEN, "leavers": {"percent": 1}}
    async with opened(reading=READING, guards=guards, only=("tribal_habits",)) as dep:
        roster.write_text(company(10))
        await sync_once(dep)
        roster.write_text(company(10, gone=(1, 2), changes={3: wrong(3)}))
        changed = await sync_once(dep)
        assert changed["targets"]["tribal_habits"]["held"] == {"leave": 2}
        first, _ = await undone(dep, changed["run"])
        assert "still has 2 operations here" in " ".join(first["targets"]["tribal_habits"]["notes"])
        assert planned(first) == {"tribal_habits": {"update": 1}}
        # They stand as they stood
        held = await dep.runs.operations(changed["run"], ("tribal_habits",), statuses=["held"])
        assert {one["person"] for one in held} == {"W0001", "W0002"}
