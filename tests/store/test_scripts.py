"""Scripts outlive the server's memory of them."""

from __future__ import annotations

import asyncio
import re
from importlib import resources
from pathlib import Path

import pytest

from provisioner.errors import StoreError
from provisioner.store.queue.operations import End
from provisioner.store.queue.rate_limit import Granted, PaceStore
from provisioner.store.redis.connection import RedisAddress, connect
from provisioner.store.redis.scripts import Scripts, source
from provisioner.store.runs.counters import counts
from tests.store.bench import LEASE, TARGET, Bench, operation, patch
from tests.support.redis_server import RedisServer

LUA = Path(str(resources.files("provisioner.store.redis"))) / "lua"


def test_a_server_that_forgot_its_scripts_is_given_them_again() -> None:
    with RedisServer() as server:

        async def main() -> None:
            client = connect(RedisAddress.parse(server.url))
            pace = PaceStore(client)
            try:
                for forget in (client.script_flush, server.kill):
                    assert isinstance(await pace.acquire("vendor", [(5, 60.0)], deadline=1.0), Granted)
                    result = forget()
                    if result is not None:
                        await result
                server.start()
                assert isinstance(await pace.acquire("vendor", [(5, 60.0)], deadline=1.0), Granted)
            finally:
                await client.aclose()

        asyncio.run(main())


@pytest.mark.parametrize("together", [False, True])
def test_ends_are_recorded_by_a_server_that_forgot_its_scripts(redis_url: str, together: bool) -> None:
    bench = Bench(redis_url)
    try:
        run, _ = bench.install([operation(person) for person in "ABC"])
        claims = bench(bench.queue.claim(TARGET, lease=LEASE, token="t", limits={"*": 3}))
        ends = [End.done(claim, patch(claim), None) for claim in claims]
        for _ in range(2):
            bench(bench.redis.script_flush())
            assert bench(bench.queue.record(ends[:2], run, TARGET, requests=1, together=together)) in (
                [True, True],
                [False, False],
            )
        fields = bench(bench.runs.target(run, TARGET))
        assert (counts(fields, "succeeded"), counts(fields, "sending"), fields["requests"]) == (
            {"update": 2},
            {"update": 1},
            "2",
        )
    finally:
        bench.close()


def test_a_call_of_a_known_script_is_one_round_trip(redis_url: str) -> None:
    async def main() -> None:
        client = connect(RedisAddress.parse(redis_url))
        try:
            script = Scripts(client).load("release")
            await script(["none"], ["token"])
            before = (await client.info("stats"))["total_commands_processed"]
            await script(["none"], ["token"])
            after = (await client.info("stats"))["total_commands_processed"]
            # EVALSHA, the GET within it, and this INFO
            assert after - before == 3
        finally:
            await client.aclose()

    asyncio.run(main())


def test_a_script_that_fails_is_an_error_of_the_store(redis_url: str) -> None:
    async def main() -> None:
        client = connect(RedisAddress.parse(redis_url))
        try:
            await client.set("text", "x")
            with pytest.raises(StoreError, match="refused a command"):
                await Scripts(client).load("pace_unused")(["text"], ["slot"])
        finally:
            await client.aclose()

    asyncio.run(main())


def test_an_unknown_script_is_not_found() -> None:
    with pytest.raises(FileNotFoundError):
        source("no_such_script")


@pytest.mark.parametrize("path", sorted(LUA.glob("*.lua")), ids=lambda path: path.stem)
def test_every_script_says_first_what_it_takes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("-- ")
    header = re.match(r"(?:--.*\n)+", text)
    assert header
    for words in ("KEYS", "ARGV"):
        assert words not in text[header.end() :] or words in header[0]


@pytest.mark.parametrize("path", sorted(LUA.glob("*.lua")), ids=lambda path: path.stem)
def test_what_a_script_includes_is_there(path: Path) -> None:
    assert "-- include:" not in source(path.stem)
