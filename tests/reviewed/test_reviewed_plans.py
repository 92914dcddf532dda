"""A reviewed plan sends what was reviewed and is still wanted, and names the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.decisions import pause, resume
from provisioner.errors import UsageError
from provisioner.model.plan_file import digest_of, read_file, to_text
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.reviewed.support import applied, written
from tests.support.harness import drain, sync_once

pytestmark = pytest.mark.anyio
PEOPLE = 12
READING = {"gate": {"max_leaving": "100%", "max_age": "3650d"}}
TITLE = {"job_title": "Manager"}


def total(document: Mapping[str, Any], figure: str) -> int:
    return sum(sum(part[figure].values()) for part in document["targets"].values())


async def test_a_plan_of_the_same_state_is_the_same_text_and_is_applied_whole(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    switchboard.seed("traitly", [{"customer_id": "W0001", "name": "First1 Last1", "email": "p1@example.com"}])
    roster.write_text(company(PEOPLE))
    async with opened(reading=READING) as dep:
        file = await written(dep)
        assert to_text(await written(dep)) == to_text(file)
        assert {one["kind"] for one in file["operations"]} >= {"create", "event"}
        assert [one["person"] for one in file["links"]] == ["W0001"]
        document, code = await applied(dep, file)
        assert code == 0
        assert document["status"] == "succeeded"
        assert document["reviewed"] == file["digest"]
        assert document["left_out"] == []
        assert total(document, "succeeded") == len(file["operations"])
        done = {one["id"] for one in await dep.runs.operations(document["run"], document["targets"])}
        assert done == {one["id"] for one in file["operations"]}
        # Nothing is left for an ordinary sync
        assert total(await sync_once(dep), "planned") == 0


async def test_only_what_was_reviewed_is_sent_and_what_is_not_wanted_any_more_is_named(
    opened: Opened, roster: Path
) -> None:
    async with opened(reading=READING, only=("traitly", "tribal_habits")) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        wanted = {1: TITLE, 2: TITLE, 3: {"last_name": "Other"}, 4: TITLE}
        roster.write_text(company(PEOPLE, changes=wanted))
        file = await written(dep)
        reviewed = {one["person"] for one in file["operations"]}
        assert reviewed >= {"W0001", "W0002", "W0003", "W0004"}
        # Since the review: one is no longer wanted, one is wanted otherwise, one leaves, one is new
        since = {1: TITLE, 3: {"last_name": "Another"}, 5: TITLE}
        roster.write_text(company(PEOPLE, gone=(4,), changes=since))
        document, code = await applied(dep, file)
        assert code == 4
        assert document["status"] == "held"
        sent = await dep.runs.operations(document["run"], document["targets"], statuses=["succeeded"])
        assert {one["person"] for one in sent} == {"W0001"}
        reasons = {(one["target"], one["person"]): one["reason"] for one in document["left_out"]}
        assert reasons["tribal_habits", "W0002"].startswith("nothing is to be changed there any more")
        assert "update of last_name" in reasons["tribal_habits", "W0003"]
        assert "leave of active" in reasons["tribal_habits", "W0004"]
        assert len(document["left_out"]) + len(sent) == len(file["operations"])
        notes = [note for part in document["targets"].values() for note in part["notes"]]
        assert any("not in the reviewed plan" in note for note in notes)
        # The next ordinary sync sends the rest
        rest = await sync_once(dep)
        assert {"W0003", "W0004", "W0005"} <= {
            one["person"] for one in await dep.runs.operations(rest["run"], rest["targets"])
        }


async def test_it_takes_no_other_run_s_work_away(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened(reading=READING, only=("tribal_habits",)) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, changes={1: TITLE}))
        file = await written(dep)
        assert [one["person"] for one in file["operations"]] == ["W0001"]
        roster.write_text(company(PEOPLE, changes={1: TITLE, 2: TITLE}, gone=(3,)))
        await pause(dep, "tribal_habits", by="cli:ann")
        waiting = await sync_once(dep)
        before = {one["id"] for one in await dep.runs.operations(waiting["run"], ["tribal_habits"])}
        assert len(before) == 3
        document, _ = await applied(dep, file)
        stays = await dep.runs.operations(waiting["run"], ["tribal_habits"], statuses=["pending", "waiting"])
        assert {one["person"] for one in stays} == {"W0002", "W0003"}
        await resume(dep, "tribal_habits", by="cli:ann")
        await drain(dep)
        states = {one["user_name"]: one for one in switchboard.accounts("tribal_habits")}
        assert states["W0001"]["role_1"] == states["W0002"]["role_1"] == "Manager"
        assert states["W0003"]["active"] is False
        assert document["left_out"] == []


async def test_guards_hold_what_was_reviewed(opened: Opened, roster: Path) -> None:
    async with opened(reading=READING, only=("traitly",), guards={"window": "0s"}) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=(1, 2, 3)))
        file = await written(dep)
        assert {one["status"] for one in file["operations"] if one["kind"] == "leave"} == {"held"}
        assert file["targets"]["traitly"]["guards"]
        document, code = await applied(dep, file)
        assert code == 4
        assert document["targets"]["traitly"]["held"]["leave"] == 3
        assert document["left_out"] == []


async def test_another_account_is_not_what_was_reviewed(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    """An id names the person and the change, not the account: the file does."""
    async with opened(reading=READING, only=("traitly",)) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, changes={1: {"last_name": "Other"}}))
        file = await written(dep)
        moved = json.loads(json.dumps(file))
        moved["operations"][0]["account"] = "W9999"
        moved["digest"] = digest_of(moved)
        digest, plan = read_file(json.dumps(moved), "plan.json")
        await dep.reviewed.keep(digest, plan, 60)
        document, code = await applied(dep, moved)
        assert code == 4
        assert document["left_out"][0]["reason"] == "it is about another account now: W0001"
        assert {one["name"] for one in switchboard.accounts("traitly")} >= {"First1 Last1"}


async def test_a_target_that_cannot_be_read_leaves_all_of_it_out(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(reading=READING, only=("traitly", "mtribes")) as dep:
        roster.write_text(company(PEOPLE))
        file = await written(dep)
        switchboard.fault("traitly", match={"method": "GET"}, times=50, status=404, body={})
        document, code = await applied(dep, file)
        assert code == 5
        left = [one for one in document["left_out"] if one["target"] == "traitly"]
        assert len(left) == sum(one["target"] == "traitly" for one in file["operations"])
        assert document["targets"]["mtribes"]["status"] == "succeeded"


async def test_a_file_that_was_changed_or_is_none_is_refused(opened: Opened, roster: Path) -> None:
    async with opened(reading=READING, only=("traitly",)) as dep:
        roster.write_text(company(2))
        text = to_text(await written(dep))
        for wrong, said in [
            (text.replace("First1", "Firstly"), "was changed"),
            ("{}", "is no plan"),
            ("no json", "is no plan"),
            ("[]", "is no plan"),
            (text.replace('"format": 1', '"format": 2'), "layout 2"),
        ]:
            with pytest.raises(UsageError, match=said):
                read_file(wrong, "plan.json")
        assert read_file(text, "plan.json")[1]["asked"] == {"targets": ["traitly"], "people": None}


async def test_no_secret_and_no_moment_is_in_the_file(opened: Opened, roster: Path) -> None:
    async with opened(reading=READING) as dep:
        roster.write_text(company(PEOPLE))
        text = to_text(await written(dep))
        secrets = [
            str(value.get_secret_value())
            for target in dep.settings.targets.values()
            for value in target.__dict__.values()
            if hasattr(value, "get_secret_value")
        ]
        assert len(secrets) >= 4
        assert not [one for one in secrets if one in text]
        assert "created_at" not in text


async def test_whoever_is_forgotten_is_in_no_kept_plan(opened: Opened, roster: Path) -> None:
    from provisioner.admin.erase import forget

    async with opened(reading=READING, only=("traitly",)) as dep:
        roster.write_text(company(3))
        await sync_once(dep)
        roster.write_text(company(3, changes={1: {"last_name": "Other"}, 2: {"last_name": "Other"}}))
        file = await written(dep, people=("W0001", "W0002"))
        roster.write_text(company(3))
        await applied(dep, file)
        roster.write_text(company(1))
        gone = await forget(dep, "W0001", by="cli:ann")
        assert gone.erased["reviewed"] == 2
        plan = await dep.reviewed.plan(file["digest"])
        assert plan is not None
        assert [one["person"] for one in plan["operations"]] == ["W0002"]
        assert plan["asked"]["people"] == ["(forgotten)", "W0002"]
