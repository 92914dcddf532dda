"""People that an identity provider or HR system pushes one by one: durable before it is answered. See
lua/pushed_people.lua."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from provisioner.model.pushed_person import PushedPerson
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Scripts

_CHUNK: Final = 500
_END: Final = b"\xff"


class TakenError(Exception):
    """Somebody else who is there has the same key or user name; `name` says which of the two."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


@dataclass(frozen=True, slots=True)
class PushFacts:
    """`revision` counts changes of anybody; `pushed` is when the last one came, `settled` when somebody last said that
    all are there (epoch seconds, 0 never)."""

    revision: int
    pushed: float
    settled: float


class PushedPeopleStore:
    """The people, and by what they are found. Every method raises StoreError when Redis does not answer."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._script = scripts.load("pushed_people")

    async def put(self, person: PushedPerson, *, before: int | None, due: Sequence[str]) -> bool:
        """Keep a person, and note that runs are due; False if somebody else changed them meanwhile.

        Args:
            before: the version that is there; None: there is none.
            due: the keys of people whose run is due by this.

        Raises:
            TakenError: somebody else who is there has that key or user name.
        """
        names = _names(person)
        alone = [name for name in names if not name.startswith("e:")] if not person.deleted else []
        version = "" if before is None else str(before)
        answer = await self._script(
            [],
            ["put", person.id, version, person.to_text(names), int(person.deleted), json.dumps(alone), *due],
        )
        verdict = answer[0].decode()
        if verdict == "taken":
            raise TakenError({"k": "key", "u": "userName"}[answer[1].decode()[:1]])
        return bool(verdict == "ok")

    async def get(self, id_: str) -> PushedPerson | None:
        """A person by their id; None if there is none, or they were deleted."""
        found = await self._some([id_.encode()])
        return found[0] if found else None

    async def by_key(self, fold: str) -> PushedPerson | None:
        """The person of a key, given as keys are compared; a deleted one too."""
        found = await self._named(f"k:{fold}")
        with redis_errors():
            texts = await self._redis.hmget(keys.SCIM_PEOPLE, found) if found else []
        return next((PushedPerson.from_text(text) for text in texts if text), None)

    async def by_user_name(self, user_name: str) -> list[PushedPerson]:
        """Whoever is there with a user name, whatever its case."""
        return await self._some(await self._named(f"u:{user_name.casefold()}"))

    async def by_external_id(self, external_id: str) -> list[PushedPerson]:
        """Whoever is there with an external id."""
        return await self._some(await self._named(f"e:{external_id}"))

    async def count(self) -> int:
        """How many people are there."""
        with redis_errors():
            return int(await self._redis.zcard(keys.SCIM_LIVE))

    async def page(self, start: int, count: int) -> list[PushedPerson]:
        """Some of those who are there, in the order in which they were first pushed.

        Args:
            start: how many are left out, from the first.
        """
        if count <= 0:
            return []
        with redis_errors():
            return await self._some(await self._redis.zrange(keys.SCIM_LIVE, start, start + count - 1))

    async def everybody(self) -> AsyncIterator[PushedPerson]:
        """All, deleted ones too, in no order; who changes meanwhile comes as before or after it."""
        seen: set[bytes] = set()
        with redis_errors():
            async for id_, text in self._redis.hscan_iter(keys.SCIM_PEOPLE, count=_CHUNK):
                if id_ not in seen:
                    seen.add(id_)
                    yield PushedPerson.from_text(text)

    async def facts(self) -> PushFacts:
        """How often and when somebody was pushed."""
        with redis_errors():
            found = await self._redis.hmget(keys.SCIM_FACTS, ["revision", "pushed", "settled"])
        return PushFacts(int(found[0] or 0), float(found[1] or 0), float(found[2] or 0))

    async def settle(self, now: float) -> None:
        """Note that somebody said that all are there."""
        with redis_errors():
            await self._redis.hset(keys.SCIM_FACTS, "settled", now)

    async def drop_deleted(self, fold: str) -> None:
        """Erase whoever has a key, given as keys are compared, if they were deleted."""
        found = await self.by_key(fold)
        if found is not None and found.deleted:
            await self._script([], ["forget", found.id])

    async def forget(self, key: str, fold: str) -> int:
        """Erase whoever has a key or had it before, and that their run is due; how many resources.

        Args:
            fold: the key as keys are compared.
        """
        gone = 0
        ids = [one.id async for one in self.everybody() if fold == one.fold or key == one.previous]
        for id_ in ids:
            gone += int(await self._script([], ["forget", id_]))
        with redis_errors():
            await self._redis.zrem(keys.CHANGED, key)
        return gone

    async def make_index(self) -> None:
        """Make what people are found by out of the people themselves, as after a restore."""
        with redis_errors():
            await self._redis.delete(keys.SCIM_LIVE, keys.SCIM_INDEX)
        async for one in self.everybody():
            await self._script([], ["index", one.id, one.to_text(_names(one)), int(one.deleted)])

    async def _named(self, name: str) -> list[bytes]:
        begin = f"{name}\0".encode()
        with redis_errors():
            found = await self._redis.zrangebylex(keys.SCIM_INDEX, b"[" + begin, b"[" + begin + _END)
        return [member[len(begin) :] for member in found]

    async def _some(self, ids: Sequence[bytes]) -> list[PushedPerson]:
        if not ids:
            return []
        with redis_errors():
            texts = await self._redis.hmget(keys.SCIM_PEOPLE, list(ids))
        found = [PushedPerson.from_text(text) for text in texts if text]
        return [one for one in found if not one.deleted]


def _names(person: PushedPerson) -> list[str]:
    """By what a person is found; whoever was deleted by the key alone."""
    names = [f"k:{person.fold}"]
    if not person.deleted:
        names += [f"u:{person.user_name.casefold()}"]
        names += [f"e:{person.external_id}"] if person.external_id else []
    return names
