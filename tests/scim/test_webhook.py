"""The roster's webhook: signed, once, durable, and the run of whom it names."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.standard_webhook import NotSignedError, checked_id, signature
from provisioner.sandbox import SandboxServer
from provisioner.settings.pushed_people import RosterWebhookSettings
from provisioner.store.people.changed_people import EVERYBODY
from provisioner.web.api.roster_webhook import people_in
from provisioner.web.api.webhooks import LARGEST
from provisioner.web.app import create_app
from tests.decisions.conftest import company
from tests.scim.conftest import Place
from tests.support.harness import load_settings, raise_limits, settings_document
from tests.support.redis_contents import RedisContents

KEY: Final = b"0123456789abcdef0123456789abcdef"
OLD: Final = b"fedcba9876543210fedcba9876543210"
SECRET: Final = f"whsec_{base64.b64encode(KEY).decode()}"
PATH: Final = "/webhooks/roster"


@pytest.fixture
def make_hooked(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Opens a deployment that reads a file and takes the webhook."""
    opened: list[TestClient] = []
    with SandboxServer() as sandbox:
        raise_limits(sandbox.switchboard)

        def make(*, redis: str = redis_url, **hook: Any) -> Place:
            document = settings_document(sandbox.url, redis, tmp_path / "roster.csv", tmp_path / "data")
            secrets = [SECRET, f"whsec_{base64.b64encode(OLD).decode()}"]
            if hook.get("secret", True):
                document["roster"]["webhook"] = {"secret": secrets, "keys": "data.employee_id", **hook}
            document["targets"] = {"tribal_habits": document["targets"]["tribal_habits"]}
            settings = load_settings(tmp_path, document)
            client = TestClient(create_app(settings), raise_server_exceptions=False)
            client.__enter__()
            opened.append(client)
            return Place(settings, client, sandbox.switchboard, RedisContents(settings))

        yield make
        for client in opened:
            client.__exit__(None, None, None)


