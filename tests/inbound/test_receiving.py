"""What is taken, what is refused, and what is stored of either."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from provisioner.model.event import MAX_DEPTH, InvalidEventError, NotJsonError, flatten, read_json
from provisioner.runtime.context import Deployment
from provisioner.web.api.webhooks import LARGEST
from tests.e2e.site import eventually
from tests.inbound.support import (
    SECRET,
    Company,
    company,
    enrolment,
    handled,
    joined,
    listens,
    next_actions,
    post,
    web,
)
from tests.support.harness import sync_once
from tests.support.ports import free_port
from tests.support.redis_contents import RedisContents

HERE = f"/webhooks/tribal_habits/{SECRET}"


def _stored(firm: Company) -> list[dict[bytes, bytes]]:
    return RedisContents(firm.settings).inbound()


def _body(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_an_event_is_accepted_once(firm: Company, site: str) -> None:
    first = post(site, HERE, _body(enrolment(1)))
    assert (first[0], json.loads(first[1])) == (202, {"status": "accepted"})
    # The same event, spelt otherwise and with another value that does not name it
    again = post(site, HERE, json.dumps(enrolment(1, Color="Red"), indent=3).encode())
    assert (again[0], json.loads(again[1])) == (202, {"status": "known"})
    assert post(site, HERE, _body(enrolment(1, knowledge_type="pathway")))[0] == 202
    assert len(_stored(firm)) == 2


def test_who_does_not_know_the_secret_learns_nothing(firm: Company, site: str) -> None:
    for path in (
        "/webhooks/tribal_habits/wrong",
        f"/webhooks/tribal_habits/{SECRET}x",
        f"/webhooks/nobody/{SECRET}",
        "/webhooks/nobody/wrong",
        f"/webhooks/Tribal_habits/{SECRET}",
        "/webhooks/tribal_habits/",
        f"/webhooks/tribal_habits/{SECRET}/more",
    ):
        status, answer = post(site, path, _body(enrolment(1)))
        assert status == 404, path
        assert SECRET.encode() not in answer
    assert RedisContents(firm.settings).names() == set()


#: Nothing may tell these apart.
CLOSED: Final = (
    "/webhooks/tribal_habits/wrong",
    "/webhooks/nobody/wrong",
    f"/webhooks/nobody/{SECRET}",
    f"/webhooks/tribal_habits/{SECRET[:-1]}",
    "/webhooks/tribal_habits/%00",
)


def _answer(site: str, path: str, content: bytes) -> tuple[int, bytes, frozenset[tuple[str, str]]]:
    connection = HTTPConnection(site.removeprefix("http://"), timeout=30)
    connection.request("POST", path, content)
    answer = connection.getresponse()
    headers = frozenset((name, value) for name, value in answer.getheaders() if name.lower() != "date")
    found = (answer.status, answer.read(), headers)
    connection.close()
    return found


def test_a_wrong_secret_and_an_unknown_target_look_the_same(firm: Company, site: str) -> None:
    assert firm.settings.targets["habitate"].webhook_secret is not None
    # Nor may the body: none of it is looked at
    for content in (b"x" * 10, b"", _body(enrolment(1)), b" " * (LARGEST + 1)):
        assert len({_answer(site, path, content) for path in CLOSED}) == 1
    assert RedisContents(firm.settings).names() == set()


def test_every_secret_is_compared_in_full_and_once(firm: Company, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counting(first: bytes, second: bytes) -> bool:
        compared.append((len(first), len(second)))
        return compare(first, second)

    monkeypatch.setattr("provisioner.web.api.webhooks.hmac.compare_digest", counting)
    assert firm.settings.events
    for path in (*CLOSED, "/webhooks/tribal_habits/" + "x" * 5000, HERE):
        compared.clear()
        _answer(site, path, b"{}")
        # Digests of one length, whether or not there is such a target, and however long the guess is
        assert compared == [(32, 32)], path


REFUSED: Final = (
    (b"", 400),
    (b"hello", 400),
    (b"event=enrolment_created", 400),
    (b'{"event": NaN}', 400),
    (b'{"event": "x"', 400),
    (b"\xff\xfe\x00", 400),
    (b'{"n": ' + b"9" * 5000 + b"}", 400),
    (b"[]", 422),
    (b'"enrolment_created"', 422),
    (b"null", 422),
    (b"{}", 422),
    (b'{"event": 7}', 422),
    (b'{"event": ""}', 422),
    (b'{"event": "a\\u0000b"}', 422),
    (b'{"event": "\\ud800"}', 422),
    (b'{"event": "x", "n": 1e999}', 422),
    (b"[" * 100_000, 422),
    (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, 422),
    (b'{"event": "x", "a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", 422),
    (_body({**enrolment(1), "enrolment_id": None}), 422),
    (_body({**enrolment(1), "enrolment_id": [1]}), 422),
    (_body({**enrolment(1), "enrolment_id": True}), 422),
    (_body({**enrolment(1), "enrolment_data": "W1"}), 422),
    (_body({**enrolment(1), "enrolment_data": {"user_name": 7}}), 422),
    (_body(enrolment(1, knowledge_type={})), 422),
)
MISTYPED: Final = (
    ("traitly", {**next_actions(), "meta": None}),
    ("traitly", {**next_actions(), "meta": {"customer_id": None}}),
    ("traitly", {**next_actions(), "data": {}}),
    ("traitly", {**next_actions(), "object": 5}),
)


def test_what_is_no_event_is_refused_and_not_kept(firm: Company, site: str) -> None:
    for content, status in REFUSED:
        answered, answer = post(site, HERE, content)
        assert answered == status, content[:80]
        assert json.loads(answer)["status"] == status
    assert RedisContents(firm.settings).names() == set()


def test_wrong_types_of_each_vendor(firm: Company, site: str) -> None:
    for target, body in MISTYPED:
        assert post(site, f"/webhooks/{target}/{SECRET}", _body(body))[0] == 422, body
    assert RedisContents(firm.settings).names() == set()


def test_too_much_is_not_read(firm: Company, site: str) -> None:
    fits = _body({"event": "x", "a": "b" * (LARGEST - 50)})
    assert len(fits) < LARGEST
    assert post(site, HERE, fits)[0] == 202
    assert post(site, HERE, b" " * (LARGEST + 1))[0] == 413
    assert len(_stored(firm)) == 1


def test_too_much_that_does_not_say_its_size_is_not_read_either(firm: Company, site: str) -> None:
    connection = HTTPConnection(site.removeprefix("http://"), timeout=30)
    pieces = iter([b" " * 65536] * 5)
    connection.request("POST", HERE, pieces, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    assert RedisContents(firm.settings).names() == set()


def test_what_is_said_of_somebody_unknown_is_counted_and_not_kept(firm: Company, site: str) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            contents = RedisContents(dep)
            before = contents.lasting()
            body = enrolment(1, "W999", email="stranger@example.org", last_name="Stranger")
            assert post(site, HERE, _body(body))[0] == 202
            assert await handled(dep) is not None
            counts = (await dep.inbound.counts())["tribal_habits"]
            assert counts["nobody"] == 1
            assert (await dep.inbound.backlog()).waiting == 0
            assert firm.events() == []
            new = contents.lasting() - before
            # What names the event, that it was counted, and that there are workers: nothing of what it says
            assert new <= contents.names_after_an_event(), new
            assert "tranger" not in repr(contents.values())

    asyncio.run(go())


def test_unknown_fields_and_events_are_kept(firm: Company, site: str) -> None:
    assert post(site, HERE, _body({**enrolment(1), "new": {"deep": [1, {"er": "ä"}]}}))[0] == 202
    assert post(site, f"/webhooks/mtribes/{SECRET}", _body({"event": "tribe.joined", "user": "W1"}))[0] == 202
    stored = [json.loads(fields[b"body"]) for fields in _stored(firm)]
    assert stored[0]["new"] == {"deep": [1, {"er": "ä"}]}
    assert stored[1]["user"] == "W1"


def test_only_the_listed_addresses_may_send(tmp_path: Any, redis_url: str) -> None:
    changes = {
        "target_tribal_habits": {"webhook_sources": ["10.0.0.0/8"]},
        "target_habitate": {"webhook_sources": ["10.0.0.0/8", "127.0.0.0/8"]},
    }
    with company(tmp_path, redis_url, **changes) as firm, web(firm.settings) as site:
        assert post(site, HERE, _body(enrolment(1)))[0] == 404
        assert post(site, f"/webhooks/habitate/{SECRET}", _body(joined()))[0] == 202


def test_no_secret_no_webhooks(tmp_path: Any, redis_url: str) -> None:
    with (
        company(tmp_path, redis_url, target_traitly={"webhook_secret": None}) as firm,
        web(firm.settings) as site,
    ):
        for guess in (SECRET, "None", "null", "%00"):
            assert post(site, f"/webhooks/traitly/{guess}", _body(next_actions()))[0] == 404


def test_neither_secret_nor_body_is_logged(firm: Company, site: str, caplog: pytest.LogCaptureFixture) -> None:
    assert firm.settings.events
    with caplog.at_level(logging.DEBUG):
        for path in (HERE, f"/webhooks/nobody/{SECRET}"):
            for content in (b"adam@example.com", _body(enrolment(1)), b"x" * (LARGEST + 1), b"[1]"):
                post(site, path, content)
    assert SECRET not in caplog.text
    assert "adam" not in caplog.text.lower()


def test_the_real_web_server_logs_neither_in_its_most_talkative_form(firm: Company) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "PROVISIONER_CONFIG": str(firm.folder / "provisioner.yaml"),
        "PROVISIONER_WEB__PORT": str(port),
        "PROVISIONER_DEBUG": "1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    log = firm.folder / "web.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "provisioner", "web"], env=environment, stdout=output, stderr=output
        ) as web_process,
    ):
        try:
            site = f"http://127.0.0.1:{port}"
            eventually(lambda: listens(port), why=lambda: log.read_text(errors="replace"))
            sent = (
                b"adam@example.com",
                _body(enrolment(1)),
                b"adam" * LARGEST,
                b'["adam"]',
                _body({"event": "adam\x00"}),
            )
            for path, statuses in (
                (HERE, [400, 202, 413, 422, 422]),
                ("/webhooks/tribal_habits/a-secret-guess", [404] * 5),
                (f"/webhooks/nobody/{SECRET}", [404] * 5),
            ):
                assert [post(site, path, content)[0] for content in sent] == statuses
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(f"POST {HERE} HTTP/9.9\r\nadam: 1\r\n\r\n".encode())
                connection.recv(1000)
        finally:
            web_process.terminate()
    said = log.read_text(errors="replace")
    assert "event_refused" in said
    for word in (SECRET, "a-secret-guess", "adam", "/webhooks/"):
        assert word not in said.lower(), said


def test_without_redis_the_vendor_is_asked_to_come_again(firm: Company, tmp_path: Any) -> None:
    away = firm.settings.model_copy(update={"redis_url": SecretStr(f"unix://{tmp_path}/no.sock")})
    with web(away) as site:
        status, answer = post(site, HERE, _body(enrolment(1)))
    assert status == 503
    assert "again" in json.loads(answer)["detail"]


@given(st.binary(max_size=300))
def test_any_bytes_are_judged(content: bytes) -> None:
    try:
        json.dumps(read_json(content)).encode()
    except (NotJsonError, InvalidEventError):
        return


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.text(max_size=5), _JSON, max_size=5))
def test_every_field_is_text_or_nothing(body: dict[str, Any]) -> None:
    for name, value in flatten(body).items():
        assert isinstance(name, str)
        assert value is None or value.strip() == value != ""


def test_fields_are_named_by_their_way() -> None:
    body = {"a": 1, "b": {"c": True, "d": {"e": 1.5}}, "l": ["x", None, 2], "o": [{"p": "q"}, {"p": "r"}]}
    assert flatten(body, {"a": "inner", "z": "alone"}) == {
        "a": "1",
        "b_c": "true",
        "b_d_e": "1.5",
        "l": "x;2",
        "o": None,
        "o_0_p": "q",
        "o_1_p": "r",
        "z": "alone",
    }
