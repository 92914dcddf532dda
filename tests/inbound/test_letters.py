"""What waits and what died, as an operator sees it, and putting dead letters back to work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from provisioner.errors import UsageError
from provisioner.events.dead_letters import letter, replay, waiting
from provisioner.runtime.context import Deployment
from provisioner.store.events.inbound import Received
from provisioner.store.events.outbox import Outgoing
from tests.cli.calling import call
from tests.inbound.support import Company, enrolment
from tests.support.documents import anything
from tests.web.conftest import VIEWER, Site, make_site, sandbox

__all__ = ["make_site", "sandbox"]

BODY = json.dumps(enrolment(7))


async def _dead(dep: Deployment, count: int = 2) -> list[str]:
    """So many events that died, and an outgoing webhook that nobody took; their ids."""
    for number in range(count):
        assert await dep.inbound.accept(
            "tribal_habits", digest=f"d{number}", event="enrolment_completed", known=True, body=BODY
        )
    await dep.inbound.begin()
    taken: list[Received] = await dep.inbound.take("test", count)
    now = await dep.clock.now()
    for one in taken:
        assert await dep.inbound.bury(one, "tags have at most three levels", now)
    item = Outgoing("d0-route", "tribal_habits", "enrolment_completed", "route", '{"id":"d0-route"}', now)
    await dep.outbox.add([item], now)
    await dep.outbox.bury(item, "it answered 410", now)
    return [*(one.id for one in taken), item.id]


def test_dead_letters_of_both_directions_are_listed_and_replayed(firm: Company) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            first, second, out = await _dead(dep)
            found = await waiting(dep)
            assert found["backlog"] == {
                "waiting": 0, "taken": 0, "put_off": 0, "dead": 2, "outgoing": 0, "undelivered": 1
            }  # fmt: skip
            assert {(one["id"], one["direction"]) for one in found["dead"]} == {
                (first, "in"), (second, "in"), (out, "out")
            }  # fmt: skip
            assert all(one["died"] and one["error"] for one in found["dead"])
            assert "Anderson" not in json.dumps(found)
            assert (await letter(dep, first))["body"]["enrolment_data"]["last_name"] == "Anderson"
            with pytest.raises(UsageError, match="nobody"):
                await replay(dep, [first, "nobody"], by="cli:ann")
            assert (await waiting(dep))["backlog"]["dead"] == 2

            assert await replay(dep, [first, out], by="cli:ann") == {"in": 1, "out": 1}
            found = await waiting(dep)
            assert [one["id"] for one in found["dead"]] == [second]
            assert [one["id"] for one in found["outgoing"]] == [out]
            assert found["backlog"]["waiting"] == 1
            (taken,) = await dep.outbox.take(10, 60.0, await dep.clock.now())
            assert (taken.id, taken.tries, taken.body) == (out, 0, '{"id":"d0-route"}')

            assert await replay(dep, None, by="cli:ann") == {"in": 1, "out": 0}
            # Nothing to replay is nothing to write down
            assert await replay(dep, None, by="cli:ann") == {"in": 0, "out": 0}
            entries = anything(await dep.audit.newest(10))
            assert [(one["by"], one["action"], one["letters"]) for one in entries] == [
                ("cli:ann", "replayed", [second]),
                ("cli:ann", "replayed", [first, out]),
            ]

    asyncio.run(go())


def test_what_waits_is_listed(firm: Company) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await dep.inbound.accept("traitly", digest="d", event="e", known=True, body="{}")
            await dep.inbound.begin()
            (one,) = await dep.inbound.take("test", 5)
            await dep.inbound.put_off(one, 2_000_000_000.0)
            found = await waiting(dep)
            assert [(row["target"], row["due"]) for row in found["put_off"]] == [
                ("traitly", "2033-05-18T03:33:20.000Z")
            ]
            assert found["counts"] == {"traitly": {"e": 1}}

    asyncio.run(go())


def test_the_command_lists_shows_and_replays(firm: Company) -> None:
    async def go() -> list[str]:
        async with Deployment.open(firm.settings) as dep:
            return await _dead(dep)

    first, second, _ = asyncio.run(go())
    config = str(firm.folder / "provisioner.yaml")

    def ask(*words: str) -> Any:
        return call("--config", config, "webhooks", *words)

    text = ask()
    assert text.code == 0
    for said in (first, second, "2 events are dead letters", "1 webhooks were taken by nobody"):
        assert said in " ".join(text.out.split())
    assert set(ask("--dead", "--json").document) == {"backlog", "dead"}
    assert ask("--show", first).document["body"]["enrolment_id"] == 7
    assert ask("--replay", "nobody").code == 2
    assert ask("--replay", first, "--show", first).code == 2
    assert ask("--replay", first, "--json").document == {"replayed": {"in": 1, "out": 0}}
    assert "1 event, 1 outgoing" in ask("--replay", "all").out
    assert ask("--dead", "--json").document["dead"] == []


def test_the_page_lists_shows_and_replays(make_site: Callable[..., Site]) -> None:
    site = make_site()
    first, second, _ = site.work(_dead)
    assert site.client.get("/inbound", follow_redirects=False).status_code == 303
    site.sign_in()
    page = site.client.get("/inbound")
    assert page.status_code == 200
    assert 'aria-current="page">Events' in page.text
    assert first in page.text
    assert "three levels" in page.text
    assert "Anderson" not in page.text
    assert "Anderson" in site.client.get(f"/inbound/{first}").text
    assert site.client.get("/inbound/nobody").status_code == 404

    assert site.client.post("/inbound/replay", data={"csrf": "0", "letter": first}).status_code == 403
    assert site.send("/inbound", "/inbound/replay").status_code == 422
    assert site.send("/inbound", "/inbound/replay", {"letter": "nobody"}).status_code == 409
    assert site.work(lambda dep: dep.inbound.dead_ids()) == [first, second]
    assert site.send("/inbound", "/inbound/replay", {"letter": first}).url.path == "/inbound"
    assert site.work(lambda dep: dep.inbound.dead_ids()) == [second]
    site.send("/inbound", "/inbound/replay", {"all": "yes"})
    assert site.work(lambda dep: dep.inbound.dead_ids()) == []
    assert [one["by"] for one in site.work(lambda dep: dep.audit.newest(10)) if one["action"] == "replayed"] == [
        "web:operator"
    ] * 2
    assert "No dead letters" in site.client.get("/inbound").text


def test_who_may_only_look_replays_nothing(make_site: Callable[..., Site]) -> None:
    site = make_site()
    first, second, _ = site.work(_dead)
    site.sign_in(VIEWER)
    page = site.client.get("/inbound").text
    assert first in page
    assert "Put the chosen" not in page
    assert site.send("/inbound", "/inbound/replay", {"letter": first}).status_code == 403
    assert site.work(lambda dep: dep.inbound.dead_ids()) == [first, second]
