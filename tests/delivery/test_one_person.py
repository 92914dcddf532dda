"""A run about one person: what it reads, what it stands on, and by what its guards measure."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import sync_once

pytestmark = pytest.mark.anyio

CHANGES = {number: {"last_name": "Changed"} for number in range(3)}


async def test_guards_measure_by_everybody_not_by_the_one_who_is_asked_for(opened: Opened, roster: Path) -> None:
    roster.write_text(company(6))
    async with opened(only=("traitly",), guards={"updates": {"percent": 50}}) as dep:
        await sync_once(dep)
        await sync_once(dep)
        roster.write_text(company(6, changes=CHANGES))
        for number in CHANGES:
            document = await sync_once(dep, people=(f"W{number:04d}",))
            # The third is one of three that half of six lets go
            assert document["targets"]["traitly"]["succeeded"] == {"update": 1}, number


async def test_guards_hold_what_is_too_much_of_everybody(opened: Opened, roster: Path) -> None:
    roster.write_text(company(4))
    async with opened(only=("traitly",), guards={"updates": {"percent": 50}}) as dep:
        await sync_once(dep)
        roster.write_text(company(4, changes=CHANGES))
        ends = [(await sync_once(dep, people=(f"W{number:04d}",)))["status"] for number in CHANGES]
        assert ends == ["succeeded", "succeeded", "held"]


async def test_who_can_only_be_listed_is_taken_from_the_last_listing(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(company(4))
    async with opened(only=("mtribes",)) as dep:
        await sync_once(dep)
        (account,) = [one for one in switchboard.accounts("mtribes") if one["id"] == "W0001"]
        switchboard.seed("mtribes", [{"id": "W0001", "tags": [*account["tags"], "by/hand"]}])
        await sync_once(dep)
        switchboard.clear_log("mtribes")
        roster.write_text(company(4, changes={1: {"department": "Sales"}}))
        document = await sync_once(dep, people=("W0001",))
        counts = switchboard.counts("mtribes")
        assert (counts["reads"], counts["writes"]) == (0, 1)
        assert "relies on its listing of" in document["targets"]["mtribes"]["notes"][0]
        (account,) = [one for one in switchboard.accounts("mtribes") if one["id"] == "W0001"]
        assert {"by/hand", "department/sales"} <= set(account["tags"])
        # What was just sent wins over the listing, which is older
        await sync_once(dep, people=("W0001",))
        assert switchboard.counts("mtribes")["writes"] == 1


async def test_an_account_that_is_newer_than_the_last_listing_is_listed(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(company(1))
    async with opened(only=("mtribes",)) as dep:
        await sync_once(dep)
        await sync_once(dep)
        roster.write_text(company(2))
        document = await sync_once(dep, people=("W0001",))
        assert document["targets"]["mtribes"]["succeeded"] == {"create": 1}
        switchboard.clear_log("mtribes")
        await sync_once(dep, people=("W0001",))
        assert switchboard.counts("mtribes")["reads"] > 0
