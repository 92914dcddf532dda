"""Days of joiners, movers and leavers: what a plan predicts, what is sent and what vendors see change are the same.

In this process, over real HTTP and with a real Redis, all four kinds at once, and no faults. Some days run here, all
two hundred by `make chaos`.
"""

from __future__ import annotations

import csv
import io
import os
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.model.operation_document import OperationDocument
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from tests.decisions.conftest import HEADER
from tests.support.harness import load_settings, plan_once, raise_limits, settings_document, sync_once
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.slow

KINDS: Final = ("tribal_habits", "habitate", "traitly", "mtribes")
IDENTIFIER: Final = {"tribal_habits": "user_name", "habitate": "msid", "traitly": "customer_id", "mtribes": "id"}
ACCOUNT: Final = frozenset({"create", "update", "role", "leave", "rejoin"})
STAFF: Final = 24
ALL_DAYS: Final = 200
SEED: Final = int(os.environ.get("PROVISIONER_TEST_DAYS_SEED", "1"))
#: Fields that a vendor writes by itself whenever anything is saved.
OWN: Final = ("updated_at", "last_modified_at")

JOBS: Final = ("Engineer", "Sales Manager", "Clerk")
DEPARTMENTS: Final = ("Engineering", "Sales", "Finance", "Support")
PLACES: Final = (("Sydney", "Australia"), ("Perth", "Australia"), ("Auckland", "New Zealand"))
NAMES: Final = ("Ana", "Bo", "Zoë", "O'Neil", "李", "Ines")

Row = dict[str, str]


