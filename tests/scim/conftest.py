"""A deployment whose people are pushed: the web in this process, over real Redis and the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from fastapi.testclient import TestClient

from provisioner.model.scim_names import SCIM_ENTERPRISE_USER as ENTERPRISE
from provisioner.model.scim_names import SCIM_USER as USER
from provisioner.runs.changed_people import ask_for_changed
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from provisioner.settings import Settings
from provisioner.web.app import create_app
from tests.support.harness import carry_out, load_settings, raise_limits, settings_document, sync_once
from tests.support.redis_contents import RedisContents

T = TypeVar("T")

TOKEN: Final = "scim-token-0123456789"
WEB_TOKEN: Final = "web-token-0123456789"
#: The columns of pushed people under the names of the example's mapping.
RENAME: Final = {
    "externalId": "employee_id",
    "name.givenName": "first_name",
    "name.familyName": "last_name",
    "emails.work": "work_email",
    "title": "job_title",
    "addresses.work.locality": "location",
    "addresses.work.country": "country",
    "preferredLanguage": "language",
}
ROSTER: Final = {
    "url": "scim:",
    "key": "employee_id",
    "scim": {"token": TOKEN},
    "rename": RENAME,
    "columns": {"manager_email": "NULL"},
}


def user(place: int, **more: Any) -> dict[str, Any]:
    """A User as a client sends it."""
    return {
        "schemas": [USER, ENTERPRISE],
        "userName": f"u{place}@example.com",
        "externalId": f"E{place}",
        "name": {"givenName": "Ada", "familyName": f"Ng{place}"},
        "emails": [{"value": f"u{place}@example.com", "type": "work", "primary": True}],
        "active": True,
        "title": "Engineer",
        ENTERPRISE: {"department": "Engineering"},
        **more,
    }


@dataclass(frozen=True, slots=True)
class Place:
    """One deployment under test."""

    settings: Settings
    client: TestClient
    switchboard: Switchboard
    contents: RedisContents

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN, **headers: str) -> Any:
        """One request to ``/scim/v2``."""
        given = {"Authorization": f"Bearer {token}"} if token else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, f"/scim/v2{path}", json=body, headers={**given, **named})

    def push(self, place: int, **more: Any) -> str:
        """Push somebody new; their id."""
        answer = self.ask("POST", "/Users", user(place, **more))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def patch(self, id_: str, op: str, path: str | None, value: Any = None) -> Any:
        """Change somebody by one operation."""
        operation = {"op": op, "path": path, "value": value}
        return self.ask("PATCH", f"/Users/{id_}", {"Operations": [operation]})

    def work(self, what: Callable[[Deployment], Coroutine[Any, Any, T]]) -> T:
        """Do something with the deployment, as a worker would."""

        async def once() -> T:
            async with Deployment.open(self.settings) as dep:
                return await what(dep)

        return asyncio.run(once())

    def sync(self, **request: Any) -> dict[str, Any]:
        """One run from request to end."""
        return self.work(lambda dep: sync_once(dep, **request))

    def runs_of_changes(self) -> list[dict[str, Any]]:
        """Carry out what the changes so far ask for; the runs."""

        async def carry(dep: Deployment) -> list[dict[str, Any]]:
            found = []
            while (asked := await ask_for_changed(dep)).run is not None:
                found.append(await carry_out(dep, asked.run))
            return found

        return self.work(carry)

    def accounts(self) -> dict[str, bool]:
        """Who has an account in Tribal Habits, and whether it is active."""
        return {one["user_name"]: one["active"] for one in self.switchboard.accounts("tribal_habits")}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def make_place(sandbox: SandboxServer, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Opens a deployment with changes to the settings, `reading` to those of the roster."""
    sandbox.switchboard.reset()
    raise_limits(sandbox.switchboard)
    opened: list[TestClient] = []

    def make(*, reading: Mapping[str, Any] | None = None, **changes: Any) -> Place:
        redis = changes.pop("redis", redis_url)
        document = settings_document(sandbox.url, redis, tmp_path / "none", tmp_path / "data", **changes)
        document["web"] = {"token": WEB_TOKEN}
        document["roster"] = {**ROSTER, **(reading or {})}
        document["targets"] = {"tribal_habits": {**document["targets"]["tribal_habits"], "enrolments": []}}
        settings = load_settings(tmp_path, document)
        client = TestClient(create_app(settings), raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return Place(settings, client, sandbox.switchboard, RedisContents(settings))

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def place(make_place: Callable[..., Place]) -> Place:
    return make_place()
