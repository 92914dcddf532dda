"""Leavers' receipts in Redis: per person, the state of their leave in each target. Written by lua/receipts.lua."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from provisioner.model.operation import Status
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.growing import scored
from provisioner.store.redis.scripts import Scripts

#: The state of a leave for which no operation was planned yet.
NOTED: Final = "noted"
_CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class Leave:
    """One person's leave in one target: its state since `at`, and `since` when it was first asked for (epoch seconds).

    `status` is that of the newest leave operation, `run` and `operation` name it; None where none was planned yet.
    """

    status: Status | None
    since: float
    at: float
    run: str
    operation: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """One leaver's receipt: `leaves` by target, and by target since when one is `unfinished` (epoch seconds)."""

    leaves: Mapping[str, Leave]
    unfinished: Mapping[str, float]


class ReceiptStore:
    """The receipts of all leavers. `leavers:<target>` alone says whose leave is unfinished (see lua/receipts.lua)."""

    def __init__(self, redis: Redis, scripts: Scripts | None = None) -> None:
        self._redis = redis
        self._script = (scripts or Scripts(redis)).load("queue_install")

    async def note(
        self, target: str, leaving: Iterable[str], unsettled: Collection[str] | None, *, taken: float, digest: str
    ) -> None:
        """Note who leaves a target, by a roster that was accepted.

        Of these, who has an account there that the ledger does not say to be left is unfinished from now on; whoever
        was, and does not leave any more, is so no longer, unless a roster that was read later has been noted.

        Args:
            unsettled: of whom nobody can say whether they leave; None: of all others, as the roster is about some only.
            taken: when the roster was read (epoch seconds); `digest`: of its content.
        """
        people = list(leaving)
        with redis_errors():
            noted = {name.decode() for name in await scored(self._redis, keys.leavers(target))}
        back = sorted(noted - set(people) - set(unsettled)) if unsettled is not None else []
        for start in range(0, len(people), _CHUNK):
            await self._script([], ["leavers", target, json.dumps(people[start : start + _CHUNK]), "[]", taken, digest])
        for start in range(0, len(back), _CHUNK):
            await self._script([], ["leavers", target, "[]", json.dumps(back[start : start + _CHUNK]), taken, digest])

    async def of(self, person: str, targets: Collection[str]) -> Receipt:
        """A person's receipt; empty if they never left, or not for as long as runs are kept.

        Args:
            targets: the enabled ones, in which a leave can be unfinished.
        """
        return (await self._many([person], targets))[person]

    async def unfinished(self, targets: Collection[str]) -> dict[str, Receipt]:
        """Everybody whose leave is unfinished in one of the targets, whoever left first being the first."""
        first: dict[str, float] = {}
        with redis_errors():
            for target in targets:
                for name, since in (await scored(self._redis, keys.leavers(target))).items():
                    person = name.decode()
                    first[person] = min(since, first.get(person, since))
        return await self._many(sorted(first, key=lambda person: (first[person], person)), targets)

    async def since(self, target: str) -> dict[str, float]:
        """By person whose leave is unfinished in a target, since when it is asked for (epoch seconds)."""
        with redis_errors():
            found = await scored(self._redis, keys.leavers(target))
        return {name.decode(): since for name, since in sorted(found.items(), key=lambda one: (one[1], one[0]))}

    async def changed_since(self, moment: float, limit: int, targets: Collection[str]) -> dict[str, Receipt]:
        """The receipts that changed since a moment (epoch seconds), `limit` of the newest at most.

        Args:
            targets: the enabled ones, in which a leave can be unfinished.
        """
        with redis_errors():
            found = await self._redis.zrevrangebyscore(keys.RECEIPTS, "+inf", moment, start=0, num=limit)
        return await self._many([name.decode() for name in found], targets)

    async def forget_before(self, moment: float, targets: Collection[str]) -> int:
        """Forget receipts that are over since before a moment (epoch seconds); how many.

        Args:
            targets: all that the settings name.
        """
        with redis_errors():
            old = await self._redis.zrangebyscore(keys.RECEIPTS, "-inf", moment)
        receipts = await self._many([name.decode() for name in old], targets)
        over = [person for person, receipt in receipts.items() if not receipt.unfinished]
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

    async def _many(self, people: list[str], targets: Collection[str]) -> dict[str, Receipt]:
        leaves: dict[str, dict[str, Leave]] = {}
        since: dict[str, dict[str, float]] = {person: {} for person in people}
        with redis_errors():
            for start in range(0, len(people), _CHUNK):
                some = people[start : start + _CHUNK]
                async with self._redis.pipeline(transaction=False) as pipe:
                    for person in some:
                        pipe.hgetall(keys.receipt(person))
                    rows = await pipe.execute()
                leaves |= {person: _leaves(raw) for person, raw in zip(some, rows, strict=True)}
                for target in targets:
                    scores = await self._redis.zmscore(keys.leavers(target), some)
                    for person, score in zip(some, scores, strict=True):
                        if score is not None:
                            since[person][target] = float(score)
        return {person: Receipt(leaves[person], since[person]) for person in people}


def _leaves(raw: Mapping[bytes, bytes]) -> dict[str, Leave]:
    found = {}
    for target, text in sorted(raw.items()):
        entry = json.loads(text)
        status = None if entry["status"] == NOTED else Status(entry["status"])
        found[target.decode()] = Leave(
            status, float(entry["since"]), float(entry["at"]), entry["run"], entry["operation"]
        )
    return found
