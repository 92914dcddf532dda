"""Where a roster comes from."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import fsspec.core
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from provisioner.errors import ConfigurationError, RosterError
from provisioner.roster import fetch, pushed, remote, source
from tests.roster.support import settings

CONTENT = b"employee_id\n1\n"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "SETTLE", 0.0)


def write(path: Path, content: bytes = CONTENT, age: float = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


def from_(place: Path | str, **known: str) -> Any:
    return fetch(settings(), url=str(place), known=known)


def test_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "people.csv")
    found = from_(path)
    assert (found.name, found.content, found.unchanged) == (str(path), CONTENT, False)
    assert found.digest == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert found.modified.tzinfo is UTC
    assert fetch(settings(url=path.as_uri())).content == CONTENT


def test_the_same_writing_is_not_brought_again(tmp_path: Path) -> None:
    path = write(tmp_path / "people.csv")
    first = from_(path)
    again = from_(path, written=first.written, digest=first.digest)
    assert (again.unchanged, again.content, again.written, again.digest) == (True, b"", first.written, first.digest)
    write(path, age=30)
    rewritten = from_(path, written=first.written, digest=first.digest)
    assert (rewritten.unchanged, rewritten.digest) == (False, first.digest)
    assert rewritten.written != first.written


def test_the_newest_whole_file_of_a_folder_counts(tmp_path: Path) -> None:
    write(tmp_path / "old.csv", b"old", age=300)
    write(tmp_path / "new.csv", b"new", age=200)
    write(tmp_path / "empty.csv", b"", age=10)
    write(tmp_path / ".hidden.csv", age=10)
    write(tmp_path / "upload.csv.part", age=10)
    write(tmp_path / "notes.pdf", age=10)
    assert from_(tmp_path).content == b"new"
    assert from_(tmp_path / "o*.csv").content == b"old"


def test_a_file_that_grows_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "old.csv", b"old", age=300)
    growing = write(tmp_path / "new.csv", b"new", age=0)

    def grow(_: float) -> None:
        with growing.open("ab") as stream:
            stream.write(b"er")

    monkeypatch.setattr(time, "sleep", grow)
    assert from_(tmp_path).content == b"old"
    with pytest.raises(RosterError, match="is still being written"):
        from_(growing)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("missing.csv", "does not exist"),
        ("*.csv", "holds no roster"),
        ("", "holds no roster"),
        ("a\0b", "cannot be read"),
    ],
)
def test_what_is_not_there(tmp_path: Path, place: str, message: str) -> None:
    with pytest.raises(RosterError, match=message):
        from_(f"{tmp_path}/{place}")


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_SIZE", 10)
    with pytest.raises(RosterError, match="is larger than"):
        from_(write(tmp_path / "people.csv"))


@pytest.mark.parametrize("url", ["ftp://host/people.csv", "", "http://hr.example.com/people.csv"])
def test_addresses_that_are_not_read(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"roster\.url"):
        from_(url)


def test_what_is_pushed_is_known_by_its_content() -> None:
    first, again, other = pushed(b"a", "push"), pushed(b"a", "push"), pushed(b"b", "push")
    assert first.written == again.written != other.written


Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """An HTTP server on loopback that answers as it is told, and remembers the requests' headers."""

    def __init__(self) -> None:
        self.answer: Answer = lambda request: request.send_error(500)
        self.requests: list[dict[str, str]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests.append({name.lower(): value for name, value in self.headers.items()})
                owner.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://user:secret@127.0.0.1:{self.server.server_port}/people.csv?sig=secret"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


def answer(status: int, content: bytes = b"", **headers: str) -> Answer:
    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return send


def test_https_with_an_etag(server: Server) -> None:
    server.answer = answer(200, CONTENT, ETag='"v1"', Last_Modified="Mon, 02 Mar 2026 06:00:00 GMT")
    found = from_(server.url)
    assert (found.content, found.written) == (CONTENT, 'etag:"v1"')
    assert found.modified == datetime(2026, 3, 2, 6, tzinfo=UTC)
    assert "secret" not in found.name
    assert server.requests[0]["authorization"].startswith("Basic ")

    server.answer = answer(304)
    again = from_(server.url, written=found.written, digest=found.digest)
    assert (again.unchanged, again.written, again.digest) == (True, found.written, found.digest)
    assert server.requests[1]["if-none-match"] == '"v1"'


def test_https_with_a_date_only(server: Server) -> None:
    server.answer = answer(200, CONTENT, Last_Modified="Mon, 02 Mar 2026 06:00:00 GMT")
    found = from_(server.url)
    server.answer = answer(304)
    assert from_(server.url, written=found.written, digest=found.digest).unchanged
    assert server.requests[1]["if-modified-since"] == "Mon, 02 Mar 2026 06:00:00 GMT"


def test_https_that_tells_nothing(server: Server) -> None:
    server.answer = answer(200, CONTENT)
    found = from_(server.url)
    assert found.written == f"content:{found.digest}"
    assert found.modified is None


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (answer(401), "answered 401. Fix the credentials"),
        (answer(404), "answered 404. Fix roster.url"),
        (answer(503), "answered 503. Try again later"),
        (answer(204), "answered 204"),
        (answer(302, Location="http://hr.example.com/"), "not encrypted"),
        (answer(200, b"x" * 11), "is larger than"),
    ],
)
def test_https_that_refuses(server: Server, told: Answer, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_SIZE", 10)
    server.answer = told
    with pytest.raises(RosterError) as caught:
        from_(server.url)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_https_that_hangs_up(server: Server) -> None:
    server.answer = lambda request: request.connection.close()
    with pytest.raises(RosterError, match=r"cannot be reached"):
        from_(server.url)


def test_https_that_takes_for_ever(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "DEADLINE", -1.0)
    server.answer = answer(200, CONTENT)
    with pytest.raises(RosterError, match="took longer"):
        from_(server.url)


class Store(MemoryFileSystem):  # type: ignore[misc]
    """A file system in memory under the name of a remote one."""

    protocol = "sftp"
    store: dict[str, Any] = {}  # noqa: RUF012  fsspec's own way
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        bare = path.split("://", 1)[-1]
        return "/" + (bare.split("/", 1)[1] if "://" in path else bare.lstrip("/")).strip("/")

    @staticmethod
    def _get_kwargs_from_urls(_: str) -> dict[str, Any]:
        return {}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setitem(import_module("fsspec.registry")._registry, "sftp", Store)
    monkeypatch.setattr(Store, "store", {})
    monkeypatch.setattr(Store, "pseudo_dirs", [""])
    return Store()


def put(store: Store, path: str, content: bytes, minute: int) -> None:
    store.pipe_file(path, content)
    store.store[path].created = datetime(2026, 3, 2, 6, minute, tzinfo=UTC)


def test_a_remote_file_folder_and_glob(store: Store) -> None:
    put(store, "/out/old.csv", b"old", 1)
    put(store, "/out/new.csv", b"new", 2)
    put(store, "/out/.part.csv", b"part", 3)
    base = "sftp://user:secret@hr.example.com/out"
    assert from_(f"{base}/old.csv").content == b"old"
    assert from_(base).content == b"new"
    assert from_(f"{base}/o*.csv").content == b"old"

    found = from_(base)
    assert found.name == "sftp://hr.example.com/out"
    assert found.modified == datetime(2026, 3, 2, 6, 2, tzinfo=UTC)
    assert from_(base, written=found.written, digest=found.digest).unchanged
    put(store, "/out/new.csv", b"new", 4)
    assert not from_(base, written=found.written, digest=found.digest).unchanged


@pytest.mark.usefixtures("store")
def test_remote_faults_are_told_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    base = "sftp://user:secret@hr.example.com"
    faults: list[tuple[BaseException, str]] = [
        (FileNotFoundError("x"), "does not exist"),
        (PermissionError("secret"), "may not be read"),
        (OSError("secret"), "cannot be read (OSError)"),
        (KeyError("secret"), "cannot be read (KeyError)"),
    ]
    for fault, message in faults:

        def fail(*_: object, fault: BaseException = fault, **__: object) -> None:
            raise fault

        monkeypatch.setattr(Store, "isdir", fail)
        with pytest.raises(RosterError) as caught:
            from_(f"{base}/people.csv")
        assert message in str(caught.value)
        assert "secret" not in str(caught.value)


def test_a_remote_folder_without_files(store: Store) -> None:
    store.makedirs("/out")
    with pytest.raises(RosterError, match="holds no roster"):
        from_("sftp://hr.example.com/out")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ImportError("no such package")

    monkeypatch.setattr(fsspec.core, "url_to_fs", fail)
    with pytest.raises(RosterError, match=r"Install provisioner\[s3\]"):
        from_("s3://bucket/people.csv")