class Company:
    """People who come, move and go; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._next = 0
        self.people: dict[str, Row] = {}
        for _ in range(STAFF):
            self.join()

    def rows(self) -> list[Row]:
        return list(self.people.values())

    def day(self) -> str:
        """Let a day pass; what happened, in words."""
        done = []
        for _ in range(self._dice.choice((0, 1, 1, 2, 3))):
            what = self._dice.choice(
                (self.join, self.move, self.move, self.rename, self.leave, self.rehire, self.rescope)
            )
            done.append(what())
        return ", ".join(done) or "nothing"

    def join(self) -> str:
        key = f"W{self._next:04d}"
        place, country = self._dice.choice(PLACES)
        self.people[key] = {
            "employee_id": key,
            "first_name": self._dice.choice(NAMES),
            "last_name": f"Last{self._next}",
            "work_email": f"p{self._next}@example.com",
            "job_title": self._dice.choice(JOBS),
            "department": self._dice.choice(DEPARTMENTS),
            "location": place,
            "country": country,
            "language": "en",
            "manager_email": "",
            "employment_status": "active",
            "start_date": "",
            "end_date": "",
        }
        self._next += 1
        return f"{key} joins"

    def move(self) -> str:
        row = self._one()
        row["job_title"], row["department"] = self._dice.choice(JOBS), self._dice.choice(DEPARTMENTS)
        row["location"], row["country"] = self._dice.choice(PLACES)
        return f"{row['employee_id']} moves"

    def rename(self) -> str:
        row = self._one()
        row["last_name"] = f"{row['last_name'].partition('-')[0]}-{self._dice.choice(NAMES)}"
        return f"{row['employee_id']} is renamed"

    def leave(self) -> str:
        row = self._one()
        row["employment_status"] = "left"
        return f"{row['employee_id']} leaves"

    def rehire(self) -> str:
        gone = [row for row in self.people.values() if row["employment_status"] == "left"]
        if not gone:
            return self.join()
        row = self._dice.choice(gone)
        row["employment_status"] = "active"
        return f"{row['employee_id']} is back"

    def rescope(self) -> str:
        row = self._one()
        outside = row["department"] == "Contractors"
        row["department"] = self._dice.choice(DEPARTMENTS) if outside else "Contractors"
        return f"{row['employee_id']} {'is' if outside else 'is no longer'} in scope"

    def _one(self) -> Row:
        here = [row for row in self.people.values() if row["employment_status"] == "active"]
        return self._dice.choice(here) if here else next(iter(self.people.values()))


def write(path: Path, rows: Iterable[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER.split(","))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def seen(board: Switchboard, kind: str) -> tuple[dict[str, Any], Counter[str], Counter[str]]:
    """What a stand-in holds: accounts with their boards, events, and enrolments."""
    state = board.state(kind)
    accounts = {}
    for account in state["accounts"]:
        name = str(account[IDENTIFIER[kind]])
        boards = sorted(title for title, members in state.get("boards", {}).items() if name in members)
        accounts[name] = {key: value for key, value in account.items() if key not in OWN} | {"boards": boards}
    events = Counter(f"{one['customer_id']} {one['name']}" for one in state.get("events", ()))
    enrolments = Counter(str(one) for one in state.get("enrolments", ()))
    return accounts, events, enrolments


def change_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """The accounts that were made or changed; none ever goes away."""
    assert before.keys() <= after.keys()
    return {name for name, account in after.items() if before.get(name) != account}


class Deployed:
    """A deployment over a sandbox that compares each day's plan, run and outcome."""

    def __init__(self, folder: Path, server: RedisServer, sandbox: SandboxServer) -> None:
        self.board = sandbox.switchboard
        self.roster = folder / "roster.csv"
        wide = {"percent": 100}
        guards = {"leavers": wide, "updates": wide, "window": "0s"}
        document = settings_document(sandbox.url, server.url, self.roster, folder, guards=guards)
        document["roster"]["gate"] = dict.fromkeys(("max_shrink", "max_leaving", "max_blank_jump"), "100%")
        self.settings = load_settings(folder, document)
        self.counted: Counter[str] = Counter()

    async def days(self, company: Company, count: int) -> None:
        async with Deployment.open(self.settings) as dep:
            for number in range(count):
                happened = company.day() if number else "everybody is new"
                write(self.roster, company.rows())
                await self.day(dep, f"day {number}: {happened}")

    async def day(self, dep: Deployment, told: str) -> None:
        before = {kind: seen(self.board, kind) for kind in KINDS}
        writes = {kind: self.board.counts(kind)["writes"] for kind in KINDS}
        plan = await plan_once(dep)
        assert {kind: self.board.counts(kind)["writes"] for kind in KINDS} == writes, told
        run = await sync_once(dep)
        sent = await dep.runs.operations(run["run"], KINDS)
        assert all(one["status"] == "succeeded" and one["attempts"] <= 1 for one in sent), (told, sent)
        planned = {(one["target"], one["id"]) for one in plan["operations"]}
        assert {(one["target"], one["id"]) for one in sent} == planned, told
        for kind in KINDS:
            mine = [one for one in sent if one["target"] == kind]
            part = run["targets"][kind]
            counts = dict(Counter(one["kind"] for one in mine))
            assert part["predicted"]["operations"] == part["actual"]["operations"] == counts, told
            assert part["predicted"] == plan["targets"][kind]["predicted"] | {
                "requests": part["predicted"]["requests"]
            }, told
            assert part["differences"] == [], told
            owners = dict((await dep.ledger.frame(kind, ())).select("_person", "_account").iter_rows())
            self.compare(kind, mine, owners, before[kind], told)
            if not mine:
                assert self.board.counts(kind)["writes"] == writes[kind], told
            self.counted.update(counts)

    def compare(
        self, kind: str, sent: list[OperationDocument], owners: Mapping[str, str], before: tuple[Any, ...], told: str
    ) -> None:
        """What a stand-in saw change is what was sent, no more and no less."""
        after = seen(self.board, kind)
        # A community's bot comes with its first member
        changed = {name for name in change_of(before[0], after[0]) if not after[0][name].get("is_bot")}
        accounts = [owners[one["person"]] for one in sent if one["kind"] in ACCOUNT]
        assert len(set(accounts)) == len(accounts), told
        assert changed == set(accounts), told
        made = {owners[one["person"]] for one in sent if one["kind"] == "create"}
        assert changed - before[0].keys() == made, told
        assert (after[1] - before[1]).total() == sum(one["kind"] == "event" for one in sent), told
        assert (after[2] - before[2]).total() == sum(one["kind"] == "enrol" for one in sent), told


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def deployed(redis_server: RedisServer, redis_url: str, tmp_path: Path) -> Iterator[Deployed]:
    del redis_url
    with SandboxServer() as sandbox:
        raise_limits(sandbox.switchboard)
        yield Deployed(tmp_path, redis_server, sandbox)


@pytest.mark.anyio
@pytest.mark.parametrize("days", [12, pytest.param(ALL_DAYS, marks=[pytest.mark.chaos, pytest.mark.timeout(3600)])])
async def test_what_is_predicted_is_sent_and_is_all_that_changes(deployed: Deployed, days: int) -> None:
    await deployed.days(Company(SEED), days)
    sys.stdout.write(f"{days} days, seed {SEED}: predicted = sent = changed: {dict(deployed.counted)}\n")
    assert deployed.counted.keys() >= (ACCOUNT if days == ALL_DAYS else {"create", "update", "leave"})
