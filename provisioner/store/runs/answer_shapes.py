"""The shapes of each target's answers, and what changed in them lately. No value is kept, and no name of a person."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors

#: Seconds after which a target that was not read is known no more.
_KEPT: Final = 60 * 86_400
#: The field of the changes; an endpoint begins with its method.
_CHANGES: Final = "changes"
_MOST: Final = 50


class AnswerChange(TypedDict):
    """What changed in the answers of an endpoint, and when that was noticed (epoch seconds)."""

    at: float
    endpoint: str
    change: str


class AnswerShapeStore:
    """Shapes by target and endpoint, as JSON."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def known(self, target: str) -> dict[str, object]:
        """What each endpoint showed so far."""
        with redis_errors():
            raw = await self._redis.hgetall(keys.answer_shapes(target))
        return {name.decode(): json.loads(text) for name, text in raw.items() if name.decode() != _CHANGES}

    async def keep(self, target: str, shapes: Mapping[str, Any], new: Sequence[AnswerChange]) -> None:
        """Remember shapes, and what changed, the newest last."""
        key = keys.answer_shapes(target)
        before = await self.changes(target) if new else []
        fields = {name: json.dumps(shape) for name, shape in shapes.items()}
        if new:
            fields[_CHANGES] = json.dumps([*before, *new][-_MOST:])
        if not fields:
            return
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(key, mapping=fields)
                pipe.expire(key, _KEPT)
                await pipe.execute()

    async def changes(self, target: str) -> list[AnswerChange]:
        """What changed lately, the newest last."""
        with redis_errors():
            text = await self._redis.hget(keys.answer_shapes(target), _CHANGES)
        found: list[AnswerChange] = json.loads(text) if text else []
        return found
