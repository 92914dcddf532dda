"""Nothing personal and nothing secret in the logs, however it gets there."""

from __future__ import annotations

import json
import logging
import time
import warnings
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from pydantic import BaseModel, ValidationError

from provisioner import logs
from provisioner.errors import UsageError

SECRET = 'canary-9f2/"7 c1'
PERSON = "Zoë Canary"
MAIL = "zoe.o'canary+hr@mail.example.co.uk"


@pytest.fixture(autouse=True)
def _as_before(logging_as_before: None) -> None:
    """Each test here configures logging."""


def written(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    return err


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(capsys).splitlines()]


def test_an_event_is_one_json_line_with_time_level_and_context(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=True)
    with structlog.contextvars.bound_contextvars(run="r1", target="one", operation="o1", worker="w1"):
        logs.get_logger("provisioner.test").info("sent", person="E-7", attempt=2, took=0.25, kind=None)
        logging.getLogger("celery.worker").warning("lost %s messages", 3)
    logs.get_logger("provisioner.test").debug("too fine")
    ours, theirs = lines(capsys)
    moment = datetime.fromisoformat(ours.pop("timestamp"))
    assert moment.tzinfo == UTC
    context = {"run": "r1", "target": "one", "operation": "o1", "worker": "w1"}
    assert ours == {
        **context,
        "event": "sent",
        "level": "info",
        "logger": "provisioner.test",
        "person": "E-7",
        "attempt": 2,
        "took": 0.25,
        "kind": None,
    }
    del theirs["timestamp"]
    assert theirs == context | {"event": "lost 3 messages", "level": "warning", "logger": "celery.worker"}


def test_a_terminal_gets_readable_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=False)
    logs.get_logger("provisioner.test").info("sent", person="E-7", email=MAIL)
    line = written(capsys)
    assert "sent" in line
    assert "person=E-7" in line
    assert f"email={logs.HIDDEN}" in line


def test_configuring_twice_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=True)
    logs.configure("warning", json=True)
    logs.get_logger("provisioner.test").info("one")
    logs.get_logger("provisioner.test").warning("two")
    assert [line["event"] for line in lines(capsys)] == ["two"]


def test_an_unknown_level_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="loud"):
        logs.configure("loud", json=True)


class Kind(Enum):
    LEAVE = "leave"


@dataclass
class Account:
    email: str
    name: str


class Row(BaseModel):
    age: int


def _raise_with_everything() -> None:
    try:
        Row(age=PERSON)  # type: ignore[arg-type]
    except ValidationError as exc:
        raise ValueError(f"{MAIL} with {SECRET}") from exc


