"""Two deployments on one Redis, renamed targets, and folders of other deployments: refused by name."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.dispatch.pool import deliver
from provisioner.dispatch.redis_loss import remembers
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer
from tests.cli.calling import call, command, environment
from tests.decisions.conftest import company
from tests.e2e.site import BY_HAND
from tests.support.harness import load_settings, raise_limits, settings_document, sync_once
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def vendors() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def test_vendors() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        raise_limits(server.switchboard)
        yield server


class Company:
    """One deployment's settings, in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        url: str,
        redis_url: str,
        people: int = 6,
        only: tuple[str, ...] = ("traitly",),
        **changes: Any,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, roster = folder, folder / "roster.csv"
        roster.write_text(company(people))
        document = settings_document(url, redis_url, roster, folder / "data", schedule=BY_HAND)
        document["targets"] = {name: document["targets"][name] for name in only}
        document["roster"]["gate"] = {"max_age": "3650d"}
        for path, value in changes.items():
            place = document
            *parents, leaf = path.split("__")
            for parent in parents:
                place = place[parent]
            place[leaf] = value
        self.document = document
        self.settings = load_settings(folder, document)
        self.config = folder / "provisioner.yaml"

    def sync(self) -> dict[str, Any]:
        async def once() -> dict[str, Any]:
            async with Deployment.open(self.settings) as dep:
                return await sync_once(dep)

        return asyncio.run(once())

    def check(self) -> tuple[int, dict[str, Any]]:
        answer = call("check", "--json", PROVISIONER_CONFIG=str(self.config))
        return answer.code, {line["subject"]: line for line in answer.document["checks"] if line["verdict"] != "ok"}


@pytest.fixture
def production(vendors: SandboxServer, redis_url: str, tmp_path: Path) -> Company:
    vendors.switchboard.reset()
    raise_limits(vendors.switchboard)
    made = Company(tmp_path / "production", vendors.url, redis_url)
    assert made.sync()["targets"]["traitly"]["succeeded"] == {"create": 6, "event": 6}
    return made


def test_test_settings_on_production_s_redis_are_refused(
    production: Company, vendors: SandboxServer, test_vendors: SandboxServer, redis_url: str, tmp_path: Path
) -> None:
    other = Company(tmp_path / "test", test_vendors.url, redis_url, people=9)
    document = other.sync()
    assert (document["status"], document["error"]["code"], document["error"]["exit"]) == ("failed", "origin_differs", 5)
    for place in (vendors.url, test_vendors.url):
        assert place in document["error"]["message"]
    assert test_vendors.switchboard.accounts("traitly") == []
    assert test_vendors.switchboard.counts("traitly")["writes"] == 0
    planned = call("plan", "--json", PROVISIONER_CONFIG=str(other.config))
    assert planned.code == 5
    assert planned.document["operations"] == []
    linked = call("link", "W0001", "traitly", "W0001", "--json", PROVISIONER_CONFIG=str(other.config))
    assert (linked.code, linked.document["error"]["code"]) == (5, "origin_differs")
    code, lines = other.check()
    assert code == 5
    assert "redis_url" in lines["ledger"]["remedy"]
    # Nothing of it is production's now
    assert production.check()[0] == 0
    part = production.sync()["targets"]["traitly"]
    assert (part["status"], part["linked"], part["unchanged"]) == ("succeeded", 6, 6)
    assert {one["customer_id"] for one in vendors.switchboard.accounts("traitly")} == {f"W{n:04d}" for n in range(6)}


def test_one_target_that_differs_leaves_the_others_alone(
    vendors: SandboxServer, test_vendors: SandboxServer, redis_url: str, tmp_path: Path
) -> None:
    vendors.switchboard.reset()
    raise_limits(vendors.switchboard)
    both = Company(tmp_path / "both", vendors.url, redis_url, only=("traitly", "mtribes"))
    assert both.sync()["status"] == "succeeded"
    there: dict[str, Any] = {"targets__traitly__base_url": f"{test_vendors.url}/traitly"}
    document = Company(tmp_path / "one", vendors.url, redis_url, people=7, only=("traitly", "mtribes"), **there).sync()
    assert document["targets"]["traitly"]["error"]["code"] == "origin_differs"
    assert document["targets"]["mtribes"]["succeeded"]["create"] == 1
    assert test_vendors.switchboard.counts("traitly")["writes"] == 0
    # Another Space of the same product is another place too
    space: dict[str, Any] = {"targets__mtribes__space_id": "elsewhere"}
    document = Company(tmp_path / "space", vendors.url, redis_url, only=("traitly", "mtribes"), **space).sync()
    assert document["targets"]["mtribes"]["error"]["code"] == "origin_differs"


