"""Against SCIM services that no one here wrote: days of joiners, movers, leavers and rehires end exactly right."""

from __future__ import annotations

import asyncio
import csv
import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.runtime.context import Deployment
from provisioner.testing.proxy import Proxy
from provisioner.testing.server import Reply, Request
from tests.e2e.site import BY_HAND, PATIENCE, Site, eventually
from tests.foreign.services import GROUPS, SERVICES, TOKEN, Service
from tests.support.harness import load_settings, plan_once, settings_document, sync_once, write_settings
from tests.support.redis_server import RedisServer

FINANCE, SALES, RESEARCH = GROUPS
WIDE: Final = {"percent": 100}
Row = dict[str, str]


def row(key: str, first: str, last: str, groups: str, department: str = "Sales", status: str = "active") -> Row:
    return {
        "employee_id": key,
        "first_name": first,
        "last_name": last,
        "work_email": f"{first}.{key.strip(QUOTED)}@Example.com",
        "department": department,
        "groups": groups,
        "employment_status": status,
    }


#: Seconds that what is about one group takes.
GROUP_TAKES: Final = 0.3
#: What ends a string in filters, if it is not quoted.
QUOTED: Final = '"\\'
FIRST: Final = (
    row("W1", "Ana", "Silva", SALES),
    row("W2", "Zoe", "O'Hara", f"{SALES};{FINANCE}"),
    row('W3"\\', "Lee", 'Quote" or userName pr or userName eq "', RESEARCH, "R&D"),
    row("W4", "Ida", "Müller-Łukasz", "", ""),
    row("W5", "Max", "Gone", FINANCE),
    row("W6", "Ole", "Six", SALES),
)


class Company:
    """A roster, a deployment, and a service behind a proxy that counts."""

    def __init__(self, service: Service, url: str, proxy: Proxy, folder: Path, redis_url: str) -> None:
        self.service, self.url, self.proxy = service, url, proxy
        self.roster = folder / "roster.csv"
        document = settings_document("http://127.0.0.1:9", redis_url, self.roster, folder)
        document["roster"] |= {
            "absence": {"snapshots": 1, "grace": "0s"},
            "gate": dict.fromkeys(("max_shrink", "max_rejected", "max_leaving", "max_blank_jump"), "100%"),
        }
        document["roster"] = {
            name: value for name, value in document["roster"].items() if name not in ("starts", "ends", "exclude")
        }
        document["guards"] = {"leavers": WIDE, "updates": WIDE, "missing": WIDE, "removals": WIDE, "window": "0s"}
        document["targets"] = {
            "svc": {
                "kind": "scim",
                "base_url": proxy.url,
                "token": TOKEN,
                "rate_limit": "20000/second",
                "page_size": 3,
                "match": ["userName"],
                "attributes": service.attributes,
                "leaver": {"active": "FALSE", "groups": {"from": "NULL", "empty": "clear"}},
                "dialect": dict(service.dialect),
            }
        }
        self.document = document
        self.settings = load_settings(folder, document)

    def write(self, *rows: Row) -> None:
        with self.roster.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(FIRST[0]))
            writer.writeheader()
            writer.writerows(rows)

    async def day(self, dep: Deployment, *rows: Row, writes: int, **request: Any) -> dict[str, Any]:
        """One roster, synced, with so many requests that change something; then nothing is left to do."""
        self.write(*rows)
        self.proxy.writes = 0
        document = await sync_once(dep, **request)
        assert document["status"] == "succeeded", await self.why(dep, document)
        assert self.proxy.writes == writes, await self.why(dep, document)
        assert (await plan_once(dep))["operations"] == []
        return document

    async def why(self, dep: Deployment, document: Mapping[str, Any]) -> str:
        return json.dumps([document, await dep.runs.operations(document["run"], dep.targets)], indent=1)

    def holds(self, *rows: Row) -> None:
        """The service holds exactly what these rows mean."""
        assert self.service.people(self.url) == {one["employee_id"].lower(): self.meant(one) for one in rows}

    def meant(self, one: Row) -> dict[str, Any]:
        gone = one["employment_status"] != "active"
        found = {
            "given": one["first_name"],
            "family": one["last_name"],
            "emails": [one["work_email"].lower()],
            "active": not gone,
            "groups": [] if gone else sorted(filter(None, one["groups"].split(";"))),
        }
        if self.service.enterprise:
            found["department"] = one["department"] or None
        if self.service.external:
            found["external"] = one["employee_id"]
        return found


