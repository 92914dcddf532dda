"""Links that a person made or took away, in the ledger; written by lua/hand_link.lua."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from provisioner.model.account import State
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Scripts


@dataclass(frozen=True, slots=True)
class Changed:
    """What came of a change of somebody's link.

    `verdict`: ``done``; ``other``, nothing was changed since the ledger has another link; ``sending``, nothing was
    changed since something is being sent about the person. `runs`: the run of each operation that was dropped.
    """

    verdict: Literal["done", "other", "sending"]
    runs: tuple[str, ...] = ()


class HandLinkStore:
    """What people decided about links, in all targets."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._script = scripts.load("hand_link")

    async def link(self, target: str, person: str, account: str, state: State) -> Changed:
        """Link an account to somebody who has none, and drop their open operations there."""
        return changed_from(await self._script([], ["link", target, person, account, state]))

    async def unlink(self, target: str, person: str, account: str) -> Changed:
        """Take a link away for good, and drop the person's open operations there."""
        return changed_from(await self._script([], ["unlink", target, person, account]))

    async def apart(self, target: str) -> dict[str, frozenset[str]]:
        """By person the accounts that were unlinked from them, and were not linked again."""
        with redis_errors():
            raw = await self._redis.hgetall(keys.unlinked(target))
        return {person.decode(): frozenset(json.loads(text)) for person, text in raw.items()}


def changed_from(answer: list[int | bytes]) -> Changed:
    """What a script answered that changes links."""
    verdict, *runs = answer
    names = [run.decode() for run in runs if isinstance(run, bytes)]
    if verdict == 1:
        return Changed("done", tuple(names))
    return Changed("sending" if verdict == -1 else "other")
