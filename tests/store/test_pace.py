"""The limiter, against a real Redis, in real time scaled down; nothing here judges how long something took."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.settings import Rate
from provisioner.store.queue.rate_limit import Granted, Lane, PaceStatus, PaceStore, Wait, Window, WindowStatus
from provisioner.store.redis import keys as keys_of
from provisioner.store.redis.connection import RedisAddress, connect
from provisioner.store.redis.scripts import Scripts

#: Long enough that no slot frees while a test looks.
SLOW: Sequence[Window] = ((20, 600.0),)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PaceStore]:
    client = connect(RedisAddress.parse(url))
    try:
        yield PaceStore(client)
    finally:
        await client.aclose()


def run(url: str, body: Callable[[PaceStore], Awaitable[None]]) -> None:
    async def main() -> None:
        async with opened(url) as pace:
            await body(pace)

    asyncio.run(main())


async def take(
    pace: PaceStore, windows: Sequence[Window], count: int = 1, *, lane: Lane = "bulk", deadline: float = 60.0
) -> list[str]:
    tokens = []
    for _ in range(count):
        answer = await pace.acquire("vendor", windows, lane=lane, deadline=deadline)
        assert isinstance(answer, Granted)
        tokens.append(answer.token)
    return tokens


async def refused(pace: PaceStore, windows: Sequence[Window], *, lane: Lane = "bulk") -> float:
    answer = await pace.acquire("vendor", windows, lane=lane, deadline=60.0)
    assert isinstance(answer, Wait)
    return answer.seconds


async def take_when_free(pace: PaceStore, windows: Sequence[Window], *, deadline: float) -> str:
    while True:
        answer = await pace.acquire("vendor", windows, deadline=deadline)
        if isinstance(answer, Granted):
            return answer.token
        assert isinstance(answer, Wait)
        assert 0 < answer.seconds <= windows[0][1] * 1.001 + 1e-6
        await asyncio.sleep(answer.seconds)


# --- many senders ----------------------------------------------------------------------------------------------------

LIMIT, WINDOW, SENDERS, REQUESTS = 10, 0.4, 6, 20


async def _send_all(url: str, seed: int) -> list[float]:
    """One process: more senders than slots, each request arriving at some moment before its answer."""
    chance = random.Random(seed)
    arrivals: list[float] = []
    async with opened(url) as store:
        # Late: the transport's adapter lives above the store
        from provisioner.runtime.rate_limit import TargetPace

        pace = TargetPace(store, "vendor", "vendor", [Rate(LIMIT, WINDOW)])

        async def send(requests: int) -> None:
            for _ in range(requests):
                slot = await pace.slot(5.0)
                await asyncio.sleep(chance.uniform(0.0, 0.03))
                arrivals.append(time.clock_gettime(time.CLOCK_MONOTONIC))
                await asyncio.sleep(chance.uniform(0.0, 0.03))
                await slot.answered()

        await asyncio.gather(*(send(REQUESTS // SENDERS + 1) for _ in range(SENDERS)))
    return arrivals


def sender(url: str, seed: int) -> list[float]:
    return asyncio.run(_send_all(url, seed))


def test_no_window_ever_sees_more_than_the_limit(redis_url: str) -> None:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = [pool.submit(sender, redis_url, seed) for seed in range(4)]
        arrivals = sorted(moment for process in found for moment in process.result())
    assert len(arrivals) == 4 * SENDERS * (REQUESTS // SENDERS + 1)
    # A window that begins at any arrival is as strict as a sliding one; the vendor's clock may start anywhere
    too_many = [(first, last) for first, last in zip(arrivals, arrivals[LIMIT:], strict=False) if last - first < WINDOW]
    assert too_many == []


# --- slots -----------------------------------------------------------------------------------------------------------


def test_a_part_is_kept_for_single_person_work(redis_url: str) -> None:
    async def body(pace: PaceStore) -> None:
        await take(pace, SLOW, 19)
        assert await refused(pace, SLOW) > 0
        await take(pace, SLOW, 1, lane="urgent")
        assert await refused(pace, SLOW, lane="urgent") > 0

    run(redis_url, body)


@pytest.mark.parametrize(("limit", "reserve"), [(1, 0), (19, 0), (20, 1), (120, 6), (300, 15)])
def test_the_reserve_is_five_percent_rounded_down(redis_url: str, limit: int, reserve: int) -> None:
    async def body(pace: PaceStore) -> None:
        status = await pace.status("vendor", [(limit, 60.0)])
        assert status == PaceStatus(0.0, (WindowStatus(60.0, 0, limit, reserve),))

    run(redis_url, body)


def test_a_slot_is_taken_in_all_windows_or_in_none(redis_url: str) -> None:
    windows: Sequence[Window] = ((3, 300.0), (2, 900.0))

    async def body(pace: PaceStore) -> None:
        await take(pace, windows, 2)
        assert await refused(pace, windows) > 300.0
        status = await pace.status("vendor", windows)
        assert [window.used for window in status.windows] == [2, 2]

    run(redis_url, body)


def test_an_answered_slot_is_free_a_window_later_and_not_before(redis_url: str) -> None:
    windows: Sequence[Window] = ((1, 0.2),)

    async def body(pace: PaceStore) -> None:
        (token,) = await take(pace, windows)
        await asyncio.sleep(0.25)
        answered = time.monotonic()
        await pace.answered("vendor", token, windows)
        await take_when_free(pace, windows, deadline=1.0)
        assert time.monotonic() - answered >= 0.2

    run(redis_url, body)


def test_the_wait_is_as_long_as_the_first_slot_needs(redis_url: str) -> None:
    windows: Sequence[Window] = ((2, 500.0),)

    async def body(pace: PaceStore) -> None:
        first, _ = await take(pace, windows, 2, deadline=60.0)
        # In flight, both: they may be answered at any moment, and then need a window
        assert await refused(pace, windows) == pytest.approx(500.5)
        await pace.answered("vendor", first, windows)
        await asyncio.sleep(0.05)
        assert 400 < await refused(pace, windows) < 500.46

    run(redis_url, body)


def test_a_slot_without_an_answer_is_swept(redis_url: str) -> None:
    windows: Sequence[Window] = ((1, 0.1),)

    async def body(pace: PaceStore) -> None:
        began = time.monotonic()
        await take(pace, windows, deadline=0.2)
        await take_when_free(pace, windows, deadline=1.0)
        assert time.monotonic() - began >= 0.3

    run(redis_url, body)


def test_an_answer_that_comes_after_its_slot_was_swept_counts(redis_url: str) -> None:
    windows: Sequence[Window] = ((1, 300.0),)
    short: Sequence[Window] = ((1, 0.01),)

    async def body(pace: PaceStore) -> None:
        (token,) = await take(pace, short, deadline=0.01)
        await asyncio.sleep(0.1)
        await pace.answered("vendor", token, windows)
        assert await refused(pace, windows) > 0

    run(redis_url, body)


def test_an_unused_slot_is_free_at_once(redis_url: str) -> None:
    windows: Sequence[Window] = ((1, 300.0), (1, 900.0))

    async def body(pace: PaceStore) -> None:
        (token,) = await take(pace, windows)
        await pace.unused("vendor", token, windows)
        await take(pace, windows)

    run(redis_url, body)


def test_a_repeated_call_takes_no_second_slot(redis_url: str) -> None:
    async def main() -> None:
        client = connect(RedisAddress.parse(redis_url))
        try:
            acquire = Scripts(client).load("pace_acquire")
            keys = [f"{keys_of.pace('vendor')}:{part}" for part in ("blocked", "share", "60")]
            arguments = ("slot", 0, 1_000_000, "", 5, 60_000_000)
            assert await acquire(keys, arguments) == await acquire(keys, arguments)
            assert await client.zcard(keys[2]) == 1
        finally:
            await client.aclose()

    asyncio.run(main())


def test_resources_do_not_know_each_other(redis_url: str) -> None:
    windows: Sequence[Window] = ((1, 300.0),)

    async def body(pace: PaceStore) -> None:
        (token,) = await take(pace, windows)
        await pace.answered("vendor", token, windows, limited=True, retry_after=100.0)
        assert isinstance(await pace.acquire("other", windows, deadline=1.0), Granted)

    run(redis_url, body)


def test_an_idle_resource_leaves_nothing_behind(redis_url: str) -> None:
    windows: Sequence[Window] = ((20, 0.05), (40, 0.1))

    async def main() -> None:
        client = connect(RedisAddress.parse(redis_url))
        try:
            pace = PaceStore(client)
            (first, second, _) = await take(pace, windows, 3, deadline=0.05)
            await pace.answered("vendor", first, windows)
            await pace.answered("vendor", second, windows, limited=True, retry_after=0.5, adaptive=True)
            assert len(await client.keys(f"{keys_of.pace('*')}*")) == 4
            left = [-1]
            while left[-1] != 0:
                left.append(await client.dbsize())
                await asyncio.sleep(0.05)
        finally:
            await client.aclose()

    asyncio.run(main())


# --- 429 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after", "least_block", "blocked"),
    [(30.0, 0.0, 30.0), (30.0, 60.0, 30.0), (None, 0.0, 600.0), (None, 900.0, 900.0)],
)
def test_a_429_stops_everyone(redis_url: str, retry_after: float | None, least_block: float, blocked: float) -> None:
    async def body(pace: PaceStore) -> None:
        (token,) = await take(pace, SLOW)
        await pace.answered("vendor", token, SLOW, limited=True, retry_after=retry_after, least_block=least_block)
        for lane in ("bulk", "urgent"):
            assert blocked - 20 < await refused(pace, SLOW, lane=lane) <= blocked
        assert blocked - 20 < (await pace.status("vendor", SLOW)).blocked <= blocked

    run(redis_url, body)


def test_a_later_429_never_shortens_the_block(redis_url: str) -> None:
    async def body(pace: PaceStore) -> None:
        first, second = await take(pace, SLOW, 2)
        await pace.answered("vendor", first, SLOW, limited=True, retry_after=300.0)
        await pace.answered("vendor", second, SLOW, limited=True, retry_after=1.0)
        assert await refused(pace, SLOW) > 200

    run(redis_url, body)


def test_a_published_limit_stays_after_a_429(redis_url: str) -> None:
    async def body(pace: PaceStore) -> None:
        (token,) = await take(pace, SLOW)
        await pace.answered("vendor", token, SLOW, limited=True, retry_after=1.0)
        assert (await pace.status("vendor", SLOW)).windows[0].limit == 20

    run(redis_url, body)


def test_an_unpublished_limit_is_halved_once_for_all_that_were_under_way(redis_url: str) -> None:
    windows: Sequence[Window] = ((100, 600.0),)

    async def limit(pace: PaceStore) -> int:
        return (await pace.status("vendor", windows)).windows[0].limit

    async def body(pace: PaceStore) -> None:
        for token in await take(pace, windows, 5):
            await pace.answered("vendor", token, windows, limited=True, retry_after=0.001, adaptive=True)
            assert await limit(pace) == 50
        await asyncio.sleep(0.01)
        (token,) = await take(pace, windows)
        await pace.answered("vendor", token, windows, limited=True, retry_after=0.001, adaptive=True)
        assert await limit(pace) == 25

    run(redis_url, body)


def test_a_lowered_limit_allows_one_at_least_and_creeps_back_to_the_configured_one(redis_url: str) -> None:
    windows: Sequence[Window] = ((3, 0.05),)

    async def body(pace: PaceStore) -> None:
        for _ in range(3):
            token = await take_when_free(pace, windows, deadline=0.01)
            await pace.answered("vendor", token, windows, limited=True, retry_after=0.001, adaptive=True)
        seen = [1]
        while seen[-1] < 3:
            seen.append((await pace.status("vendor", windows)).windows[0].limit)
            await asyncio.sleep(0.02)
        assert seen == sorted(seen)
        await asyncio.sleep(0.2)
        assert (await pace.status("vendor", windows)).windows[0].limit == 3

    run(redis_url, body)


@pytest.mark.parametrize("published", [False, True])
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 40),
    events=st.lists(st.sampled_from(["good", "limited", "limited with others under way"]), max_size=12),
)
def test_the_limit_in_force_follows_the_429s(redis_url: str, published: bool, limit: int, events: list[str]) -> None:
    """Whatever comes: at least one, at most the configured one, and halved no more often than the vendor refused."""
    windows: Sequence[Window] = ((limit, 600.0),)

    async def body(pace: PaceStore) -> None:
        name = f"vendor-{secrets.token_hex(8)}"

        async def refuse(token: str) -> None:
            await pace.answered(name, token, windows, limited=True, retry_after=0.001, adaptive=not published)

        refused_by = 0
        for event in events:
            granted = [await pace.acquire(name, windows, lane="urgent", deadline=60.0) for _ in range(3)]
            tokens = [one.token for one in granted if isinstance(one, Granted)]
            if event == "good" or not tokens:
                for token in tokens:
                    await pace.unused(name, token, windows)
                continue
            for token in tokens if event.endswith("under way") else tokens[:1]:
                await refuse(token)
            refused_by += 1
            for token in tokens:
                await pace.unused(name, token, windows)
            await asyncio.sleep(0.002)
            # The first one at a published limit may be for others who share it
            halvings = refused_by - 1 if published else refused_by
            (window,) = (await pace.status(name, windows)).windows
            assert window.limit == max(1, int(limit / 2**halvings + 0.000001))
            assert window.configured == limit
            assert bool((await pace.status(name, windows)).lowered) == (window.limit < limit)

    run(redis_url, body)


@pytest.mark.parametrize("allowed", [3, 10])
def test_a_vendor_that_lowered_its_published_limit_is_met_by_a_lower_pace(redis_url: str, allowed: int) -> None:
    windows: Sequence[Window] = ((20, 0.1),)
    refusals = 0

    async def body(pace: PaceStore) -> None:
        nonlocal refusals
        seen: list[float] = []
        blocked = 0.0

        def takes() -> bool:
            """A vendor that blocks everything for a window once it has seen too many in one."""
            nonlocal blocked
            now = time.monotonic()
            seen[:] = [*(one for one in seen if one > now - 0.1), now]
            if now >= blocked and len(seen) > allowed:
                blocked = now + 0.1
            return now >= blocked

        for _ in range(40 * allowed):
            token = await take_when_free(pace, windows, deadline=5.0)
            good = takes()
            refusals += not good
            await pace.answered("vendor", token, windows, limited=not good)

    run(redis_url, body)
    # Some forty windows' worth of requests, of which nearly each would begin with a refusal
    assert refusals <= 8


def test_a_lowered_published_limit_comes_back(redis_url: str) -> None:
    windows: Sequence[Window] = ((20, 0.02),)

    async def body(pace: PaceStore) -> None:
        for _ in range(3):
            token = await take_when_free(pace, windows, deadline=0.01)
            await pace.answered("vendor", token, windows, limited=True, retry_after=0.001)
            await asyncio.sleep(0.002)
        seen = [(await pace.status("vendor", windows)).windows[0].limit]
        assert seen == [5]
        while seen[-1] < 20:
            seen.append((await pace.status("vendor", windows)).windows[0].limit)
            await asyncio.sleep(0.005)
        assert seen == sorted(seen)
        # It stayed for a while where the vendor had not refused yet
        assert seen.count(9) > seen.count(7)

    run(redis_url, body)


# --- estimates -------------------------------------------------------------------------------------------------------


def test_the_estimate_counts_whole_windows() -> None:
    status = PaceStatus(5.0, (WindowStatus(60.0, 85, 300, 15), WindowStatus(1.0, 0, 10, 0)))
    assert status.finish_estimate(10) == 5.0
    assert status.finish_estimate(200) == 5.0 + 19.0
    assert status.finish_estimate(201) == 5.0 + 60.0
    assert status.finish_estimate(200 + 285 + 1) == 5.0 + 120.0


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 500), st.integers(0, 600))
def test_more_requests_never_finish_earlier(some: int, more: int, limit: int, used: int) -> None:
    status = PaceStatus(0.0, (WindowStatus(60.0, used, limit, limit // 20),))
    assert 0 <= status.finish_estimate(some) <= status.finish_estimate(some + more)
