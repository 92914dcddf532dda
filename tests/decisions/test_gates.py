"""Each gate of the roster: removals wait, joiners arrive, and the operator reads why."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from provisioner.model.run_document import exit_code
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.documents import anything
from tests.support.harness import sync_once

pytestmark = pytest.mark.anyio
ONLY = ("tribal_habits",)
FREE: dict[str, Any] = {"guards": {"leavers": {"percent": 100}}}
AT_ONCE = {"snapshots": 1, "grace": "0s"}


def names(switchboard: Switchboard) -> set[str]:
    return {one["user_name"] for one in switchboard.accounts("tribal_habits") if one["active"]}


def shrunk() -> str:
    lines = company(40, gone=(39,)).splitlines()
    return "\n".join([lines[0], *lines[9:], company(41).splitlines()[41]]) + "\n"


def leaving() -> str:
    return company(41, gone=tuple(range(10)))


def blank() -> str:
    return company(41, gone=(39,), changes={number: {"country": ""} for number in range(20)})


def aged() -> str:
    return company(41, gone=(39,))


@pytest.mark.parametrize(
    ("text", "gate", "sentence"),
    [
        (
            shrunk,
            {},
            "The roster shrank from 40 people to 33, by 7, more than roster.gate.max_shrink allows (10% of 40",
        ),
        (leaving, {}, "10 people are newly leaving, more than roster.gate.max_leaving allows (20% of 40 is 8)"),
        (blank, {}, "20 people lost their value in the column 'country', more than roster.gate.max_blank_jump"),
        (aged, {"max_age": "1d"}, "longer ago than roster.gate.max_age (1d)"),
    ],
)
async def test_a_degraded_roster_holds_removals_and_lets_joiners_in(
    opened: Opened, roster: Path, switchboard: Switchboard, text: Any, gate: dict[str, Any], sentence: str
) -> None:
    async with opened(only=ONLY, reading={"absence": AT_ONCE, "gate": gate}, **FREE) as dep:
        roster.write_text(company(40))
        await sync_once(dep)
        roster.write_text(text())
        if text is aged:
            os.utime(roster, (time.time() - 2 * 86400,) * 2)
        run = await sync_once(dep)
        target = run["targets"]["tribal_habits"]
        assert run["roster"]["accepted"] is False
        assert sentence in run["roster"]["degraded"][0]
        assert target["succeeded"] == {"create": 1}
        assert target["planned"]["leave"] == target["held"]["leave"] > 0
        assert (run["status"], exit_code(run)) == ("held", 4)
        assert len(names(switchboard)) == 41
        held = anything(await dep.runs.operations(run["run"], ["tribal_habits"], statuses=["held"]))
        assert f"provisioner sync --accept {run['roster']['digest']}" in held[0]["error"]["message"]
        accepted = await sync_once(dep, accept=run["roster"]["digest"])
        assert accepted["roster"]["accepted"] is True
        # Accepted as it is, so the vanished count as absent too
        assert accepted["targets"]["tribal_habits"]["held"] == {}
        assert accepted["targets"]["tribal_habits"]["succeeded"]["leave"] >= target["planned"]["leave"]
        assert exit_code(accepted) == 0


async def test_too_many_bad_rows_reject_the_roster_and_nothing_is_sent(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(40))
        await sync_once(dep)
        switchboard.clear_log("tribal_habits")
        roster.write_text(company(41, changes={number: {"employee_id": "W0000"} for number in range(1, 4)}))
        run = await sync_once(dep)
        assert (run["status"], exit_code(run)) == ("rejected", 3)
        assert "rows are rejected, more than roster.gate.max_rejected allows" in run["error"]["message"]
        assert switchboard.counts("tribal_habits")["writes"] == 0
        assert switchboard.counts("tribal_habits")["reads"] == 0


@pytest.mark.parametrize("text", ["", "employee_id\n", "\n\n"])
async def test_an_empty_roster_removes_nobody(
    opened: Opened, roster: Path, switchboard: Switchboard, text: str
) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(5))
        await sync_once(dep)
        roster.write_text(text)
        run = await sync_once(dep)
        assert exit_code(run) == 3
        assert len(names(switchboard)) == 5


async def test_absence_is_counted_by_files_written_anew(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened(only=ONLY, reading={"absence": {"snapshots": 2, "grace": "0s"}}, **FREE) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        roster.write_text(company(19))
        for _ in range(3):
            run = await sync_once(dep)
            assert run["targets"]["tribal_habits"]["planned"]["leave"] == 0, "reading one file often is no absence"
        os.utime(roster, (time.time() + 5,) * 2)
        run = await sync_once(dep)
        assert run["targets"]["tribal_habits"]["succeeded"] == {"leave": 1}
        assert "W0019" not in names(switchboard)
        roster.write_text(company(20))
        run = await sync_once(dep)
        assert run["targets"]["tribal_habits"]["succeeded"] == {"rejoin": 1}
        assert "W0019" in names(switchboard)
