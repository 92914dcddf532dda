"""Slots as the transport takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from provisioner.errors import StoreError, TargetError
from provisioner.runtime.rate_limit import TargetPace, TargetSlot, resource_of
from provisioner.settings import Rate, TargetSettings
from provisioner.store.queue.rate_limit import PaceStore
from tests.support.meddling import new_client

RATES = (Rate(1, 300.0),)


def run(url: str, body: Callable[[PaceStore], Awaitable[None]]) -> None:
    async def main() -> None:
        client = new_client(url)
        try:
            await body(PaceStore(client))
        finally:
            await client.aclose()

    asyncio.run(main())


def target(kind: str, rate_group: str | None = None) -> TargetSettings:
    return TargetSettings(kind=kind, enabled=False, rate_group=rate_group)


def test_what_a_targets_requests_count_against() -> None:
    assert resource_of("one", target("portal"), shared_by_address=True) == "portal:shared"
    assert resource_of("one", target("portal"), shared_by_address=False) == "one"
    assert resource_of("one", target("portal", "east"), shared_by_address=True) == "portal:group:east"
    assert resource_of("one", target("portal", "east"), shared_by_address=False) == "portal:group:east"


def test_a_slot_or_the_time_to_wait(redis_url: str) -> None:
    async def body(store: PaceStore) -> None:
        pace = TargetPace(store, "one", "one", RATES)
        slot = await pace.try_slot(30.0)
        assert isinstance(slot, TargetSlot)
        wait = await pace.try_slot(30.0)
        assert isinstance(wait, float)
        assert 290 < wait < 301
        await slot.unused()
        assert isinstance(await pace.try_slot(30.0), TargetSlot)

    run(redis_url, body)


def test_only_the_first_word_about_a_slot_counts(redis_url: str) -> None:
    async def body(store: PaceStore) -> None:
        pace = TargetPace(store, "one", "one", RATES)
        slot = await pace.slot(30.0)
        await slot.answered()
        await slot.unused()
        assert isinstance(await pace.try_slot(30.0), float)

    run(redis_url, body)


def test_waits_until_a_slot_is_free_in_turn(redis_url: str) -> None:
    async def body(store: PaceStore) -> None:
        pace = TargetPace(store, "one", "one", [Rate(1, 0.05)])
        order: list[int] = []

        async def send(number: int) -> None:
            slot = await pace.slot(30.0)
            order.append(number)
            await slot.answered()

        await asyncio.gather(*(send(number) for number in range(5)))
        assert order == [0, 1, 2, 3, 4]

    run(redis_url, body)


def test_gives_up_where_the_wait_exceeds_its_patience(redis_url: str) -> None:
    async def body(store: PaceStore) -> None:
        pace = TargetPace(store, "one", "one", RATES, patience=10.0)
        slot = await pace.slot(30.0)
        await slot.answered(limited=True, retry_after=3244.0)
        with pytest.raises(TargetError, match=r"one: it takes no more requests for 32\d\d s"):
            await pace.slot(30.0)

    run(redis_url, body)


def test_a_prepaid_slot_comes_first_and_only_once(redis_url: str) -> None:
    async def body(store: PaceStore) -> None:
        pace = TargetPace(store, "one", "one", [Rate(2, 300.0)])
        slot = await pace.slot(30.0)
        prepaid = pace.prepaid(slot)
        assert await prepaid.slot(30.0) is slot
        assert await prepaid.slot(30.0) is not slot
        assert (await pace.status()).windows[0].used == 2

    run(redis_url, body)


def test_the_slot_is_given_back_even_if_the_sender_is_cancelled(redis_url: str) -> None:
    async def body(store: PaceStore) -> None:
        pace = TargetPace(store, "one", "one", RATES)
        slot = await pace.slot(30.0)

        async def send() -> None:
            try:
                await asyncio.sleep(60.0)
            finally:
                await slot.unused()

        sending = asyncio.create_task(send())
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.sleep(0)
        # Once more, while it gives the slot back
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        # What it began goes on, at most until the next answer or two of the same server
        for _ in range(100):
            if isinstance(await pace.try_slot(30.0), TargetSlot):
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the slot was never given back")

    run(redis_url, body)


def test_a_lost_redis_is_told() -> None:
    async def body(store: PaceStore) -> None:
        with pytest.raises(StoreError, match="does not answer"):
            await TargetPace(store, "one", "one", RATES).slot(30.0)

    run("unix:///nonexistent/redis.sock", body)
