"""The services that others wrote: how each is started, what our settings say of it, and what it holds."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from provisioner.model.scim_names import SCIM_ENTERPRISE_USER as ENTERPRISE
from provisioner.model.scim_names import SCIM_GROUP as GROUP
from provisioner.model.scim_names import SCIM_USER as USER
from tests.foreign.environments import HERE, python_of
from tests.support.ports import free_port

TOKEN: Final = "foreign-token"
GROUPS: Final = ("Finance", "Sales", 'The "R&D" \\ team')
#: Who is in every group of a service that wants a member in each.
KEEPER: Final = "keeper"
#: Seconds that a service may take to answer for the first time on a busy machine.
_PATIENCE: Final = 60.0
_HEADERS: Final = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/scim+json"}


@dataclass(frozen=True, slots=True)
class Service:
    """A service.

    `command` follows the Python of its environment; ``{port}`` and ``{folder}`` are filled in. `attributes` and
    `dialect` are what the target's settings say. `member` is the attribute by which groups name their members.
    `keeper`: groups need a member, and names their formatted text. `bulk`: it takes bulk requests.
    """

    name: str
    command: tuple[str, ...]
    path: str
    email: str = 'emails[type eq "work"].value'
    enterprise: bool = True
    external: bool = True
    dialect: Mapping[str, Any] = field(default_factory=dict)
    member: str = "id"
    keeper: bool = False
    bulk: bool = False

    @property
    def attributes(self) -> dict[str, str]:
        """The mapping."""
        found = {
            "userName": "LOWER(employee_id)",
            "name.givenName": "first_name",
            "name.familyName": "last_name",
            self.email: "LOWER(work_email)",
            "active": "TRUE",
            "groups": "groups",
        }
        if self.external:
            found["externalId"] = "employee_id"
        if self.keeper:
            found["name.formatted"] = "first_name || ' ' || last_name"
        if self.enterprise:
            found[f"{ENTERPRISE}:department"] = "department"
        return found

    @contextmanager
    def running(self, folder: Path) -> Iterator[str]:
        """The service with its groups, in a process of its own: its address."""
        port = free_port()
        words = [word.format(port=port, folder=folder) for word in self.command]
        with (
            (folder / "service.log").open("wb") as log,
            subprocess.Popen(
                [str(python_of(self.name)), *words],
                cwd=HERE / "servers",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                url = f"http://127.0.0.1:{port}{self.path}"
                _wait(url, process, folder / "service.log")
                self._make_groups(url)
                yield url
            finally:
                process.terminate()
                process.wait(_PATIENCE)

    def _make_groups(self, url: str) -> None:
        members: dict[str, Any] = {}
        with _client() as client:
            if self.keeper:
                name = {"formatted": "The keeper", "familyName": "Keeper"}
                emails = [{"value": "keeper@example.com"}]
                user = {"schemas": [USER], "userName": KEEPER, "name": name, "active": True, "emails": emails}
                client.post(f"{url}/Users", json=user, headers=_HEADERS).raise_for_status()
                members["members"] = [{"value": KEEPER, "$ref": f"{url}/Users/{KEEPER}"}]
            for group in GROUPS:
                body = {"schemas": [GROUP], "displayName": group, **members}
                client.post(f"{url}/Groups", json=body, headers=_HEADERS).raise_for_status()

    def people(self, url: str) -> dict[str, dict[str, Any]]:
        """What the service holds, by user name."""
        users, groups = (_all(f"{url}/{what}") for what in ("Users", "Groups"))
        return {user["userName"]: self._plain(user, groups) for user in users if user["userName"] != KEEPER}

    def _plain(self, user: Mapping[str, Any], groups: list[dict[str, Any]]) -> dict[str, Any]:
        mine = user[self.member]
        entered = [
            one["displayName"] for one in groups if any(member["value"] == mine for member in one.get("members") or ())
        ]
        found = {
            "given": user["name"].get("givenName") or None,
            "family": user["name"].get("familyName") or None,
            "emails": [one["value"] for one in user.get("emails") or ()],
            "active": user["active"],
            "groups": sorted(entered),
        }
        if self.enterprise:
            found["department"] = (user.get(ENTERPRISE) or {}).get("department")
        if self.external:
            found["external"] = user.get("externalId")
        return found


SERVICES: Final = (
    Service(
        name="scim2_server",
        command=("-m", "scim2_server.testserver.cli", "--port", "{port}", "--bearer-token", TOKEN),
        path="/v2",
        bulk=True,
    ),
    Service(
        name="canaille_scim",
        command=("canaille_site.py", "{port}"),
        path="/scim/v2",
        # Its emails have no type, and it keeps no externalId
        email="emails.value",
        external=False,
        dialect={
            # A page's size is a server error there, since it compares the text with a number, and so is a path that
            # chooses a member
            "paging": "none",
            "update": "put",
            "member_value": "userName",
            "member_ref": True,
        },
        member="userName",
        keeper=True,
    ),
    Service(
        name="django",
        command=("django_site.py", "{port}", "{folder}"),
        path="/scim/v2",
        # It keeps one email, and changes few attributes by PATCH
        email="emails.value",
        enterprise=False,
        dialect={"patch": "lists", "remove_member": "value", "filter": "yes"},
    ),
)


def _client() -> Any:
    return httpx.Client(trust_env=False, timeout=_PATIENCE)


def _all(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with _client() as client:
        while True:
            # Without a page's size, since one of them takes none
            query = {"startIndex": len(found) + 1} if found else {}
            body = client.get(url, params=query, headers=_HEADERS).raise_for_status().json()
            found += body.get("Resources") or []
            if len(found) >= body["totalResults"]:
                return found


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with _client() as client:
                client.get(f"{url}/ServiceProviderConfig", headers=_HEADERS).raise_for_status()
            return
        except httpx.HTTPError:
            said = log.read_text(errors="replace")
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
