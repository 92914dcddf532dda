"""How far Redis has come: a number that grows with each change of an operation, compared with what others have seen.

A Redis that was put back to an earlier state (a snapshot of its volume, a replica that lagged) does not know it.
Whoever has seen a greater number knows it, and `went_back` notes it for everybody in one step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.lock import commit

#: Why a target is not written to, as its quarantine says.
WENT_BACK: Final = (
    "Redis was put back to an earlier state: nothing of before is sent until a run about everybody has read the target"
)
#: The same as a sentence of its own, with the way out.
WENT_BACK_WAY_OUT: Final = f"{WENT_BACK}. `provisioner sync` does that now; runs by schedule do so too."


@dataclass(frozen=True, slots=True)
class Position:
    """`number` counts changes; `went_back` is when Redis was last found at an earlier state (epoch seconds), or 0."""

    number: int
    went_back: float


class PositionStore:
    """The position of the whole deployment. Every method raises StoreError when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self) -> Position:
        """Where Redis is now."""
        with redis_errors():
            number, moment = await self._redis.hmget(keys.MARK, ["position", "rewound"])
        return Position(int(number or 0), float(moment or 0))

    async def went_back(
        self, known: int, targets: Iterable[str], *, now: float, quiet: float, former: str = ""
    ) -> bool:
        """Note that Redis was put back, unless another process has done so. What is claimed in it is claimed no more.

        Args:
            known: the greatest position that was ever seen.
            targets: those that must be read by a run about everybody before anything is sent to them.
            now: epoch seconds by Redis's clock.
            quiet: seconds for which no run may begin.
            former: the mark of what it was put back from, if that was another.

        Returns:
            Whether this call noted it.
        """
        blocked = {"quarantined": 1, "unreachable": 0, "reason": WENT_BACK, "probe_at": now, "unseen": now}
        leases = {target: keys.leases(target) for target in targets}
        leased: dict[str, list[bytes]] = {}

        async def noted(pipe: Redis) -> bool:
            for name in leases.values():
                leased[name] = await pipe.zrange(name, 0, -1)
            return int(await pipe.hget(keys.MARK, "position") or 0) >= known

        def write(pipe: Redis) -> None:
            pipe.hset(keys.MARK, mapping={"position": known, "rewound": now, "quiet": now + quiet})
            if former:
                pipe.hset(keys.MARK, "former", former)
            for target, name in leases.items():
                pipe.hset(keys.health(target), mapping=blocked)
                # Else a plan would spare them, and they would be sent again after it
                if leased[name]:
                    pipe.zadd(name, dict.fromkeys(leased[name], 0), xx=True)

        return await commit(self._redis, None, write, watch=(keys.MARK, *leases.values()), unless=noted)
