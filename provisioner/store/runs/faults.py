"""How often work ended with an exception that nobody thought of, and until when it is left alone because of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from provisioner.errors import StoreError
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors

#: Faults in a row after which a run ends.
MOST_FAULTS: Final = 5
#: Seconds until the second try, which each further fault doubles, and the longest wait.
_FIRST, _LONGEST = 2.0, 60.0
#: Seconds after which a fault that did not come again is forgotten.
_KEPT: Final = 3600
#: Words of a server that is short of something, rather than of a command that is wrong.
_STATES: Final = ("OOM", "MISCONF", "READONLY", "LOADING", "BUSY", "MASTERDOWN", "NOREPLICAS", "NOAUTH", "NOPERM")

#: The fields of a hash that hold a fault.
FIELDS: Final = ("faults", "fault", "fault_due", "fault_at")


@dataclass(frozen=True, slots=True)
class Fault:
    """`count` faults in a row, the last for `reason` at `at`; nothing is tried before `due` (epoch seconds)."""

    count: int = 0
    reason: str = ""
    due: float = 0.0
    at: float = 0.0

    @property
    def lasting(self) -> bool:
        """Whether it came so often that runs end with it."""
        return self.count >= MOST_FAULTS

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Fault:
        """The fault in the fields of a hash; other fields are passed over."""
        return cls(
            int(fields.get("faults", 0)),
            fields.get("fault", ""),
            float(fields.get("fault_due", 0)),
            float(fields.get("fault_at", 0)),
        )


def refused_by_us(exc: BaseException) -> bool:
    """Whether Redis answered that a command or a script of ours is wrong, which no waiting changes."""
    cause = exc.__cause__ if isinstance(exc, StoreError) else exc
    if type(cause) is not ResponseError:
        return False
    return not any(word in str(cause) for word in _STATES)


def is_redis_away(exc: BaseException) -> bool:
    """Whether an exception says that Redis does not answer, or cannot answer now."""
    return isinstance(exc, (StoreError, RedisError)) and not refused_by_us(exc)


class FaultStore:
    """The recorded faults of targets and of periodic work; a target's health is kept elsewhere."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def note_target(self, target: str, reason: str) -> Fault:
        """Count a fault of a target's delivery."""
        return await self._note(keys.health(target), reason, kept=None)

    async def clear_target(self, target: str) -> None:
        """A target's delivery ended well."""
        with redis_errors():
            await self._redis.hdel(keys.health(target), *FIELDS)

    async def note(self, work: str, reason: str) -> Fault:
        """Count a fault of some work; it is forgotten if it does not come again for an hour."""
        with redis_errors():
            await self._redis.sadd(keys.FAULTS, work)
        return await self._note(keys.fault(work), reason, kept=_KEPT)

    async def clear(self, work: str) -> None:
        """Some work ended well."""
        with redis_errors():
            await self._redis.delete(keys.fault(work))
            await self._redis.srem(keys.FAULTS, work)

    async def of(self, works: Sequence[str]) -> dict[str, Fault]:
        """The faults of those works that have any."""
        if not works:
            return {}
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for work in works:
                    pipe.hgetall(keys.fault(work))
                rows = await pipe.execute()
        return {work: Fault.read(_text(row)) for work, row in zip(works, rows, strict=True) if row}

    async def standing(self) -> dict[str, Fault]:
        """The faults of all works that have any now, those of runs aside, which the runs tell themselves."""
        with redis_errors():
            names = sorted(name.decode() for name in await self._redis.smembers(keys.FAULTS))
        found = await self.of(names)
        forgotten = [name for name in names if name not in found]
        if forgotten:
            with redis_errors():
                await self._redis.srem(keys.FAULTS, *forgotten)
        return {name: fault for name, fault in found.items() if not name.startswith("run:")}

    async def _note(self, key: str, reason: str, *, kept: int | None) -> Fault:
        with redis_errors():
            seconds, micros = await self._redis.time()
            now = int(seconds) + int(micros) / 1e6
            count = int(await self._redis.hincrby(key, "faults", 1))
            due = now + min(_LONGEST, _FIRST * 2.0 ** min(count - 1, 20))
            await self._redis.hset(key, mapping={"fault": reason, "fault_due": due, "fault_at": now})
            if kept is not None:
                await self._redis.expire(key, kept)
        return Fault(count, reason, due, now)


def _text(row: Mapping[bytes, Any]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in row.items()}
