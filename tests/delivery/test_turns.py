"""Whole groups of a SCIM service that two processes read and write back: one after the other, also after one died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Temporary, Unclear
from provisioner.runtime import turns
from provisioner.runtime.context import Deployment
from provisioner.runtime.turns import turn_of
from provisioner.sandbox import SandboxServer, Switchboard
from provisioner.targets import http as transport
from provisioner.testing.bench import change
from tests.support.harness import load_settings, settings_document
from tests.support.redis_contents import RedisContents
from tests.support.scim_company import SCIM, scim_target

pytestmark = pytest.mark.anyio

PEOPLE: Final = tuple(f"id-{number}" for number in range(8))


@asynccontextmanager
async def process(sandbox: SandboxServer, redis_url: str, folder: Path) -> AsyncIterator[Deployment]:
    """A process's view of a deployment whose SCIM service is changed by PUT."""
    document = settings_document(sandbox.url, redis_url, folder / "roster.csv", folder)
    document["targets"] = {SCIM: scim_target(sandbox.url, dialect={"update": "put"})}
    async with Deployment.open(load_settings(folder, document)) as dep:
        yield dep


@pytest.fixture
def service(switchboard: Switchboard) -> Switchboard:
    """A service without versions, in which everybody is in no group."""
    switchboard.options(SCIM, rate_limit=20000, rate_window=1, etag=False)
    switchboard.seed(SCIM, [{"id": one, "userName": one, "active": True} for one in PEOPLE])
    return switchboard


def joins(person: str) -> Operation:
    return change(Kind.UPDATE, person, {"groups": "Sales"}, person=person, before={})


async def write(dep: Deployment, *people: str) -> list[Outcome]:
    made: Any = dep.targets[SCIM]
    http = dep.http(SCIM, dep.pace_of(SCIM, patience=30.0))
    return list(await made.write(http, [joins(one) for one in people]))


def sales(board: Switchboard) -> tuple[str, set[str]]:
    """The id of a group and who is in it."""
    (group,) = (one for one in board.state(SCIM)["groups"] if one["displayName"] == "Sales")
    return group["id"], {one["value"] for one in group.get("members", ())}


async def test_two_processes_take_turns(
    sandbox: SandboxServer, service: Switchboard, redis_url: str, tmp_path: Path
) -> None:
    service.options(SCIM, latency_ms=50)
    async with process(sandbox, redis_url, tmp_path) as one, process(sandbox, redis_url, tmp_path) as other:
        ended = await asyncio.gather(*(write((one, other)[number % 2], person) for number, person in enumerate(PEOPLE)))
    assert all(isinstance(outcome, Done) for outcomes in ended for outcome in outcomes), ended
    assert sales(service)[1] == set(PEOPLE)


async def test_a_turn_whose_process_died_is_over_when_its_requests_must_be(
    sandbox: SandboxServer, service: Switchboard, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.2)
    contents = RedisContents(redis_url)
    turn = contents.work_lock(turn_of(SCIM, f"group {sales(service)[0]}"))
    async with process(sandbox, redis_url, tmp_path) as dep:
        contents.hold(turn)
        (outcome,) = await write(dep, PEOPLE[0])
        assert isinstance(outcome, Temporary)
        assert (outcome.code, "'Sales'" in outcome.message) == ("overtaken", True)
        assert sales(service)[1] == set()
        contents.free(turn)
        assert isinstance((await write(dep, PEOPLE[0]))[0], Done)
        # And it was given back
        assert not contents.is_held(turn)


async def test_a_group_whose_request_got_no_answer_waits_until_it_must_be_over(
    sandbox: SandboxServer, service: Switchboard, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.2)
    monkeypatch.setattr(transport, "DEADLINE", 0.5)
    contents = RedisContents(redis_url)
    turn = contents.work_lock(turn_of(SCIM, f"group {sales(service)[0]}"))
    late = {"method": "PUT", "path_prefix": "/Groups"}
    async with process(sandbox, redis_url, tmp_path) as dep:
        service.fault(SCIM, match=late, delay_ms=3_000, times=1)
        (unclear,) = await write(dep, PEOPLE[0])
        assert isinstance(unclear, Unclear)
        # The service carries it out now and then, with the members of before
        (waits,) = await write(dep, PEOPLE[1])
        assert isinstance(waits, Temporary), waits
        assert contents.lifetime_of(turn) > transport.DEADLINE
        while not sales(service)[1]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        contents.free(turn)
        assert isinstance((await write(dep, PEOPLE[1]))[0], Done)
        assert sales(service)[1] == set(PEOPLE[:2])
        # An answer that failed is one: nothing is under way any more
        service.fault(SCIM, match=late, status=500, times=1)
        assert isinstance((await write(dep, PEOPLE[2]))[0], Unclear)
        assert not contents.is_held(turn)
