"""A web process in this one, over real Redis and the sandbox; runs are carried out by the test itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from fastapi.testclient import TestClient

from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from provisioner.settings import Settings
from provisioner.web.app import create_app
from tests.decisions.conftest import company
from tests.support.harness import carry_out, drain, load_settings, raise_limits, settings_document, sync_once

OPERATOR = "operator-token-0123456789"
VIEWER = "viewer-token-0123456789"
WEB = {"token": OPERATOR, "users": [{"name": "vera", "token": VIEWER, "role": "viewer"}]}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Site:
    """One deployment under test."""

    settings: Settings
    client: TestClient
    roster: Path
    switchboard: Switchboard

    def work(self, what: Callable[[Deployment], Coroutine[Any, Any, T]]) -> T:
        """Do something with the deployment, as a worker would."""

        async def once() -> T:
            async with Deployment.open(self.settings) as dep:
                return await what(dep)

        return asyncio.run(once())

    def sync(self, **request: Any) -> dict[str, Any]:
        """One run from request to end."""
        return self.work(lambda dep: sync_once(dep, **request))

    def carry_out(self, run: str) -> dict[str, Any]:
        """A run that was asked for, to its end."""
        return self.work(lambda dep: carry_out(dep, run))

    def push(self, content: str | bytes) -> dict[str, Any]:
        """Push a roster; the run that reads it, at its end."""
        answer = self.client.put("/api/roster", content=content, headers=bearer(OPERATOR))
        assert answer.status_code == 202, answer.text
        return self.carry_out(answer.json()["run"])

    def drain(self) -> None:
        """Send what waits."""
        self.work(drain)

    def held(self, people: int = 20, gone: tuple[int, ...] = (0, 1, 2, 3, 4)) -> dict[str, Any]:
        """A run with leavers that the guard holds."""
        self.roster.write_text(company(people))
        self.sync()
        self.roster.write_text(company(people, gone=gone))
        return self.sync()

    def get(self, path: str, token: str | None = OPERATOR) -> Any:
        """One API request."""
        return self.client.get(path, headers=bearer(token))

    def post(self, path: str, body: Any = None, token: str | None = OPERATOR, **headers: str) -> Any:
        """One API request with a body."""
        return self.client.post(path, json=body, headers={**bearer(token), **headers})

    def sign_in(self, token: str = OPERATOR) -> None:
        """Sign in as a browser does."""
        form = self.client.get("/sign-in").text
        answer = self.client.post(
            "/sign-in", data={"csrf": csrf_in(form), "token": token, "next": "/"}, follow_redirects=False
        )
        assert answer.status_code == 303, answer.text

    def send(self, page: str, action: str, fields: Mapping[str, Any] | None = None) -> Any:
        """Send a form that stands on a page."""
        return self.client.post(action, data={"csrf": csrf_in(self.client.get(page).text), **(fields or {})})


def bearer(token: str | None) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def csrf_in(page: str) -> str:
    """What proves that a form is ours."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found, page
    return found[1]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def make_site(sandbox: SandboxServer, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Opens a site with changes to the settings, `reading` to those of the roster; of the targets, only Tribal Habits
    unless others are named."""
    sandbox.switchboard.reset()
    raise_limits(sandbox.switchboard)
    opened: list[TestClient] = []

    def make(
        *,
        only: tuple[str, ...] = ("tribal_habits",),
        web: Mapping[str, Any] | None = None,
        reading: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Site:
        roster = tmp_path / "roster.csv"
        redis = changes.pop("redis", redis_url)
        document = settings_document(sandbox.url, redis, roster, tmp_path, **changes)
        document["web"] = WEB if web is None else dict(web)
        document["roster"] |= {"gate": {"max_leaving": "100%", "max_age": "3650d"}, **(reading or {})}
        document["targets"] = {name: document["targets"][name] for name in only}
        settings = load_settings(tmp_path, document)
        client = TestClient(create_app(settings), raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return Site(settings, client, roster, sandbox.switchboard)

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()
