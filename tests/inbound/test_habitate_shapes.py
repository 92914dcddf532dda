"""habitate's webhooks in the shapes that its page leaves open, and which of them tell of our own doing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.events.process import work
from provisioner.planning.routes import known_by
from provisioner.runtime.context import Deployment
from tests.inbound.support import PEOPLE, SECRET, Company, company, handled, joined, post, web
from tests.support.harness import sync_once

ROUTES: Final = (
    {"on": "habitate.member.joined", "when": "own = 'false'", "to": "traitly.event", "name": "'Joined by themselves'"},
    {"on": "habitate.member.joined", "when": "own = 'true'", "to": "traitly.event", "name": "'Joined by us'"},
)
UNKNOWN: Final[tuple[dict[str, Any], ...]] = (
    {**joined(), "entities": {"user": {}}},
    {**joined(), "entities": {"user": []}},
    {**joined(), "entities": {"user": [7]}},
    {**joined(), "entities": None},
    {"event": "member.joined"},
)


@pytest.fixture
def firm(tmp_path: Path, redis_url: str) -> Iterator[Company]:
    """A company with routes that ask whose doing it was."""
    with company(tmp_path, redis_url, events=list(ROUTES)) as made:
        yield made


@pytest.fixture
def site(firm: Company) -> Iterator[str]:
    with web(firm.settings) as url:
        yield url


def _send(site: str, body: dict[str, Any]) -> str:
    status, answer = post(site, f"/webhooks/habitate/{SECRET}", json.dumps(body).encode())
    assert status == 202, body
    return str(json.loads(answer)["status"])


def _user(number: int, email: str, **changes: Any) -> dict[str, Any]:
    user: dict[str, Any] = joined()["entities"]["user"][0]
    return {**user, "user_id": number, "sid": f"s{number}", "msid": f"{number}.s{number}", "email": email, **changes}


async def _facts(dep: Deployment, person: str) -> dict[str, Any]:
    told = (await dep.inbound.facts([person])).get(person, {})
    return dict(known_by(told.get("habitate", ())))


def test_each_user_of_a_delivery_is_an_event(firm: Company, site: str) -> None:
    users = [_user(206, "ada@example.com", username="ada"), _user(207, "ben@example.com", username="ben")]
    several = {**joined(), "entities": {"user": users}}
    assert _send(site, several) == "accepted"
    assert _send(site, several) == "known"
    assert _send(site, {**several, "entities": {"user": [*users, _user(208, "cleo@example.com")]}}) == "accepted"

    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep, targets=("traitly",))
            await work(dep)
            for person in ("W1", "W2", "W3"):
                assert (await _facts(dep, person))["joined_as"] == "member"
            counts = (await dep.inbound.counts())["habitate"]
            assert (counts["member.joined"], counts["duplicate"]) == (3, 4)

    asyncio.run(go())


def test_without_a_job_the_user_names_the_event(firm: Company, site: str) -> None:
    ada = {"user": [_user(206, "ada@example.com")]}
    for job in ({"job_id": None}, {}):
        body = {name: value for name, value in joined().items() if name != "job_id"} | {"entities": ada} | job
        assert _send(site, body) == ("accepted" if job else "known")
    assert (
        _send(site, {**joined(), "job_id": None, "entities": {"user": [_user(207, "ben@example.com")]}}) == "accepted"
    )
    assert _send(site, {**joined(), "entities": {"user": _user(209, "cleo@example.com")}}) == "accepted", "no list"
    # One job for another user
    assert _send(site, {**joined(), "entities": {"user": [_user(210, "else@example.com")]}}) == "accepted"
    del firm


def test_who_joined_may_be_unsaid_and_nothing_is_lost(firm: Company, site: str) -> None:
    for body in UNKNOWN:
        assert _send(site, body) == "accepted"

    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep, targets=("traitly",))
            await work(dep)
            assert len(await dep.inbound.unknown()) == len(UNKNOWN)

    asyncio.run(go())


def test_a_member_whom_we_made_is_our_own_doing(firm: Company, site: str) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            firm.switchboard.options("habitate", webhook_url=f"{site}/webhooks/habitate/{SECRET}")
            firm.roster(*PEOPLE[:2])
            await sync_once(dep)
            firm.roster(*PEOPLE[:3])
            await sync_once(dep, targets=("traitly",))
            firm.switchboard.act("habitate", "join", email="cleo@example.com", first_name="Cleo", username="cleo")
            for _ in range(500):
                if len(firm.switchboard.webhooks("habitate")) == 3:
                    break
                await asyncio.sleep(0.01)
            await handled(dep)
            await handled(dep)
            assert firm.events() == [
                ("W1", "Joined by us"), ("W2", "Joined by us"), ("W3", "Joined by themselves"),
            ]  # fmt: skip

    asyncio.run(go())


def test_an_event_waits_for_the_create_that_it_may_tell_of(firm: Company, site: str) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            firm.roster(*PEOPLE[:1])
            await sync_once(dep, targets=("traitly",))
            firm.switchboard.options("habitate", webhook_url=f"{site}/webhooks/habitate/{SECRET}")
            # The member is made, and the answer is lost
            firm.switchboard.fault("habitate", match={"method": "POST", "path_prefix": "/api/v1/users"}, drop="after")
            run = asyncio.create_task(sync_once(dep, targets=("habitate",)))
            for _ in range(500):
                if firm.switchboard.webhooks("habitate"):
                    break
                await asyncio.sleep(0.01)
            await work(dep)
            assert firm.events() == []
            await run
            for _ in range(50):
                await handled(dep)
                if firm.events():
                    break
                await asyncio.sleep(0.2)
            assert firm.events() == [("W1", "Joined by us")]

    asyncio.run(go())
