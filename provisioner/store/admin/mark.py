"""The mark by which an empty Redis is distinguished from one that never held anything, and what follows from a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors


@dataclass(frozen=True, slots=True)
class Mark:
    """`word` is random; `lost`: Redis lost its data once; `quiet_until` (epoch seconds): no run may begin before; 0:
    runs may; `former`: the mark before the loss, empty if nobody knew one."""

    word: str
    lost: bool
    quiet_until: float
    former: str = ""

    def is_of(self, copy: str) -> bool:
        """Whether a folder with this copy of a mark belongs to the same deployment; an empty copy is nobody's yet."""
        return self.former == ANY or copy in ("", self.word, self.former)


#: As the former mark: a backup was brought back, so that folders of before have a mark that nobody knows here.
ANY: Final = "*"


class MarkStore:
    """The mark of the whole deployment."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self) -> Mark | None:
        """The mark; None if there is none yet."""
        with redis_errors():
            word, lost, until, former = await self._redis.hmget(keys.MARK, ["mark", "lost", "quiet", "former"])
        return None if word is None else Mark(word.decode(), lost == b"1", float(until or 0), (former or b"").decode())

    async def make(self, mark: Mark) -> bool:
        """Make the mark; False if there is one, which stays as it is.

        All of it is written at once, or another process would find the mark and begin a run before it can know of the
        loss.
        """
        until = str(mark.quiet_until) if mark.quiet_until else "0"
        fields = {"mark": mark.word, "lost": int(mark.lost), "quiet": until, "former": mark.former}
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                for name, value in fields.items():
                    pipe.hsetnx(keys.MARK, name, value)
                fresh, *_ = await pipe.execute()
        return bool(fresh)

    async def note_loss(self, word: str, quiet_until: float) -> None:
        """Note that data were lost, whether or not there is a mark.

        Args:
            word: the mark, if there is none.
        """
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hsetnx(keys.MARK, "mark", word)
                pipe.hsetnx(keys.MARK, "former", ANY)
                pipe.hset(keys.MARK, mapping={"lost": 1, "quiet": quiet_until})
                await pipe.execute()
