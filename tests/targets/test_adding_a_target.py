"""The page on adding a target is followed to the letter: its package is built, found, configured and used."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import pytest

from provisioner.errors import ConfigurationError, ReadOnlyError, UnauthorisedError
from provisioner.model.account import Account
from provisioner.model.operation import Kind, Operation
from provisioner.model.operation_record import OperationRecord
from provisioner.model.outcome import Done, Permanent
from provisioner.settings import known_kinds, load
from provisioner.settings.kinds import ENTRY_POINT_GROUP, settings_model
from provisioner.targets.base import Ask, Listing, Target
from provisioner.targets.capabilities import CAPABILITIES
from provisioner.targets.http import Http, new_client
from provisioner.targets.registry import make
from tests.targets.packages import offer

pytestmark = pytest.mark.slow

R = TypeVar("R")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding-a-target.md"
KEY = "a-key"


class Slot:
    """A slot that costs nothing."""

    async def answered(self, *, limited: bool = False, retry_after: float | None = None) -> None:
        """Nothing to give back."""


class Pace:
    """Grants at once."""

    async def slot(self, deadline: float) -> Slot:  # noqa: ARG002
        """A slot, now."""
        return Slot()


class Badges(ThreadingHTTPServer):
    """Acme's service: two badges a page."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.held: dict[str, dict[str, Any]] = {}

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class Door(BaseHTTPRequestHandler):
    """One request."""

    server: Badges

    def do_GET(self) -> None:
        """The listing, or one badge."""
        path, _, query = unquote(self.path).partition("?")
        if path != "/badges":
            badge = self.server.held.get(path.removeprefix("/badges/"))
            self._answer(200 if badge else 404, {"badges": [badge]} if badge else {})
            return
        start = (int(query.removeprefix("page=")) - 1) * 2
        badges = list(self.server.held.values())
        self._answer(200, {"badges": badges[start : start + 2], "total": len(badges)})

    def do_PUT(self) -> None:
        """One badge made or changed."""
        number = unquote(self.path).removeprefix("/badges/")
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if given.get("holder") == "":
            self._answer(422, {"message": "no holder"})
            return
        self.server.held.setdefault(number, {"number": number}).update(given)
        self._answer(200, {})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keeps quiet."""

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body if self.headers["X-Key"] == KEY else {}).encode()
        self.send_response(status if self.headers["X-Key"] == KEY else 401)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def block(name: str) -> str:
    """The page's block of code that stands under the name of a file."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(rf"^`{re.escape(name)}`\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{len(blocks)} blocks of {name}"
    return str(blocks[0])


