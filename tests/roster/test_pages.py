"""Rosters that a service hands out in pages, over real HTTP, and the secrets of asking for them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from provisioner.errors import RosterError
from provisioner.roster import fetch, pages, read, source
from provisioner.settings import RosterSettings

PEOPLE = [{"id": f"E{number}", "name": {"first": f"N{number}"}} for number in range(1, 8)]
SECRET = "Bearer top-secret"

Reply = tuple[int, Any, dict[str, str]]


class Service:
    """An HTTP service on loopback; `reply` makes the answer of a path and its parameters."""

    def __init__(self, reply: Callable[[str, dict[str, str]], Reply]) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                parts = urlsplit(self.path)
                status, body, headers = reply(parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()})
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str, dict[str, str]], Reply]], Service]]:
    made: list[Service] = []

    def start(reply: Callable[[str, dict[str, str]], Reply]) -> Service:
        made.append(Service(reply))
        return made[-1]

    yield start
    for one in made:
        one.server.shutdown()
        one.server.server_close()


def roster(url: str, **changes: Any) -> RosterSettings:
    return RosterSettings(**{"url": url, "key": "id", "records": "data.people", **changes})


def keys(settings: RosterSettings) -> list[str]:
    found = read(fetch(settings), settings, needs=("name.first",))
    assert found.frame["_line"].is_unique().all()
    return found.frame["_key"].to_list()


EVERYBODY = [str(one["id"]) for one in PEOPLE]


def slice_of(start: int) -> list[Any]:
    return PEOPLE[start : start + 3]


@pytest.mark.parametrize("kind", ["address", "path", "query", "cursor", "number"])
def test_next_is_an_address_or_a_cursor(kind: str, serve: Any) -> None:
    def reply(_: str, query: dict[str, str]) -> Reply:
        start = int(query.get("cursor", query.get("from", "0")))
        more = start + 3
        following = {
            "address": f"{service.url}/people?from={more}",
            "path": f"/people?from={more}",
            "query": f"?from={more}",
            "cursor": str(more),
            "number": more,
        }[kind]
        paging = {"next": following if more < len(PEOPLE) else None}
        return 200, {"data": {"people": slice_of(start)}, "paging": paging}, {}

    service = serve(reply)
    settings = roster(f"{service.url}/people?fields=all", pages={"next": "paging.next"}, headers={"X-Key": SECRET})
    assert keys(settings) == EVERYBODY
    assert len(service.asked) == 3
    assert [headers["x-key"] for _, headers in service.asked] == [SECRET] * 3
    if kind in ("cursor", "number"):
        assert [path for path, _ in service.asked][1:] == ["/people?fields=all&cursor=3", "/people?fields=all&cursor=6"]


def test_the_header_link(serve: Any) -> None:
    def reply(_: str, query: dict[str, str]) -> Reply:
        start = int(query.get("from", "0"))
        link = {"Link": f'</people?from={start + 3}>; rel="next"'} if start + 3 < len(PEOPLE) else {}
        return 200, slice_of(start), link

    service = serve(reply)
    assert keys(roster(f"{service.url}/people", records=None, pages={"next": "Link"})) == EVERYBODY


@pytest.mark.parametrize("cap", [3, 100])
def test_pages_by_number_end_with_an_empty_one(cap: int, serve: Any) -> None:
    def reply(_: str, query: dict[str, str]) -> Reply:
        # The service gives fewer than it is asked for
        size = min(int(query["per_page"]), cap)
        start = (int(query["page"]) - 1) * size
        return 200, {"data": {"people": PEOPLE[start : start + size]}}, {}

    service = serve(reply)
    settings = roster(service.url, pages={"page": "page", "size": "per_page", "per": 5})
    assert keys(settings) == EVERYBODY
    assert service.asked[0][0] == "/?page=1&per_page=5"
    # The same again is known by what it holds
    first = fetch(settings)
    again = fetch(settings, known={"written": first.written, "digest": first.digest})
    assert (again.unchanged, again.content, again.digest) == (True, b"", first.digest)


@pytest.mark.parametrize(
    ("settings", "reply", "why"),
    [
        ({"next": "n"}, lambda _, q: {"data": {"people": [{"id": len(q)}]}, "n": "/?a=1"}, "the pages never end"),
        (
            {"next": "n"},
            lambda _, q: {"data": {"people": PEOPLE}, "n": q.get("cursor", "") + "x"},
            "same records as page 1",
        ),
        ({"page": "p"}, lambda _, __: {"data": {"people": PEOPLE}}, "same records as page 1"),
        ({"next": "n"}, lambda _, q: {"data": {"people": []}, "n": q.get("cursor", "") + "x"}, "more than 30 pages"),
        ({"next": "n"}, lambda _, __: {"data": {}}, "page 1: it has no 'people'"),
        ({"next": "n"}, lambda _, __: {"data": {"people": {}}}, "page 1: data.people is no list"),
        ({"next": "n"}, lambda _, __: b"<html>", "page 1: data.people is no list"),
        ({"page": "p"}, lambda _, q: {"data": {"people": [{"id": q["p"], "x": "y" * 90_000}]}}, "larger than 0 MiB"),
        ({"next": "n"}, lambda _, __: {"data": {"people": PEOPLE}, "n": "http://[x"}, "next page cannot be read"),
        ({"next": "n"}, lambda _, __: {"data": {"people": PEOPLE}, "n": "http://example.com/x"}, "not encrypted"),
    ],
)
def test_what_goes_wrong_has_a_sentence(
    settings: Any, reply: Any, why: str, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_PAGES", 30)
    monkeypatch.setattr(source, "MAX_SIZE", 500_000)
    service = serve(lambda path, query: (200, reply(path, query), {}))
    with pytest.raises(RosterError, match=why):
        fetch(roster(f"{service.url}/", pages=settings))
    assert len(service.asked) <= 31


def test_a_page_that_fails_brings_nothing(serve: Any) -> None:
    service = serve(lambda _, query: (429, b"", {}) if query["p"] == "2" else (200, {"data": {"people": PEOPLE}}, {}))
    with pytest.raises(RosterError, match="answered 429"):
        fetch(roster(service.url, pages={"page": "p"}))


@pytest.mark.parametrize("by", ["redirect", "next"])
def test_secrets_go_to_their_host_alone(by: str, serve: Any) -> None:
    other = serve(lambda *_: (200, {"data": {"people": PEOPLE[:2]}}, {}))

    def reply(*_: object) -> Reply:
        if by == "redirect":
            return 302, b"", {"Location": f"{other.url}/there"}
        return 200, {"data": {"people": PEOPLE[2:]}, "n": f"{other.url}/there"}, {}

    service = serve(reply)
    address = service.url.replace("http://", "http://user:password@")
    headers = {"Authorization": SECRET, "X-Api-Key": "top-secret"} if by == "next" else {"X-Api-Key": "top-secret"}
    settings = roster(address, headers=headers, pages={"next": "n"} if by == "next" else None)
    fetch(settings)
    assert "x-api-key" in service.asked[0][1]
    assert "authorization" in service.asked[0][1]
    ((_, there),) = other.asked
    assert not {"x-api-key", "authorization"} & set(there)


def test_headers_are_not_sent_for_another_roster(serve: Any) -> None:
    own = serve(lambda *_: (200, b"id\n1\n", {}))
    other = serve(lambda *_: (200, b"id\n1\n", {}))
    settings = roster(f"{own.url}/people.csv", headers={"X-Api-Key": "top-secret"})
    fetch(settings)
    fetch(settings, url=f"{own.url}/earlier.csv")
    fetch(settings, url=f"{other.url}/people.csv")
    assert ["x-api-key" in headers for _, headers in own.asked] == [True, True]
    assert "x-api-key" not in other.asked[0][1]


def test_secrets_are_not_shown(serve: Any) -> None:
    service = serve(lambda *_: (401, b"", {}))
    settings = roster(service.url, headers={"Authorization": SECRET}, pages={"next": "n"})
    assert "top-secret" not in repr(settings)
    assert "top-secret" not in settings.model_dump_json()
    with pytest.raises(RosterError) as caught:
        fetch(settings)
    assert "top-secret" not in f"{caught.value} {caught.value.remedy}"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pages": {}}, "either `next` or `page`"),
        ({"pages": {"next": "a", "page": "b"}}, "either `next` or `page`"),
        ({"headers": {"Host": "x"}}, "no header that may be set"),
        ({"headers": {"a b": "x"}}, "no header that may be set"),
        ({"headers": {"X-Key": "top-secret\r\nX: y"}}, "no header may have"),
    ],
)
def test_settings_that_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        roster("https://example.com", **changes)
