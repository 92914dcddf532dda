"""Signs of life in Redis: by its clock, forgotten in time."""

from __future__ import annotations

import asyncio
import time

import redis
import redis.asyncio

from provisioner.progress.vitals import SILENT_AFTER
from provisioner.store.admin.heartbeats import Heartbeats, HeartbeatStore, HeartbeatWriter
from provisioner.store.redis import keys


def test_signs_are_kept_by_the_clock_of_redis_and_gone_workers_forgotten(redis_url: str) -> None:
    async def look(noted: bool = False) -> Heartbeats:
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            store = HeartbeatStore(client)
            if noted:
                await store.ticked()
                await store.working()
            return await store.look()

    assert asyncio.run(look()) == Heartbeats()
    with redis.Redis.from_url(redis_url) as client:
        worker, other = HeartbeatWriter(client), HeartbeatWriter(client)
        worker.gone()
        worker.worker("app-1", 17, 6)
        worker.worker("app-1", 17, 6)
        other.worker("app-2", 17, 2)
        found = asyncio.run(look())
        assert {(one.host, one.pid, one.concurrency) for one, _, _ in found.workers} == {
            ("app-1", 17, 6),
            ("app-2", 17, 2),
        }
        assert found.beat is found.tick is found.work is None
        # What a newer version adds is left alone
        client.hset(keys.HEARTBEATS, "newer", time.time())
        found = asyncio.run(look(noted=True))
        ages = (found.first, found.worker, found.tick, found.work)
        assert all(age is not None and age < 60 for age in ages)
        # A worker that ended takes itself off, one that died is forgotten in time; that there was one is not
        other.gone()
        assert len(asyncio.run(look()).workers) == 1
        (member,) = client.zrange(keys.WORKERS, 0, -1)
        client.zadd(keys.WORKERS, {member: time.time() - 4000})
        other.worker("app-2", 17, 2)
        found = asyncio.run(look())
        assert [one.host for one, _, _ in found.workers] == ["app-2"]
        assert 0 < client.ttl(keys.WORKERS) <= 3600
        assert client.ttl(keys.HEARTBEATS) == -1


def test_beat_counts_from_its_last_gap(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        writer = HeartbeatWriter(client)
        writer.beat(SILENT_AFTER)
        began = float(client.hget(keys.HEARTBEATS, "beat_since"))
        writer.beat(SILENT_AFTER)
        assert float(client.hget(keys.HEARTBEATS, "beat_since")) == began
        client.hset(keys.HEARTBEATS, "beat", time.time() - SILENT_AFTER - 5)
        writer.beat(SILENT_AFTER)
        assert float(client.hget(keys.HEARTBEATS, "beat_since")) > began