@pytest.fixture(params=SERVICES, ids=lambda one: str(one.name))
def company(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Iterator[Company]:
    service: Service = request.param
    with service.running(tmp_path) as url, Proxy(url) as proxy:
        yield Company(service, url, proxy, tmp_path, redis_url)


def test_days_of_a_company(company: Company) -> None:
    async def days() -> None:
        w1, w2, w3, w4, w5, w6 = FIRST
        async with Deployment.open(company.settings) as dep:
            # A create for each, but one for both who enter the same groups where that is possible; and a change of
            # each group for all who enter the same ones
            await company.day(dep, *FIRST, writes=(5 if company.service.bulk else 6) + 5)
            company.holds(*FIRST)
            # Nothing changed
            await company.day(dep, *FIRST, writes=0)
            # Another name and department; other groups; a leaver, who is also taken out of a group
            w1 = {**w1, "last_name": "Silva-Ito", "department": "Finance"}
            w2 = {**w2, "groups": f"{FINANCE};{RESEARCH}"}
            w5 = {**w5, "employment_status": "terminated"}
            await company.day(dep, w1, w2, w3, w4, w5, w6, writes=1 + 2 + 2)
            company.holds(w1, w2, w3, w4, w5, w6)
            # The leaver comes back; another address
            w5 = {**w5, "employment_status": "active"}
            w6 = {**w6, "work_email": "ole.new@example.com"}
            await company.day(dep, w1, w2, w3, w4, w5, w6, writes=2 + 1)
            company.holds(w1, w2, w3, w4, w5, w6)

    asyncio.run(days())


class Withheld(Proxy):
    """Lets the service do its work, and keeps the answer of one write back until it is released.

    What is about one group takes a while, so that two who read and write it at the same time are seen to do so.
    """

    def __init__(self, upstream: str, *, write: int) -> None:
        super().__init__(upstream)
        self._which = write
        self._counting = threading.Lock()
        self.under_way = 0
        self.reached, self.released = threading.Event(), threading.Event()

    def _answer(self, request: Request) -> Reply:
        with self._counting:
            self.under_way += 1
        try:
            return super()._answer(request)
        finally:
            with self._counting:
                self.under_way -= 1

    def _forward(self, request: Request) -> Reply:
        if "/Groups/" in request.path:
            time.sleep(GROUP_TAKES)
        reply = super()._forward(request)
        if request.method != "GET" and self.writes == self._which and not self.reached.is_set():
            self.reached.set()
            self.released.wait(PATIENCE)
            return Reply(drop=True)
        return reply


@pytest.mark.parametrize("write", [3, 8], ids=["among the creates", "among the groups"])
@pytest.mark.parametrize("service", SERVICES, ids=lambda one: str(one.name))
def test_a_killed_worker_leaves_nothing_undone_and_nothing_doubled(
    service: Service, write: int, tmp_path: Path
) -> None:
    with (
        service.running(tmp_path) as url,
        Withheld(url, write=write) as proxy,
        RedisServer() as server,
    ):
        company = Company(service, url, proxy, tmp_path, server.url)
        company.write(*FIRST)
        site = Site(tmp_path, server, "http://127.0.0.1:9")
        write_settings(tmp_path, company.document | {"schedule": BY_HAND})
        with site.running("beat"):
            worker = site.start_worker()
            try:
                run = site.call("sync")["run"]
                assert proxy.reached.wait(PATIENCE), worker.said()
            finally:
                worker.kill()
                proxy.released.set()
            # Leases and turns last longer than any request: theirs is over when no request is left
            eventually(lambda: proxy.under_way == 0)
            site.contents.end_leases("svc")
            site.contents.end_work_locks("turn:")
            worker = site.start_worker()
            try:
                eventually(lambda: site.call("show", run)["status"] != "running", why=worker.said)
                assert site.call("show", run)["status"] == "succeeded"
                company.holds(*FIRST)
                proxy.writes = 0
                assert site.call("sync", "--wait")["status"] == "succeeded"
                assert proxy.writes == 0
            finally:
                worker.stop()
