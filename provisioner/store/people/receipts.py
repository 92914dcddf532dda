"""Leavers' receipts in Redis: per person, what stands of their leave in each target. Written by lua/receipts.lua."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from provisioner.model.operation import Status
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors

#: Statuses under which somebody still has an account that they should have no longer.
OPEN: Final = frozenset({Status.PENDING, Status.SENDING, Status.WAITING, Status.HELD, Status.FAILED})
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Leave:
    """One person's leave in one target: how it stands since `at`, and `since` when it was first planned (epoch
    seconds). `run` and `operation` name the operation that it is about."""

    status: Status
    since: float
    at: float
    run: str
    operation: str

    @property
    def unfinished(self) -> bool:
        """Whether the account is still as it was."""
        return self.status in OPEN


class ReceiptStore:
    """The receipts of all leavers."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def of(self, person: str) -> dict[str, Leave]:
        """A person's leaves by target; empty if there never was one, or not for as long as runs are kept."""
        with redis_errors():
            return _leaves(await self._redis.hgetall(keys.receipt(person)))

    async def unfinished(self) -> dict[str, dict[str, Leave]]:
        """Everybody of whom a leave is not finished, whoever left first being the first."""
        with redis_errors():
            people = [name.decode() for name in await self._redis.zrange(keys.RECEIPTS, 0, -1)]
        found = {
            person: leaves
            for person, leaves in (await self._many(people)).items()
            if any(leave.unfinished for leave in leaves.values())
        }
        return dict(sorted(found.items(), key=lambda item: (_since(item[1]), item[0])))

    async def forget_before(self, moment: float) -> int:
        """Forget receipts that are over since before a moment (epoch seconds); how many."""
        with redis_errors():
            old = await self._redis.zrangebyscore(keys.RECEIPTS, "-inf", moment)
        receipts = await self._many([name.decode() for name in old])
        over = [person for person, leaves in receipts.items() if not any(one.unfinished for one in leaves.values())]
        for person in over:
            await self.forget(person)
        return len(over)

    async def forget(self, person: str) -> int:
        """Forget one person's receipt; how many targets it was about."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hlen(keys.receipt(person))
                pipe.delete(keys.receipt(person))
                pipe.zrem(keys.RECEIPTS, person)
                count, *_ = await pipe.execute()
        return int(count)

    async def _many(self, people: list[str]) -> dict[str, dict[str, Leave]]:
        found: dict[str, dict[str, Leave]] = {}
        with redis_errors():
            for start in range(0, len(people), _CHUNK):
                some = people[start : start + _CHUNK]
                async with self._redis.pipeline(transaction=False) as pipe:
                    for person in some:
                        pipe.hgetall(keys.receipt(person))
                    rows = await pipe.execute()
                found |= {person: _leaves(raw) for person, raw in zip(some, rows, strict=True)}
        return found


def _leaves(raw: Mapping[bytes, bytes]) -> dict[str, Leave]:
    found = {}
    for target, text in sorted(raw.items()):
        entry = json.loads(text)
        found[target.decode()] = Leave(
            Status(entry["status"]), float(entry["since"]), float(entry["at"]), entry["run"], entry["operation"]
        )
    return found


def _since(leaves: Mapping[str, Leave]) -> float:
    return min(leave.since for leave in leaves.values() if leave.unfinished)
