"""The JSON of a plan's file and of a run that applied one, to the letter; see `test_golden`."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.admin.access_report import access
from provisioner.runs.preview import preview
from provisioner.runs.undo import undo_request
from tests.decisions.conftest import Opened, company
from tests.documents.pinning import compare
from tests.documents.test_golden import one_each
from tests.reviewed.support import applied, undone, written
from tests.support.harness import sync_once

pytestmark = pytest.mark.anyio
#: Of a person's rows, accounts that the vendor numbers would differ from run to run.
ONLY = ("tribal_habits", "traitly")


async def test_a_plan_s_file_and_its_run(opened: Opened, roster: Path, tmp_path: Path) -> None:
    async with opened(only=ONLY, reading={"gate": {"max_leaving": "100%", "max_age": "3650d"}}) as dep:
        roster.write_text(company(6))
        await sync_once(dep)
        roster.write_text(company(7, gone=(1,), changes={2: {"last_name": "Other"}, 3: {"job_title": "Manager"}}))
        file = await written(dep)
        shown = {**file, "digest": "DIGEST", "operations": one_each(list(file["operations"]))}
        roster.write_text(company(6, gone=(1,), changes={2: {"last_name": "Another"}}))
        document, _ = await applied(dep, file)
        different = compare("plan_file", shown, tmp_path)
        different += compare("run_reviewed", {**document, "reviewed": "DIGEST"}, tmp_path)
    assert not different, "\n".join(different)


async def test_an_undo_its_plan_and_who_has_what(opened: Opened, roster: Path, tmp_path: Path) -> None:
    guards = {"updates": {"percent": 100}, "leavers": {"percent": 100}, "window": "0s"}
    reading = {"gate": {"max_leaving": "100%", "max_age": "3650d"}}
    async with opened(only=ONLY, reading=reading, guards=guards) as dep:
        roster.write_text(company(5))
        await sync_once(dep)
        roster.write_text(company(6, gone=(1,), changes={2: {"last_name": "Other"}, 3: {"job_title": "Manager"}}))
        changed = await sync_once(dep)
        request = await undo_request(dep, changed["run"], None, None, force=False)
        plan = await preview(dep, request)
        document, code = await undone(dep, changed["run"])
        assert code == 4
        rows = [row async for batch in access(dep, ONLY) for row in batch]
        shown = {**plan, "operations": one_each(list(plan["operations"]))}
        different = compare("plan_undo", shown, tmp_path)
        different += compare("run_undo", document, tmp_path)
        different += compare("access", rows, tmp_path)
    assert not different, "\n".join(different)
