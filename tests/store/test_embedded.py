"""The server of `up`: real, private, one per folder, and gone when it should be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from provisioner.errors import StoreError
from provisioner.settings import Settings
from provisioner.store.redis import embedded
from provisioner.store.redis.address import LONGEST_SOCKET_PATH, RedisAddress, socket_path, socket_record
from provisioner.store.redis.connection import connect_sync
from provisioner.store.redis.embedded import EmbeddedRedis

pytestmark = pytest.mark.redis


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder whose path is short enough for a socket, which pytest's own need not be."""
    with tempfile.TemporaryDirectory(prefix="provisioner-") as folder:
        yield Path(folder)


def until(said: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not said():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pid_of(server: EmbeddedRedis) -> int:
    with closing(connect_sync(server.address)) as client:
        return int(client.info("server")["process_id"])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_is_private_and_set_up_for_the_ledger(data_dir: Path) -> None:
    with EmbeddedRedis(data_dir) as server:
        assert server.address == RedisAddress.of(Settings(data_dir=data_dir))
        folder = data_dir / "redis"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert socket_path(data_dir).stat().st_mode & 0o077 == 0
        with closing(connect_sync(server.address)) as client:
            info = client.info()
            assert info["tcp_port"] == 0
            assert info["aof_enabled"] == 1
            assert info["maxmemory_policy"] == "noeviction"
            assert client.config_get("save") == {"save": ""}
            assert set(client.config_get("hash-max-*-value").values()) == {"2048"}
        assert os.getpgid(pid_of(server)) != os.getpgid(0)
        assert server.running()
        assert server.log.read_text()
    assert not server.running()
    assert not socket_path(data_dir).exists()


def test_data_outlive_the_server_and_its_death(data_dir: Path) -> None:
    server = EmbeddedRedis(data_dir)
    try:
        server.start()
        with closing(connect_sync(server.address)) as client:
            client.set("key", "first")
        server.stop()
        server.start()
        with closing(connect_sync(server.address)) as client:
            assert client.get("key") == b"first"
            client.set("key", "second")
        os.kill(pid_of(server), signal.SIGKILL)
        until(lambda: not server.running())
        # Its socket file is still there
        assert socket_path(data_dir).exists()
        server.start()
        with closing(connect_sync(server.address)) as client:
            assert client.get("key") == b"second"
    finally:
        server.stop()


def test_keeps_nothing_where_nothing_is_asked_for(data_dir: Path) -> None:
    for _ in range(2):
        with EmbeddedRedis(data_dir, append_only=False) as server, closing(connect_sync(server.address)) as client:
            assert client.set("key", "value", nx=True)


def test_a_server_that_is_there_is_used_and_left_alone(data_dir: Path) -> None:
    with EmbeddedRedis(data_dir) as first:
        pid = pid_of(first)
        with EmbeddedRedis(data_dir) as second:
            assert second.reused
            assert second.running()
            assert pid_of(second) == pid
        assert alive(pid)
        assert not first.reused
    assert not alive(pid)


def test_a_folder_too_deep_for_a_socket_gets_a_short_one(data_dir: Path) -> None:
    deep = data_dir / ("x" * LONGEST_SOCKET_PATH)
    with EmbeddedRedis(deep) as server:
        place = socket_path(deep)
        assert len(os.fsencode(place)) <= LONGEST_SOCKET_PATH
        assert place.parent.stat().st_mode & 0o777 == 0o700
        assert RedisAddress.of(Settings(data_dir=deep)) == server.address
        assert pid_of(server)
    with EmbeddedRedis(deep):
        assert socket_path(deep) == place
    # Whoever could put a folder there could listen in our place
    place.parent.chmod(0o777)
    with EmbeddedRedis(deep):
        assert socket_path(deep).parent != place.parent
    for folder in (place.parent, socket_path(deep).parent):
        folder.rmdir()
    assert socket_record(deep).exists()


def test_the_folder_for_temporary_files_may_be_too_deep_too(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = data_dir / ("x" * LONGEST_SOCKET_PATH)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with EmbeddedRedis(deep) as server:
        place = socket_path(deep)
        assert len(os.fsencode(place)) <= LONGEST_SOCKET_PATH
        assert pid_of(server)
    place.parent.rmdir()
    assert [one.name for one in deep.iterdir()] == ["redis"]


def test_no_place_for_a_socket_is_an_error_that_says_so(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = data_dir / ("x" * LONGEST_SOCKET_PATH)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    monkeypatch.setattr(embedded, "_SHORT_FOLDERS", ())
    with pytest.raises(StoreError, match="too long for a socket"):
        EmbeddedRedis(deep).start()


def test_ends_with_its_parent_even_if_that_is_killed(data_dir: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from provisioner.store.redis.embedded import EmbeddedRedis; "
        "EmbeddedRedis(Path(sys.argv[1])).start(); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(data_dir)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as parent:
        try:
            assert parent.stdout is not None
            # After what it logs
            assert b"ready\n" in parent.stdout
            pid = pid_of(EmbeddedRedis(data_dir))
        finally:
            parent.kill()
    until(lambda: not alive(pid))


def test_a_server_that_does_not_start_is_told_with_its_log(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = data_dir / "redis-server"
    broken.write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo 'Redis server v=7.0.15' && exit\necho cannot start >&2\nexit 3\n"
    )
    broken.chmod(0o700)
    monkeypatch.setenv("PATH", str(data_dir))
    server = EmbeddedRedis(data_dir)
    with pytest.raises(StoreError, match=r"data_dir: .*ended while it started.*redis\.log"):
        server.start()
    assert "cannot start" in server.log.read_text()
    assert not server.running()


def test_a_folder_that_cannot_be_made_is_told(data_dir: Path) -> None:
    (data_dir / "redis").write_text("a file")
    with pytest.raises(StoreError, match="data_dir"):
        EmbeddedRedis(data_dir).start()


@pytest.mark.parametrize("end", ["in order", "killed"])
def test_who_used_a_server_takes_over_when_it_ends(data_dir: Path, end: str) -> None:
    first = EmbeddedRedis(data_dir)
    first.start()
    with EmbeddedRedis(data_dir) as second:
        with closing(connect_sync(second.address)) as client:
            client.set("key", "value")
        assert second.running()
        if end == "in order":
            first.stop()
        else:
            os.kill(pid_of(first), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while second.running():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        second.start()
        assert not second.reused
        with closing(connect_sync(second.address)) as client:
            assert client.get("key") == b"value"
        # What the first leaves behind at its end is not the second's socket
        first.stop()
        with closing(connect_sync(second.address)) as client:
            assert client.ping()


def test_the_socket_of_who_took_over_stays_when_the_first_ends_late(data_dir: Path) -> None:
    first = EmbeddedRedis(data_dir)
    first.start()
    os.kill(pid_of(first), signal.SIGKILL)
    with EmbeddedRedis(data_dir) as second:
        assert not second.reused
        first.stop()
        assert pid_of(second)
