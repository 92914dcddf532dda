"""What a plan predicted, what became of it, and why they differ; and requests that were for another roster."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from provisioner.admin.decisions import Choice, decide_about
from provisioner.cli.render.run_report import accuracy, roster
from provisioner.model.run_document import exit_code
from provisioner.runs import lifecycle
from provisioner.sandbox import Switchboard
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, plan_once, sync_once

pytestmark = pytest.mark.anyio
ONLY = ("tribal_habits",)
PEOPLE = 20


def told(document: Mapping[str, Any]) -> str:
    """What the command prints of it."""
    text = StringIO()
    accuracy(Console(file=text, width=300), document)
    return text.getvalue()


async def test_a_plan_and_a_run_predict_the_same(opened: Opened, roster: Path) -> None:
    async with opened() as dep:
        roster.write_text(company(PEOPLE, changes={3: {"department": "Sales"}}))
        plan = await plan_once(dep)
        run = await sync_once(dep)
        for name, target in run["targets"].items():
            # Roles and boards that were read for the plan need not be read again
            assert target["predicted"]["operations"] == plan["targets"][name]["predicted"]["operations"]
            assert target["predicted"]["operations"] == target["actual"]["operations"] == target["succeeded"]
            assert target["predicted"]["requests"] <= target["actual"]["requests"]
            assert target["differences"] == []
        assert run["targets"]["tribal_habits"]["predicted"] == {
            "operations": {"create": PEOPLE, "enrol": 1},
            "requests": run["targets"]["tribal_habits"]["requests"],
        }
        assert "tribal_habits: 21 operations predicted, 21 done; at least 2 requests predicted, 2 sent" in told(run)


async def test_what_is_held_was_not_predicted_until_it_is_let_go(opened: Opened, roster: Path) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=(0, 1, 2)))
        run = await sync_once(dep)
        assert run["targets"]["tribal_habits"]["predicted"]["operations"] == {}
        assert run["targets"]["tribal_habits"]["differences"] == []
        await decide_about(dep, run["run"], "approved", Choice(), by="test")
        await drain(dep)
        after = await dep.runs.document(run["run"])
        assert after is not None
        assert after["targets"]["tribal_habits"]["differences"] == [
            {"kind": "leave", "predicted": 0, "actual": 3, "because": {"approved": 3}}
        ]
        assert "leave: 0 predicted, 3 done: 3 held at first, and approved" in told(after)


async def test_each_difference_says_why(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened(only=ONLY, guards={"leavers": {"percent": 100}}) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        switchboard.fault("tribal_habits", match={"method": "POST"}, times=None, status=422, body={"message": "no"})
        roster.write_text(company(PEOPLE + 2))
        failed = await sync_once(dep)
        assert failed["targets"]["tribal_habits"]["differences"] == [
            {"kind": "create", "predicted": 2, "actual": 0, "because": {"failed": 2}}
        ]
        switchboard.clear_faults("tribal_habits")
        # Planned, not sent, and then the roster says that they stay
        roster.write_text(company(PEOPLE + 2, gone=(1, 2)))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)
        roster.write_text(company(PEOPLE + 2, gone=(2,)))
        newer = await lifecycle.request_run(dep, Request(trigger="manual"))
        await lifecycle.begin(dep, newer)
        await drain(dep)
        first = await dep.runs.document(run)
        assert first is not None
        assert first["targets"]["tribal_habits"]["differences"] == [
            {"kind": "leave", "predicted": 2, "actual": 1, "because": {"no_longer_leaving": 1}}
        ]
        assert "1 not leaving any more by a newer roster" in told(first)


async def test_what_a_newer_plan_or_something_newer_took_over_is_told(opened: Opened, roster: Path) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(PEOPLE))
        runs: list[str] = []
        for _ in range(2):
            run = await lifecycle.request_run(dep, Request(trigger="manual", full=bool(runs)))
            for target in await lifecycle.begin(dep, run):
                await lifecycle.plan(dep, run, target)
            runs.append(run)
        older = await dep.runs.document(runs[0])
        assert older is not None
        assert older["targets"]["tribal_habits"]["differences"] == [
            {"kind": "create", "predicted": PEOPLE, "actual": 0, "because": {"newer_plan": PEOPLE}}
        ]
        await drain(dep)


async def test_an_acceptance_of_another_roster_is_said(opened: Opened, roster: Path) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        other = f"sha256:{'0' * 64}"
        roster.write_text(company(PEOPLE // 2))
        run = await sync_once(dep, accept=other)
        assert run["roster"]["accepted"] is False
        assert exit_code(run) == 4
        assert run["roster"]["not_accepted"] == (
            f"Nothing was accepted: {other} was asked for, but the roster that was read is {run['roster']['digest']}."
        )
        accepted = await sync_once(dep, accept=run["roster"]["digest"])
        assert accepted["roster"]["accepted"] is True
        assert "not_accepted" not in accepted["roster"]


def test_the_command_prints_it() -> None:
    text = StringIO()
    roster(Console(file=text, width=300), {"roster": {"rows": 1, "not_accepted": "Nothing was accepted: x."}})
    assert "Nothing was accepted: x." in text.getvalue()
