"""What events from outside reported of each person: which came when, not what they said; facts hold that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, cast

from provisioner.model.person_report import HeardEvent
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.runs.documents import moment

#: Events that are kept of one person, the newest.
KEPT: Final = 200


class PersonEventStore:
    """The events of all people."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def add(self, person: str, document: dict[str, Any], *, at: float, ttl: int) -> None:
        """Remember that an event came; the same one twice counts once.

        Args:
            document: what names it: ``target``, ``event``, ``digest`` and the like.
            at: when it was accepted (epoch seconds).
            ttl: seconds after the newest in which all are forgotten.
        """
        await self.add_all([(person, document, at)], ttl=ttl)

    async def add_all(self, heard: Sequence[tuple[str, dict[str, Any], float]], *, ttl: int) -> None:
        """The same of many events, each with its person, in one go."""
        if not heard:
            return
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                for person, document, at in heard:
                    pipe.zadd(keys.heard(person), {json.dumps(document, sort_keys=True): at})
                for person in dict.fromkeys(one for one, _, _ in heard):
                    pipe.zremrangebyrank(keys.heard(person), 0, -KEPT - 1)
                    pipe.expire(keys.heard(person), ttl)
                await pipe.execute()

    async def of(self, person: str) -> list[HeardEvent]:
        """The newest first, each with its ``at``."""
        with redis_errors():
            found = await self._redis.zrevrange(keys.heard(person), 0, -1, withscores=True)
        events = [{**json.loads(member), "at": moment(at)} for member, at in found]
        return cast("list[HeardEvent]", events)
