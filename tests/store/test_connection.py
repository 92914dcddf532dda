"""One address, as redis-py, Celery and redbeat each want it, tried against real servers."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import celery
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redbeat.schedulers import get_redis

from provisioner.errors import ConfigurationError, StoreError
from provisioner.settings import Settings
from provisioner.store.redis.address import LONGEST_SOCKET_PATH, RedisAddress, socket_path, socket_record
from provisioner.store.redis.connection import check_server, connect, connect_sync, inspect_server, ping
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, find_executable

SECRET = "hunter2-canary"


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://redis", RedisAddress("redis", (("redis", 6379),))),
        ("redis://redis:6380/3", RedisAddress("redis", (("redis", 6380),), db=3)),
        ("redis://redis?db=3", RedisAddress("redis", (("redis", 6379),), db=3)),
        ("redis://[::1]:6380/0", RedisAddress("redis", (("::1", 6380),))),
        ("redis://:p%40%2Fw@redis/0", RedisAddress("redis", (("redis", 6379),), password="p@/w")),
        ("redis://me:pw@redis/0", RedisAddress("redis", (("redis", 6379),), username="me", password="pw")),
        ("unix:///run/redis.sock", RedisAddress("unix", path="/run/redis.sock")),
        (
            "unix://me:pw@/run/a%20b.sock?db=2",
            RedisAddress("unix", path="/run/a b.sock", db=2, username="me", password="pw"),
        ),
        (
            "sentinel://me:pw@one,two:26380/mymaster/4?sentinel_password=sp",
            RedisAddress(
                "sentinel",
                (("one", 26379), ("two", 26380)),
                db=4,
                username="me",
                password="pw",
                master="mymaster",
                sentinel_password="sp",
            ),
        ),
        (
            "rediss://redis/1",
            RedisAddress(
                "rediss",
                (("redis", 6379),),
                db=1,
                tls={"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True},
            ),
        ),
        (
            "rediss://redis/1?ssl_cert_reqs=none&ssl_ca_certs=/ca.pem",
            RedisAddress(
                "rediss",
                (("redis", 6379),),
                db=1,
                tls={"ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False, "ssl_ca_certs": "/ca.pem"},
            ),
        ),
        (
            "sentinel://one/mymaster?ssl=true",
            RedisAddress(
                "sentinel",
                (("one", 26379),),
                master="mymaster",
                tls={"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True},
            ),
        ),
    ],
)
def test_reads_every_form(url: str, wanted: RedisAddress) -> None:
    assert RedisAddress.parse(url) == wanted


@pytest.mark.parametrize(
    "url",
    [
        "",
        f"http://:{SECRET}@redis",
        f"redis:{SECRET}@redis",
        f"redis://:{SECRET}@redis:port/0",
        f"redis://:{SECRET}@redis:99999/0",
        f"redis://:{SECRET}@/0",
        f"redis://:{SECRET}@redis/zero",
        f"redis://:{SECRET}@redis/0/1",
        f"redis://:{SECRET}@redis,other/0",
        f"redis://:{SECRET}@redis/0?{SECRET}=1",
        f"redis://:a#{SECRET}@redis/0",
        f"redis://:a/{SECRET}@redis/0",
        f"redis://me:1?{SECRET}@redis/0",
        f"redis://:{SECRET}@[::1/0",
        f"rediss://:{SECRET}@redis?ssl_cert_reqs={SECRET}",
        f"rediss://:{SECRET}@redis?ssl_check_hostname={SECRET}",
        f"unix://:{SECRET}@run/redis.sock",
        f"unix://:{SECRET}@/",
        f"sentinel://:{SECRET}@one:26379",
        f"sentinel://:{SECRET}@one:26379/a/b/c",
    ],
)
def test_a_wrong_address_names_the_setting_and_no_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="redis_url: ") as caught:
        RedisAddress.parse(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.remedy


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=60))
def test_any_text_is_an_address_or_a_configuration_error(text: str) -> None:
    for scheme in ("redis", "rediss", "unix", "sentinel"):
        try:
            address = RedisAddress.parse(f"{scheme}://{text}")
        except ConfigurationError:
            continue
        address.celery_settings()


def test_no_form_for_people_holds_a_password() -> None:
    address = RedisAddress.parse(f"sentinel://me:{SECRET}@one,two/mymaster/1?sentinel_password={SECRET}")
    assert address.redacted == "sentinel://one:26379,two:26379/mymaster/1"
    assert SECRET not in repr(address)
    assert address.secrets == (SECRET, SECRET)
    assert RedisAddress.parse(f"redis://:{SECRET}@[::1]/0").redacted == "redis://[::1]:6379/0"


def test_without_a_setting_it_is_the_socket_of_up(tmp_path: Path) -> None:
    address = RedisAddress.of(Settings(data_dir=tmp_path))
    assert address.own
    assert address.path == str(tmp_path / "redis" / "redis.sock")
    assert not RedisAddress.of(Settings(data_dir=tmp_path, redis_url=SecretStr("redis://redis"))).own


def test_a_folder_too_deep_for_a_socket_records_where_the_socket_is(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * LONGEST_SOCKET_PATH)
    assert socket_path(deep) == deep / "redis" / "redis.sock"
    socket_record(deep).parent.mkdir(parents=True)
    socket_record(deep).write_text("/tmp/short\n")
    assert socket_path(deep) == Path("/tmp/short/redis.sock")


# --- connecting ------------------------------------------------------------------------------------------------------


def use_everywhere(address: RedisAddress) -> None:
    """Writes and reads through each of the libraries."""

    async def with_redis_py() -> None:
        client = connect(address)
        try:
            await ping(client, address)
            await client.set("key", b"\xff")
            assert await client.get("key") == b"\xff"
        finally:
            await client.aclose()

    asyncio.run(with_redis_py())
    with closing(connect_sync(address)) as client:
        assert client.get("key") == b"\xff"
    app = celery.Celery("test", set_as_current=False)
    app.conf.update(address.celery_settings())
    try:
        with app.connection_for_write() as connection, closing(connection.SimpleQueue("nudges")) as queue:
            queue.put({"target": "one"})
            message = queue.get(timeout=5)
            assert message.payload == {"target": "one"}
            message.ack()
        beat = get_redis(app)
        assert beat.get("beat") is None
        beat.set("beat", "acts")
        assert beat.get("beat") == "acts"
        beat.connection_pool.disconnect()
    finally:
        app.close()
    with closing(connect_sync(address)) as client:
        # All of them in the same database
        assert client.get("beat") == b"acts"
        assert client.exists("_kombu.binding.nudges")


@pytest.mark.parametrize("database", [0, 5])
def test_a_socket_serves_all_three(redis_server: RedisServer, redis_url: str, database: int) -> None:
    del redis_url
    address = RedisAddress.parse(f"unix://{redis_server.socket}?db={database}")
    use_everywhere(address)
    with closing(connect_sync(address)) as client:
        assert client.info("keyspace").keys() == {f"db{database}"}


def test_a_socket_with_a_password_serves_all_three(redis_server: RedisServer, redis_url: str) -> None:
    with closing(redis.Redis.from_url(redis_url)) as admin:
        admin.acl_setuser(
            "me@work", enabled=True, passwords=["+p/w:?#%"], categories=["+@all"], keys=["*"], channels=["*"]
        )
        try:
            use_everywhere(RedisAddress.parse(f"unix://me%40work:p%2Fw%3A%3F%23%25@{redis_server.socket}?db=1"))
        finally:
            admin.acl_deluser("me@work")


def await_answer(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nothing listens at port {port}")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """A server with a password on loopback, watched by a Sentinel with another; their ports."""
    folder = tmp_path_factory.mktemp("sentinel")
    server, sentinel = free_port(), free_port()
    (folder / "sentinel.conf").write_text(
        f"port {sentinel}\nbind 127.0.0.1\ndir {folder}\nrequirepass sentinels-own\n"
        f"sentinel monitor mymaster 127.0.0.1 {server} 1\nsentinel auth-pass mymaster {SECRET}\n"
    )
    executable = str(find_executable())
    commands = [
        [executable, *("--port", str(server)), *("--bind", "127.0.0.1"), *("--requirepass", SECRET), *("--save", "")],
        [executable, str(folder / "sentinel.conf"), "--sentinel"],
    ]
    processes = []
    try:
        for command, port in zip(commands, (server, sentinel), strict=True):
            processes.append(subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL))
            await_answer(port)
        yield server, sentinel
    finally:
        for process in processes:
            process.kill()
            process.wait(20)


@pytest.mark.redis
def test_a_server_on_the_network_serves_all_three(watched: tuple[int, int]) -> None:
    server, _ = watched
    address = RedisAddress.parse(f"redis://:{SECRET}@127.0.0.1:{server}/2")
    use_everywhere(address)
    with closing(connect_sync(address)) as client:
        client.flushall()


@pytest.mark.redis
def test_sentinels_serve_all_three(watched: tuple[int, int]) -> None:
    server, sentinel = watched
    # The first of the Sentinels is down
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{sentinel}"
    address = RedisAddress.parse(f"sentinel://:{SECRET}@{hosts}/mymaster/3?sentinel_password=sentinels-own")
    use_everywhere(address)
    with closing(connect_sync(RedisAddress.parse(f"redis://:{SECRET}@127.0.0.1:{server}/3"))) as client:
        assert client.get("beat") == b"acts"
        client.flushall()


@pytest.mark.redis
def test_refused_credentials_are_told_without_them(watched: tuple[int, int]) -> None:
    server, _ = watched
    address = RedisAddress.parse(f"redis://:wrong-canary@127.0.0.1:{server}/2")
    message = unreachable(address)
    assert "refused the user or password" in message
    assert "wrong-canary" not in message


def unreachable(address: RedisAddress) -> str:
    async def main() -> None:
        client = connect(address)
        try:
            await ping(client, address)
        finally:
            await client.aclose()

    with pytest.raises(StoreError) as caught:
        asyncio.run(main())
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return str(caught.value)


def test_nothing_there_is_one_clear_line(tmp_path: Path) -> None:
    message = unreachable(RedisAddress.of(Settings(data_dir=tmp_path)))
    assert f"Redis at unix://{tmp_path}/redis/redis.sock?db=0 does not answer" in message
    assert "provisioner up" in message


def test_encryption_reaches_celery_and_beat() -> None:
    address = RedisAddress.parse("rediss://me:pw@redis:6380/1?ssl_ca_certs=/ca.pem")
    settings = address.celery_settings()
    app = celery.Celery("test", set_as_current=False)
    app.conf.update(settings)
    try:
        connection = app.connection_for_write()
        assert connection.ssl == {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_check_hostname": True,
            "ssl_ca_certs": "/ca.pem",
        }
        pool = get_redis(app).connection_pool
        assert pool.connection_class is redis.SSLConnection
        assert pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
        assert pool.connection_kwargs["host"] == "redis"
    finally:
        app.close()


# --- judging ---------------------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "redis_version": "7.2.4",
    "redis_mode": "standalone",
    "role": "master",
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
}


def test_a_good_server_passes() -> None:
    assert check_server(GOOD) == []


@pytest.mark.parametrize("version", ["6.2.0", "6.10.1", "7.0.0", "8.1.3-rc1"])
def test_new_enough(version: str) -> None:
    assert check_server(GOOD | {"redis_version": version}) == []


def test_valkey_is_judged_by_its_own_version() -> None:
    assert check_server(GOOD | {"redis_version": "5.0.0", "valkey_version": "9.1.2"}) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"redis_version": "6.0.16"}, r"Redis 6\.0\.16 is too old"),
        ({"redis_version": "5.0.14"}, "too old"),
        ({"valkey_version": "5.0.0"}, r"Valkey 5\.0\.0 is too old"),
        ({"redis_mode": "cluster"}, "Cluster"),
        ({"role": "slave"}, "replica"),
    ],
)
def test_an_unfit_server_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        check_server(GOOD | change)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("change", "message"),
    [({"maxmemory_policy": "allkeys-lru"}, "noeviction"), ({"aof_enabled": 0}, "appendonly")],
)
def test_a_careless_server_is_warned_of(change: dict[str, Any], message: str) -> None:
    (warning,) = check_server(GOOD | change)
    assert message in warning


def test_a_real_servers_answer_is_understood(redis_url: str) -> None:
    async def main() -> list[str]:
        address = RedisAddress.parse(redis_url)
        client = connect(address)
        try:
            return await inspect_server(client, address)
        finally:
            await client.aclose()

    (warning,) = asyncio.run(main())
    assert "appendonly" in warning
