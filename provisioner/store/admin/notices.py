"""Notices that wait to be sent, and the states of which somebody was notified."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any, Final

from redis.exceptions import WatchError

from provisioner.model.event_lists import Notice
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors

_CHUNK: Final = 1000
#: What a state is known by that has no facts of its own.
BEGUN: Final = "begun"


class NoticeStore:
    """All notices, and all states. A state is about a subject: a target, or what else there is."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def begin_state(
        self,
        state: str,
        subject: str,
        now: float,
        *,
        facts: Collection[str] = (BEGUN,),
        notice: Callable[[int, int], Notice | None],
    ) -> bool:
        """Note what a state consists of; False if all of it is known, so that nobody has to be notified.

        The notice waits from the same step on, so that no kill comes between.

        Args:
            now: epoch seconds.
            facts: what it consists of, such as the ids of operations that are held.
            notice: makes the notice of how many facts are new and how many were known; None: nobody asked for one.
        """
        with redis_errors():
            while True:
                async with self._redis.pipeline(transaction=True) as pipe:
                    try:
                        return await self._begin(pipe, state, subject, now, sorted(facts), notice)
                    except WatchError:
                        # Another process noted something of the same state: what is new has to be looked at again
                        continue

    async def _begin(
        self,
        pipe: Any,
        state: str,
        subject: str,
        now: float,
        facts: list[str],
        notice: Callable[[int, int], Notice | None],
    ) -> bool:
        known_facts = keys.notified_facts(state, subject)
        await pipe.watch(known_facts)
        before = int(await pipe.scard(known_facts))
        fresh: list[str] = []
        for start in range(0, len(facts), _CHUNK):
            some = facts[start : start + _CHUNK]
            known = await pipe.smismember(known_facts, some)
            fresh += [fact for fact, there in zip(some, known, strict=True) if not there]
        if not fresh:
            return False
        pipe.multi()
        pipe.hsetnx(keys.NOTIFIED, f"{state}:{subject}", now)
        for start in range(0, len(fresh), _CHUNK):
            pipe.sadd(known_facts, *fresh[start : start + _CHUNK])
        written = notice(len(fresh), before)
        if written is not None:
            pipe.rpush(keys.NOTICES, json.dumps(written))
        await pipe.execute()
        return True

    async def forget_facts_but(self, state: str, subject: str, facts: Collection[str]) -> None:
        """Forget what a state consists of no more, so that it is news when it comes again."""
        known_facts = keys.notified_facts(state, subject)
        with redis_errors():
            known = {name.decode() for name in await self._redis.smembers(known_facts)}
            gone = sorted(known - set(facts))
            for start in range(0, len(gone), _CHUNK):
                await self._redis.srem(known_facts, *gone[start : start + _CHUNK])

    async def end_state(self, state: str, subject: str, notice: Notice | None = None) -> bool:
        """Note that a state is over; False if nobody knew of it, and then the notice is dropped."""
        name = f"{state}:{subject}"
        with redis_errors():
            while True:
                async with self._redis.pipeline(transaction=True) as pipe:
                    try:
                        await pipe.watch(keys.NOTIFIED)
                        if not await pipe.hexists(keys.NOTIFIED, name):
                            return False
                        pipe.multi()
                        pipe.hdel(keys.NOTIFIED, name)
                        pipe.delete(keys.notified_facts(state, subject))
                        if notice is not None:
                            pipe.rpush(keys.NOTICES, json.dumps(notice))
                        await pipe.execute()
                        return True
                    except WatchError:
                        continue

    async def first(self) -> Notice | None:
        """The notice that has waited longest; None if none waits. It waits on until `replace`."""
        with redis_errors():
            text = await self._redis.lindex(keys.NOTICES, 0)
        if text is None:
            return None
        found: Notice = json.loads(text)
        return found

    async def replace(self, notice: Notice, by: Notice | None) -> None:
        """Take a notice off, in the same step with one that waits in its place, behind the others."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.lrem(keys.NOTICES, 1, json.dumps(notice))
                if by is not None:
                    pipe.rpush(keys.NOTICES, json.dumps(by))
                await pipe.execute()

    async def waiting(self) -> int:
        """How many notices wait."""
        with redis_errors():
            return int(await self._redis.llen(keys.NOTICES))
