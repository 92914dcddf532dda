"""mtribes' listing in shapes that nobody published: read as the settings say, or not believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.leaver_receipts import unfinished
from provisioner.model.run_document import exit_code
from provisioner.runtime.context import Deployment
from provisioner.sandbox import MTRIBES_SPACE_ID, MTRIBES_TOKEN, SandboxServer, Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import plan_once, sync_once

pytestmark = pytest.mark.anyio
PEOPLE = 4


@pytest.fixture
def own(sandbox: SandboxServer) -> dict[str, Any]:
    """The target's settings."""
    return {
        "base_url": f"{sandbox.url}/mtribes",
        "access_token": MTRIBES_TOKEN,
        "space_id": MTRIBES_SPACE_ID,
        "rate_limit": "20000/second",
        "match": ["id"],
        "attributes": {
            "id": "employee_id",
            "name": "first_name || ' ' || last_name",
            "email": "LOWER(work_email)",
            "tags": "'department/' || LOWER(department)",
        },
        "leaver": {"tags": "'employment/left'"},
    }


def tags(board: Switchboard) -> dict[str, list[str]]:
    return {one["id"]: sorted(one["tags"]) for one in board.accounts("mtribes")}


async def part_of(dep: Deployment) -> dict[str, Any]:
    run = await sync_once(dep)
    return {**run["targets"]["mtribes"], "exit": exit_code(run)}


async def test_tags_that_come_as_objects_are_never_turned_into_text(
    opened: Opened, switchboard: Switchboard, roster: Path, own: dict[str, Any]
) -> None:
    roster.write_text(company(PEOPLE))
    guards = {"leavers": {"percent": 100}, "updates": {"percent": 100}}
    async with opened(only=("mtribes",), guards=guards, targets={"mtribes": own}) as dep:
        await sync_once(dep)
        switchboard.seed("mtribes", [{"id": "W0002", "tags": ["department/engineering", "hand/made"]}])
        await sync_once(dep)
        before = tags(switchboard)
        switchboard.options("mtribes", tag_objects=True)
        roster.write_text(company(PEOPLE, gone=(2,), changes={0: {"department": "Sales"}}))
        part = await part_of(dep)
        assert (part["exit"], part["error"]["code"]) == (5, "listing_partial")
        assert "tags: tags.name" in part["error"]["message"]
        assert part["succeeded"] == {"leave": 1}
        # The leaver's own tags are gone, those set by hand stay, and nobody else is touched
        assert tags(switchboard) == {**before, "W0002": ["employment/left", "hand/made"]}
    declared = {**own, "fields": {"tags": "tags.name"}}
    async with opened(only=("mtribes",), guards=guards, targets={"mtribes": declared}) as dep:
        part = await part_of(dep)
        assert (part["exit"], part["succeeded"]) == (0, {"update": 1})
        assert tags(switchboard)["W0000"] == ["department/sales"]
        assert tags(switchboard)["W0002"] == ["employment/left", "hand/made"]
        assert (await part_of(dep))["unchanged"] == PEOPLE


async def test_a_total_of_which_a_part_is_shown_is_not_believed(
    opened: Opened, switchboard: Switchboard, roster: Path, own: dict[str, Any]
) -> None:
    people = [
        {"id": f"W{number:04d}", "name": "X", "email": f"x{number}@example.com", "tags": ["hand/made"]}
        for number in range(PEOPLE)
    ]
    switchboard.seed("mtribes", people)
    before = switchboard.accounts("mtribes")
    switchboard.options("mtribes", told_total=True)
    roster.write_text(company(PEOPLE))
    async with opened(only=("mtribes",), targets={"mtribes": {**own, "page_size": PEOPLE}}) as dep:
        for document in (await plan_once(dep), await sync_once(dep)):
            error = document["targets"]["mtribes"]["error"]
            assert (exit_code(document), error["code"]) == (5, "listing_partial")
            assert "paging.total says 4" in error["message"]
    assert switchboard.accounts("mtribes") == before


@pytest.mark.parametrize("form", ["listed", "keyed"])
async def test_a_row_that_the_answer_refuses_fails_though_the_status_is_200(
    opened: Opened, switchboard: Switchboard, roster: Path, own: dict[str, Any], form: str
) -> None:
    switchboard.options("mtribes", row_errors=form, row_errors_of=["W0001"])
    roster.write_text(company(PEOPLE))
    async with opened(only=("mtribes",), targets={"mtribes": own}) as dep:
        part = await part_of(dep)
        assert (part["exit"], part["failed"], part["succeeded"]) == (5, {"create": 1}, {"create": PEOPLE - 1})
        assert switchboard.counts("mtribes")["writes"] == 1
        (failed,) = [one for one in await dep.runs.history("W0001", 5) if one["status"] == "failed"]
        assert failed["error"] == {"code": "row_refused", "message": "mtribes refused it: users[1] is refused"}
        switchboard.options("mtribes", row_errors_of=["W0002"])
        roster.write_text(company(PEOPLE, gone=(2,)))
        part = await part_of(dep)
        assert (part["exit"], part["failed"], part["succeeded"]) == (5, {"leave": 1}, {"create": 1})
        receipt = await unfinished(dep)
        assert [(one["person"], one["targets"]["mtribes"]["status"]) for one in receipt] == [("W0002", "failed")]
