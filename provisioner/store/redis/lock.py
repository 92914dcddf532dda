"""Work that one process at a time may do: a lock of redis-py, renewed while it lasts, free again if its holder dies.

A process may be suspended for longer than its lock lasts; another takes the lock meanwhile, and the first one goes on
as if nothing had happened. So whoever holds a lock asks `Hold.still` before an effect, and writes what must not be
written twice by `commit`, which Redis refuses when the lock has another holder.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import structlog
from redis.asyncio.lock import Lock
from redis.exceptions import LockNotOwnedError, RedisError, WatchError

from provisioner.errors import HoldLostError, StoreError
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.scripts import Scripts

log = structlog.get_logger(__name__)

#: What the names of tasks begin with that renew something by the clock.
RENEWAL: Final = "renewal"


@dataclass(frozen=True, slots=True)
class Hold:
    """A lock that this process has. `mark` is its token; `lost` is set once the lock is known to be lost, `kept` where
    nobody is to have it before its time is over."""

    redis: Redis
    key: str
    mark: str
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    kept: asyncio.Event = field(default_factory=asyncio.Event)

    def keep(self) -> None:
        """Leave the lock taken at the end, until its time is over: what was done under it may still be under way."""
        self.kept.set()

    async def still(self) -> bool:
        """Whether the lock is ours. A lost one never comes back, so a yes holds for the whole time since it was taken.

        Raises:
            StoreError: Redis does not answer.
        """
        if not self.lost.is_set():
            with redis_errors():
                found = await self.redis.get(self.key)
            if found != self.mark.encode():
                self.lose()
        return not self.lost.is_set()

    def lose(self) -> None:
        """Note that the lock is lost, and log it the first time."""
        if not self.lost.is_set():
            self.lost.set()
            log.warning("hold_lost", key=self.key)

    async def ensure(self, pipe: Redis | None = None) -> None:
        """Go on only if the lock is ours.

        Args:
            pipe: a pipeline that watches the key, to ask through its connection.

        Raises:
            HoldLostError: it is lost.
            StoreError: Redis does not answer.
        """
        if pipe is not None and await pipe.get(self.key) != self.mark.encode():
            self.lose()
        if self.lost.is_set() or (pipe is None and not await self.still()):
            raise HoldLostError(
                f"This process was suspended for so long that it lost the lock {self.key}; it writes nothing more.",
                remedy="Whoever has the lock now does the work; ask again if nobody does.",
            )


def holder_of(mark: bytes) -> str:
    """The word that a holder gave for itself."""
    return mark.decode().partition("|")[0]


@asynccontextmanager
async def holding(redis: Redis, key: str, *, seconds: float, holder: str = "") -> AsyncIterator[Hold | None]:
    """Hold a lock for as long as the context lasts; None if somebody has it.

    Args:
        seconds: after which it is free if this process died.
        holder: what others may read of whoever has it, see `holder_of`.

    Raises:
        StoreError: Redis does not answer.
    """
    hold = Hold(redis, key, f"{holder}|{secrets.token_hex(8)}")
    # The event loop's tasks share the token, so it must not hang on a thread
    lock = Lock(redis, key, timeout=seconds, blocking=False, thread_local=False)
    if not await _acquire(lock, hold):
        yield None
        return
    clock = asyncio.get_running_loop().time
    renewed = clock()
    over = False

    async def renew() -> None:
        nonlocal renewed
        while not over and not hold.lost.is_set():
            await asyncio.sleep(seconds / 4)
            asked = clock()
            try:
                with redis_errors():
                    if await _renewed(lock):
                        renewed = asked
                    else:
                        hold.lose()
            except StoreError as exc:
                # It cannot be renewed now, which says nothing about whose it is
                log.warning("hold_not_renewed", key=key, reason=exc.message)

    renewal = asyncio.create_task(renew(), name=f"{RENEWAL} of {key}")
    try:
        yield hold
    finally:
        # A client that is cancelled while its time runs out tells of the latter only, so the word is given twice
        over = True
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        if not hold.kept.is_set():
            with redis_errors():
                try:
                    await lock.release()
                except LockNotOwnedError:
                    # Within its time it was released: the answer was lost, and the client asked a second time
                    if clock() - renewed >= seconds:
                        hold.lose()


async def _renewed(lock: Lock) -> bool:
    try:
        return await lock.reacquire()
    except LockNotOwnedError:
        return False


async def _acquire(lock: Lock, hold: Hold) -> bool:
    try:
        with redis_errors():
            taken = await lock.acquire(token=hold.mark)
    except asyncio.CancelledError:
        # Redis may have carried it out already, and nobody would release it
        lock.local.token = hold.mark.encode()
        with suppress(RedisError, OSError):
            await lock.release()
        raise
    if taken:
        return True
    # A client whose answer was lost asks a second time, and hears that the lock is taken: by itself
    with redis_errors():
        own = bool(await hold.redis.get(hold.key) == hold.mark.encode())
    if own:
        lock.local.token = hold.mark.encode()
    return own


class KeyLocks:
    """Short locks on many keys, which are not renewed; each has a token of its own, and many are released at once."""

    def __init__(self, redis: Redis) -> None:
        self._redis, self._release = redis, Scripts(redis).load("release")
        self._marks: dict[str, str] = {}

    async def take(self, key: str, seconds: int) -> bool:
        """Whether the lock is ours now, for so many seconds.

        Raises:
            StoreError: Redis does not answer.
        """
        mark = secrets.token_hex(8)
        with redis_errors():
            taken = await self._redis.set(key, mark, nx=True, ex=seconds)
            # A client whose answer was lost asks a second time, and hears that the lock is taken: by itself
            taken = taken or await self._redis.get(key) == mark.encode()
        if taken:
            self._marks[key] = mark
        return bool(taken)

    async def release(self, held: Iterable[str]) -> None:
        """Release those of the locks that are ours; one that ran out meanwhile and was taken by others stays.

        Raises:
            StoreError: Redis does not answer.
        """
        marks = {key: mark for key in held if (mark := self._marks.pop(key, None)) is not None}
        if marks:
            await self._release(list(marks), list(marks.values()))


async def commit(
    redis: Redis,
    hold: Hold | None,
    write: Callable[[Redis], object],
    *,
    watch: Sequence[str] = (),
    unless: Callable[[Redis], Awaitable[bool]] | None = None,
) -> bool:
    """Write in one transaction, which Redis refuses if the lock is lost or a watched key changes meanwhile.

    Args:
        hold: the lock; None where the caller needs none.
        write: puts the commands into a pipeline. They may be sent twice, and must do the same twice as once.
        watch: further keys that `unless` reads.
        unless: reads through the connection that watches; true leaves everything as it is.

    Returns:
        Whether it was written.

    Raises:
        HoldLostError: somebody else may have the lock; nothing was written.
        StoreError: Redis does not answer.
    """
    watched = (*watch, *((hold.key,) if hold else ()))
    with redis_errors():
        while True:
            async with redis.pipeline(transaction=True) as pipe:
                if watched:
                    await pipe.watch(*watched)
                if hold is not None:
                    await hold.ensure(pipe)
                if unless is not None and await unless(pipe):
                    return False
                if watched:
                    pipe.multi()
                write(pipe)
                try:
                    await pipe.execute()
                except WatchError:
                    # A renewal of the lock counts as a change, too
                    continue
                return True
