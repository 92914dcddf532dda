"""The layout's number: noted at the first start, brought forward, refused backward."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import asyncio as redis_async

from provisioner.errors import StoreError
from provisioner.store.redis import keys
from provisioner.store.redis.schema import MIGRATIONS, VERSION, ensure_schema, stored

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Any]:
    async with redis_async.Redis.from_url(redis_url) as made:
        yield made


async def made_up(redis: Any) -> None:
    """Layout 0 had one string per link; layout 1 has one hash per target."""
    async for key in redis.scan_iter(match="provisioner:link:*"):
        _, _, target, person = key.decode().split(":")
        await redis.hset(keys.ledger(target), person, await redis.get(key))
        await redis.delete(key)


async def test_the_first_start_notes_the_layout(client: Any) -> None:
    await ensure_schema(client)
    assert await stored(client) == VERSION


async def test_reading_notes_nothing(client: Any) -> None:
    await ensure_schema(client, reading=True)
    assert await client.dbsize() == 0


async def test_data_of_an_older_layout_is_brought_forward(client: Any) -> None:
    await client.set(keys.SCHEMA, 0)
    await client.set("provisioner:link:traitly:W1", '{"account": "W1"}')
    with pytest.raises(StoreError, match="must be brought to layout 1"):
        await ensure_schema(client, version=1, migrations={0: made_up}, reading=True)
    await ensure_schema(client, version=1, migrations={0: made_up})
    assert await stored(client) == 1
    assert await client.hgetall(keys.ledger("traitly")) == {b"W1": b'{"account": "W1"}'}
    assert sorted(await client.keys()) == [b"provisioner:ledger:traitly", b"provisioner:schema"]


async def test_a_migration_that_broke_off_is_begun_again(client: Any) -> None:
    await client.set(keys.SCHEMA, 0)
    tries = []

    async def stumbles(redis: Any) -> None:
        tries.append(1)
        await redis.set("provisioner:step", len(tries))
        if len(tries) == 1:
            raise OSError("the disk is full")

    with pytest.raises(StoreError):
        await ensure_schema(client, version=1, migrations={0: stumbles})
    assert await stored(client) == 0
    await ensure_schema(client, version=1, migrations={0: stumbles})
    assert (await stored(client), len(tries)) == (1, 2)


async def test_only_one_process_migrates(client: Any) -> None:
    await client.set(keys.SCHEMA, 0)
    done = []

    async def slow(_: Any) -> None:
        done.append(1)
        await asyncio.sleep(0.05)

    outcomes = await asyncio.gather(
        *(ensure_schema(client, version=1, migrations={0: slow}) for _ in range(4)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, StoreError)]
    assert (len(done), len(refused)) == (1, 3)
    assert "Another process" in refused[0].message


async def test_a_step_that_is_missing_is_named(client: Any) -> None:
    await client.set(keys.SCHEMA, 0)
    with pytest.raises(StoreError, match="No migration leads from layout 0"):
        await ensure_schema(client, version=2, migrations={1: made_up})


async def test_data_of_a_newer_layout_is_refused_and_left_alone(client: Any) -> None:
    await client.set(keys.SCHEMA, VERSION + 1)
    for reading in (True, False):
        with pytest.raises(StoreError, match=f"has layout {VERSION + 1}; this version knows layouts up to {VERSION}"):
            await ensure_schema(client, reading=reading)
    assert await client.keys() == [keys.SCHEMA.encode()]


async def test_a_foreign_database_is_told(client: Any) -> None:
    await client.set(keys.SCHEMA, "nonsense")
    with pytest.raises(StoreError, match="holds no number"):
        await ensure_schema(client)


def test_migrations_lead_from_each_layout_to_the_present_one() -> None:
    assert sorted(MIGRATIONS) == list(range(1, VERSION))
