"""What an older version wrote is read and carried on: a whole database, as commit 4d3b55c left it after two runs.

Four people in one target. The first run made their accounts; in the second, two leave, whom a guard holds.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import redis

from provisioner.admin.decisions import Choice, decide_about
from provisioner.admin.leaver_receipts import unfinished
from provisioner.admin.person_report import story
from provisioner.admin.worklists import lists
from provisioner.model.operation_document import OperationDocument
from provisioner.model.person_report import PersonReport, ReceiptDocument
from provisioner.model.run_document import RunDocument
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, anyio_backend, company, opened, roster, sandbox, switchboard
from tests.support.harness import drain, sync_once

__all__ = ["anyio_backend", "opened", "roster", "sandbox", "switchboard"]

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("older")]
DATABASE: Final = Path(__file__).parent / "data" / "written-by-4d3b55c.json"
FIRST: Final = "20261129-134342-2867d24"
SECOND: Final = "20261129-134343-132436b"
TRAITLY: Final = ("traitly",)
#: Two leave, one moved to another department.
NOW: Final = company(4, gone=(0, 1), changes={2: {"department": "Sales"}})


def _bytes(written: Any) -> bytes:
    return base64.b64decode(written["base64"]) if isinstance(written, dict) else str(written).encode()


@pytest.fixture
def older(redis_url: str) -> str:
    """The database as the older version left it."""
    with redis.Redis.from_url(redis_url) as client:
        for key, (kind, value) in json.loads(DATABASE.read_text(encoding="utf-8")).items():
            if kind == "hash":
                client.hset(key, mapping={name: _bytes(text) for name, text in value})
            elif kind == "zset":
                client.zadd(key, dict(value))
            elif kind == "list":
                client.rpush(key, *map(_bytes, value))
            else:
                client.set(key, _bytes(value))
    return redis_url


def exactly(document: Any, type_: Any) -> bool:
    """Whether a document has what its type asks for, and nothing else."""
    return bool(msgspec.to_builtins(msgspec.convert(document, type_)) == document)


async def test_a_run_of_the_old_layout_opens(opened: Opened) -> None:
    async with opened(only=TRAITLY) as dep:
        assert await dep.runs.recent(5) == (SECOND, FIRST)
        run = await dep.runs.document(SECOND)
        assert run is not None
        assert exactly(run, RunDocument)
        part = run["targets"]["traitly"]
        assert (run["status"], run["started_at"], run["finished_at"]) == (
            "held", "2026-11-29T13:43:43.132Z", "2026-11-29T13:43:43.483Z"
        )  # fmt: skip
        assert run["roster"] is not None
        assert run["roster"]["people"] == 4
        assert (part["succeeded"], part["held"], part["linked"]) == ({"update": 1}, {"leave": 2, "event": 2}, 4)
        assert part["guards"] == ["2 leavers are more than the limit of 1 (of 4 linked accounts): held until approved."]
        operations = await dep.runs.operations(SECOND, TRAITLY)
        assert len(operations) == 5
        assert all(exactly(one, OperationDocument) for one in operations)
        request = await dep.runs.request(SECOND)
        assert request is not None
        assert (request.trigger, request.people) == ("manual", None)


async def test_a_ledger_of_the_old_layout_opens(opened: Opened) -> None:
    async with opened(only=TRAITLY) as dep:
        entry = await dep.ledger.entry("traitly", "W0002")
        assert entry is not None
        assert (entry.account, entry.state, entry.created, entry.matched) == ("W0002", "active", True, "created")
        assert entry.values["custom_attributes.department"] == "Sales"
        report = await story(dep, "W0001")
        assert exactly(report, PersonReport)
        assert report["roster"] is not None
        assert report["roster"]["verdict"] == "leaver"
        assert [one["status"] for one in report["operations"]] == ["held", "held", "succeeded", "succeeded"]
        receipts = await unfinished(dep)
        assert all(exactly(one, ReceiptDocument) for one in receipts)
        assert [one["person"] for one in receipts] == ["W0000", "W0001"]
        assert await lists(dep, "orphans", TRAITLY) == []


async def test_held_work_of_the_old_layout_is_approved_and_sent(opened: Opened, switchboard: Switchboard) -> None:
    async with opened(only=TRAITLY) as dep:
        await _accounts(dep, switchboard)
        decided = await decide_about(dep, SECOND, "approved", Choice(people=("W0001",)), by="test")
        assert sorted(one["kind"] for one in decided.done) == ["event", "leave"]
        await drain(dep)
        entry = await dep.ledger.entry("traitly", "W0001")
        assert entry is not None
        assert entry.state == "left"
        plans = {one["customer_id"]: one["plan"] for one in switchboard.accounts("traitly")}
        assert plans["W0001"] == "Leaver"
        assert plans["W0000"] == "Employee"


async def test_the_next_plan_goes_on_from_what_the_old_layout_holds(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    roster.write_text(NOW)
    async with opened(only=TRAITLY) as dep:
        await _accounts(dep, switchboard)
        part = (await sync_once(dep))["targets"]["traitly"]
        assert (part["adopted"], part["linked"], part["unchanged"]) == (0, 4, 2)
        assert part["held"] == {"leave": 2, "event": 2}
        assert part["succeeded"] == {}


async def _accounts(dep: Deployment, switchboard: Switchboard) -> None:
    """The target holds what the ledger says."""
    seeds = []
    for number in range(4):
        entry = await dep.ledger.entry("traitly", f"W{number:04d}")
        assert entry is not None
        plain = {name: value for name, value in entry.values.items() if "." not in name}
        custom = {name.partition(".")[2]: value for name, value in entry.values.items() if "." in name}
        seeds.append({**plain, "custom_attributes": custom})
    switchboard.seed("traitly", seeds)
