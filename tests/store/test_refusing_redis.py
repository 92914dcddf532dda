"""A Redis that answers and refuses: full, a replica, unable to save, with other credentials. Each is named rightly."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.cli.calling import call, command, environment, traitly, write_settings
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, find_executable

TOKEN = "operator-token-0123456789"
SECRET = "a-secret-of-the-tests"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


def configure(server: RedisServer, *words: str) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.execute_command(*words)


def fill(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 1)


def cannot_save(server: RedisServer) -> None:
    """Redis stops writing where its last background save failed."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("save", "1 1")
        folder = client.config_get("dir")["dir"]
        # It cannot make its file where a folder of that name is
        Path(folder, "dump.rdb").mkdir()
        Path(folder, "dump.rdb", "in-the-way").touch()
        client.set("provisioner:schema", 1)
        client.bgsave()
        deadline = time.monotonic() + 20
        while client.info("persistence")["rdb_last_bgsave_status"] == "ok":
            assert time.monotonic() < deadline
            time.sleep(0.05)


STATES: dict[str, tuple[Any, str]] = {
    "full": (fill, "is out of memory and takes no more writes"),
    "replica": (lambda server: configure(server, "REPLICAOF", "127.0.0.1", "1"), "replica"),
    "cannot save": (cannot_save, "cannot save its data"),
    "too few replicas": (lambda server: configure(server, "CONFIG", "SET", "min-replicas-to-write", "1"), "too few"),
}


@pytest.mark.parametrize("state", STATES)
def test_who_asks_is_told_what_redis_refuses(server: RedisServer, state: str, tmp_path: Path) -> None:
    bring_about, word = STATES[state]
    config = write_settings(tmp_path, redis_url=server.url)
    variables = {"PROVISIONER_CONFIG": str(config)}
    assert call("runs", **variables).code == 0
    bring_about(server)
    checked = call("check", "--json", **variables)
    assert checked.code == 1
    faults = [line for line in checked.document["checks"] if line["verdict"] == "fail"]
    assert [line for line in faults if word in line["message"] and line["remedy"]], faults
    for words in (("sync",), ("pause", "traitly"), ("resume", "traitly"), ("unlink", "E1", "traitly")):
        answer = call(*words, "--json", **variables)
        assert answer.code == 1, words
        assert word in answer.document["error"]["message"], (words, answer.document)
        assert "that Redis runs" not in answer.out + answer.err
    # What only reads goes on, but that one which cannot save refuses PING too
    read = call("runs", **variables)
    assert read.code == (1 if state == "cannot save" else 0)
    assert (word in read.err) == bool(read.code)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random", "volatile-lru"])
def test_every_other_eviction_policy_is_an_error_of_check(server: RedisServer, policy: str, tmp_path: Path) -> None:
    configure(server, "CONFIG", "SET", "maxmemory-policy", policy)
    checked = call("check", "--json", PROVISIONER_CONFIG=str(write_settings(tmp_path, redis_url=server.url)))
    assert checked.code == 1
    (line,) = [line for line in checked.document["checks"] if line["subject"] == "redis memory"]
    assert (line["verdict"], policy in line["message"], "noeviction" in line["remedy"]) == ("fail", True, True)


def _ask(port: int, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body)
    request.add_header("Authorization", f"Bearer {TOKEN}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as exc:
        return exc.code, json.loads(exc.read())
    except OSError:
        return 0, {}


def test_the_web_is_not_ready_while_writes_are_refused(server: RedisServer, tmp_path: Path) -> None:
    port = free_port()
    own = {**traitly("http://127.0.0.1:9/traitly"), "webhook_secret": SECRET}
    config = write_settings(
        tmp_path, redis_url=server.url, targets={"traitly": own}, web={"port": port, "token": TOKEN}
    )
    process = subprocess.Popen(command("--config", str(config), "web"), env=environment(), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 40
        while _ask(port, "/readyz")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert _ask(port, "/api/runs")[0] == 200
        fill(server)
        status, said = _ask(port, "/readyz")
        assert (status, "is out of memory" in said["detail"]) == (503, True), said
        # Reading works, so the page is not taken away
        assert _ask(port, "/readyz?only=redis")[0] == 200
        assert _ask(port, "/api/runs")[0] == 200
        status, said = _ask(port, "/api/runs", b"{}")
        assert status in (415, 503)
        configure(server, "CONFIG", "SET", "maxmemory", "0")
        assert _ask(port, "/readyz")[0] == 200
    finally:
        process.terminate()
        process.wait(30)


def test_credentials_are_told_apart(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("--port", str(port), "--dir", str(tmp_path), "--save", "", "--requirepass", "right")
    process = subprocess.Popen([str(find_executable()), *words], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(host="127.0.0.1", port=port, password="right") as client:
            deadline = time.monotonic() + 20
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            client.execute_command("ACL", "SETUSER", "narrow", "on", ">narrow", "~nothing:*", "+@all")
            client.execute_command("ACL", "SETUSER", "reader", "on", ">reader", "~*", "&*", "+@read", "+@connection")
        for user, word in {
            "": "asks for a password",
            ":wrong@": "refused the user or password",
            "nobody:right@": "refused the user or password",
            "narrow:narrow@": "does not let the user",
            "reader:reader@": "does not let the user",
        }.items():
            config = write_settings(tmp_path, redis_url=f"redis://{user}127.0.0.1:{port}/0")
            for asked in ("check", "sync"):
                answer = call(asked, "--json", PROVISIONER_CONFIG=str(config))
                assert answer.code == 1, (user, asked)
                assert word in answer.out, (user, asked, answer.out)
                assert "wrong@" not in answer.out + answer.err
    finally:
        process.terminate()
        process.wait(20)
