"""A person goes on under another key, whatever was said or done about the old one and is not settled yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.admin.decisions import Choice, decide_about
from provisioner.admin.rekeying import rekey
from provisioner.admin.worklists import to_do
from provisioner.dispatch.outcome_spool import Spool, Spooled
from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, sync_once

pytestmark = pytest.mark.anyio

T = "traitly"
PEOPLE = 20
RENAMED = {3: {"employee_id": "N0003"}}


async def refused(dep: Deployment, roster: Path) -> str:
    """Somebody says no to a leave that a guard holds; the run."""
    roster.write_text(company(PEOPLE))
    await sync_once(dep)
    roster.write_text(company(PEOPLE, gone=(3, 4, 5)))
    run = str((await sync_once(dep))["run"])
    await decide_about(dep, run, "rejected", Choice(T, ("W0003",)), by="ann", reason="she stays on")
    await decide_about(dep, run, "approved", Choice(T, ("W0004", "W0005")), by="ann")
    await drain(dep)
    return run


async def leaves(dep: Deployment) -> dict[str, int]:
    """How many leaves a sync sends, and how many stay rejected."""
    figures = (await sync_once(dep))["targets"][T]
    return {status: figures[status].get("leave", 0) for status in ("succeeded", "rejected", "held")}


async def test_what_was_rejected_stays_rejected(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,), guards={"window": "0s"}) as dep:
        run = await refused(dep, roster)
        roster.write_text(company(PEOPLE, gone=(3, 4, 5), changes=RENAMED))
        await sync_once(dep)
        await rekey(dep, "W0003", "N0003", by="ann")
        # From the rows that are known, and from a roster with the new key
        for _ in range(2):
            assert await leaves(dep) == {"succeeded": 0, "rejected": 1, "held": 0}
        found = (await to_do(dep, (T,)))["rejections"]
        assert {(one["person"], one["by"], one["reason"], one["run"]) for one in found if one["kind"] == "leave"} == {
            ("N0003", "ann", "she stays on", run)
        }


async def test_the_row_that_is_known_is_that_of_the_new_key(opened: Opened, roster: Path) -> None:
    """A plan before the next roster goes by it, and a rejection ends when it differs."""
    async with opened(only=(T,)) as dep:

        async def row() -> str:
            known = await dep.frames.known()
            assert known is not None
            return str(known.filter(known["_key"] == "N0003")["_digest"].item())

        await refused(dep, roster)
        roster.write_text(company(PEOPLE, gone=(3, 4, 5), changes=RENAMED))
        await sync_once(dep)
        await rekey(dep, "W0003", "N0003", by="ann")
        before = await row()
        assert (await sync_once(dep))["roster"]["accepted"]
        assert await row() == before


async def test_another_change_of_the_row_ends_the_rejection_as_ever(opened: Opened, roster: Path) -> None:
    async with opened(only=(T,), guards={"window": "0s"}) as dep:
        await refused(dep, roster)
        changed = {3: {"employee_id": "N0003", "end_date": "2020-01-31"}}
        roster.write_text(company(PEOPLE, gone=(3, 4, 5), changes=changed))
        await sync_once(dep)
        await rekey(dep, "W0003", "N0003", by="ann")
        assert (await leaves(dep))["succeeded"] == 1


async def planned(dep: Deployment, roster: Path) -> str:
    """A run that finds somebody linked under a key that no roster had; it is begun."""
    roster.write_text(company(PEOPLE, changes=RENAMED))
    run = await lifecycle.request_run(dep, Request(trigger="manual"))
    await lifecycle.begin(dep, run)
    return run


async def test_an_outcome_that_lies_on_disk_is_recorded_first(opened: Opened, roster: Path) -> None:
    """Redis was away when the vendor acknowledged; it would be recorded of a key that nobody has any more."""
    async with opened(only=(T,)) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, changes={3: {"last_name": "Changed"}}))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)
        (claim,) = await dep.queue.claim(T, lease=60, token="t", limits={"*": 1})
        await planned(dep, roster)
        spool = Spool(dep.settings.data_dir)
        spool.add(Spooled(claim, {"account": "W0003", "values": {"name": "First3 Changed"}}, "W0003"))
        await rekey(dep, "W0003", "N0003", by="ann", patience=5.0)
        assert spool.empty
        entry = await dep.ledger.entry(T, "N0003")
        assert entry is not None
        assert (entry.account, entry.values["name"]) == ("W0003", "First3 Changed")
        assert await dep.ledger.entry(T, "W0003") is None


class KilledError(BaseException):
    """The planner's process was killed."""


async def test_a_plan_that_was_broken_off_is_brought_to_its_end_first(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else somebody would go on with it afterwards, and record a link of the old key once more."""
    monkeypatch.setattr("provisioner.store.queue.plans._PART", 0)
    async with opened(only=(T,)) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        run = await planned(dep, roster)

        async def dying(*_: object) -> object:
            raise KilledError

        with monkeypatch.context() as killed:
            killed.setattr(dep.plans, "_script", dying)
            with pytest.raises(KilledError):
                await lifecycle.plan(dep, run, T)
        assert await dep.runs.part_field(run, T, "installed") is None
        await rekey(dep, "W0003", "N0003", by="ann", patience=5.0)
        assert await dep.runs.part_field(run, T, "installed") is not None
        entries = await dep.ledger.entries(T, ["W0003", "N0003"])
        assert {key: one.account for key, one in entries.items()} == {"N0003": "W0003"}
