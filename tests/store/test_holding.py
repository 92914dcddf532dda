"""Locks on a real server: one holder at a time, whoever is held up, wherever, and whatever answer is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from contextlib import AsyncExitStack, aclosing
from functools import partial
from subprocess import PIPE
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from provisioner.errors import HoldLostError
from provisioner.store.redis.lock import Hold, KeyLocks, commit, holder_of, holding
from tests.support.meddling import meddled, new_client
from tests.support.redis_server import RedisServer

KEY: Final = "lock"
#: Longer than any test, so that nothing is renewed by the way.
LONG: Final = 600.0
#: Seconds of a lease that has to be renewed, or runs out; a busy machine holds up each process for a while.
SHORT: Final = 2.0

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def set_value(pipe: Any, value: int) -> None:
    pipe.set("value", value)


@pytest.mark.parametrize("stall", range(1, 6))
async def test_a_release_after_a_stall_leaves_the_next_holder_its_lock(redis_url: str, stall: int) -> None:
    """Before any command of the release, the lease runs out and somebody else takes the lock."""
    count, releasing = 0, False
    async with aclosing(new_client(redis_url)) as other, AsyncExitStack() as stack:
        taken: list[Hold | None] = []

        async def before(packed: bytes) -> None:
            nonlocal count
            count += releasing and KEY.encode() in packed
            if count == stall and not taken:
                await other.delete(KEY)
                taken.append(await stack.enter_async_context(holding(other, KEY, seconds=LONG)))

        async with aclosing(meddled(redis_url, before=before)) as first:
            async with holding(first, KEY, seconds=LONG) as hold:
                assert hold is not None
                releasing = True
            if not taken:
                assert count < stall
                taken.append(await stack.enter_async_context(holding(other, KEY, seconds=LONG)))
            assert taken[0] is not None
            assert await taken[0].still()
            assert not await hold.still()
            async with holding(first, KEY, seconds=LONG) as third:
                assert third is None, "two hold the lock at once"


@pytest.mark.parametrize("stall", range(1, 4))
async def test_a_renewal_after_a_stall_does_not_prolong_somebody_elses_lock(redis_url: str, stall: int) -> None:
    count, renewing = 0, False
    stalled = asyncio.Event()
    async with aclosing(new_client(redis_url)) as other:

        async def before(packed: bytes) -> None:
            nonlocal count
            count += renewing and KEY.encode() in packed
            if count == stall and not stalled.is_set():
                stalled.set()
                await other.set(KEY, "another", px=60_000)

        async with aclosing(meddled(redis_url, before=before)) as first, holding(first, KEY, seconds=SHORT) as hold:
            assert hold is not None
            renewing = True
            # A renewal is one command, so the later stalls come at the later renewals
            await asyncio.wait_for(stalled.wait(), 10)
            await asyncio.wait_for(hold.lost.wait(), 10)
            assert not await hold.still()
        assert await other.get(KEY) == b"another"
        assert 50_000 < await other.pttl(KEY) <= 60_000


async def test_a_lock_is_renewed_while_it_lasts_and_free_afterwards(redis_url: str) -> None:
    async with aclosing(new_client(redis_url)) as one, aclosing(new_client(redis_url)) as other:
        async with holding(one, KEY, seconds=SHORT, holder="run-1") as hold:
            assert hold is not None
            assert holder_of(await other.get(KEY)) == "run-1"
            for _ in range(3):
                await asyncio.sleep(SHORT / 2)
                async with holding(other, KEY, seconds=SHORT) as second:
                    assert second is None
            assert await hold.still()
        assert await other.exists(KEY) == 0


@pytest.mark.parametrize("command", [b"SET", b"EVALSHA"])
async def test_a_lost_answer_neither_locks_out_the_holder_nor_keeps_the_lock(redis_url: str, command: bytes) -> None:
    lost: list[bytes] = []

    def lose(packed: bytes) -> bool:
        if command not in packed or KEY.encode() not in packed or lost:
            return False
        lost.append(packed)
        return True

    async with aclosing(new_client(redis_url)) as other:
        # Redis knows the scripts from now on, so that the command with the lost answer has been carried out
        async with holding(other, KEY, seconds=LONG):
            pass
        async with aclosing(meddled(redis_url, lose=lose)) as one, holding(one, KEY, seconds=LONG) as hold:
            assert hold is not None
            assert await hold.still()
        assert lost
        assert not hold.lost.is_set(), "it was released in time"
        assert await other.exists(KEY) == 0


async def test_whoever_is_cancelled_while_taking_it_leaves_it_free(redis_url: str) -> None:
    asked = asyncio.Event()

    async with aclosing(new_client(redis_url)) as other:

        def lose(packed: bytes) -> bool:
            if b"SET" in packed and KEY.encode() in packed and not asked.is_set():
                asked.set()
                return True
            return False

        async def take(client: Any) -> None:
            async with holding(client, KEY, seconds=LONG):
                raise AssertionError("it was cancelled before")

        async with aclosing(meddled(redis_url, lose=lose)) as one:
            task = asyncio.create_task(take(one))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await other.exists(KEY) == 0


async def test_a_server_that_forgot_its_scripts_renews_and_releases(redis_url: str) -> None:
    async with aclosing(new_client(redis_url)) as one:
        for _ in range(2):
            async with holding(one, KEY, seconds=SHORT) as hold:
                assert hold is not None
                await one.script_flush()
                await asyncio.sleep(1.2 * SHORT)
                assert await hold.still()
                await one.script_flush()
            assert await one.exists(KEY) == 0


async def test_a_write_under_a_lost_lock_is_refused(redis_url: str) -> None:
    async with aclosing(new_client(redis_url)) as one, aclosing(new_client(redis_url)) as other:
        async with holding(one, KEY, seconds=LONG) as hold:
            assert hold is not None
            assert await commit(one, hold, lambda pipe: pipe.set("value", "first"))
            await other.set(KEY, "another")
            with pytest.raises(HoldLostError, match=KEY):
                await commit(one, hold, lambda pipe: pipe.set("value", "late"))
            # It does not become ours again, whatever the key holds
            await other.set(KEY, hold.mark)
            assert not await hold.still()
        assert await other.get("value") == b"first"


@pytest.mark.parametrize("gone", ["taken", "expired"])
async def test_a_lock_that_is_lost_between_the_question_and_the_write_refuses_it(redis_url: str, gone: str) -> None:
    async with aclosing(new_client(redis_url)) as other:

        async def before(packed: bytes) -> None:
            if b"EXEC" in packed:
                if gone == "taken":
                    await other.set(KEY, "another")
                else:
                    await other.pexpire(KEY, 1)
                    await asyncio.sleep(0.05)

        async with aclosing(meddled(redis_url, before=before)) as one, holding(one, KEY, seconds=LONG) as hold:
            with pytest.raises(HoldLostError):
                await commit(one, hold, lambda pipe: pipe.set("value", "late"))
        assert await other.get("value") is None


async def test_a_write_whose_answer_is_lost_is_written(redis_url: str) -> None:
    lost: list[bytes] = []

    def lose(packed: bytes) -> bool:
        if b"EXEC" not in packed or lost:
            return False
        lost.append(packed)
        return True

    async with aclosing(meddled(redis_url, lose=lose)) as one, holding(one, KEY, seconds=LONG) as hold:
        assert await commit(one, hold, lambda pipe: pipe.set("value", "there"))
        assert lost
        assert await one.get("value") == b"there"


SUSPENDED = """
import asyncio, sys
from provisioner.errors import HoldLostError
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.connection import connect
from provisioner.store.redis.lock import commit, holding

