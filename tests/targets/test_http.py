"""The transport, against a server on loopback that answers what a test scripts, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner import errors
from provisioner.errors import (
    ListingError,
    MalformedAnswerError,
    OriginError,
    ReadOnlyError,
    TargetError,
    UnauthorisedError,
    UnreachableError,
)
from provisioner.model.outcome import Permanent, Temporary, Unauthorised, Unclear
from provisioner.targets import http as transport
from provisioner.targets import responses
from provisioner.targets.concurrently import each
from provisioner.targets.http import Fence, Http, new_client, user_agent
from provisioner.targets.paths import at
from provisioner.targets.responses import (
    NOT_JSON,
    Answer,
    as_outcome,
    classify,
    parsed,
    parsed_row_by_row,
    retry_after_seconds,
    sentence,
)

R = TypeVar("R")
DROP = b""
SILENCE = None


def answer(status: int, body: bytes = b"{}", *headers: str) -> bytes:
    """One answer as bytes."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass
class Slots:
    """A pace that grants at once and remembers what it was told."""

    taken: list[float] = field(default_factory=list)
    given_back: list[tuple[bool, float | None]] = field(default_factory=list)

    async def slot(self, deadline: float) -> Slots:
        """A slot, now."""
        self.taken.append(deadline)
        return self

    async def answered(self, *, limited: bool = False, retry_after: float | None = None) -> None:
        """Remember."""
        self.given_back.append((limited, retry_after))


@dataclass
class Wire:
    """What went over the wire in one test."""

    slots: Slots = field(default_factory=Slots)
    requests: list[bytes] = field(default_factory=list)
    http: Http | None = None