def test_what_waits_is_not_sent_elsewhere(
    production: Company, test_vendors: SandboxServer, redis_url: str, tmp_path: Path
) -> None:
    assert call("pause", "traitly", PROVISIONER_CONFIG=str(production.config)).code == 0
    (production.folder / "roster.csv").write_text(company(8))
    assert production.sync()["targets"]["traitly"]["waiting"] == {"create": 2, "event": 2}
    assert call("resume", "traitly", PROVISIONER_CONFIG=str(production.config)).code == 0
    other = Company(tmp_path / "test", test_vendors.url, redis_url)

    async def send() -> None:
        async with Deployment.open(other.settings) as dep:
            await deliver(dep, "traitly")

    asyncio.run(send())
    assert test_vendors.switchboard.accounts("traitly") == []


def test_a_product_that_moved_says_where_it_was(
    production: Company, vendors: SandboxServer, redis_url: str, tmp_path: Path
) -> None:
    moved = vendors.url.replace("127.0.0.1", "localhost")
    config: dict[str, Any] = {"targets__traitly__base_url": f"{moved}/traitly"}
    assert Company(tmp_path / "a", vendors.url, redis_url, **config).sync()["status"] == "failed"
    old: dict[str, Any] = {"targets__traitly__was": [f"{vendors.url}/traitly/"]}
    there = Company(tmp_path / "b", vendors.url, redis_url, **config, **old).sync()["targets"]["traitly"]
    assert (there["status"], there["linked"], there["unchanged"]) == ("succeeded", 6, 6)
    # The deployment that was forgotten is the other one now
    assert production.sync()["error"]["code"] == "origin_differs"


def test_a_renamed_target_keeps_its_ledger(
    production: Company, vendors: SandboxServer, redis_url: str, tmp_path: Path
) -> None:
    def named(folder: str, **more: Any) -> Company:
        own = {**production.document["targets"]["traitly"], "kind": "traitly", **more}
        return Company(tmp_path / folder, vendors.url, redis_url, targets={"crm": own})

    forgotten = named("without")
    code, lines = forgotten.check()
    assert (code, lines["ledger"]["verdict"]) == (2, "fail")
    assert "traitly has 6 linked people" in lines["ledger"]["message"]
    assert "was: [traitly]" in lines["ledger"]["message"]
    assert call("pause", "traitly", "--json", PROVISIONER_CONFIG=str(production.config)).code == 0
    renamed = named("with", was="traitly")
    assert "ledger" not in renamed.check()[1]
    document = renamed.sync()
    assert (document["targets"]["crm"]["linked"], document["targets"]["crm"]["adopted"]) == (6, 0)
    # Who paused it paused the product, whatever its name
    assert call("resume", "crm", PROVISIONER_CONFIG=str(renamed.config)).code == 0
    assert not [line for line in renamed.sync()["targets"]["crm"].get("notes", ()) if "no target of that name" in line]
    # Whoever still has the old name finds a ledger without an owner, in each run too
    late = production.sync()["targets"]["traitly"]
    assert [line for line in late["notes"] if "crm has 6 linked people" in line]


def test_other_keys_and_matches_are_said(
    production: Company, vendors: SandboxServer, redis_url: str, tmp_path: Path
) -> None:
    assert production.check()[0] == 0
    changed: dict[str, Any] = {"targets__traitly__match": ["email", "customer_id"], "roster__key": "work_email"}
    other = Company(tmp_path / "changed", vendors.url, redis_url, **changed)
    assert "ledger" in other.check()[1]
    planned = call("plan", "--json", PROVISIONER_CONFIG=str(other.config)).document
    notes = " ".join(planned["targets"]["traitly"]["notes"])
    assert "roster.key was employee_id and is work_email" in notes
    assert "match was customer_id and is email, customer_id" in notes


def test_a_folder_of_another_deployment_is_refused(production: Company, vendors: SandboxServer, tmp_path: Path) -> None:
    async def mark(settings: Any) -> None:
        async with Deployment.open(settings) as dep:
            await remembers(dep)

    asyncio.run(mark(production.settings))
    with RedisServer() as server:
        away = Company(tmp_path / "away", vendors.url, server.url)
        asyncio.run(mark(away.settings))
        mixed = Company(tmp_path / "mixed", vendors.url, server.url, data_dir=str(production.settings.data_dir))
        code, lines = mixed.check()
        assert code == 2
        assert "another Redis" in lines["data_dir"]["message"]
        assert "redis-mark" in lines["data_dir"]["remedy"]
        for name in ("worker", "beat", "up"):
            done = subprocess.run(
                command("--config", str(mixed.config), name), env=environment(), capture_output=True, timeout=60
            )
            assert done.returncode == 2, done.stderr
            assert b"belongs to a deployment with another Redis" in done.stderr
        # It was not taken over by having been looked at
        assert mixed.check()[0] == 2
