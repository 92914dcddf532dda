"""Forgetting a person: nothing of them is left here, and what others hold is named."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import polars as pl
import pytest

from provisioner.admin.erase import forget
from provisioner.errors import ProvisionerError, UsageError
from provisioner.runs import lifecycle
from provisioner.runtime.audit import record
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import Opened, company
from tests.keeping.conftest import TARGETS, writes
from tests.support.harness import drain, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio


def everything(dep: Deployment) -> dict[str, str]:
    """All that lies in Redis as text, packed frames and rows unpacked."""
    found = {}
    for name, value in RedisContents(dep).values().items():
        if isinstance(value, bytes):
            found[name] = _readable(value)
        elif isinstance(value, dict):
            fields = sorted(value.items())
            found[name] = " ".join(f"{field.decode()}={_readable(content)}" for field, content in fields)
        else:
            found[name] = str(value)
    return found


def _readable(content: bytes) -> str:
    if content.startswith(b"ARROW1"):
        with pl.Config(tbl_rows=-1, tbl_cols=-1, fmt_str_lengths=1000):
            return str(pl.read_ipc(content))
    at = content.find(b"ARROW1")
    if at > 0:
        return content[:at].decode() + _readable(content[at:])
    try:
        return zlib.decompress(content).decode()
    except zlib.error:
        return content.decode(errors="replace")


def traces(found: dict[str, str], *texts: str) -> list[str]:
    """Keys whose name or content holds one of these texts."""
    return sorted(key for key, text in found.items() if any(one in text or one in key for one in texts))


async def test_nothing_of_the_person_is_left_in_redis(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened() as dep:
        roster.write_text(company(12))
        await sync_once(dep)
        roster.write_text(company(12, gone=(3,), changes={3: {"job_title": "Manager"}}))
        await sync_once(dep)
        assert traces(everything(dep), "W0003", "p3@example.com")
        for target in TARGETS:
            switchboard.clear_log(target)
        forgotten = await forget(dep, "W0003", by="test")
        assert {one.target for one in forgotten.accounts} == set(TARGETS)
        assert all(one.state == "left" and one.created for one in forgotten.accounts)
        assert forgotten.listed
        assert forgotten.erased["ledger"] == 4
        assert forgotten.erased["operations"] >= 8
        assert traces(everything(dep), "W0003", "p3@example.com", "Last3") == []
        assert traces(everything(dep), "W0004", "p4@example.com")
        assert writes(switchboard) == dict.fromkeys(TARGETS, 0)


async def test_accounts_that_the_vendors_hold_are_named_and_stay(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=("traitly",)) as dep:
        roster.write_text(company(4))
        await sync_once(dep)
        there = switchboard.accounts("traitly")
        forgotten = await forget(dep, "W0002", by="test")
        assert [(one.target, one.account, one.state) for one in forgotten.accounts] == [("traitly", "W0002", "active")]
        assert forgotten.accounts[0].kind == "traitly"
        assert switchboard.accounts("traitly") == there
        assert await dep.ledger.size("traitly") == 3


async def test_a_later_roster_may_bring_the_person_back_as_somebody_new(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened() as dep:
        roster.write_text(company(12))
        await sync_once(dep)
        there = {target: len(switchboard.accounts(target)) for target in TARGETS}
        await forget(dep, "W0005", by="test")
        run = await sync_once(dep)
        assert {target: part["adopted"] for target, part in run["targets"].items()} == dict.fromkeys(TARGETS, 1)
        assert {target: len(switchboard.accounts(target)) for target in TARGETS} == there


async def test_operations_that_were_not_sent_are_dropped(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=("traitly",)) as dep:
        roster.write_text(company(8))
        await sync_once(dep)
        await dep.health.pause("traitly", paused=True)
        roster.write_text(company(8, changes={1: {"department": "Sales"}, 2: {"department": "Sales"}}))
        run = await sync_once(dep)
        switchboard.clear_log("traitly")
        forgotten = await forget(dep, "W0001", by="test")
        assert forgotten.dropped >= 1
        await dep.health.pause("traitly", paused=False)
        await drain(dep)
        document = await dep.runs.document(run["run"])
        assert document is not None
        part = document["targets"]["traitly"]
        assert (part["status"], part["succeeded"]["update"], part["superseded"]["update"]) == ("succeeded", 1, 1)
        held = {one["customer_id"]: one["custom_attributes"]["department"] for one in switchboard.accounts("traitly")}
        assert (held["W0001"], held["W0002"]) == ("Engineering", "Sales")


async def test_a_held_operation_goes_with_its_person(opened: Opened, roster: Path) -> None:
    async with opened(only=("traitly",)) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        roster.write_text(company(20, gone=(0, 1, 2, 3)))
        run = await sync_once(dep)
        assert run["targets"]["traitly"]["held"]["leave"] == 4
        assert (await forget(dep, "W0001", by="test")).dropped >= 1
        document = await dep.runs.document(run["run"])
        assert document is not None
        assert document["targets"]["traitly"]["held"]["leave"] == 3


async def test_people_of_whom_only_a_rejected_row_is_known_are_forgotten(opened: Opened, roster: Path) -> None:
    async with opened(only=("traitly",)) as dep:
        text = company(60)
        roster.write_text(text + text.splitlines()[1].replace("W0000", "W0777").replace("active", "") + "\n")
        await sync_once(dep)
        assert traces(everything(dep), "W0777")
        forgotten = await forget(dep, "W0777", by="test")
        assert (forgotten.accounts, forgotten.erased["rejects"]) == ((), 1)
        assert traces(everything(dep), "W0777") == []


async def test_the_trail_of_what_people_did_stays_without_the_name(opened: Opened, roster: Path) -> None:
    async with opened(only=("traitly",)) as dep:
        roster.write_text(company(3))
        await sync_once(dep)
        await record(dep.audit, "cli:ann", "approved", people=("W0001", "W0002"), reason="known", facts={})
        await record(dep.audit, "cli:ann", "paused", facts={"target": "traitly"})
        before = await dep.audit.newest(10)
        await forget(dep, "W0001", by="cli:bob")
        newest, *rest = await dep.audit.newest(10)
        assert (newest["by"], newest["action"]) == ("cli:bob", "forgotten")
        assert [one["id"] for one in rest] == [one["id"] for one in before]
        assert [one.get("people") for one in rest if one["action"] == "approved"] == [["(forgotten)", "W0002"]]
        assert traces(everything(dep), "W0001") == []


async def test_an_unknown_person_is_named(opened: Opened, roster: Path) -> None:
    async with opened(only=("traitly",)) as dep:
        roster.write_text(company(3))
        await sync_once(dep)
        before = everything(dep)
        with pytest.raises(UsageError, match="Nothing is known of a person 'W9999'"):
            await forget(dep, "W9999", by="test")
        assert everything(dep) == before
        await forget(dep, "W0001", by="test")
        with pytest.raises(UsageError, match="'W0001'"):
            await forget(dep, "W0001", by="test")


async def test_work_under_way_is_waited_for_and_nothing_comes_back(opened: Opened, roster: Path) -> None:
    async with opened(only=("traitly",)) as dep:
        roster.write_text(company(3))
        await sync_once(dep)
        contents = RedisContents(dep)
        lock = contents.planning_lock("traitly")
        contents.hold(lock, "a-run")
        with pytest.raises(ProvisionerError, match="a run is planning traitly"):
            await forget(dep, "W0001", by="test", patience=0.3)
        contents.free(lock)
        contents.pretend_operation("W0001", "traitly", status="sending")
        with pytest.raises(ProvisionerError, match="traitly is being sent something"):
            await forget(dep, "W0001", by="test", patience=0.3)
        assert await dep.ledger.entry("traitly", "W0001") is not None
        assert not contents.is_held(lock)
        contents.pretend_operation("W0001", "traitly", status="pending")
        assert (await forget(dep, "W0001", by="test")).dropped == 1


async def test_a_run_that_is_not_planned_yet_leaves_the_person_out(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened(only=("traitly",)) as dep:
        roster.write_text(company(3))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        targets = await lifecycle.begin(dep, run)
        forgotten = await forget(dep, "W0001", by="test")
        assert forgotten.erased["snapshots"] == 1
        for target in targets:
            await lifecycle.plan(dep, run, target)
        await drain(dep)
        assert sorted(one["customer_id"] for one in switchboard.accounts("traitly")) == ["W0000", "W0002"]


async def test_events_and_webhooks_about_the_person_go_too(opened: Opened, roster: Path) -> None:
    async with opened(only=("traitly",)) as dep:
        roster.write_text(company(3))
        await sync_once(dep)
        about = json.dumps({"data": {"customer_id": "w0001"}})
        other = json.dumps({"data": {"customer_id": "W0002"}})
        RedisContents(dep).spread_letters({"1-0": about, "2-0": other})
        RedisContents(dep).keep_fact("W0001", "traitly", "plan")
        forgotten = await forget(dep, "W0001", by="test")
        assert (forgotten.erased["letters"], forgotten.erased["facts"]) == (5, 1)
        left = everything(dep)
        assert traces(left, "w0001", "W0001") == []
        assert len(traces(left, "W0002")) >= 4
