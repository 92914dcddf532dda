"""The JSON of each document, to the letter: keys, their order, and nulls.

A change that is meant: PROVISIONER_TEST_WRITE_GOLDEN=1 pytest tests/documents, then read the difference.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.backup import backup
from provisioner.admin.decisions import Choice, decide_about, pause
from provisioner.admin.erase import forget
from provisioner.admin.leaver_receipts import unfinished
from provisioner.admin.linking import unlink
from provisioner.admin.person_report import story
from provisioner.admin.worklists import lists, to_do
from provisioner.events.dead_letters import letter, waiting
from provisioner.progress.writeback import export
from provisioner.runtime.audit import record
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.events.outbox import Outgoing
from provisioner.store.runs.paging import Filter
from tests.decisions.conftest import Opened, company
from tests.documents.pinning import compare
from tests.support.harness import drain, plan_once, sync_once

pytestmark = pytest.mark.anyio
TARGETS = ("tribal_habits", "habitate", "traitly", "mtribes")
PEOPLE = 12


class Pinned:
    """Documents that are compared with their files, all before the test fails."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.different: list[str] = []

    def __call__(self, name: str, document: Any) -> None:
        self.different += compare(name, document, self._folder)


def one_each(operations: list[Any]) -> list[Any]:
    """The first of each target, kind and status: the others look like it."""
    found: dict[tuple[str, ...], Any] = {}
    for one in operations:
        found.setdefault((one["target"], one["kind"], one["status"]), one)
    return list(found.values())


def shortened(document: Any) -> Any:
    """A plan with one operation of each sort."""
    return {**document, "operations": one_each(document["operations"])}


async def test_every_document_is_as_it_was(
    opened: Opened, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    pinned = Pinned(tmp_path)
    sales = {
        8: {"work_email": "both@example.com"},
        9: {"work_email": "both@example.com"},
        3: {"department": "Sales"},
        4: {"department": "Contractors"},
        5: {"job_title": "Manager"},
    }
    reading = {"gate": {"max_rejected": "50%", "max_leaving": "100%", "max_age": "3650d"}}
    writeback = {"url": str(tmp_path / "back.csv")}
    async with opened(reading=reading, writeback=writeback, guards={"window": "0s"}) as dep:
        switchboard.seed("traitly", [{"customer_id": "X1", "name": "Nobody", "email": "nobody@example.com"}])
        switchboard.seed("tribal_habits", [{"user_name": "X9", "email": "both@example.com", "active": True}])
        switchboard.seed("habitate", [{"username": "w0005", "first_name": "Some", "email": "some@example.com"}])
        first = {"method": "POST", "contains": "W0000"}
        switchboard.fault("traitly", match=first, times=1, status=422, body={"message": "no"})
        roster.write_text(company(PEOPLE, changes=sales) + "W0010,again,,,,,,,,,active,,\n,nokey,,,,,,,,,active,,\n")
        pinned("plan", shortened(await plan_once(dep)))
        first = await sync_once(dep)
        pinned("run", first)
        pinned("rejects", await dep.runs.rejects(first["run"]))
        pinned("operations", one_each(await dep.runs.operations(first["run"], TARGETS)))
        page = await dep.operations.page(first["run"], TARGETS, Filter(("failed",)), limit=5)
        pinned("operations_page", list(page.rows))
        pinned("retried", (await decide_about(dep, first["run"], "retried", Choice(), by="cli:ann")).to_json())
        await drain(dep)

        ada = next(one for one in switchboard.accounts("tribal_habits") if one["user_name"] == "W0006")
        switchboard.seed("tribal_habits", [{**ada, "last_name": "Other"}])
        roster.write_text(company(PEOPLE, gone=(0, 1, 2, 7), changes={**sales, 6: {"start_date": "soon"}}))
        held = await sync_once(dep, full=True)
        pinned("run_held", held)
        pinned("standing", await dep.runs.standing("traitly", "W0001"))
        pinned("leavers", await unfinished(dep))
        for name in ("todos", "conflicts", "drift", "orphans"):
            pinned(name, await lists(dep, name, TARGETS))
        pinned("held_person", await story(dep, "W0001"))
        choice = Choice(target="traitly", people=("W0001",))
        pinned(
            "approved", (await decide_about(dep, held["run"], "approved", choice, by="api:x", reason="ok")).to_json()
        )
        choice = Choice(target="traitly", people=("W0002",))
        pinned("dropped", (await decide_about(dep, held["run"], "rejected", choice, by="api:x")).to_json())
        await drain(dep)
        pinned("to_do", await to_do(dep, TARGETS))
        pinned("leaver", await story(dep, "W0001"))
        pinned("stayed", await story(dep, "W0006"))
        pinned("heads", await dep.runs.heads([first["run"], held["run"]]))

        await pause(dep, "mtribes", by="cli:ann")
        switchboard.fault("habitate", match={"method": "GET"}, times=1, status=401, body={})
        switchboard.fault("traitly", match={"method": "GET"}, times=9, status=404, body={})
        roster.write_text(
            company(PEOPLE, gone=(0, 1, 2, 7), changes={8: {"first_name": "Otto", "department": "Sales"}})
        )
        pinned("plan_of_some_that_fail", shortened(await plan_once(dep)))
        switchboard.clear_faults("traitly")
        roster.write_text(company(1))
        pinned("plan_degraded", shortened(await plan_once(dep)))
        roster.write_text(company(1) + ",nobody,,,,,,,,,active,,\n" * 9)
        pinned("plan_rejected", await plan_once(dep))
        pinned("exported", asdict(await export(dep)))
        await _dead(dep)
        events = await waiting(dep)
        pinned("events", events)
        pinned("letter", await letter(dep, events["dead"][-1]["id"]))
        pinned("unlinked", asdict(await unlink(dep, "W0009", "traitly", by="cli:ann")))
        await record(dep.audit, "cli:ann", "looked", people=("W0009",), reason="why not", facts={"file": "x"})
        pinned("audit", await dep.audit.newest(50))
        saved = asdict(await backup(dep, tmp_path / "all.gz"))
        pinned("saved", {**saved, "entries": sorted(saved["entries"])})
        pinned("forgotten", asdict(await forget(dep, "W0001", by="cli:ann")))
    assert not pinned.different, "\n".join(pinned.different)


async def _dead(dep: Deployment) -> None:
    """A dead letter of each direction, an event put off, one to be sent, and one that nobody knows."""
    for number in range(3):
        await dep.inbound.accept("traitly", digest=f"d{number}", event=f"e{number}", known=number < 2, body="{}")
    await dep.inbound.begin()
    first, second, third = await dep.inbound.take("test", 3)
    now = await dep.clock.now()
    await dep.inbound.bury(first, "it is too old", now)
    await dep.inbound.put_off(second, now + 60)
    await dep.inbound.keep_unknown(third)
    await dep.inbound.finish([third])
    item = Outgoing("d0-route", "traitly", "e0", "route", '{"id":"d0-route"}', now)
    await dep.outbox.add([item, Outgoing("d1-route", "traitly", "e1", "route", "{}", now)], now)
    await dep.outbox.bury(item, "it answered 410", now)