def _sent(
    place: Place, body: Any, *, id_: str = "msg_1", at: float | None = None, key: bytes = KEY, **headers: str
) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    moment = int(time.time() if at is None else at)
    signed = base64.b64encode(
        hmac.new(key, b".".join([id_.encode(), str(moment).encode(), content]), hashlib.sha256).digest()
    ).decode()
    given = {"webhook-id": id_, "webhook-timestamp": str(moment), "webhook-signature": f"v1,{signed}"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return place.client.post(PATH, content=content, headers={**given, **named})


def _due(place: Place) -> set[str]:
    return set(place.work(lambda dep: dep.changed_people.first(100)))


def test_whom_an_event_names_gets_a_run(make_hooked: Callable[..., Place]) -> None:
    place = make_hooked()
    roster = place.settings.roster.url
    Path(roster).write_text(company(12), encoding="utf-8")
    place.sync()
    Path(roster).write_text(company(12).replace("Engineer", "Sales Manager"), encoding="utf-8")
    key = company(12).splitlines()[3].split(",")[0]
    answer = _sent(place, {"type": "employee.updated", "data": {"employee_id": key}})
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    # Durable before it was answered
    assert _due(place) == {key}
    (run,) = place.runs_of_changes()
    assert (run["trigger"], run["status"], run["roster"]["people"]) == ("webhook", "succeeded", 12)
    planned = run["targets"]["tribal_habits"]["succeeded"]
    assert sum(planned.values()) == 1
    # Delivered once more, also later and with another signature of the same id
    for at in (None, time.time() + 60):
        assert _sent(place, {"data": {"employee_id": key}}, at=at).json() == {"status": "known"}
    assert place.runs_of_changes() == []


def test_somebody_whom_nobody_knows_fails_nothing(make_hooked: Callable[..., Place]) -> None:
    place = make_hooked()
    Path(place.settings.roster.url).write_text(company(3), encoding="utf-8")
    place.sync()
    assert _sent(place, {"data": [{"employee_id": "nobody"}, {"employee_id": 7}]}).status_code == 202
    (run,) = place.runs_of_changes()
    assert run["status"] == "succeeded"


def test_without_keys_each_event_is_about_everybody(make_hooked: Callable[..., Place]) -> None:
    place = make_hooked(keys=None)
    Path(place.settings.roster.url).write_text(company(3), encoding="utf-8")
    assert _sent(place, {"anything": 1}).status_code == 202
    assert _sent(place, {"anything": 2}, id_="msg_2").status_code == 202
    (run,) = place.runs_of_changes()
    assert (run["trigger"], sum(run["targets"]["tribal_habits"]["succeeded"].values()) > 0) == ("webhook", True)


def test_an_event_without_people_is_taken_and_left(make_hooked: Callable[..., Place]) -> None:
    place = make_hooked()
    bodies: list[Any] = [{"type": "ping"}, {"data": {}}, {"data": {"employee_id": None}}, {"data": []}, 7, [], "x"]
    for body in bodies:
        answer = _sent(place, body)
        assert (answer.status_code, answer.json()) == (202, {"status": "ignored"})
    assert _due(place) == set()


def test_a_replaced_secret_opens_still(make_hooked: Callable[..., Place]) -> None:
    place = make_hooked()
    assert _sent(place, {"data": {"employee_id": "1"}}, key=OLD).status_code == 202


def test_who_cannot_sign_learns_nothing(make_hooked: Callable[..., Place]) -> None:
    place = make_hooked()
    body = {"data": {"employee_id": "1"}}
    now = time.time()
    refused = [
        _sent(place, body, key=b"x" * 32),
        _sent(place, body, at=now - 301),
        _sent(place, body, at=now + 305),
        _sent(place, body, id_=""),
        _sent(place, body, id_="x" * 300),
        _sent(place, body, webhook_id="another"),
        _sent(place, body, webhook_timestamp=str(int(now) - 5)),
        _sent(place, body, webhook_timestamp="now"),
        _sent(place, body, webhook_timestamp="1e9"),
        _sent(place, body, webhook_signature=""),
        _sent(place, body, webhook_signature="v1,"),
        _sent(place, body, webhook_signature="v2,AAAA v1a,BBBB"),
        _sent(place, b"x" * (LARGEST + 1)),
        place.client.post(PATH, json=body),
    ]
    assert {answer.status_code for answer in refused} == {404}
    # It cannot be told from a vendor's webhook that is not there
    elsewhere = place.client.post("/webhooks/nobody/wrong", json=body)
    assert {answer.content for answer in refused} == {elsewhere.content}
    assert place.contents.names() == set()
    # Of several signatures one is enough
    good = signature(KEY, "msg_9", int(now), json.dumps(body).encode())
    many = _sent(place, body, id_="msg_9", at=now, webhook_signature=f"v1,AAAA v2,BBBB {good}")
    assert many.status_code == 202


def test_what_is_no_json_is_refused_by_name(make_hooked: Callable[..., Place]) -> None:
    place = make_hooked()
    for content in (b"", b"{", b"\xff", b"[" * 100_000):
        assert (_sent(place, content).status_code, _due(place)) == (400, set())


def test_without_the_setting_there_is_no_such_path(make_hooked: Callable[..., Place]) -> None:
    place = make_hooked(secret=None)
    assert _sent(place, {"data": {"employee_id": "1"}}).status_code == 404


def test_without_redis_it_is_to_be_sent_again(make_hooked: Callable[..., Place]) -> None:
    place = make_hooked(redis="redis://127.0.0.1:9/0")
    answer = _sent(place, {"data": {"employee_id": "1"}})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize(
    ("body", "path", "found"),
    [
        ({"data": {"id": " 7 "}}, "data.id", {"7"}),
        ({"data": {"id": 7}}, "data.id", {"7"}),
        ({"data": [{"id": "a"}, {"id": "b"}, {}]}, "data.id", {"a", "b"}),
        ({"people": {"list": [{"x": {"id": ["a", "b"]}}]}}, "people.list.x.id", {"a", "b"}),
        ([{"id": "a"}], "id", {"a"}),
        ({"id": True}, "id", set()),
        ({"id": {"x": 1}}, "id", set()),
        ({"id": ""}, "id", set()),
        ({"id": [str(number) for number in range(2000)]}, "id", {EVERYBODY}),
    ],
)
def test_where_people_are_named(body: Any, path: str, found: set[str]) -> None:
    assert people_in(body, path) == found


@pytest.mark.parametrize(
    "secret", ["", "secret", "whsec_", "whsec_x", "whsec_AAAA", f"whsec_{'A' * 200}", KEY.decode()]
)
def test_a_secret_of_another_form_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        RosterWebhookSettings.model_validate({"secret": secret})


@given(st.binary(max_size=40), st.text("abc._-09", min_size=1, max_size=20), st.integers(0, 2**33))
def test_a_signature_is_right_for_nothing_else(body: bytes, identifier: str, moment: int) -> None:
    good = {
        "webhook-id": identifier,
        "webhook-timestamp": str(moment),
        "webhook-signature": signature(KEY, identifier, moment, body),
    }
    assert checked_id([OLD, KEY], good, body, now=moment + 299) == identifier
    for wrong, content in (
        ({**good, "webhook-id": f"{identifier}x"}, body),
        ({**good, "webhook-timestamp": str(moment + 1)}, body),
        (good, body + b" "),
    ):
        with pytest.raises(NotSignedError):
            checked_id([KEY], wrong, content, now=moment)
