"""A stranger who says to be somebody is let in by no way: neither by a webhook nor by the next listing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from provisioner.admin.linking import link, unlink
from provisioner.errors import UsageError
from provisioner.runtime.context import Deployment
from tests.inbound.support import PEOPLE, SECRET, Company, handled
from tests.support.harness import sync_once

#: Cleo, whom no sync of habitate has met yet.
JOINER = PEOPLE[2]
WITHOUT = (PEOPLE[0], PEOPLE[1], PEOPLE[3])


async def _told(firm: Company, count: int) -> None:
    for _ in range(500):
        if len(firm.switchboard.webhooks("habitate")) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"habitate did not send {count} webhooks")


async def _on_the_roster(firm: Company, site: str, dep: Deployment) -> None:
    """Cleo is on the roster and has no account in habitate yet."""
    firm.roster(*WITHOUT)
    await sync_once(dep)
    firm.roster(*PEOPLE)
    await sync_once(dep, targets=("traitly",))
    firm.switchboard.options("habitate", webhook_url=f"{site}/webhooks/habitate/{SECRET}")


def _state(firm: Company, email: str) -> dict[str, Any]:
    member = next(one for one in firm.switchboard.accounts("habitate") if one["email"] == email)
    boards = firm.switchboard.state("habitate")["boards"]
    inside = sorted(name for name, msids in boards.items() if member["msid"] in msids)
    return {"msid": member["msid"], "username": member["username"], "role": member["role_id"], "boards": inside}


async def _todos(dep: Deployment, person: str) -> list[str]:
    return [one["message"] for one in await dep.health.list("habitate", "todos") if one["person"] == person]


@pytest.mark.parametrize(
    "given",
    [
        {"email": "evil@example.org", "username": "w3"},
        {"email": "evil@example.org", "username": "W3"},
        {"email": "cleo@example.com", "username": "w3", "waitlist": True},
        {"email": "CLEO@example.com", "username": "whoever", "waitlist": True},
    ],
)
def test_nothing_is_linked_renamed_promoted_or_opened(firm: Company, site: str, given: dict[str, Any]) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await _on_the_roster(firm, site, dep)
            firm.switchboard.act("habitate", "join", first_name="Mallory", **given)
            before = _state(firm, given["email"])
            await _told(firm, 1)
            firm.switchboard.clear_log("habitate")
            done = await handled(dep)
            assert done.runs == ()
            assert firm.switchboard.log("habitate") == []
            told = await _todos(dep, "W3")
            assert len(told) == 1
            assert f"provisioner link W3 habitate {before['msid']}" in told[0]
            assert before["msid"] in await dep.health.list("habitate", "orphans")
            assert (await dep.inbound.facts(["W3"])).get("W3", {}).get("habitate") is None
            # The same by the next listing, and by a run about this person only
            for people in (None, ("W3",)):
                await sync_once(dep, **({"people": people} if people else {}))
                assert await _todos(dep, "W3") == told
                assert await dep.ledger.entry("habitate", "W3") is None
                assert _state(firm, given["email"]) == before
            assert len(firm.switchboard.accounts("habitate")) == 1 + 2 + 1

    asyncio.run(go())


def test_a_link_by_hand_lets_them_in_and_an_unlink_takes_it_back_for_good(firm: Company, site: str) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await _on_the_roster(firm, site, dep)
            firm.switchboard.act("habitate", "join", email="private@example.org", first_name="Cleo", username="w3")
            await _told(firm, 1)
            await handled(dep)
            msid = _state(firm, "private@example.org")["msid"]
            firm.switchboard.clear_log("habitate")
            done = await link(dep, "W3", "habitate", msid, by="cli:test")
            assert (done.account, done.linked, done.dropped) == (msid, True, 0)
            assert firm.switchboard.log("habitate") == []
            await sync_once(dep)
            assert _state(firm, "private@example.org")["boards"] == ["Finance"]
            assert [one.partition(":")[0] for one in await _todos(dep, "W3")] == [
                "email differs and cannot be changed by us"
            ]
            assert msid not in await dep.health.list("habitate", "orphans")
            with pytest.raises(UsageError, match="belongs to 'W3'"):
                await link(dep, "W2", "habitate", msid, by="cli:test")
            await unlink(dep, "W3", "habitate", by="cli:test")
            await sync_once(dep)
            assert await dep.ledger.entry("habitate", "W3") is None
            assert "was unlinked from them by hand" in (await _todos(dep, "W3"))[0]
            # Nor by an event about the account
            firm.switchboard.act("habitate", "join", email="other@example.org", first_name="X", username="other")
            await _told(firm, 2)
            assert (await handled(dep)).runs == ()
            await link(dep, "W3", "habitate", msid, by="cli:test")
            await sync_once(dep)
            entry = await dep.ledger.entry("habitate", "W3")
            assert entry is not None
            assert (entry.account, entry.matched) == (msid, "hand")

    asyncio.run(go())


def test_a_create_that_meets_an_unverified_account_of_that_address_does_not_take_it_over(
    firm: Company, site: str
) -> None:
    """Somebody joins with the address between the listing and the create, which is refused."""

    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await _on_the_roster(firm, site, dep)
            firm.switchboard.fault(
                "habitate", match={"method": "POST", "path_prefix": "/api/v1/users"}, times=1, delay_ms=1500
            )
            running = asyncio.create_task(sync_once(dep))
            for _ in range(400):
                if any(one["method"] == "POST" for one in firm.switchboard.log("habitate")):
                    break
                await asyncio.sleep(0.01)
            firm.switchboard.act(
                "habitate", "join", email="cleo@example.com", first_name="Mallory", username="m", status=6
            )
            await running
            assert await dep.ledger.entry("habitate", "W3") is None
            state = _state(firm, "cleo@example.com")
            assert (state["username"], state["boards"]) == ("m", [])
            await sync_once(dep)
            assert "which habitate has not verified" in (await _todos(dep, "W3"))[0]

    asyncio.run(go())
