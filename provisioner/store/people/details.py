"""Details of accounts that are read one by one: whose are still to be read, and what was read since the last listing.

Each is kept as it comes, so that whoever goes on after a worker died reads none twice. Nobody relies on them as they
are: the next listing is judged with them in it. Believed, it takes them over; if values are lost in it, they go.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors

#: Accounts of one command, so that none holds up Redis.
_CHUNK = 500


class DetailStore:
    """Details by target and account. Every method raises StoreError when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def kept(self, target: str) -> dict[str, dict[str, str | None] | None]:
        """What was read since the last listing, by account; None where there was no such account."""
        found: dict[str, dict[str, str | None] | None] = {}
        with redis_errors():
            async for account, text in self._redis.hscan_iter(keys.details(target), count=_CHUNK):
                found[account.decode()] = json.loads(text)
        return found

    async def keep(self, target: str, account: str, values: Mapping[str, str | None] | None) -> None:
        """Keep one account's details, which are to be read no longer; None: there is no such account."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(keys.details(target), account, json.dumps(None if values is None else dict(values)))
                pipe.srem(keys.details_wanted(target), account)
                await pipe.execute()

    async def wanted(self, target: str, limit: int) -> list[str]:
        """Some of the accounts whose details are still to be read, at most so many."""
        with redis_errors():
            found = await self._redis.srandmember(keys.details_wanted(target), limit)
        return [account.decode() for account in found]

    async def count(self, target: str) -> tuple[int, int]:
        """How many details are still to be read, and how many were read since the last listing."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.scard(keys.details_wanted(target))
                pipe.hlen(keys.details(target))
                wanted, kept = await pipe.execute()
        return int(wanted), int(kept)

    async def settle(self, target: str, taken: Collection[str], waiting: Collection[str]) -> None:
        """A listing took some details over, and found whose are still to be read.

        What was read meanwhile, after the listing had looked, stays. Ended half-way, some are read once more.

        Args:
            taken: the accounts whose kept details are in the listing.
            waiting: all accounts whose details are still to be read.
        """
        with redis_errors():
            for some in _chunks(taken):
                await self._redis.hdel(keys.details(target), *some)
            meanwhile: set[str] = set()
            async for account, _ in self._redis.hscan_iter(keys.details(target), count=_CHUNK):
                meanwhile.add(account.decode())
            await self._redis.unlink(keys.details_wanted(target))
            for some in _chunks(one for one in waiting if one not in meanwhile):
                await self._redis.sadd(keys.details_wanted(target), *some)

    async def drop(self, target: str) -> None:
        """Drop everything that was read since the last listing; it is asked for again."""
        with redis_errors():
            await self._redis.unlink(keys.details(target))

    async def forget(self, target: str, accounts: Collection[str]) -> int:
        """Forget what was read of some accounts; of how many something was."""
        if not accounts:
            return 0
        with redis_errors():
            return int(await self._redis.hdel(keys.details(target), *accounts))


def _chunks(accounts: Iterable[str]) -> Iterable[list[str]]:
    left = iter(accounts)
    while some := list(islice(left, _CHUNK)):
        yield some