def over(
    answers: Sequence[bytes | None],
    use: Callable[[Http], Awaitable[R]],
    *,
    headers: dict[str, str] | None = None,
    read_only: bool = False,
    fence: Fence | None = None,
) -> tuple[R | Exception, Wire]:
    """Use a transport towards a server that gives these answers in turn, the last one for ever."""
    wire = Wire()

    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
            )
            now = answers[min(len(wire.requests), len(answers) - 1)]
            wire.requests.append(head + await reader.readexactly(length))
            if now is SILENCE:
                await reader.read()
            elif now:
                writer.write(now)
                await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.get_running_loop().create_task(serve(reader, writer)))

    async def main() -> R | Exception:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            async with server, new_client() as client:
                wire.http = Http(
                    "t", client, f"http://127.0.0.1:{port}", headers or {}, wire.slots, read_only=read_only, fence=fence
                )
                try:
                    return await use(wire.http)
                except (errors.ProvisionerError, ValueError) as exc:
                    return exc
        finally:
            await asyncio.gather(*serving, return_exceptions=True)

    return asyncio.run(main()), wire


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the transport would have slept."""
    seconds: list[float] = []
    real, mine = asyncio.sleep, threading.get_ident()

    async def sleep(delay: float) -> None:
        # Stand-ins of other tests may be serving in threads of their own
        if threading.get_ident() != mine:
            await real(delay)
            return
        seconds.append(delay)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return seconds


def reading(http: Http) -> Awaitable[Answer]:
    """Read something."""
    return http.read("/papi/users", {"page": 2})


def sending(http: Http) -> Awaitable[Any]:
    """Write something."""
    return http.send("POST", "/papi/users", {"first_name": "Zoë", "odd": "\ud800"})


# Requests


def test_a_request_carries_credentials_body_and_who_we_are() -> None:
    result, wire = over([answer(200, b'{"a": 1}')], sending, headers={"Authorization": "key"})
    assert isinstance(result, Answer)
    assert (result.status, result.json) == (200, {"a": 1})
    head, body = wire.requests[0].split(b"\r\n\r\n", 1)
    assert head.startswith(b"POST /papi/users HTTP/1.1")
    for line in (b"authorization: key", b"content-type: application/json", f"user-agent: {user_agent()}".encode()):
        assert line in head.lower()
    assert json.loads(body) == {"first_name": "Zoë", "odd": "\ud800"}
    assert wire.http is not None
    assert (wire.http.requests, wire.http.writes) == (1, 1)


def test_a_read_carries_its_query_and_is_no_write() -> None:
    _, wire = over([answer(200)], reading, read_only=True)
    assert wire.requests[0].startswith(b"GET /papi/users?page=2 ")
    assert wire.http is not None
    assert (wire.http.requests, wire.http.writes) == (1, 0)


def test_beneath_a_plan_nothing_is_written() -> None:
    result, wire = over([answer(200)], sending, read_only=True)
    assert isinstance(result, ReadOnlyError)
    assert "/papi/users" in str(result)
    assert not wire.requests
    assert not wire.slots.taken


def test_a_redirect_is_never_followed() -> None:
    moved = answer(302, b"", "Location: /elsewhere")
    result, wire = over([moved], sending)
    assert isinstance(result, Permanent)
    assert result.code == "redirected"
    assert len(wire.requests) == 1


def test_cookies_are_not_kept() -> None:
    async def twice(http: Http) -> None:
        await http.read("/a")
        await http.read("/b")

    _, wire = over([answer(200, b"{}", "Set-Cookie: session=1; Path=/")], twice)
    assert b"cookie" not in wire.requests[1].lower()


@pytest.mark.parametrize("secret", ["s3cret\r\nX-Evil: 1", "s3crét"])
def test_a_credential_that_cannot_be_sent_is_not_repeated(secret: str) -> None:
    result, wire = over([answer(200)], sending, headers={"Authorization": secret})
    assert isinstance(result, Permanent)
    assert "s3cr" not in result.message
    assert not wire.requests
    assert len(wire.slots.given_back) == 1


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ("E1", "/u/E1"),
        ("a/b?c#d%", "/u/a%2Fb%3Fc%23d%25"),
        ("..", "/u/%2E%2E"),
        ("ü \ud800", "/u/%C3%BC%20%3F"),
        ("1.aB", "/u/1.aB"),
    ],
)
def test_parts_of_a_path_stay_parts(part: str, path: str) -> None:
    assert at("/u/{}", part) == path
    _, wire = over([answer(200)], lambda http: http.read(at("/u/{}", part)))
    assert wire.requests[0].startswith(f"GET {path} ".encode())


def test_an_empty_part_makes_no_path() -> None:
    with pytest.raises(ValueError, match="empty"):
        at("/papi/users/{}", "")


@pytest.mark.parametrize("path", [at("/papi/users/{}", "jane.doe"), "/papi/users/jane%40example.com"])
def test_messages_do_not_name_people(path: str) -> None:
    result, _ = over([answer(404)], lambda http: http.read(path))
    assert isinstance(result, TargetError)
    assert "/papi/users/…" in str(result)
    assert "jane" not in str(result)


# Answers


def test_a_body_that_is_no_json_is_marked_on_a_write_and_an_error_on_a_read() -> None:
    for body in (b"", b"<html>", b'{"a":', b"\xff\xfe\xfa", b"[" * 100_000):
        written, _ = over([answer(200, body)], sending)
        assert isinstance(written, Answer)
        assert written.json is NOT_JSON
        read, _ = over([answer(200, body)], reading)
        assert isinstance(read, MalformedAnswerError)


def test_accepted_statuses_are_answers() -> None:
    read, _ = over([answer(404, b"")], lambda http: http.read("/x", accept=(404,)))
    assert isinstance(read, Answer)
    written, _ = over([answer(409)], lambda http: http.send("POST", "/x", {}, accept=(409,)))
    assert isinstance(written, Answer)


def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER", 1000)
    result, _ = over([answer(200, b"1" * 5000)], sending)
    assert isinstance(result, Unclear)
    assert result.code == "answer_too_large"
    monkeypatch.setattr(transport, "MAX_LISTING", 2000)
    result, wire = over([answer(200, b"1" * 5000)], reading)
    assert isinstance(result, TargetError)
    assert "larger than" in result.message
    assert len(wire.requests) == 1


ROWS = st.lists(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    max_size=4,
)


@given(
    st.dictionaries(st.text(), ROWS | st.integers() | st.text(), max_size=3) | ROWS, st.sampled_from(["", " ", "\n"])
)
def test_a_long_answer_is_read_as_a_short_one(value: object, space: str) -> None:
    text = (space + json.dumps(value, indent=len(space) or None)).encode()
    # As texts, since NaN is equal to nothing
    assert repr(parsed_row_by_row(text)) == repr(parsed(text)) == repr(json.loads(text))
    assert parsed_row_by_row(text[:-1] + b"x") is NOT_JSON


def test_a_long_answer_is_parsed_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_LONG", 10)
    result, _ = over([answer(200, b'{"data": [{"a": 1}, [2]], "n": 3, "more": "text"}')], reading)
    assert isinstance(result, Answer)
    assert result.json == {"data": [{"a": 1}, [2]], "n": 3, "more": "text"}
    broken, _ = over([answer(200, b'{"data": [{"a": 1}, [2]')], sending)
    assert isinstance(broken, Answer)
    assert broken.json is NOT_JSON


@pytest.mark.parametrize(
    "given",
    [DROP, answer(200, b'{"a": 1}')[:-3], b"HTTP/1.1 2", b"nonsense\r\n\r\n"],
    ids=["drop", "cut", "head", "other"],
)
def test_a_connection_that_breaks_after_sending_leaves_it_unclear(given: bytes) -> None:
    result, wire = over([given], sending)
    assert isinstance(result, Unclear)
    assert wire.slots.given_back == [(False, None)]


def test_a_deadline_is_for_the_whole_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "DEADLINE", 0.05)
    result, wire = over([SILENCE], sending)
    assert isinstance(result, Unclear)
    assert result.code == "deadline"
    assert wire.slots.taken == [0.05]
    assert len(wire.slots.given_back) == 1


def test_a_connection_never_made_is_temporary_and_unreached() -> None:
    async def use(_: Http) -> tuple[object, object]:
        async with new_client() as client:
            nobody = Http("t", client, "http://127.0.0.1:9", {}, Slots())
            written = await nobody.send("POST", "/x", {})
            try:
                return written, await nobody.read("/x")
            except TargetError as exc:
                return written, exc

    (written, read), _ = over([answer(200)], use)  # type: ignore[misc]
    assert isinstance(written, Temporary)
    assert written.unreached
    assert isinstance(read, UnreachableError)


def test_a_429_is_told_to_the_pace_with_its_delay() -> None:
    result, wire = over([answer(429, b"{}", "Retry-After: 17")], sending)
    assert result == Temporary("rate_limited", "too many requests (429)", 17.0, limited=True)
    assert wire.slots.given_back == [(True, 17.0)]


# Patience


def test_a_read_is_tried_again_after_what_may_pass(slept: list[float]) -> None:
    result, wire = over([answer(503), answer(500), DROP, answer(200, b"[]")], reading)
    assert isinstance(result, Answer)
    assert len(wire.requests) == transport.READ_TRIES
    assert len(slept) == 3
    assert all(0 < delay <= 8 for delay in slept)


def test_a_read_waits_as_long_as_it_is_told(slept: list[float]) -> None:
    over([answer(503, b"", "Retry-After: 20"), answer(200)], reading)
    assert slept == [20.0]


@pytest.mark.parametrize(("given", "error"), [(answer(503), UnreachableError), (answer(429), UnreachableError),
                                              (answer(500), UnreachableError), (DROP, UnreachableError)])  # fmt: skip
def test_a_read_gives_up_in_the_end(slept: list[float], given: bytes, error: type[Exception]) -> None:
    result, wire = over([given], reading)
    assert type(result) is error
    assert len(wire.requests) == transport.READ_TRIES
    assert slept


@pytest.mark.parametrize(("status", "error"), [(401, UnauthorisedError), (403, TargetError), (404, TargetError),
                                               (422, TargetError), (301, TargetError)])  # fmt: skip
def test_a_read_does_not_repeat_what_will_not_change(status: int, error: type[Exception]) -> None:
    result, wire = over([answer(status)], reading)
    assert type(result) is error
    assert len(wire.requests) == 1


def test_a_write_is_never_repeated() -> None:
    for one in (answer(503), answer(500), DROP):
        _, wire = over([one], sending)
        assert len(wire.requests) == 1


# The table


@pytest.mark.parametrize("status", range(200, 600))
def test_every_status_has_one_meaning(status: int) -> None:
    failure = classify(Answer(status, {}, {"message": "why"}))
    if status < 300:
        assert failure is None
    elif status == 401:
        assert isinstance(failure, Unauthorised)
    elif status in (408, 425, 429, 503):
        assert isinstance(failure, Temporary)
        assert failure.limited == (status == 429)
    elif status >= 500:
        assert isinstance(failure, Unclear)
    else:
        assert isinstance(failure, Permanent)
    if failure is not None and status >= 400:
        assert "why" in failure.message


def test_a_vendor_may_have_its_own_way_to_refuse_credentials() -> None:
    assert isinstance(classify(Answer(403, {}, None), unauthorised=(403,)), Unauthorised)
    assert isinstance(classify(Answer(401, {}, None), unauthorised=()), Permanent)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        (" 0.5 ", 0.5),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("99999999999", None),
        ("Sun, 22 Nov 2026 10:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 10:00:30 -0000", 30.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert retry_after_seconds({"retry-after": text}, now=now) == seconds


@given(st.text() | st.from_regex(r"\w{3}, \d{1,9} \w{3} \d{1,9} \d\d:\d\d:\d\d [+-]?\d{1,9}", fullmatch=True))
def test_retry_after_never_fails(text: str) -> None:
    seconds = retry_after_seconds({"retry-after": text})
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": "no"}, "no"),
        ({"message": "ERR_V1█bad\n  body"}, "ERR_V1█bad body"),
        ({"errors": ["a", "b"]}, '["a", "b"]'),
        ({"x": 1}, '{"x": 1}'),
        ("text", "text"),
        ([], ""),
        ({}, ""),
        (None, ""),
        (17, ""),
        (NOT_JSON, ""),
    ],
)
def test_an_error_body_is_told_in_one_line(body: object, said: str) -> None:
    assert sentence(body) == said


def test_a_long_error_body_is_cut() -> None:
    assert len(sentence("x" * 10_000)) == 300


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UnauthorisedError, Unauthorised),
        (UnreachableError, Temporary),
        (MalformedAnswerError, Temporary),
        (ListingError, Temporary),
        (TargetError, Permanent),
    ],
)
def test_a_failed_read_before_a_write_is_an_outcome(error: type[TargetError], kind: type) -> None:
    outcome = as_outcome(error("t", "why"))
    assert isinstance(outcome, kind)
    assert "why" in outcome.message


def test_every_target_error_has_an_outcome() -> None:
    tested = {UnauthorisedError, UnreachableError, MalformedAnswerError, ListingError}
    # Another product than the ledger's is found before anything is read
    assert set(TargetError.__subclasses__()) - {OriginError} == tested


# Several at once


def test_results_stand_in_order_and_no_more_run_than_allowed() -> None:
    running, most = 0, 0

    async def double(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (number % 3))
        running -= 1
        return number * 2

    assert asyncio.run(each(range(20), double, limit=3)) == [number * 2 for number in range(20)]
    assert most == 3
    assert asyncio.run(each([], double, limit=3)) == []


def test_the_first_failure_ends_the_others_and_is_raised_as_it_is() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        if number == 1:
            raise ListingError("t", "broken")
        await asyncio.sleep(60)
        done.append(number)

    with pytest.raises(ListingError, match="broken"):
        asyncio.run(each(range(5), work, limit=2))
    assert not done


def test_a_success_is_not_searched_for_a_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing may be a hundred megabytes long."""
    monkeypatch.setattr(responses, "sentence", lambda _: pytest.fail("a success was searched"))
    assert classify(Answer(200, {}, {"message": "fine", "data": []})) is None


