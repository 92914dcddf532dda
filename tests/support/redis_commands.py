"""What of Redis's commands came after 6.2, by the server's own documentation of them.

`COMMAND DOCS` says of each command, subcommand and argument in which version it appeared. A 6.2 server does not have
it, and needs no guard: it refuses what it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import redis
from redis.exceptions import ResponseError

NEWEST: Final = (6, 2)
#: redis-py sends the first one on each connection and goes on where it is refused; the other one is this module's.
IGNORED: Final = frozenset({"client|setinfo", "command|docs"})
#: Arguments that are older, but may be given together only since 7.0.
NOT_TOGETHER: Final = {"set": frozenset({"NX", "GET"})}

_LUA_CALL: Final = re.compile(r"redis\.p?call\s*\(")
_LUA_TEXT: Final = re.compile(r"'([^']*)'|\"([^\"]*)\"")


@dataclass(frozen=True, slots=True)
class Newer:
    """What 6.2 does not have.

    Attributes:
        commands: name, in small letters, subcommands as `xgroup|create` → the version that brought it.
        arguments: name of a command → words, in capital letters, that it takes only since.
    """

    commands: Mapping[str, str]
    arguments: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, client: redis.Redis, names: Iterable[str] = ()) -> Newer | None:
        """Ask a server, about all commands or some; None if it is too old to know."""
        try:
            whole = sorted({name.partition("|")[0] for name in names})
            answer: Any = client.execute_command("COMMAND DOCS", *whole)  # type: ignore[no-untyped-call]
        except ResponseError:
            return None
        commands: dict[str, str] = {}
        arguments = {}
        for name, docs in _pairs(answer).items():
            about = _pairs(docs)
            for whose, what in [
                (name, about),
                *((sub, _pairs(one)) for sub, one in _pairs(about.get("subcommands")).items()),
            ]:
                if _after(_text(what["since"])):
                    commands[_text(whose).lower()] = _text(what["since"])
            if words := frozenset(_words(about.get("arguments"), newer=False)):
                arguments[_text(name).lower()] = words
        return cls(commands, arguments)

    def among_called(self, called: Iterable[str]) -> list[str]:
        """The commands of `INFO commandstats` that 6.2 does not have, each with the version that brought it."""
        return sorted(f"{name} ({self.commands[name]})" for name in set(called) - IGNORED if name in self.commands)

    def in_call(self, command: str, words: Iterable[str]) -> list[str]:
        """What one call uses of it: the command itself, or words among its arguments."""
        name, given = command.lower(), frozenset(word.upper() for word in words)
        together = NOT_TOGETHER.get(name, frozenset())
        found = [name.upper()] if name in self.commands else []
        found += [f"{name.upper()} {word}" for word in sorted(given & self.arguments.get(name, frozenset()))]
        return found + ([f"{name.upper()} {' with '.join(sorted(together))}"] if together and together <= given else [])


def called(client: redis.Redis) -> frozenset[str]:
    """The commands that a server has carried out, those called by scripts too."""
    stats: Mapping[str, Any] = client.info("commandstats")
    return frozenset(name.removeprefix("cmdstat_").lower() for name in stats)


def lua_calls(text: str) -> Iterator[tuple[str | None, tuple[str, ...]]]:
    """Each call of a command in a script: its name, None if that is no literal, and the literals after it."""
    text = re.sub(r"--.*", "", text)
    # A bound such as '(' .. score closes nothing
    bare = _LUA_TEXT.sub(lambda literal: "x" * len(literal[0]), text)
    for found in _LUA_CALL.finditer(text):
        depth, end = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(bare[end], 0)
            end += 1
        inside = text[found.end() : end - 1]
        literals = [first or second for first, second in _LUA_TEXT.findall(inside)]
        if inside.lstrip()[:1] in ("'", '"'):
            yield literals[0], tuple(literals[1:])
        else:
            yield None, tuple(literals)


def _words(arguments: Any, *, newer: bool) -> Iterator[str]:
    """The fixed words of arguments that came after 6.2, or are part of one that did."""
    for one in arguments or ():
        about = _pairs(one)
        new = newer or _after(_text(about.get("since", b"")))
        if new and "token" in about:
            yield _text(about["token"]).upper()
        yield from _words(about.get("arguments"), newer=new)


def _after(since: str) -> bool:
    return tuple(int(part) for part in since.split(".")[:2] if part.isdecimal()) > NEWEST


def _pairs(flat: Any) -> dict[str, Any]:
    """A map, which the older protocol answers as a flat list."""
    if isinstance(flat, Mapping):
        return {_text(name): value for name, value in flat.items()}
    return {_text(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)} if flat else {}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
