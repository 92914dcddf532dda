"""Where events go: tags besides the mapping's, enrolments once ever, signed webhooks, and what cannot be routed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.errors import ConfigurationError
from provisioner.events.process import work
from provisioner.events.routes import SENDERS, send_out
from provisioner.model.standard_webhook import signature
from provisioner.runtime.context import Deployment, build_targets, routes_of
from provisioner.store.events.outbox import Outgoing
from tests.inbound.support import (
    PEOPLE,
    SECRET,
    Company,
    company,
    enrolment,
    handled,
    joined,
    post,
    propensity,
    web,
)
from tests.support.harness import drain, load_settings, sync_once
from tests.support.redis_contents import RedisContents


def _tell(site: str, target: str, *bodies: Any) -> None:
    for body in bodies:
        assert post(site, f"/webhooks/{target}/{SECRET}", json.dumps(body).encode())[0] == 202


TAGS = [{"on": "tribal_habits.enrolment_completed", "to": "mtribes.tag", "name": "'course/' || knowledge_id"}]


def test_tags_of_events_and_of_the_mapping_do_not_hurt_each_other(tmp_path: Path, redis_url: str) -> None:
    with company(tmp_path, redis_url) as base:
        settings = base.settings

    async def go(firm: Company, site: str) -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            _tell(site, "tribal_habits", *(enrolment(n, "W2", knowledge_id=n) for n in range(3)))
            await handled(dep)
            assert firm.tags()["W2"] == ["country/australia", "course/0", "course/1", "course/2",
                                         "department/engineering"]  # fmt: skip
            # Moved to Sales while another tag comes: both orders of sending leave both
            firm.roster(PEOPLE[0], PEOPLE[1].replace("Engineering", "Sales"), *PEOPLE[2:])
            _tell(site, "tribal_habits", enrolment(7, "W2", knowledge_id=7))
            await work(dep)
            await sync_once(dep)
            assert firm.tags()["W2"] == ["country/australia", "course/0", "course/1", "course/2", "course/7",
                                         "department/sales"]  # fmt: skip
            again = await sync_once(dep)
            assert not any(again["targets"]["mtribes"]["planned"].values())
            # Without a listing the ledger stands in, for these tags too
            if firm.switchboard.options("mtribes")["users_listing"] == 404:
                firm.roster(PEOPLE[0], PEOPLE[1].replace("Engineering", "Finance"), *PEOPLE[2:])
                await sync_once(dep)
                assert firm.tags()["W2"] == ["country/australia", "course/0", "course/1", "course/2", "course/7",
                                             "department/finance"]  # fmt: skip

    assert settings.events
    for listing in (200, 404):
        folder = tmp_path / str(listing)
        folder.mkdir()
        with company(folder, redis_url, events=TAGS) as firm, web(firm.settings) as site:
            firm.switchboard.options("mtribes", users_listing=listing)
            asyncio.run(go(firm, site))
            asyncio.run(_flush(firm))


async def _flush(firm: Company) -> None:
    async with Deployment.open(firm.settings) as dep:
        RedisContents(dep).lose_everything()


def test_a_bad_tag_dies_alone(tmp_path: Path, redis_url: str) -> None:
    rule = [{**TAGS[0], "name": "knowledge_title"}]

    async def go(firm: Company, site: str) -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            _tell(site, "tribal_habits", enrolment(1, knowledge_title="a/b/c/d"), enrolment(2, knowledge_title="Fine"))
            _tell(site, "tribal_habits", enrolment(3, knowledge_title=None))
            await handled(dep)
            assert "fine" in firm.tags()["W1"]
            errors = sorted(one["error"] for one in (await dep.inbound.dead()).values())
            assert errors[0].startswith("events[0].name gives nothing")
            assert "4 levels" in errors[1]

    with company(tmp_path, redis_url, events=rule) as firm, web(firm.settings) as site:
        asyncio.run(go(firm, site))


def test_an_enrolment_comes_back_and_ends_there(tmp_path: Path, redis_url: str) -> None:
    rules = [
        {"on": "habitate.member.joined", "to": "tribal_habits.enrolment", "name": "'TH-4-78-NEW'"},
        # A loop, were it not recognised: each enrolment would ask for itself again
        {"on": "tribal_habits.enrolment_created", "to": "tribal_habits.enrolment", "name": "'TH-4-78-NEW'"},
        {"on": "tribal_habits.enrolment_created", "when": "own = 'false'", "to": "traitly.event", "name": "'By hand'"},
    ]

    async def go(firm: Company, site: str) -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            firm.switchboard.options("tribal_habits", webhook_url=f"{site}/webhooks/tribal_habits/{SECRET}")
            member = next(one for one in firm.switchboard.accounts("habitate") if one["email"] == "cleo@example.com")
            _tell(site, "habitate", joined(msid=member["msid"], email="cleo@example.com"))
            for _ in range(6):
                await handled(dep)
                await asyncio.sleep(0.05)
            asked = [(one["user_name"], one["code"]) for one in firm.switchboard.state("tribal_habits")["enrolments"]]
            assert asked.count(("W3", "TH-4-78-NEW")) == 1
            assert firm.events() == []
            assert (await dep.inbound.counts())["tribal_habits"]["already_enrolled"] == 1
            assert (await dep.inbound.backlog()).waiting == 0

    with company(tmp_path, redis_url, events=rules) as firm, web(firm.settings) as site:
        asyncio.run(go(firm, site))


def test_a_plan_leaves_alone_what_came_from_outside(firm: Company, site: str) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            _tell(site, "tribal_habits", enrolment(1))
            done = await work(dep)
            assert set(done.targets) == {"traitly", "mtribes"}
            # A whole sync is planned and installed before anything of it was sent
            await sync_once(dep)
            assert firm.events() == [("W1", "Completed Countries")]
            assert "learning/completed" in firm.tags()["W1"]
            runs = [await dep.runs.document(run) for run in await dep.runs.recent(5)]
            own = next(run for run in runs if run and run["trigger"] == "webhook")
            assert own["status"] == "succeeded"
            assert own["targets"]["traitly"]["planned"]["event"] == 1
            assert own["targets"]["traitly"]["succeeded"] == {"event": 1}

    asyncio.run(go())


def test_what_waits_for_an_account_waits(firm: Company, site: str) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            firm.switchboard.fault("traitly", match={"method": "POST"}, times=1, status=503, body="{}")
            firm.roster(PEOPLE[0])
            await dep.health.pause("traitly", paused=True)
            await sync_once(dep)
            _tell(site, "tribal_habits", enrolment(1))
            assert (await work(dep)).handled == 0
            assert (await dep.inbound.backlog()).put_off == 1
            await dep.health.pause("traitly", paused=False)
            await drain(dep, within=6)
            for _ in range(40):
                if not (await dep.inbound.backlog()).put_off:
                    break
                await work(dep)
                await asyncio.sleep(0.1)
            await drain(dep, within=6)
            assert firm.events() == [("W1", "Completed Countries")]
            assert await dep.inbound.dead() == {}

    asyncio.run(go())


class _Receiver(ThreadingHTTPServer):
    """Takes webhooks, and answers with the statuses that it is given, then with 204."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Receiver

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append((headers | {"path": self.path}, content))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def _receiver() -> Iterator[_Receiver]:
    with _Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_an_outgoing_webhook_is_signed_and_sent_until_it_is_taken(tmp_path: Path, redis_url: str) -> None:
    async def go(firm: Company, site: str, receiver: _Receiver) -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            receiver.statuses = [503]
            _tell(site, "traitly", propensity(0.9), propensity(0.1), propensity(0.9))
            await work(dep)
            for _ in range(10):
                await send_out(dep)
                RedisContents(dep).let_outbox_be_due()
            assert len(receiver.got) == 2
            headers, content = receiver.got[0]
            body = json.loads(content)
            assert headers["path"] == "/hook?a=1"
            assert body["type"] == "traitly.goal-propensity-change"
            assert (body["person"], body["name"], body["data"]["data"]) == ("W1", "W1 is likely", [{"likelihood": 0.9}])
            # Sent again, it is the same one by its id, and signed again over id, time and bytes
            assert receiver.got[1][0]["webhook-id"] == headers["webhook-id"] == body["id"]
            for got, text in receiver.got:
                signed = f"{got['webhook-id']}.{got['webhook-timestamp']}.".encode() + text
                wanted = base64.b64encode(hmac.new(b"shared", signed, hashlib.sha256).digest()).decode()
                assert got["webhook-signature"] == f"v1,{wanted}"
            receiver.statuses = [410]
            _tell(site, "traitly", propensity(0.95))
            await work(dep)
            await send_out(dep)
            assert [one["error"][:10] for one in (await dep.outbox.dead()).values()] == ["it is gone"]
            assert await dep.outbox.replay(await dep.clock.now()) == 1
            await send_out(dep)
            assert len(receiver.got) == 4
            assert await dep.outbox.next_due() is None

    with _receiver() as receiver:
        rule = {
            "on": "traitly.goal-propensity-change",
            "when": "TRY_CAST(likelihood AS DOUBLE) > 0.5",
            "to": f"http://127.0.0.1:{receiver.server_address[1]}/hook?a=1",
            "name": "person || ' is likely'",
            "secret": "shared",
        }
        with company(tmp_path, redis_url, events=[rule]) as firm, web(firm.settings) as site:
            asyncio.run(go(firm, site, receiver))