def test_of_a_long_complaint_only_the_beginning_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def clean(text: str) -> str:
        looked.append(len(text))
        return text

    monkeypatch.setattr(responses, "clean", clean)
    said = sentence({"message": "no such thing " * 1_000_000})
    assert said.startswith("no such thing no such thing")
    assert len(said) <= 300
    assert max(looked) <= 50 * 300


@pytest.mark.parametrize(
    ("own", "sent"),
    [({}, "application/json"), ({"content-type": "application/scim+json"}, "application/scim+json")],
    ids=["usual", "own"],
)
def test_a_target_may_have_a_content_type_of_its_own(own: dict[str, str], sent: str) -> None:
    _, wire = over([answer(200)], lambda http: http.send("POST", "/x", {"a": 1}), headers=own)
    head = wire.requests[0].decode().lower().partition("\r\n\r\n")[0]
    assert [line for line in head.split("\r\n") if line.startswith("content-type:")] == [f"content-type: {sent}"]


@dataclass
class Doubts:
    """A fence that lets so many looks pass."""

    passes: int
    looks: int = 0

    async def ensure(self) -> None:
        self.looks += 1
        if self.looks > self.passes:
            raise errors.ClaimLostError("t: others have it.")


@pytest.mark.parametrize("passes", [0, 1, 2])
def test_a_write_does_not_leave_once_its_work_is_lost(passes: int) -> None:
    """Neither at once, nor when a connection has been made meanwhile, nor its body after its headers."""
    fence = Doubts(passes)
    found, wire = over([answer(200)], lambda http: http.send("POST", "/x", {"a": 1}), fence=fence)
    assert isinstance(found, errors.ClaimLostError)
    assert wire.requests == []
    assert wire.slots.given_back == [(False, None)]


def test_a_write_whose_work_is_held_leaves_and_a_read_is_not_asked_for() -> None:
    fence = Doubts(3)
    found, _ = over([answer(200)], lambda http: http.send("POST", "/x", {"a": 1}), fence=fence)
    assert isinstance(found, Answer)
    assert fence.looks == 3
    found, _ = over([answer(200)], lambda http: http.read("/x"), fence=Doubts(0))
    assert isinstance(found, Answer)
