"""Only what Redis 6.2 has is used, though the suite itself runs on a newer server.

Which commands are called, by scripts too, is checked at the end of each server of the suite (`RedisServer.__exit__`).
Here it is looked up in the sources, with their arguments.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import redis

import provisioner
from tests.support.redis_commands import Newer, lua_calls
from tests.support.redis_server import RedisServer

SOURCES: Final = Path(provisioner.__file__).parent
SCRIPTS: Final = sorted((SOURCES / "store" / "redis" / "lua").glob("*.lua"))
MODULES: Final = sorted(SOURCES.rglob("*.py"))


@pytest.fixture(scope="module")
def newer(redis_server: RedisServer) -> Newer:
    with redis.Redis.from_url(redis_server.url) as client:
        found = Newer.of(client)
    if found is None:
        pytest.skip("the server is a 6.2 itself, which refuses whatever is newer")
    return found


def python_calls(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each call of a method in a module, as a command of that name: its keywords, and the texts that it is given."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        given = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        switches = [
            one.arg
            for one in node.keywords
            if one.arg and not (isinstance(one.value, ast.Constant) and not one.value.value)
        ]
        if node.func.attr == "execute_command" and given:
            name, *rest = " ".join(given).split()
            yield name, tuple(rest)
        elif node.func.attr != "execute_command":
            yield node.func.attr.removesuffix("_iter"), tuple(switches)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_call_nothing_newer(newer: Newer, path: Path) -> None:
    for command, words in lua_calls(path.read_text(encoding="utf-8")):
        assert command is not None, "a command's name has to be a literal, to be seen here"
        assert newer.in_call(command, words) == []


def test_modules_call_nothing_newer(newer: Newer) -> None:
    # A subcommand's method is named with an underscore
    newer = Newer({name.replace("|", "_"): since for name, since in newer.commands.items()}, newer.arguments)
    used = {
        f"{path.relative_to(SOURCES)}: {found}"
        for path in MODULES
        for command, words in python_calls(path.read_text(encoding="utf-8"))
        for found in newer.in_call(command, words)
    }
    assert used == set()


def test_the_sources_are_seen_at_all(newer: Newer) -> None:
    assert {"HSET", "ZADD", "XADD"} <= {name for path in SCRIPTS for name, _ in lua_calls(path.read_text())}
    python = {name for path in MODULES for name, _ in python_calls(path.read_text(encoding="utf-8"))}
    assert {"hset", "zadd", "xautoclaim", "evalsha"} <= python
    assert len(newer.commands) > 30


def test_what_is_newer_is_found(newer: Newer) -> None:
    script = """
        redis.call('LMPOP', 1, KEYS[1], 'LEFT') -- redis.call('FCALL')
        redis.pcall("expire", KEYS[1], tonumber(ARGV[1]), 'GT')
        redis.call('SET', KEYS[1], 'x', 'NX', 'GET')
        redis.call('SET', KEYS[1], 'x', 'NX', 'PX', 5)
        redis.call('ZADD', KEYS[1], 'GT', 1, '(one')
        redis.call(name, KEYS[1])
    """
    calls = list(lua_calls(script))
    assert [name for name, _ in calls] == ["LMPOP", "expire", "SET", "SET", "ZADD", None]
    found = [newer.in_call(name, words) for name, words in calls if name]
    assert found == [["LMPOP"], ["EXPIRE GT"], ["SET GET with NX"], [], []]
    module = (
        "redis.expire(key, 5, gt=True)\npipe.expire(key, 5, gt=False)\nredis.execute_command('EXPIRE', 'k', 5, 'NX')"
    )
    assert [newer.in_call(*call) for call in python_calls(module)] == [["EXPIRE GT"], [], ["EXPIRE NX"]]


@pytest.mark.redis
@pytest.mark.usefixtures("newer")
def test_a_newer_command_that_was_called_fails_the_test() -> None:
    with (
        pytest.raises(AssertionError, match=r"Redis 6\.2 does not have: sintercard \(7\.0\.0\)"),
        RedisServer() as server,
        redis.Redis.from_url(server.url) as client,
    ):
        client.eval("redis.call('SINTERCARD', 1, 'key')", 0)
    with RedisServer() as server, redis.Redis.from_url(server.url) as client:
        client.sinter("key")