def test_slow_receivers_get_several_at_once_and_no_more_are_taken(firm: Company) -> None:
    """Each waits in the receiver until as many are there as may be sent at once."""
    together = threading.Barrier(SENDERS, timeout=20.0)

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            together.wait()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    rule = {"on": "traitly.goal-propensity-change", "to": f"http://127.0.0.1:{server.server_address[1]}/"}
    settings = load_settings(firm.folder, {**yaml.safe_load(_text(firm)), "events": [rule]})

    async def go() -> None:
        async with Deployment.open(settings) as dep:
            route = dep.routes[0].id
            items = [Outgoing(f"w{number}", "traitly", "e", route, "{}", 1.0) for number in range(2 * SENDERS)]
            now = await dep.clock.now()
            assert await dep.outbox.add(items, now) == 2 * SENDERS
            # Asked to stop after the first of them, it leaves the others where they are
            asked = iter((False, True))
            assert await send_out(dep, stopped=lambda: next(asked)) is not None
            assert await dep.outbox.counts() == (SENDERS, 0)
            assert await send_out(dep) is None

    try:
        asyncio.run(go())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _text(firm: Company) -> str:
    return (firm.folder / "provisioner.yaml").read_text(encoding="utf-8")


def test_the_signature_is_that_of_standard_webhooks() -> None:
    expected = base64.b64encode(hmac.new(b"key", b"msg_1.1700000000.{}", hashlib.sha256).digest()).decode()
    assert signature(b"key", "msg_1", 1700000000, b"{}") == f"v1,{expected}"


