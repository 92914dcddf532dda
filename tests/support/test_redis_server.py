"""The tests' own Redis server, and the rules that every test runs under."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import redis
from pytest_socket import SocketConnectBlockedError

from tests.support import redis_server as support
from tests.support.redis_server import RedisServer


def test_the_server_is_real_private_and_empty(redis_server: RedisServer, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        info = client.info("server")
        assert info["process_id"] == redis_server.pid
        assert info["tcp_port"] == 0
        assert client.dbsize() == 0
        client.set("left", "behind")
    assert redis_server.socket.stat().st_mode & 0o077 == 0
    assert redis_server.socket.parent.stat().st_mode & 0o077 == 0


def test_what_a_test_wrote_is_gone_for_the_next(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


@pytest.mark.redis
@pytest.mark.parametrize("append_only", [True, False])
def test_a_killed_server_starts_again_with_what_it_had_written(append_only: bool) -> None:
    with RedisServer(append_only=append_only) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "yes")
        server.kill()
        with pytest.raises(RuntimeError, match="does not run"):
            _ = server.pid
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("kept") == (b"yes" if append_only else None)


@pytest.mark.redis
def test_the_named_server_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other-redis"
    started = tmp_path / "started"
    other.write_text(f'#!/bin/sh\ntouch "{started}"\nexec "{support.find_executable()}" "$@"\n')
    other.chmod(0o700)
    monkeypatch.setenv(support.EXECUTABLE_VARIABLE, str(other))
    assert support.find_executable() == other
    with RedisServer():
        assert started.exists()


def test_a_named_server_has_to_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(support.EXECUTABLE_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=support.EXECUTABLE_VARIABLE):
        support.find_executable()


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o700)
    with pytest.raises(RuntimeError, match="did not start"), RedisServer(executable=broken):
        pass


def test_only_loopback_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    with socket.socket() as outside, pytest.raises(SocketConnectBlockedError):
        outside.connect(("192.0.2.1", 80))


def test_the_environment_is_clean() -> None:
    assert not [name for name in os.environ if name.startswith("PROVISIONER_") and "_TEST_" not in name]
    assert not [name for name in os.environ if name.lower().endswith("_proxy") and name.lower() != "no_proxy"]
