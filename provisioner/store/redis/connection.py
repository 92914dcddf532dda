"""Clients of Redis, and whether the server behind them is fit to hold the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import redis as redis_sync
from redis import asyncio as redis_async
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from provisioner.errors import StoreError
from provisioner.store.redis.address import ANSWER_TIMEOUT, CONNECT_TIMEOUT, HEALTH_CHECK_INTERVAL, RedisAddress
from provisioner.store.redis.refusals import explained, ran_out_of_time
from provisioner.store.redis.server_version import OLDEST_SERVER, ServerVersion

__all__ = [
    "RedisAddress",
    "check_server",
    "connect",
    "connect_sync",
    "inspect_server",
    "ping",
    "redis_errors",
]

#: Tries after the first one, within about 3 s: enough for a restart of Redis, short enough for a person who waits.
_RETRIES: Final = 5
#: Connections of a client at most: for each request that a process may have under way one, and one to renew its lease.
_CONNECTIONS: Final = 512
_BACKOFF: Final = ExponentialWithJitterBackoff(cap=1.0, base=0.1)


class _OnceIfItHangs(AsyncRetry):
    """Tries again where a connection breaks, but not where nobody answers in time."""

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[Any]],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Any:
        """As redis-py's. Silence while it connects reaches us as a broken connection, with its reason behind it."""

        def worth_it(error: Exception) -> bool:
            return not ran_out_of_time(error) and (is_retryable is None or is_retryable(error))

        return await super().call_with_retry(do, fail, worth_it, with_failure_count)


class _AsyncPool(AsyncSentinelPool):
    """Closes the connections to the Sentinels with those to the server."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


class _Pool(SentinelConnectionPool):
    """Closes the connections to the Sentinels with those to the server."""

    def close(self) -> None:
        super().close()
        self.sentinel_manager.close()


def connect(address: RedisAddress, *, within: float | None = None) -> redis_async.Redis:
    """A client for one event loop; nothing is sent yet. Answers are bytes. Close it with `aclose()`.

    A command whose answer is lost is sent again by itself, so whatever is not safe to do twice belongs into a script
    that is.

    Args:
        within: seconds in which Redis has to answer. A server that hangs is not asked again then; one that restarts is.
            None: as patient as a worker.
    """
    options = _options(address) | {"retry": AsyncRetry(_BACKOFF, _RETRIES)}
    if within is not None:
        options["retry"] = _OnceIfItHangs(_BACKOFF, _RETRIES)
        options |= {"socket_timeout": within, "socket_connect_timeout": within}
    if address.scheme != "sentinel":
        return redis_async.Redis(**options)
    lone = address.sentinel_options | {"retry": AsyncRetry(NoBackoff(), 0)}
    sentinel = AsyncSentinel(list(address.hosts), sentinel_kwargs=lone, **options)  # type: ignore[no-untyped-call]  # redis-py has no types here
    client: redis_async.Redis = sentinel.master_for(address.master or "", connection_pool_class=_AsyncPool)
    return client


def connect_sync(address: RedisAddress, *, within: float | None = None) -> redis_sync.Redis:
    """The same without an event loop, for commands and start-up. Close it with `close()`.

    Args:
        within: seconds in which Redis has to answer at the first try; none: as patient as the other clients.
    """
    options = _options(address) | {"retry": Retry(_BACKOFF, _RETRIES)}
    if within is not None:
        options |= {"retry": Retry(NoBackoff(), 0), "socket_timeout": within, "socket_connect_timeout": within}
    if address.scheme != "sentinel":
        return redis_sync.Redis(**options)
    sentinel = Sentinel(  # type: ignore[no-untyped-call]  # redis-py has no types here
        list(address.hosts), sentinel_kwargs=address.sentinel_options, **options
    )
    client: redis_sync.Redis = sentinel.master_for(  # type: ignore[no-untyped-call]  # redis-py has no types here
        address.master or "", connection_pool_class=_Pool
    )
    return client


def _options(address: RedisAddress) -> dict[str, Any]:
    options: dict[str, Any] = {
        "db": address.db,
        **address.credentials,
        "decode_responses": False,
        "socket_timeout": ANSWER_TIMEOUT,
        "max_connections": _CONNECTIONS,
        # The older protocol has one shape of answers for all servers that we accept
        "protocol": 2,
    }
    if address.scheme == "unix":
        # No health check: nothing comes between the two ends of a socket, and where the server refuses its PING,
        # redis-py connects again within each try to connect, for hours
        return options | {"unix_socket_path": address.path}
    options |= {"socket_connect_timeout": CONNECT_TIMEOUT, "socket_keepalive": True}
    options |= {"health_check_interval": HEALTH_CHECK_INTERVAL}
    if address.tls is not None:
        options |= {"ssl": True, **address.tls}
    if address.scheme != "sentinel":
        options["host"], options["port"] = address.hosts[0]
    return options


@contextmanager
def redis_errors(address: RedisAddress | None = None) -> Iterator[None]:
    """Turns what redis-py raises inside into a StoreError with what to do about it."""
    try:
        yield
    except (RedisError, OSError) as exc:
        place = f"Redis at {address.redacted}" if address else "Redis"
        raise explained(place, exc, own=bool(address and address.own)) from exc


async def ping(client: redis_async.Redis, address: RedisAddress) -> None:
    """Return if Redis answers.

    Raises:
        StoreError: it does not, with the reason and what to do, in one line.
    """
    with redis_errors(address):
        await client.ping()


async def inspect_server(client: redis_async.Redis, address: RedisAddress) -> list[str]:
    """Ask the server what it is, and judge it by `check_server`.

    Raises:
        StoreError: it does not answer, or cannot be used.
    """
    with redis_errors(address):
        info: Mapping[str, Any] = await client.info()
    return check_server(info)


def check_server(info: Mapping[str, Any]) -> list[str]:
    """Judge a server by its answer to INFO, parsed by redis-py.

    Returns:
        Warnings, each a sentence with what to do; empty if all is well.

    Raises:
        StoreError: it is older than 6.2, a cluster, or a replica, so that nothing of ours would work.
    """
    server = ServerVersion.of_info(info)
    if server.release < OLDEST_SERVER:
        raise StoreError(
            f"{server} is too old.", remedy="Use Redis 6.2 or newer, or Valkey; `provisioner up` brings its own."
        )
    if info.get("redis_mode") == "cluster":
        raise StoreError(
            "redis_url names a Redis Cluster, which cannot run scripts over several keys.",
            remedy="Use a single server, or one watched by Sentinel.",
        )
    if info.get("role", "master") != "master":
        raise StoreError(
            "redis_url names a replica, which takes no writes.", remedy="Name the master, or the Sentinels."
        )
    warnings = []
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        warnings.append(
            f"Redis may throw away the ledger when memory is short (maxmemory-policy {policy}); set it to noeviction."
        )
    if not int(info.get("aof_enabled", 0)):
        warnings.append("Redis may forget the latest changes when it stops (appendonly no); set appendonly to yes.")
    return warnings
