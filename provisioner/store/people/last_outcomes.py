"""What became last of everybody's operations, for many people at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors

_CHUNK: Final = 500
#: Finished operations of a person that are looked at, newest first, over all targets.
_LOOKED_AT: Final = 40


class LastOutcomeStore:
    """The last operation of everybody."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def of(self, targets: Sequence[str], people: Sequence[str]) -> dict[tuple[str, str], str]:
        """Kind and status of the last operation, such as ``update succeeded``, by person and target.

        A pending account operation comes before the finished ones; what was replaced unsent does not count.
        """
        found: dict[tuple[str, str], str] = {}
        for start in range(0, len(people), _CHUNK):
            found |= await _latest(self._redis, targets, people[start : start + _CHUNK])
        return found


async def _latest(redis: Redis, targets: Sequence[str], people: Sequence[str]) -> dict[tuple[str, str], str]:
    places: list[tuple[str, str, str, str]] = []
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipe:
            for target in targets:
                pipe.hmget(keys.slots(target), [f"{person}\x1faccount" for person in people])
            for person in people:
                pipe.lrange(keys.history(person), 0, _LOOKED_AT - 1)
            answers = await pipe.execute()
        for target, members in zip(targets, answers, strict=False):
            for person, member in zip(people, members, strict=True):
                if member is not None:
                    run, operation = member.decode().split("|")
                    places.append((person, target, run, operation))
        for person, entries in zip(people, answers[len(targets) :], strict=True):
            for entry in entries:
                target, run, operation = entry.decode().split("|")
                if target in targets:
                    places.append((person, target, run, operation))
        async with redis.pipeline(transaction=False) as pipe:
            for _, target, run, operation in places:
                pipe.hmget(keys.operation(run, target, operation), "kind", "status")
            rows = await pipe.execute()
    found: dict[tuple[str, str], str] = {}
    for (person, target, _, _), (kind, status) in zip(places, rows, strict=True):
        if kind is not None and status is not None and status != b"superseded":
            found.setdefault((person, target), f"{kind.decode()} {status.decode()}")
    return found
