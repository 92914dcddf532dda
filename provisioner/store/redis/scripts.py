"""The Lua scripts, shipped beside this module in `lua/`.

Each begins with a comment that names every key and every argument; a line `-- include: NAME` stands for the text of
`lua/NAME.lua`. A script is sent once per server and then called by
its digest; a server that has forgotten it (restart, failover, SCRIPT FLUSH) is given it again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

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

    name: str
    text: str
    digest: str
    redis: Redis

    async def __call__(self, keys: Sequence[str | bytes], args: Sequence[Argument] = ()) -> Any:
        """Run it and return what it returns, in redis-py's types.

        Raises:
            StoreError: Redis does not answer, or the script failed.
        """
        with redis_errors():
            try:
                return await self.redis.evalsha(self.digest, len(keys), *keys, *args)
            except NoScriptError:
                # EVAL also makes the server remember it
                return await self.redis.eval(self.text, len(keys), *keys, *args)


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
            text = source(name)
            digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            self._loaded[name] = Script(name, text, digest, self._redis)
        return self._loaded[name]
