"""Traitly's listing, told in each way that the vendor's page leaves open: nobody who is there is made again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.admin.leaver_receipts import receipt
from provisioner.errors import ConfigurationError
from provisioner.model.attributes import InvalidValueError, Type, canonical
from provisioner.model.run_document import exit_code
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from provisioner.sandbox.traitly import KNOWN, METADATA
from tests.decisions.conftest import Opened, company
from tests.support.harness import plan_once, sync_once
from tests.targets.bench import target_of

pytestmark = pytest.mark.anyio
PEOPLE: Final = 12
PAGE: Final = 5
#: Shape of `metadata` → what the settings say about it; the first two are followed without.
PAGING: Final[dict[str, dict[str, Any]]] = {
    "next": {},
    "link": {},
    "cursor": {"next": "metadata.next"},
    "more": {"more": "metadata.has_more", "ignore": ["metadata.page"]},
    "total": {"total": "metadata.total"},
    "pages": {"pages": "metadata.total_pages", "ignore": ["metadata.page", "metadata.per_page"]},
    "nested": {"total": "metadata.pagination.total", "ignore": ["metadata.pagination"]},
    "request_id": {"ignore": ["metadata.request_id"]},
}
#: Shapes that hint at more pages without saying how to get there.
UNEXPLAINED: Final = ("more", "total", "pages", "nested", "request_id")

Crm = Callable[..., AbstractAsyncContextManager[Deployment]]


def customer(number: int, **more: Any) -> dict[str, Any]:
    """A customer of years, as the mapping wants them but for the plan."""
    return {
        "customer_id": f"W{number:04d}",
        "name": f"First{number} Last{number}",
        "email": f"p{number}@example.com",
        "plan": "Gold",
        "created_at": "1493933699",
        "custom_attributes": {"seats": 3},
        **more,
    }


@pytest.fixture
def crm(opened: Opened, sandbox: SandboxServer) -> Crm:
    """Opens the deployment with Traitly alone; changes are those of its settings."""

    def open_it(**changes: Any) -> AbstractAsyncContextManager[Deployment]:
        own = {
            "base_url": f"{sandbox.url}/traitly",
            "token": "sandbox-traitly-token",
            "rate_limit": "20000/second",
            "match": ["customer_id"],
            "attributes": {
                "customer_id": "employee_id",
                "name": "first_name || ' ' || last_name",
                "email": "LOWER(work_email)",
                "plan": {"from": "'Employee'", "authority": "create_only"},
            },
            "leaver": {"plan": "'Leaver'"},
            "events": {"created": "Onboarded", "left": "Offboarded"},
        }
        return opened(only=("traitly",), targets={"traitly": {**own, **changes}})

    return open_it


@pytest.fixture
def customers(switchboard: Switchboard, roster: Path) -> list[dict[str, Any]]:
    """Everybody of the roster, all of them customers already."""
    roster.write_text(company(PEOPLE))
    switchboard.seed("traitly", [customer(number) for number in range(PEOPLE)])
    return switchboard.accounts("traitly")


def test_every_shape_is_tried() -> None:
    assert set(PAGING) | {"silent"} == set(METADATA)


@pytest.mark.parametrize("shape", sorted(PAGING))
async def test_pages_are_followed_as_the_settings_say(
    crm: Crm, switchboard: Switchboard, customers: list[dict[str, Any]], shape: str
) -> None:
    switchboard.options("traitly", page_size=0 if shape == "request_id" else PAGE, metadata=shape)
    async with crm(paging=PAGING[shape]) as dep:
        run = await sync_once(dep)
        part = run["targets"]["traitly"]
        assert (exit_code(run), part["observed"], part["adopted"]) == (0, PEOPLE, PEOPLE)
        assert switchboard.accounts("traitly") == customers


@pytest.mark.parametrize("shape", UNEXPLAINED)
async def test_what_nobody_explained_is_not_believed(
    crm: Crm, switchboard: Switchboard, customers: list[dict[str, Any]], shape: str
) -> None:
    switchboard.options("traitly", page_size=0 if shape == "request_id" else PAGE, metadata=shape)
    async with crm() as dep:
        for document in (await plan_once(dep), await sync_once(dep)):
            part = document["targets"]["traitly"]
            assert (exit_code(document), part["error"]["code"]) == (5, "listing_partial")
            said = part["error"]["message"]
            assert "metadata." in said
            assert "targets.traitly.paging" in said
            assert "right" not in said, "a key in the answer says nothing of the rights of ours"
        assert switchboard.counts("traitly")["writes"] == 0
        assert switchboard.accounts("traitly") == customers


async def test_a_leaver_who_is_shown_still_leaves(
    crm: Crm, switchboard: Switchboard, roster: Path, customers: list[dict[str, Any]]
) -> None:
    del customers
    async with crm() as dep:
        await sync_once(dep)
        switchboard.options("traitly", page_size=PAGE, metadata="total")
        roster.write_text(company(PEOPLE, gone=(1,), changes={2: {"last_name": "Else"}}))
        run = await sync_once(dep)
        assert run["targets"]["traitly"]["succeeded"] == {"leave": 1}
        assert {one["customer_id"]: one["plan"] for one in switchboard.accounts("traitly")}["W0001"] == "Leaver"


async def test_fewer_than_the_total_are_not_believed(
    crm: Crm, switchboard: Switchboard, customers: list[dict[str, Any]]
) -> None:
    body = {"data": customers[:3], "metadata": {"total": PEOPLE}, "object": "customer"}
    empty = {**body, "data": []}
    switchboard.fault("traitly", match={"method": "GET"}, status=200, body=body)
    switchboard.fault("traitly", match={"method": "GET"}, status=200, body=empty)
    async with crm(paging={"total": "metadata.total"}) as dep:
        part = (await sync_once(dep))["targets"]["traitly"]
        assert part["error"]["code"] == "listing_partial"
        assert f"shows 3 rows, and metadata.total says that there are {PEOPLE}" in part["error"]["message"]
        assert switchboard.counts("traitly")["writes"] == 0


@pytest.mark.parametrize("known", KNOWN)
async def test_who_is_there_behind_a_cut_listing_is_adopted_by_a_look(
    crm: Crm, switchboard: Switchboard, customers: list[dict[str, Any]], known: str
) -> None:
    # Nothing hints that there is more: a create is all that can find out
    switchboard.options("traitly", page_size=PAGE, metadata="silent", known_customer=known)
    async with crm() as dep:
        run = await sync_once(dep)
        assert run["targets"]["traitly"]["planned"]["create"] == PEOPLE - PAGE
        assert switchboard.accounts("traitly") == customers
        assert switchboard.state("traitly")["events"] == [], "nobody was taken on, so nothing is told"
        assert switchboard.counts("traitly")["writes"] == 0
        switchboard.options("traitly", page_size=0)
        again = await sync_once(dep)
        assert (exit_code(again), again["targets"]["traitly"]["unchanged"]) == (0, PEOPLE)


async def test_a_new_customer_is_made_and_told_of_once(crm: Crm, switchboard: Switchboard, roster: Path) -> None:
    roster.write_text(company(2))
    switchboard.fault("traitly", match={"method": "POST", "path_prefix": "/api/v1/customer"}, drop="after")
    async with crm(retry={"for": "1h"}) as dep:
        await sync_once(dep)
        await sync_once(dep)
        assert len(switchboard.accounts("traitly")) == 2
        told = sorted(one["customer_id"] for one in switchboard.state("traitly")["events"])
        assert told == ["W0000", "W0001"]


async def left(dep: Deployment) -> tuple[int, dict[str, int], str, bool]:
    """One run: its exit code, what failed, and of W0001 the state of the receipt and whether it is finished."""
    run = await sync_once(dep)
    found = await receipt(dep, "W0001")
    assert found is not None
    part = found["targets"]["traitly"]
    return exit_code(run), run["targets"]["traitly"]["failed"], part["status"], found["finished_at"] is not None


@pytest.mark.parametrize("known", ["ignore", "append"])
async def test_a_leave_that_shows_the_old_row_is_not_done(
    crm: Crm, switchboard: Switchboard, roster: Path, known: str
) -> None:
    roster.write_text(company(PEOPLE))
    async with crm() as dep:
        await sync_once(dep)
        switchboard.options("traitly", known_customer=known)
        roster.write_text(company(PEOPLE, gone=(1,)))
        # The answer itself shows the row as it was; of a second row with that id only the next reading tells
        assert await left(dep) == ((4, {}, "waiting", False) if known == "ignore" else (0, {}, "done", True))
        for _ in range(2):
            assert await left(dep) == (4, {}, "waiting", False)
        switchboard.clear_log("traitly")
        # The third run in a row that sees it writes it no more
        assert await left(dep) == (5, {"update": 1}, "waiting", False)
        assert switchboard.counts("traitly")["writes"] == 0
        (todo,) = await dep.health.list("traitly", "todos")
        assert "plan was written as 'Leaver' and accepted, and shows 'Employee'" in todo["message"]
        # Settled over there
        switchboard.options("traitly", known_customer="update")
        switchboard.seed("traitly", [{"customer_id": "W0001", "plan": "Leaver"}])
        assert await left(dep) == (0, {}, "done", True)


async def test_a_change_whose_answer_shows_the_old_row_is_counted_by_the_next_readings(
    crm: Crm, switchboard: Switchboard, roster: Path
) -> None:
    roster.write_text(company(PEOPLE))
    async with crm() as dep:
        await sync_once(dep)
        switchboard.options("traitly", known_customer="ignore")
        roster.write_text(company(PEOPLE, changes={2: {"last_name": "Else"}}))
        for _ in range(3):
            assert (await sync_once(dep))["targets"]["traitly"]["succeeded"] == {"update": 1}
        entry = await dep.ledger.entry("traitly", "W0002")
        assert entry is not None
        assert list(entry.loops) == ["name"]
        part = (await sync_once(dep))["targets"]["traitly"]
        assert sum(part["planned"].values()) == 0
        assert [one["person"] for one in await dep.health.list("traitly", "todos")] == ["W0002"]


TYPED: Final = {
    "customer_id": "employee_id",
    "name": "first_name || ' ' || last_name",
    "email": "LOWER(work_email)",
    "plan": {"from": "'Employee'", "authority": "create_only"},
    "created_at": {"from": "start_date", "empty": "keep"},
    "organisation_id": "country",
    "custom_attributes.level": "job_title",
    "custom_attributes.ratio": {"from": "department", "type": "number"},
    "custom_attributes.remote": {"from": "location", "type": "boolean"},
}


async def test_types_are_kept_as_shown_or_as_declared(crm: Crm, switchboard: Switchboard, roster: Path) -> None:
    switchboard.options("traitly", typed=True)
    held = customer(0, organisation_id=7, custom_attributes={"level": 7, "ratio": 99.5, "remote": False, "other": [1]})
    switchboard.seed("traitly", [held])
    wanted = {"job_title": "8", "department": "99.50", "location": "yes", "country": "9", "start_date": "2017-05-04"}
    roster.write_text(company(2, changes={0: wanted, 1: wanted}))
    async with crm(attributes=TYPED) as dep:
        assert exit_code(await sync_once(dep)) == 0
        there = {one["customer_id"]: one for one in switchboard.accounts("traitly")}
        assert there["W0000"]["custom_attributes"] == {"level": 8, "ratio": 99.5, "remote": True, "other": [1]}
        assert there["W0000"]["organisation_id"] == 9
        assert there["W0000"]["created_at"] == str(int(datetime(2017, 5, 4, tzinfo=UTC).timestamp()))
        # Nothing was shown of the new one, so what is not declared is text
        assert there["W0001"]["custom_attributes"] == {"level": "8", "ratio": 99.5, "remote": True}
        switchboard.clear_log("traitly")
        again = await sync_once(dep)
        assert (exit_code(again), again["targets"]["traitly"]["unchanged"]) == (0, 2)
        assert switchboard.counts("traitly")["writes"] == 0


def test_a_type_is_said_only_where_it_may_be_anything() -> None:
    wrong = {"name": {"from": "first_name", "type": "number"}}
    with pytest.raises(ConfigurationError, match=r"attributes\.name\.type: traitly says itself"):
        target_of("traitly", token="x", match=["name"], attributes=wrong).check()


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("1493933699", "1493933699"),
        ("2017-05-04", "1493856000"),
        ("2017-05-04T21:34:59Z", "1493933699"),
        ("2017-05-04 21:34:59", "1493933699"),
        ("2017-05-04T21:34:59+10:00", "1493897699"),
        ("20170504", "20170504"),
    ],
)
def test_a_moment_may_be_a_date(given: str, seconds: str) -> None:
    assert canonical(given, Type.EPOCH) == seconds


@pytest.mark.parametrize("given", ["soon", "2017-13-04", "2017-05-04T99:00", "04/05/2017"])
def test_what_is_no_moment_is_refused(given: str) -> None:
    with pytest.raises(InvalidValueError):
        canonical(given, Type.EPOCH)
