"""The cookbook's settings for SCIM on either side, each run: a service of the sandbox, and people who are pushed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from fastapi.testclient import TestClient

from provisioner.example import ROSTER, content
from provisioner.example.verify import rows
from provisioner.model.scim_names import SCIM_ENTERPRISE_USER as ENTERPRISE
from provisioner.model.scim_names import SCIM_USER as USER
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SCIM_TOKEN, SandboxServer
from provisioner.web.app import create_app
from tests.support.harness import load_settings, plan_once, raise_limits, settings_document, sync_once
from tests.support.scim_company import scim_faults

PAGE: Final = (Path(__file__).parents[2] / "docs" / "cookbook.md").read_text(encoding="utf-8")
SECTION: Final = PAGE.partition("## SCIM on either side")[2].partition("\n## ")[0]
PRODUCT, ENTRA, OKTA = re.findall(r"^```yaml\n(.+?)\n```\n", SECTION, re.MULTILINE | re.DOTALL)
TOKEN: Final = "scim-token-0123456789"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


def test_a_scim_product_as_the_target(sandbox: SandboxServer, redis_url: str, tmp_path: Path) -> None:
    roster = tmp_path / "roster.csv"
    roster.write_bytes(content(ROSTER))
    sandbox.switchboard.options("scim", rate_limit=20000, rate_window=1)
    (chat,) = yaml.safe_load(PRODUCT)["targets"].values()
    chat |= {"base_url": f"{sandbox.url}/scim", "token": SCIM_TOKEN, "rate_limit": "20000/second"}
    document = settings_document(sandbox.url, redis_url, roster, tmp_path) | {"targets": {"chat": chat}}

    async def days() -> None:
        async with Deployment.open(load_settings(tmp_path, document)) as dep:
            assert (await sync_once(dep))["status"] == "succeeded"
            assert (await plan_once(dep))["operations"] == []

    asyncio.run(days())
    staff = [row for row in rows(ROSTER) if row["department"] != "Contractors"]
    assert list(scim_faults(staff, sandbox.switchboard.state("scim"))) == []


def user(place: int, **more: Any) -> dict[str, Any]:
    return {
        "schemas": [USER, ENTERPRISE],
        "userName": f"u{place}@example.com",
        "externalId": f"object-{place}",
        "displayName": f"Ada Ng{place}",
        "name": {"givenName": "Ada", "familyName": f"Ng{place}"},
        "emails": [{"value": f"U{place}@example.com", "type": "work", "primary": True}],
        "title": "Sales Manager",
        "active": True,
        ENTERPRISE: {"employeeNumber": f"E{place}", "department": "Sales", "division": "North", **more},
    }


@pytest.mark.parametrize(
    ("recipe", "key", "wanted"),
    [
        (ENTRA, "object-2", {"email": "u2@example.com", "manager_email": "u1@example.com", "role_1": "Manager"}),
        (OKTA, "E2", {"email": "u2@example.com", "groups": "North;Sales"}),
    ],
    ids=["Entra", "Okta"],
)
def test_an_identity_provider_as_the_source(
    sandbox: SandboxServer, redis_url: str, tmp_path: Path, recipe: str, key: str, wanted: dict[str, str]
) -> None:
    sandbox.switchboard.reset()
    raise_limits(sandbox.switchboard)
    given = yaml.safe_load(recipe)
    document = settings_document(sandbox.url, redis_url, tmp_path / "none", tmp_path)
    base = document["targets"]["tribal_habits"]
    kept = {name: base[name] for name in ("base_url", "api_key", "rate_limit")}
    document["roster"] = given["roster"] | {"scim": {"token": TOKEN}}
    document["targets"] = {"tribal_habits": given["targets"]["tribal_habits"] | kept}
    document["web"] = {"token": "web-token-0123456789"}
    settings = load_settings(tmp_path, document)
    with TestClient(create_app(settings)) as client:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        first = client.post("/scim/v2/Users", json=user(1), headers=headers).json()
        second = client.post("/scim/v2/Users", json=user(2, manager={"value": first["id"]}), headers=headers)
        assert second.status_code == 201, second.text

    async def run() -> None:
        async with Deployment.open(settings) as dep:
            assert (await sync_once(dep))["status"] == "succeeded"

    asyncio.run(run())
    found = {one["user_name"]: one for one in sandbox.switchboard.accounts("tribal_habits")}[key]
    assert {name: ";".join(sorted(str(found[name]).split(";"))) for name in wanted} == wanted
