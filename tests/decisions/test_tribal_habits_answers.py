"""Tribal Habits as its page leaves it open: counts that do not add up, odd values, names that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.preflight.targets import reach
from provisioner.model.run_document import exit_code
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import sync_once

pytestmark = pytest.mark.anyio
PEOPLE = 6


async def test_counts_that_do_not_add_up_are_settled_by_reading(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    switchboard.options("tribal_habits", counts_off=True)
    roster.write_text(company(PEOPLE, changes={3: {"language": "klingon"}}))
    async with opened(
        only=("tribal_habits",), guards={"updates": {"percent": 100}, "leavers": {"percent": 100}}
    ) as dep:
        run = await sync_once(dep)
        part = run["targets"]["tribal_habits"]
        assert part["failed"] == {"create": 1}, "the list of errors is the vendor's word"
        assert part["succeeded"]["create"] == PEOPLE - 1
        assert switchboard.counts("tribal_habits")["by_endpoint"]["POST /papi/users/batch_save"] == 1
        roster.write_text(company(PEOPLE, gone=(1,), changes={0: {"last_name": "Else"}}))
        switchboard.clear_log("tribal_habits")
        run = await sync_once(dep)
        assert exit_code(run) == 0
        assert run["targets"]["tribal_habits"]["succeeded"] == {"create": 1, "update": 1, "leave": 1}
        assert switchboard.counts("tribal_habits")["by_endpoint"]["POST /papi/users/batch_save"] == 2


async def test_an_odd_value_in_a_field_that_nobody_mapped_stops_nobody(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=("tribal_habits",)) as dep:
        await sync_once(dep)
        switchboard.seed("tribal_habits", [{"user_name": "W0002", "admin_type": "none", "org_admin": "perhaps"}])
        roster.write_text(company(PEOPLE, gone=(1,)))
        run = await sync_once(dep, full=True)
        assert exit_code(run) == 0
        assert run["targets"]["tribal_habits"]["succeeded"] == {"leave": 1}


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        ("habitate", {"leaver": {"role": "'Nobody'"}}, "targets.habitate.leaver.role"),
        ("habitate", {"attributes": {"boards": "'Sales;Elsewhere'"}}, "targets.habitate.attributes.boards"),
        ("tribal_habits", {"attributes": {"X-Planet": "country"}}, "X-Planet"),
        ("tribal_habits", {"enrolments": [{"code": "TH-4-999-NEW"}]}, "TH-4-999-NEW"),
    ],
)
async def test_a_name_that_the_target_does_not_have_fails_the_check(
    opened: Opened, switchboard: Switchboard, roster: Path, kind: str, changes: dict[str, Any], told: str
) -> None:
    roster.write_text(company(2))
    async with opened(only=(kind,)) as dep:
        await sync_once(dep)
        assert not [line for line in await reach(dep.settings, redis=True, say=print) if line.verdict == "fail"]
        own = dep.settings.targets[kind]
        merged = {
            name: {**getattr(own, name), **value} if isinstance(value, dict) else value
            for name, value in changes.items()
        }
    document = own.model_dump(by_alias=True) | merged
    settings = dep.settings.model_copy(update={"targets": {kind: type(own).model_validate(document)}})
    (line,) = [line for line in await reach(settings, redis=False, say=print) if line.verdict == "fail"]
    assert told in line.message
    assert (line.subject, line.exit_code) == (f"{kind} names", 2)
    del switchboard