def test_what_is_in_the_outbox_is_there_once(firm: Company) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            item = Outgoing("a", "traitly", "e", "no-such-route", "{}", 1.0)
            assert await dep.outbox.add([item, item], 1.0) == 1
            assert await dep.outbox.add([item], 2.0) == 0
            assert [one.id for one in await dep.outbox.take(10, 60.0, 3.0)] == ["a"]
            assert await dep.outbox.take(10, 60.0, 3.0) == []
            # Whoever took it died: it is sent again
            assert [one.id for one in await dep.outbox.take(10, 60.0, 64.0)] == ["a"]
            RedisContents(dep).let_outbox_be_due("a")
            await send_out(dep)
            assert (await dep.outbox.dead())["a"]["error"] == "its route is no longer in the settings"

    asyncio.run(go())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"on": "tribal_habits"}, "events[0].on"),
        ({"on": "tribalhabits.enrolment_created"}, "did you mean 'tribal_habits'?"),
        ({"to": "traitly"}, "leads nowhere"),
        ({"to": "traitly.tag"}, "takes events only"),
        ({"to": "habitate.event"}, "takes nothing of the kind"),
        ({"to": "nobody.event"}, "there is no target 'nobody'"),
        ({"to": "http://example.com/hook"}, "must be https"),
        ({"to": "https://user:word@example.com/hook"}, "neither credentials"),
        ({"to": "https:///hook"}, "no http(s) address"),
        ({"name": None}, "events[0].name is missing"),
        ({"name": "MAX(email)"}, "events[0].name"),
        ({"when": "progress ="}, "events[0].when"),
        ({"when": "progress"}, None),
        ({"when": "LENGTH(progress)"}, "neither true nor false"),
    ],
)
def test_a_wrong_route_is_told_before_anything_is_sent(
    tmp_path: Path, redis_url: str, change: dict[str, Any], says: str | None
) -> None:
    rule = {"on": "tribal_habits.enrolment_created", "to": "traitly.event", "name": "'x'", **change}
    with company(tmp_path, redis_url, events=[rule]) as firm:
        targets, _ = build_targets(firm.settings)
        if says is None:
            assert len(routes_of(firm.settings, targets)) == 1
            return
        with pytest.raises(ConfigurationError) as caught:
            routes_of(firm.settings, targets)
        assert says in str(caught.value)
