"""The stand-ins' webhooks: the fields that the vendors' pages print, sent once, and only where they are wanted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from provisioner.sandbox.client import Switchboard, SwitchboardError
from provisioner.sandbox.server import SandboxServer
from tests.inbound.support import enrolment, joined, next_actions, propensity

#: The stand-in's custom fields, without their `X-`.
CUSTOM = {"Country", "State", "Nickname", "Birthdate", "Age", "Cars"}


class _Listener(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 202
        self.got: list[tuple[str | None, dict[str, Any]]] = []

    def wait(self, count: int) -> list[dict[str, Any]]:
        for _ in range(500):
            if len(self.got) >= count:
                return [body for _, body in self.got]
            time.sleep(0.01)
        raise AssertionError(f"{len(self.got)} webhooks came, not {count}")


class _Handler(BaseHTTPRequestHandler):
    server: _Listener

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.headers["User-Agent"], json.loads(content)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def listener() -> Iterator[_Listener]:
    with _Listener() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def board(listener: _Listener) -> Iterator[Switchboard]:
    with SandboxServer() as sandbox:
        for instance in ("tribal_habits", "habitate", "traitly"):
            sandbox.switchboard.options(instance, webhook_url=f"http://127.0.0.1:{listener.server_address[1]}/")
        yield sandbox.switchboard


def test_a_completed_course(board: Switchboard, listener: _Listener) -> None:
    person = {"user_name": "u1", "email": "u1@example.com", "first_name": "U", "last_name": "One", "X-Country": "Peru"}
    board.seed("tribal_habits", [person])
    board.act("tribal_habits", "complete", user_name="u1", code="TH-4-77")
    created, completed = listener.wait(2)
    assert (created["event"], completed["event"]) == ("enrolment_created", "enrolment_completed")
    printed = enrolment(1)
    for told in (created, completed):
        assert told.keys() == printed.keys()
        assert set(told["enrolment_data"]) - CUSTOM - {"categories_continuing_education"} == set(
            printed["enrolment_data"]
        ) - {"Color", "Car Model"}
        assert told["enrolment_data"]["Country"] == "Peru"
    assert completed["enrolment_data"]["completed_date"] == completed["enrolment_data"]["updated_date"]
    board.act("tribal_habits", "complete", user_name="u1", code="THP-4-22")
    pathway = listener.wait(4)[3]["enrolment_data"]
    assert (pathway["knowledge_type"], pathway["knowledge_id"]) == ("pathway", 22)
    assert pathway["certificate_id"].endswith("P")
    with pytest.raises(SwitchboardError, match="404"):
        board.act("tribal_habits", "complete", user_name="u1", code="TH-4-1")
    with pytest.raises(SwitchboardError, match="unknown action"):
        board.act("tribal_habits", "dance")


def test_a_member_who_joins(board: Switchboard, listener: _Listener) -> None:
    board.act("habitate", "join", email="a@example.com", first_name="A", last_name="B")
    board.act("habitate", "join", email="c@example.com", first_name="C", waitlist=True)
    first, second = listener.wait(2)
    printed = joined()
    assert first.keys() == printed.keys()
    assert set(first["entities"]["user"][0]) <= set(printed["entities"]["user"][0])
    assert (first["event"], second["event"]) == ("member.joined", "member.joined_waitlist")
    assert (first["job_id"], second["job_id"]) == (1, 2)
    assert second["entities"]["user"][0]["user_status"] == 4


def test_what_traitly_thinks_of_a_customer(board: Switchboard, listener: _Listener) -> None:
    board.seed("traitly", [{"customer_id": "c1", "name": "C", "email": "c@example.com", "plan": "p"}])
    board.act("traitly", "next_actions", customer_id="c1")
    board.act("traitly", "propensity", customer_id="c1", likelihood=0.25)
    first, second = listener.wait(2)
    assert first.keys() == next_actions().keys()
    assert second.keys() == propensity(0.5).keys()
    assert second["data"] == [{"likelihood": 0.25}]
    assert {agent for agent, _ in listener.got} == {"traitly"}


def test_nothing_is_sent_again_nor_without_an_address(board: Switchboard, listener: _Listener) -> None:
    listener.status = 500
    board.act("habitate", "join", email="a@example.com", first_name="A")
    listener.wait(1)
    board.options("habitate", webhook_url="")
    board.act("habitate", "join", email="b@example.com", first_name="B")
    board.options("habitate", webhook_url="http://127.0.0.1:9/")
    board.act("habitate", "join", email="c@example.com", first_name="C")
    for _ in range(500):
        if len(board.webhooks("habitate")) == 2:
            break
        time.sleep(0.01)
    assert [one["status"] for one in board.webhooks("habitate")] == [500, 0]
    assert len(listener.got) == 1