LEAKS: dict[str, dict[str, Any]] = {
    "email in the text": {"event": f"no such user: {MAIL}."},
    "email quoted in a query": {"event": f"GET /users?email={quote(MAIL)}"},
    "email in upper case": {"event": MAIL.upper()},
    "email in a list in a mapping": {"event": "x", "seen": {"all": [MAIL, (MAIL,), {MAIL}]}},
    "email as a key": {"event": "x", "seen": {MAIL: 1}},
    "secret in the text": {"event": f"key {SECRET} refused"},
    "secret quoted": {"event": f"GET /?key={quote(SECRET, safe='')}"},
    "secret in JSON": {"event": json.dumps({"k": SECRET})},
    "secret in a list": {"event": "x", "tried": [SECRET]},
    "name": {"event": "x", "name": PERSON},
    "nested name": {"event": "x", "found": {"First-Name": PERSON, "deep": [{"last_name": PERSON}]}},
    "image": {"event": "x", "before": {"title": PERSON}, "after": {"title": PERSON}, "wanted": [PERSON]},
    "body": {"event": "x", "body": PERSON.encode(), "payload": PERSON},
    "headers": {"event": "x", "headers": {"Authorization": SECRET, "X-Who": PERSON}},
    "account": {"event": "x", "found": Account(MAIL, PERSON)},
    "accounts": {"event": "x", "found": [Account(MAIL, PERSON)]},
    "error": {"event": "x", "error": ValueError(MAIL)},
    "path": {"event": "x", "place": Path("/home", MAIL)},
    "address of a server": {"event": "redis://:unknown-canary@redis:6379/0 is gone"},
    "webhook": {"event": f'POST /webhooks/one/{quote(SECRET, safe="")}x HTTP/1.1" 202'},
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
@pytest.mark.parametrize("as_json", [True, False])
def test_no_canary_gets_through(capsys: pytest.CaptureFixture[str], leak: dict[str, Any], as_json: bool) -> None:
    logs.configure("info", json=as_json)
    logs.hide(SECRET, None, "", "abc")
    logs.get_logger("provisioner.test").warning(**leak)
    text = written(capsys)
    assert text
    assert "canary" not in text.lower()
    assert logs.HIDDEN in text or logs.EMAIL in text or "<" in text


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Bearer {}",
        "authorization: token {}",
        "{{'authorization': 'Basic {}'}}",
        "(b'Authorization', b'{}')",
        "sent Bearer {}",
        "sent Basic {}",
    ],
)
def test_unknown_credentials_are_known_by_their_shape(header: str) -> None:
    credential = b64encode(b"user:password-of-somebody").decode()
    assert credential not in logs.clean(header.format(credential))


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_is_kept_and_cleaned(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    logs.configure("info", json=as_json)
    logs.hide(SECRET)
    try:
        _raise_with_everything()
    except ValueError:
        logs.get_logger("provisioner.test").exception("failed")
        logging.getLogger("kombu").exception("failed")
    text = written(capsys)
    assert text.count("Traceback") == 4
    assert "ValidationError" in text
    for line in text.replace("\\n", "\n").splitlines():
        assert "canary" not in line.lower() or "_raise_with_everything" in line or "Row(age" in line


def test_libraries_are_cleaned_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", json=True)
    logs.hide(SECRET)
    uvicorn = logging.getLogger("uvicorn.access")
    uvicorn.propagate = False
    # Whoever ran a server in this process before may have set it
    uvicorn.setLevel(logging.NOTSET)
    uvicorn.addHandler(logging.StreamHandler())
    logs.configure("debug", json=True)
    uvicorn.info('%s - "%s %s"', "127.0.0.1", "GET", f"/people?email={MAIL}")
    logging.getLogger("celery.task").info("done", extra={"data": {"email": MAIL}})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"old {MAIL}", DeprecationWarning, stacklevel=1)
    text = written(capsys)
    assert "canary" not in text.lower()
    assert f'"GET /people?email={logs.EMAIL}' in json.loads(text.splitlines()[0])["event"]
    assert [json.loads(line)["logger"] for line in text.splitlines()] == [
        "uvicorn.access",
        "celery.task",
        "py.warnings",
    ]


def test_addresses_of_requests_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", json=True)
    for name in ("httpx", "httpcore.http11"):
        logging.getLogger(name).info("HTTP Request: GET https://vendor.example/users/E-7")
    assert written(capsys) == ""


def test_what_is_no_personal_data_stays() -> None:
    text = "celery@worker-1 ready; target tribal_habits: 429 at https://vendor.example/api, person E-7, 3 @ 5"
    assert logs.clean(text) == text
    event = {"event": "x", "rows": 500, "person": "E-7", "kind": Kind.LEAVE, "day": datetime(2026, 3, 1, tzinfo=UTC)}
    shown = logs.redact(None, "info", dict(event))
    assert shown == event | {"kind": "leave", "day": "2026-03-01 00:00:00+00:00"}


def test_a_long_text_takes_no_time_to_speak_of() -> None:
    for piece in ("a", "a.", "a@", "://a", "authorization: ", "Bearer ", "input_value=", "/webhooks/a/"):
        began = time.process_time()
        logs.clean(piece * (200_000 // len(piece)))
        # Quadratic work would take minutes; no judgement of speed
        assert time.process_time() - began < 20