async def main():
    client = connect(RedisAddress.parse(sys.argv[1]))
    async with holding(client, "lock", seconds=float(sys.argv[2]), holder="suspended") as hold:
        print("held", flush=True)
        sys.stdin.readline()
        try:
            await commit(client, hold, lambda pipe: pipe.set("value", "late"))
        except HoldLostError as exc:
            print(exc.code, await hold.still(), flush=True)
    await client.aclose()

asyncio.run(main())
"""


async def test_a_process_that_was_suspended_for_longer_than_its_lease_writes_nothing(redis_url: str) -> None:
    command = (sys.executable, "-c", SUSPENDED, redis_url, str(SHORT))
    process = await asyncio.to_thread(subprocess.Popen, command, stdin=PIPE, stdout=PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await asyncio.to_thread(process.stdout.readline) == "held\n"
        async with aclosing(new_client(redis_url)) as other:
            async with holding(other, KEY, seconds=LONG) as hold:
                assert hold is None
            os.kill(process.pid, signal.SIGSTOP)
            while await other.exists(KEY):  # noqa: ASYNC110 - Redis sends no event for it
                await asyncio.sleep(0.02)
            async with holding(other, KEY, seconds=LONG) as hold:
                assert hold is not None
                process.stdin.write("\n")
                process.stdin.flush()
                os.kill(process.pid, signal.SIGCONT)
                output, _ = await asyncio.to_thread(process.communicate, timeout=30)
                assert "hold_lost False" in output
                assert process.returncode == 0
                assert await hold.still(), "the one that was suspended took away the other's lock"
            assert await other.get("value") is None
    finally:
        process.kill()
        process.wait()


async def test_key_locks_are_released_by_their_holder_only(redis_url: str) -> None:
    async with aclosing(new_client(redis_url)) as client:
        one, other = KeyLocks(client), KeyLocks(client)
        assert await one.take("a", 60)
        assert await one.take("b", 60)
        assert not await other.take("a", 60)
        assert not await one.take("a", 60), "two senders of one process are two"
        await client.delete("a")
        assert await other.take("a", 60)
        await other.release(["b", "unknown"])
        await one.release(["a", "b"])
        assert (await client.exists("a"), await client.exists("b")) == (1, 0)
        await other.release(["a"])
        assert await client.exists("a") == 0


async def test_a_key_lock_whose_answer_was_lost_is_held(redis_url: str) -> None:
    lost: list[bytes] = []

    def lose(packed: bytes) -> bool:
        if b"SET" not in packed or lost:
            return False
        lost.append(packed)
        return True

    async with aclosing(meddled(redis_url, lose=lose)) as client:
        locks = KeyLocks(client)
        assert await locks.take("a", 60)
        assert lost
        await locks.release(["a"])
        assert await client.exists("a") == 0


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32))
def test_no_update_is_lost_between_clients_that_are_held_up_at_random(redis_server: RedisServer, seed: int) -> None:
    """Each reads a value under the lock and writes the next one, while leases run out in between."""
    chance = random.Random(seed)
    written: list[int] = []
    lost: list[int] = []

    async def worker(url: str) -> None:
        async with aclosing(new_client(url)) as client:
            while len(written) < 20:
                async with holding(client, KEY, seconds=SHORT) as hold:
                    if hold is None:
                        await asyncio.sleep(0.001)
                        # As if the holder had been suspended for longer than its lease
                        if chance.random() < 0.2:
                            await client.delete(KEY)
                        continue
                    value = int(await client.get("value") or 0) + 1
                    await asyncio.sleep(chance.choice([0, 0, 0.002, 0.01]))
                    try:
                        await commit(client, hold, partial(set_value, value=value))
                    except HoldLostError:
                        assert not await hold.still()
                        lost.append(value)
                        continue
                    written.append(value)

    async def main(url: str) -> int:
        async with aclosing(new_client(url)) as client:
            await client.flushdb()
            await asyncio.gather(*(worker(url) for _ in range(4)))
            found = int(await client.get("value") or 0)
            await client.flushdb()
            return found

    last = asyncio.run(main(redis_server.url))
    assert sorted(written) == list(range(1, last + 1))
    assert last >= 20
    assert lost, "no lock was lost"


class Holders(RuleBasedStateMachine):
    """Holders that come, lose their lease, ask and go in any order, against a model that knows whose it is."""

    server: RedisServer
    tries = Bundle("tries")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.client: Any = new_client(self.server.url)
        self.runner.run(self.client.flushdb())
        self.owner: Any = None
        self.there: dict[int, tuple[Hold, Any]] = {}
        self.numbers = 0

    @rule(target=tries)
    def take(self) -> int:
        lock = holding(self.client, KEY, seconds=LONG)
        hold = self.runner.run(lock.__aenter__())
        assert (hold is not None) == (self.owner is None)
        self.numbers += 1
        if hold is None:
            self.runner.run(lock.__aexit__(None, None, None))
        else:
            self.owner = self.numbers
            self.there[self.numbers] = (hold, lock)
        return self.numbers

    @rule()
    def runs_out(self) -> None:
        self.runner.run(self.client.delete(KEY))
        self.owner = None

    @rule(number=tries)
    def write(self, number: int) -> None:
        if number in self.there:
            hold, _ = self.there[number]
            written = True
            try:
                self.runner.run(commit(self.client, hold, lambda pipe: pipe.set("value", number)))
            except HoldLostError:
                written = False
            assert written == (self.owner == number)

    @rule(number=consumes(tries))
    def release(self, number: int) -> None:
        if number in self.there:
            _, lock = self.there.pop(number)
            self.runner.run(lock.__aexit__(None, None, None))
            if self.owner == number:
                self.owner = None

    @rule()
    def forget_scripts(self) -> None:
        self.runner.run(self.client.script_flush())

    @invariant()
    def at_most_one_believes_to_hold_it(self) -> None:
        async def believers() -> list[int]:
            return [number for number, (hold, _) in self.there.items() if await hold.still()]

        assert self.runner.run(believers()) == ([self.owner] if self.owner is not None else [])

    def teardown(self) -> None:
        for _, lock in self.there.values():
            self.runner.run(lock.__aexit__(None, None, None))
        self.runner.run(self.client.flushdb())
        self.runner.run(self.client.aclose())
        self.runner.close()


def test_of_any_holders_in_any_order_at_most_one_has_it(redis_server: RedisServer) -> None:
    made = type("Made", (Holders,), {"server": redis_server})
    run_state_machine_as_test(made, settings=settings(max_examples=20, stateful_step_count=25))
