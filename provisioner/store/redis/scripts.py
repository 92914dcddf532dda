"""The Lua scripts, shipped next to this module in `lua/`.

Each begins with a comment that names every key and every argument; a line `-- include: NAME` is replaced by the text of
`lua/NAME.lua`. A script is called by its digest, one round trip a call; redis-py sends the text to a server that does
not know it (first call, restart, failover, SCRIPT FLUSH).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors

_INCLUDE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)

Argument = bytes | str | int | float


@cache
def source(name: str) -> str:
    """The text of `lua/NAME.lua`, with what it includes.

    Raises:
        FileNotFoundError: there is no such script.
    """
    text = (resources.files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: source(found[1]), text)


@dataclass(frozen=True, slots=True)
class Script:
    """One script on one server; call it with its keys and arguments, in the order that its first comment gives."""

    redis: Redis
    registered: AsyncScript

    async def __call__(self, keys: Sequence[str | bytes], args: Sequence[Argument] = ()) -> Any:
        """Run it and return what it returns, in redis-py's types.

        Raises:
            StoreError: Redis does not answer, or the script failed.
        """
        with redis_errors():
            return await self.registered(keys, args)

    async def each(
        self, calls: Sequence[Sequence[Argument]], more: Callable[[Redis], object] | None = None, *, together: bool
    ) -> list[Any]:
        """Run it for several lists of arguments, without keys, in one round trip; what each call returns.

        redis-py's own way would ask in a round trip of its own, each time, whether the server knows the script.

        Args:
            more: puts further commands into the same pipeline, which are sent once.
            together: no other client may come between.

        Raises:
            StoreError: Redis does not answer, or a call failed.
        """
        with redis_errors():
            answers = await self._sent(calls, more, together=together)
            unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:
                await self.redis.script_load(self.registered.script)
                late = await self._sent([calls[place] for place in unknown], None, together=together)
                for place, answer in zip(unknown, late, strict=True):
                    answers[place] = answer
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers

    async def _sent(
        self, calls: Sequence[Sequence[Argument]], more: Callable[[Redis], object] | None, *, together: bool
    ) -> list[Any]:
        async with self.redis.pipeline(transaction=together) as pipe:
            for arguments in calls:
                pipe.evalsha(self.registered.sha, 0, *arguments)
            if more is not None:
                more(pipe)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers[: len(calls)]


class Scripts:
    """The scripts by name, for one client."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._loaded: dict[str, Script] = {}

    def load(self, name: str) -> Script:
        """The script `lua/NAME.lua`; nothing is sent until it is called.

        Raises:
            FileNotFoundError: there is no such script.
        """
        if name not in self._loaded:
            self._loaded[name] = self.registered(source(name))
        return self._loaded[name]

    def registered(self, text: str) -> Script:
        """A script by its text; nothing is sent until it is called."""
        return Script(self._redis, self._redis.register_script(text))