def settings_block() -> str:
    """The page's one block of YAML."""
    (found,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def badges() -> Iterator[Badges]:
    """The running service."""
    with Badges() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's package as an installer would leave it."""
    project = tomllib.loads(block("pyproject.toml"))["project"]
    ((group, points),) = project["entry-points"].items()
    assert group == ENTRY_POINT_GROUP
    folder = offer(tmp_path, monkeypatch, project["name"], **points)
    (folder / "acme_badges.py").write_text(block("acme_badges.py"), encoding="utf-8")
    yield folder
    sys.modules.pop("acme_badges", None)


@pytest.fixture
def target(package: Path, badges: Badges, tmp_path: Path) -> Any:
    """The page's settings, read as any others, with the service's address and key."""
    assert package.is_dir()
    text = settings_block().replace("key: …", f"key: {KEY}\n    base_url: {badges.url}")
    config = tmp_path / "provisioner.yaml"
    config.write_text(f"roster: {{url: roster.csv, key: employee_id, employed: 'TRUE'}}\n{text}", encoding="utf-8")
    made = make("badges", load(config, environ={}).settings.targets["badges"])
    made.check()
    return made


def run(target: Any, use: Callable[[Http], Awaitable[R]], *, read_only: bool = False) -> R:
    async def main() -> R:
        async with new_client() as client:
            http = Http(target.name, client, target.origin, target.headers(), Pace(), read_only=read_only)
            return await use(http)

    return asyncio.run(main())


def change(kind: Kind, account: str | None, **after: str | None) -> Operation:
    return OperationRecord("op", "badges", "E1", kind, account, {}, after, wanted=after).operation()


def test_the_kind_is_known_as_soon_as_the_package_is_there(package: Path) -> None:
    assert package.is_dir()
    assert "acme_badges" in known_kinds()
    (point,) = entry_points(group=ENTRY_POINT_GROUP, name="acme_badges")
    assert settings_model("acme_badges") is point.load().settings_model


def test_an_entry_point_that_cannot_be_loaded_is_named(package: Path) -> None:
    (package / "acme_badges.py").write_text("import no_such_module_at_all\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"kind 'acme_badges': its package cannot be loaded"):
        settings_model("acme_badges")


def suite(package: Path, spoil: tuple[str, str] = ("", "")) -> subprocess.CompletedProcess[str]:
    """Run the page's tests in a process of their own, as their author would: with nothing of this checkout's tests.

    Args:
        spoil: a piece of the stand-in, and what stands there instead.
    """
    text = block("test_acme_badges.py")
    assert spoil[0] in text
    folder = package.parent / "tests"
    folder.mkdir()
    (folder / "test_acme_badges.py").write_text(text.replace(*spoil) if spoil[0] else text, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)],
        env={**os.environ, "PYTHONPATH": str(package), "PYTEST_ADDOPTS": ""},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_passes_the_contract_suite_by_itself(package: Path) -> None:
    ran = suite(package)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed is not None
    assert int(passed[1]) > 50


@pytest.mark.parametrize(
    ("spoil", "found_by"),
    [
        (('"total": len', '"sum": len'), "test_create_is_observed"),
        (("setdefault(number, {", "setdefault(number + str(len(self.badges)), {"), "test_the_same_change_again"),
        (("Reply.of({}, 401)", 'Reply.of({"badges": [], "total": 0})'), "test_wrong_credentials"),
    ],
    ids=["no total", "never the same badge", "any key will do"],
)
def test_the_contract_suite_finds_faults(package: Path, spoil: tuple[str, str], found_by: str) -> None:
    ran = suite(package, spoil)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert re.search(rf"^FAILED \S+::{found_by}", ran.stdout, re.MULTILINE), ran.stdout


def test_a_life_of_badges(target: Any, badges: Badges) -> None:
    creates = [
        change(Kind.CREATE, None, number=number, holder="Ann", doors="Main;Roof", active="true")
        for number in ("1", "a/b", "3")
    ]
    assert run(target, lambda http: target.write(http, creates)) == [
        Done(account="1"),
        Done(account="a/b"),
        Done(account="3"),
    ]
    badges.held["3"]["master"] = True
    seen = {"holder": "Ann", "email": None, "doors": "Main;Roof", "active": "true"}
    listing = run(target, lambda http: target.observe(http, {}))
    assert listing.accounts == (
        Account("1", {"number": "1", **seen}),
        Account("a/b", {"number": "a/b", **seen}),
        Account("3", {"number": "3", **seen}, untouchable="a master key"),
    )
    leave = change(Kind.LEAVE, "1", active="false", doors=None)
    refused = change(Kind.UPDATE, "3", holder="")
    assert target.group(leave) != target.group(refused)
    outcomes = run(target, lambda http: target.write(http, [leave, refused]))
    assert outcomes[0] == Done(account="1")
    assert isinstance(outcomes[1], Permanent)
    found = run(target, lambda http: target.find(http, [Ask("E1", "1"), Ask("E2", "9")], {}))
    expected = {"number": "1", **seen, "doors": None, "active": "false"}
    assert found == Listing((Account("1", expected),), complete=False)


def test_reading_only_and_wrong_keys(target: Any, badges: Badges) -> None:
    assert run(target, target.probe, read_only=True) == ("Acme accepts the key and holds 0 badges.",)
    with pytest.raises(ReadOnlyError):
        run(target, lambda http: target.write(http, [change(Kind.UPDATE, "1", holder="B")]), read_only=True)
    assert badges.held == {}
    target.settings = target.settings.model_copy(update={"key": None})
    with pytest.raises(UnauthorisedError, match="badges"):
        run(target, target.probe)


def test_the_page_names_everything_that_a_target_can_declare_and_must_do() -> None:
    text = PAGE.read_text(encoding="utf-8")
    inherited = {"kind", "settings_model", "catalogue", "attribute", "origin", "headers"}
    public = {name for name in vars(Target) if not name.startswith("_")} | set(Target.__annotations__)
    public |= {capability.__name__ for capability in CAPABILITIES}
    missing = {name for name in public - inherited if f"`{name}`" not in text}
    assert not missing, missing
