"""What grows with the number of people is read and ended in steps, so that no command keeps Redis from the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest
import redis as sync_redis

from provisioner.model.operation import FINAL, Kind
from provisioner.store.admin.history import HistoryStore
from provisioner.store.people.receipts import ReceiptStore
from provisioner.store.redis import keys
from provisioner.store.redis.growing import STEP, members, scanned, unlink
from tests.store.bench import TARGET, Bench, DiedError, operation

PEOPLE: Final = 2 * STEP + 500
#: They go through a whole key, however large it is.
WHOLE: Final = frozenset({"DEL", "HGETALL", "HKEYS", "HVALS", "SMEMBERS"})
#: With `0 -1` they do, too.
RANGES: Final = frozenset({"LRANGE", "ZRANGE", "ZREVRANGE"})
#: They take a time for each name that they are given.
LISTS: Final = frozenset({"DEL", "HDEL", "HMGET", "MGET", "SADD", "SREM", "UNLINK", "ZADD", "ZMSCORE", "ZREM"})
#: Words of one of those: as many names as a step has, each with a value.
MOST: Final = 2 * STEP + 10


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    made.close()


@contextmanager
def heard(url: str) -> Iterator[list[list[str]]]:
    """The words of each command that the server carries out meanwhile, those of scripts too."""
    found: list[list[str]] = []
    client = sync_redis.Redis.from_url(url)

    def listen(monitor: sync_redis.client.Monitor) -> None:
        for one in monitor.listen():  # type: ignore[no-untyped-call] # redis-py has no type for it
            words = one["command"].split(" ")
            if words[:2] == ["ECHO", "over"]:
                return
            found.append(words)

    with client.monitor() as monitor:  # type: ignore[no-untyped-call] # redis-py has no type for it
        thread = threading.Thread(target=listen, args=(monitor,), daemon=True)
        thread.start()
        yield found
        sync_redis.Redis.from_url(url).echo("over")
        thread.join(timeout=60)
        assert not thread.is_alive()


def too_long(commands: list[list[str]], run: str) -> list[str]:
    """The commands whose time grows with the people: whole keys that do so, or too many words."""
    growing = {
        keys.ledger(TARGET),
        keys.leavers(TARGET),
        keys.slots(TARGET),
        keys.run_operations(run, TARGET),
        keys.stage(run, TARGET),
    }
    found = []
    for name, *words in commands:
        whole = name.upper() in WHOLE or (name.upper() in RANGES and words[1:3] == ["0", "-1"])
        if (whole and growing & set(words)) or (name.upper() in LISTS and len(words) > MOST):
            found.append(f"{name} {' '.join(words[:2])} ({len(words)} words)")
    return sorted(set(found))


def test_no_command_of_a_large_run_takes_all_people_at_once(bench: Bench, redis_url: str) -> None:
    plan = [operation(f"P{number}", Kind.CREATE) for number in range(PEOPLE)]
    links = [{"person": f"P{number}", "account": f"account-{number}"} for number in range(PEOPLE)]
    with heard(redis_url) as commands:
        bench.steps = 0
        run = bench.name_run()
        with pytest.raises(DiedError):
            bench.install(plan, run=run, links=links)
        bench.steps = 10**6
        bench.install(plan, run=run, links=links)
        assert bench(bench.ledger.frame(TARGET, ["n"])).height == PEOPLE
        assert len(bench(bench.ledger.people(TARGET))) == PEOPLE
        bench(HistoryStore(bench.redis).forget_run(run, FINAL))
    assert len(commands) > PEOPLE
    assert too_long(commands, run) == []


def test_who_leaves_is_read_in_steps(bench: Bench, redis_url: str) -> None:
    receipts = ReceiptStore(bench.redis)
    since = {f"P{number}": float(number) for number in range(PEOPLE)}
    bench(bench.redis.zadd(keys.leavers(TARGET), since))
    with heard(redis_url) as commands:
        assert bench(receipts.since(TARGET)) == since
        assert list(bench(receipts.unfinished([TARGET]))) == list(since)
        bench(receipts.note(TARGET, (), (), taken=float(PEOPLE), digest="sha256:1"))
    assert too_long(commands, "run") == []
    assert bench(receipts.since(TARGET)) == {}


def test_an_attempt_that_was_broken_off_is_taken_away_in_steps(bench: Bench, redis_url: str) -> None:
    run = bench.name_run()
    names = {f"id-{number}": float(number) for number in range(PEOPLE)}
    bench(bench.redis.zadd(keys.run_operations(run, TARGET), names))
    with heard(redis_url) as commands:
        bench.install([operation("A")], run=run)
    assert too_long(commands, run) == []
    assert bench(bench.redis.zcard(keys.run_operations(run, TARGET))) == 1


def test_each_step_reads_what_is_there(bench: Bench) -> None:
    fields = {f"f{number}": str(number) for number in range(PEOPLE)}
    bench(bench.redis.hset("hash", mapping=fields))
    bench(bench.redis.zadd("sorted", {name: float(value) for name, value in fields.items()}))
    assert bench(scanned(bench.redis, "hash")) == {name.encode(): value.encode() for name, value in fields.items()}
    assert bench(scanned(bench.redis, "none")) == {}

    async def listed() -> list[int]:
        return [len(some) async for some in members(bench.redis, "sorted")]

    assert bench(listed()) == [STEP, STEP, 500]
    bench(unlink(bench.redis, ["hash", "sorted", "none", *fields]))
    assert bench(bench.redis.keys("*")) == []
